from collections.abc import Iterator

import pytest

from scheduled_task.tests.site import Site
from tests.services import installation


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running API that the tests of one file share; each test has models of its own."""
    with installation(tmp_path_factory.mktemp("home")) as installed:
        installed.start_api()
        opened = Site(installed, run_timeout_s=60.0)
        yield opened
        opened.api.close()
