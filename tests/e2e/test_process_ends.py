"""Processes that run out of memory, grow too large, or wait for a model that does not come back. Slow, or for root."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from api.memory import GROUPS, counts, resident_bytes
from tests import failing
from tests.e2e.test_failing_models import ask, champion, define, events, logged, serve
from tests.failing import GOOD
from tests.services import Installation, installation
from tests.workers import wait_for, wait_until_all_answer, workers
from understudy.failures import RETIRED

pytestmark = pytest.mark.slow

ROOM = 400 * 2**20
LARGEST = {"values": [[GOOD]] * 10_000}


@contextmanager
def short_of_memory(*pids: int) -> Iterator[None]:
    """Put processes, and all that they start, into a control group with little memory."""
    found = next((file.parent for file in counts("self") if file.is_file()), None)
    if found is None or os.geteuid() != 0:
        pytest.skip("only root can make a control group here")
    group = found / f"understudy-{os.getpid()}"
    group.mkdir()
    try:
        name = "memory.limit_in_bytes" if GROUPS / "memory" in group.parents else "memory.max"
        (group / name).write_text(str(ROOM))
        for number in pids:
            (group / "cgroup.procs").write_text(str(number))
        yield
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            (found / "cgroup.procs").write_text(pid)
        wait_for(lambda: not (group / "cgroup.procs").read_text(), "an empty group")
        group.rmdir()


def ask_much(installed: Installation) -> int | None:
    """Send the largest batch; None where the connection broke."""
    try:
        return requests.post(f"{installed.url}/predict", json=LARGEST, timeout=120).status_code
    except requests.ConnectionError:
        return None


@pytest.mark.fault(46)
def test_a_model_that_wants_all_memory_costs_two_processes_and_is_gone(tmp_path: Path) -> None:
    with installation(tmp_path, UNDERSTUDY_API_WORKERS="2") as pair:
        pair.start_api()
        define(pair)
        before, greedy = serve(pair, failing.well()), serve(pair, failing.wide())
        wait_until_all_answer(pair, 2)
        with short_of_memory(pair.processes["api.main"].pid, *workers(pair)):
            for deaths in (1, 2):
                assert ask_much(pair) is None
                wait_for(lambda n=deaths: len(events(pair, "process.died")) == n, "word of it")  # type: ignore[misc]
                wait_for(lambda: len(workers(pair)) == 2, "another process")
            wait_for(lambda: champion(pair) == before, "the way back")
            assert ask_much(pair) == 200

        found = events(pair, "process.died")
        assert {(death["version"], death["how"]) for death in found} == {(greedy, "out_of_memory")}
        assert all("memory was short" in death["reason"] for death in found)


@pytest.mark.fault(39)
def test_a_process_that_grows_beyond_its_limit_is_replaced_while_the_other_serves(tmp_path: Path) -> None:
    """It grows by a large model, which the next process holds from its start: that one is left alone."""
    with installation(tmp_path, UNDERSTUDY_API_WORKERS="2") as pair:
        pair.start_api()
        define(pair)
        serve(pair, failing.well())
        wait_until_all_answer(pair, 2)
        usual = max(resident_bytes(pid) for pid in workers(pair))
        pair.stop()
        pair.environment["UNDERSTUDY_MEMORY_LIMIT_MB"] = str(usual // 2**20 + 30)
        pair.start_api()
        wait_until_all_answer(pair, 2)
        first = set(workers(pair))

        serve(pair, failing.heavy(megabytes=60))

        def asked() -> bool:
            assert ask(pair, GOOD).status_code == 200
            return not first & set(workers(pair))

        wait_for(asked, "two other processes")
        wait_until_all_answer(pair, 2)
        second = set(workers(pair))
        wait_for(lambda: logged(pair, "memory_limit.impossible"), "word of the limit")
        assert len(logged(pair, "process.retires")) == 2
        assert set(workers(pair)) == second
        assert events(pair, "process.died") == []


@pytest.mark.fault(39)
def test_a_call_that_does_not_come_back_ends_its_process_gracefully_and_takes_the_version_with_it(
    tmp_path: Path,
) -> None:
    """The thread of the lane is stopped as by a debugger; the event loop goes on and answers meanwhile."""
    with installation(tmp_path) as alone:
        alone.start_api()
        define(alone)
        before, hanging = serve(alone, failing.well()), serve(alone, failing.slow())
        victim = workers(alone)[0]
        with failing.stuck_in_a_call(alone, victim):
            assert ask(alone, GOOD).status_code in (503, 504)
            until_s = time.monotonic() + 180
            while not logged(alone, "process.retires") and time.monotonic() < until_s:
                time.sleep(0.5)
        assert alone.processes["api.main"].wait(60) == RETIRED

        alone.start_api()

        assert champion(alone) == before
        (death,) = events(alone, "process.died")
        assert (death["version"], death["how"]) == (hanging, "hung")


@pytest.mark.fault(44)
def test_a_process_that_somebody_has_stopped_amid_a_call_is_replaced_and_the_model_is_not_blamed(
    tmp_path: Path,
) -> None:
    with installation(tmp_path, UNDERSTUDY_API_WORKERS="2") as pair:
        pair.start_api()
        define(pair)
        serve(pair, failing.well())
        version = serve(pair, failing.slow())
        for deaths in (1, 2):
            wait_until_all_answer(pair, 2)
            victim = failing.hurt_in_a_call(pair, signal.SIGSTOP)
            wait_for(lambda gone=victim: gone not in workers(pair), "its end")  # type: ignore[misc]
            wait_for(lambda n=deaths: len(events(pair, "process.died")) == n, "word of it")  # type: ignore[misc]

        assert {death["how"] for death in events(pair, "process.died")} == {"stopped"}
        assert champion(pair) == version
