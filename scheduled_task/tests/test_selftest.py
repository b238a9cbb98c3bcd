"""A changed policy is tested by sabotage, by itself, once a champion serves by it; what came of it is an event."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest

from scheduled_task.asking import Asking, untested
from scheduled_task.job import Ended
from scheduled_task.selftest import carry_out
from scheduled_task.tests.given import DEFINITION, Workshop, stream
from scheduled_task.tests.site import Site, working
from scheduled_task.worker import Worker
from tests.adapters.stream import at

IMPOSSIBLE = DEFINITION.replace('refit="off"', 'refit="off", floors={"accuracy": 0.999}')
"""A policy that nothing can pass."""


@contextmanager
def at_work(site: Site) -> Iterator[None]:
    """Let one worker claim tests of gates for as long as the block lasts."""
    worker = Worker(site.settings, site.connect, kind="selftest")
    worker.start()
    try:
        yield
    finally:
        worker.stop()
        worker.join(20)


@pytest.mark.slow
def test_a_changed_policy_is_tested_by_itself_and_the_log_tells_that_it_refuses_everything(site: Site) -> None:
    site.arrive(stream(900))
    site.define()
    with closing(Asking(site.connect(), selftests=True)) as asking:
        asking.rest(["stream"])  # nothing serves yet: a first attempt, and no test
        with working(site):
            assert site.ended("stream-1")["state"] == "succeeded"
        site.define(text=IMPOSSIBLE)
        for _ in range(2):
            asking.rest(["stream"])
        with at_work(site):
            run = site.ended("stream-2")

    assert run["state"] == "failed"
    assert run["reason"].startswith("Even the honest candidate was refused")
    assert "the owner wants at least 0.999" in run["reason"]
    assert run["result"]["sabotages"]["a model ten times slower"] == ["floors", "latency"]
    assert [event["slot"] for event in site.events("run.requested", "stream")] == ["first", run["slot"]]
    assert [event["run"] for event in site.events("attention.needed", "stream")] == ["stream-2"]
    assert site.events("run.finished", "stream")[-1]["result"] == run["result"]
    model = site.api.get("/models/stream")
    assert (model["champion"], model["selftest"]["run"], model["open_runs"]) == ("1", "stream-2", [])
    assert site.scratch_folders() == []


def test_too_few_rows_skip_the_test_and_alarm_nobody() -> None:
    found = attempt(stream(299))

    assert (found.outcome, found.reason.partition(";")[0]) == ("skipped", "There are 299 rows with a label")


def test_a_source_that_fails_fails_the_test() -> None:
    found = attempt(stream(400).drop(columns="label"))

    assert found.outcome == "failed"
    assert "no column `label`" in found.reason


def attempt(frame: pd.DataFrame) -> Ended:
    """Test the gates of a model with these rows, in this process."""
    with TemporaryDirectory() as folder:
        workshop = Workshop(Path(folder))
        workshop.arrive(frame)
        job = workshop.job(at(1000))
        return carry_out(job, workshop.store, workshop.home / "scratch")


def test_no_gates_are_tested_while_a_model_trains_for_its_first_champion() -> None:
    serving = {"champion": "1", "open_runs": [], "selftest": {"slot": "selftest/4", "run": None}}
    beginning = {"champion": None, "open_runs": ["rain-1"], "selftest": {"slot": "selftest/9", "run": None}}
    stuck = {**beginning, "open_runs": []}

    assert untested({"coins": serving, "rain": beginning}) == {}
    assert untested({"coins": serving, "rain": stuck}) == {"coins": "selftest/4"}
    assert untested({"coins": {**serving, "selftest": {"slot": "selftest/4", "run": "coins-3"}}}) == {}
