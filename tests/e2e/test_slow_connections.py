"""2,000 slow connections of every kind beside good traffic. What each kind meets is in `api/tests/test_patience.py`."""

from pathlib import Path

import pytest

from bench.overload import CLOSED_S
from bench.slow_clients import KINDS, slow_connections
from tests.services import installation
from tests.wires import serve_rain


@pytest.mark.fault(37)
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_2000_slow_connections_are_all_closed_and_good_traffic_does_not_notice(tmp_path: Path) -> None:
    with installation(tmp_path) as installed:
        serve_rain(installed)
        found = slow_connections(installed, 2000)

    assert found.closed == 2000
    assert set(found.longest_s) == set(KINDS)
    assert max(found.longest_s.values()) <= CLOSED_S
    assert found.good.failed == []
