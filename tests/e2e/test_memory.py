"""What an API process holds stays as small over many swaps as it was before them."""

from pathlib import Path

import pytest
from sklearn.ensemble import RandomForestClassifier

from api.tests import given
from bench.memory import Host
from tests.resident import held, libraries
from tests.services import installation
from tests.workers import wait_for

WARM_SWAPS = 10
"""Caches are filled by then."""
MOST_GROWTH = 1.05
MOST_MIB = 150
NEEDLESS = {"onnx", "pandas", "pyarrow", "scipy", "sklearn", "skops"}


@pytest.mark.fault(29)
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("swaps", [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_memory_files_and_threads_are_after_many_swaps_what_they_were(tmp_path: Path, swaps: int) -> None:
    with installation(tmp_path) as installed:
        host = Host(installed)
        bundles = [given.bundle(RandomForestClassifier(50, random_state=i)) for i in (0, 1)]
        versions = [host.register("rain", bundle) for bundle in bundles]
        for swap in range(WARM_SWAPS):
            host.promote("rain", versions[swap % 2])
        before = held(host.pid)

        for swap in range(swaps):
            host.promote("rain", versions[swap % 2])

        wait_for(lambda: held(host.pid).mib <= before.mib * MOST_GROWTH, f"at most 5 % more than {before}")
        wait_for(lambda: held(host.pid).threads <= before.threads, f"no more threads than {before}")
        wait_for(lambda: held(host.pid).files <= before.files + 2, f"no more files than {before}")
        assert before.mib <= MOST_MIB
        assert libraries(host.pid) & NEEDLESS == set()
