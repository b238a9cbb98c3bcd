from collections.abc import Iterator
from pathlib import Path

import pytest

from api.tests import given


@pytest.fixture
def api(tmp_path: Path) -> Iterator[given.Api]:
    """An API with an empty log."""
    with given.api(tmp_path) as started:
        yield started
