"""Two schedulers on one home folder: they share the slots, and one that was away changes nothing when it comes back."""

import json
import os
import random
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
import requests

from scheduled_task.tests.given import DEFINITION, stream
from tests.given import NEW_YEAR
from tests.schedulers import Scheduler, events, eventually, gate, is_alive
from tests.services import Installation, installation
from tests.shared_slots import Disturbed, Told
from understudy.events import (
    Event,
    Recorded,
    RunClaimed,
    RunFinished,
    RunRequested,
    SlotSkipped,
    SlotsMissed,
    VersionPromoted,
    timestamp,
)
from understudy.schedule import Schedule

NEVER = "every(days=36500)"
"""No slot comes due while a test is at work."""

ONCE = """
import time


class Waits(Csv):
    # The first that asks waits for ever, the next one does not.
    def get_dataframe(self, as_of):
        try:
            open("{marker}", "x").close()
        except FileExistsError:
            return super().get_dataframe(as_of)
        time.sleep(3600)
"""

POINTS = ("training", "register", "evidence", "promote", "finish")
"""Where a run can be held: while its child works, and before each of its writes."""


def define(home: Path, name: str, text: str = DEFINITION) -> None:
    folder = home / "models"
    folder.mkdir(exist_ok=True)
    stream(1000).to_csv(folder / f"{name}.csv", index=False)
    text = text.replace('"stream"', f'"{name}"').replace("rows.csv", f"{name}.csv").replace("every(minutes=1)", NEVER)
    (folder / f"{name}.py").write_text(text)


def waiting_once(marker: Path) -> str:
    """A definition whose first training never ends."""
    waits = ONCE.format(marker=marker)
    return DEFINITION.replace("\nmodel =", f"{waits}\n\nmodel =").replace("source=Csv(", "source=Waits(")


def late_write(path: str, body: bytes) -> str | None:
    """The point before which a request is held: each model has one of its own, and is called by it."""
    routes = {
        "/models/register/versions": "register",
        "/models/evidence/versions/1/evidence": "evidence",
        "/runs/finish-1/finish": "finish",
    }
    if path == "/model/promote" and json.loads(body)["model_name"] == "promote":
        return "promote"
    return routes.get(path)


def runs(installed: Installation) -> dict[str, dict[str, object]]:
    return {run["id"]: run for run in installed.get("/runs?limit=1000").json()["items"]}


def ended(installed: Installation, ids: set[str]) -> bool:
    found = runs(installed)
    return all(run in found and found[run]["finished_at"] for run in ids)


@pytest.mark.fault(59)
@pytest.mark.fault(60)
@pytest.mark.timeout(300)
def test_a_scheduler_that_was_paused_in_a_training_and_in_a_promotion_wakes_up_late_and_changes_nothing(
    tmp_path: Path,
) -> None:
    paused_at(("training", "promote"), tmp_path)


@pytest.mark.slow
@pytest.mark.fault(59)
@pytest.mark.fault(60)
@pytest.mark.timeout(300)
def test_a_scheduler_that_was_paused_anywhere_in_a_run_wakes_up_late_and_changes_nothing(tmp_path: Path) -> None:
    paused_at(POINTS, tmp_path)


def paused_at(points: tuple[str, ...], tmp_path: Path) -> None:
    """Hold one run at each point, the first of which is its training; let another scheduler do them all; wake up."""
    marker, firsts = tmp_path / "waited", {f"{point}-1" for point in points}
    for point in points:
        define(tmp_path, point, waiting_once(marker) if point == "training" else DEFINITION)
    with installation(tmp_path, UNDERSTUDY_RUNS_AT_ONCE=str(len(points))) as installed:
        installed.start_api()
        with gate(installed.url, late_write) as way:
            paused = Scheduler(installed, "paused", url=way.url)
            eventually(lambda: marker.exists() and way.waiting == set(points[1:]), paused.said)
            (child,) = paused.children()

            paused.pause()
            other = Scheduler(installed, "other")
            eventually(lambda: ended(installed, firsts), other.said)
            before, found = events(installed), runs(installed)
            paused.wake()
            way.opened.set()
            eventually(lambda: paused.said().count("is let go of") == len(points), paused.said)

            assert way.answers == dict.fromkeys(points[1:], (409, "stale_claim"))
            assert events(installed) == before
            assert not is_alive(child)
            assert [path.name for path in installed.home.glob("scheduled_task/*/*.work")] == []
            works_on_alone(installed, paused, other, points[-1])

    assert {(run["state"], run["attempt"], run["reason"]) for run in found.values()} == {
        ("succeeded", 2, "Version 1 was promoted.")
    }
    kinds = Counter((event["kind"], event["model"]) for event in before)
    once = ("version.registered", "version.judged", "promotion.started", "version.promoted", "run.finished")
    assert {kinds[kind, point] for kind in once for point in points} == {1}


def works_on_alone(installed: Installation, left: Scheduler, stopped: Scheduler, name: str) -> None:
    """Stop one; the other one, which was late before, does what comes next."""
    stopped.process.terminate()
    stopped.process.wait(30)
    asked = requests.post(
        f"{installed.url}/job/train", json={"model_name": name}, headers=installed.token("operator"), timeout=10
    )
    eventually(lambda: ended(installed, {asked.json()["run_id"]}), left.said)
    assert runs(installed)[f"{name}-2"]["state"] == "skipped"


@pytest.mark.fault(59)
@pytest.mark.fault(62)
@pytest.mark.timeout(300)
def test_each_slot_ends_once_while_two_schedulers_are_killed_and_paused(tmp_path: Path) -> None:
    disturbed = Disturbed(tmp_path, slots=10, seed=7, models=2, every_s=1, calm_s=(0.5, 1.5), paused_s=(0.5, 4.0))

    told = disturbed.run()

    told.check()
    assert told.summary()["slots"] >= 10
    assert sum(disturbed.done.values()) > 0


@pytest.mark.slow
@pytest.mark.fault(59)
@pytest.mark.fault(62)
@pytest.mark.timeout(5400)
def test_each_of_a_thousand_slots_ends_once_while_two_schedulers_are_killed_and_paused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("SEED") or random.randrange(10**6))
    with capsys.disabled():
        print(f"\nSEED={seed}")  # noqa: T201 - what repeats it
    disturbed = Disturbed(tmp_path, slots=1000, seed=seed)

    told = disturbed.run()

    told.check()
    with capsys.disabled():
        print(dict(told.summary() + disturbed.done))  # noqa: T201
    assert told.summary()["slots"] >= 1000


# The checks, broken one by one


def entries(*facts: Event) -> list[Recorded]:
    return [Recorded(number, NEW_YEAR, fact, "") for number, fact in enumerate(facts, 1)]


def at(second: int) -> str:
    return timestamp(NEW_YEAR + timedelta(seconds=second))


def asked(run: str, slot: str) -> RunRequested:
    return RunRequested(
        model="m", run=run, job="train", slot=slot, as_of=slot, params={}, by="scheduler",
        start_date=None, end_date=None, like=None,
    )  # fmt: skip


def claimed(run: str) -> RunClaimed:
    return RunClaimed(model="m", run=run, attempt=1, claimant="one")


def finished(run: str, token: int | None) -> RunFinished:
    return RunFinished(model="m", run=run, token=token, outcome="succeeded", reason="", version=None, result={})


def missed(first: int, last: int, count: int) -> SlotsMissed:
    return SlotsMissed(model="m", job="train", first=at(first), last=at(last), count=count, reason="")


def skipped(second: int) -> SlotSkipped:
    return SlotSkipped(model="m", job="train", slot=at(second), reason="")


def promoted(version: str, key: str) -> VersionPromoted:
    return VersionPromoted(
        model="m", key=key, version=version, replaces=None, how="promotion", ground=1, by="scheduler", reason=""
    )


WHOLE = (asked("m-1", at(0)), claimed("m-1"), finished("m-1", 2), skipped(5), missed(10, 15, 2), skipped(20))


@pytest.mark.parametrize(
    "broken",
    [
        (*WHOLE, skipped(30)),
        (*WHOLE, skipped(20)),
        (*WHOLE, missed(15, 15, 1)),
        (*WHOLE[:4], missed(10, 15, 3), skipped(20)),
        (*WHOLE, asked("m-2", at(20)), finished("m-2", None)),
        (*WHOLE, finished("m-1", None)),
        (asked("m-1", at(0)), claimed("m-1"), claimed("m-1"), finished("m-1", 3)),
        (asked("m-1", at(0)), claimed("m-1"), finished("m-1", 1)),
        (*WHOLE, promoted("1", "m-1"), promoted("2", "m-1")),
    ],
    ids=[
        "a slot without anything",
        "a slot skipped twice",
        "a slot skipped and missed",
        "a wrong number of missed slots",
        "a slot skipped and run",
        "a run that ended twice",
        "a run held twice",
        "a run ended by another token",
        "a promotion by no run of its own",
    ],
)
def test_the_reckoning_finds_what_it_should_find(broken: tuple[Event, ...]) -> None:
    Told(entries(*WHOLE), Schedule.every(seconds=5), at_once=1).check()

    with pytest.raises((AssertionError, KeyError)):
        Told(entries(*broken), Schedule.every(seconds=5), at_once=1).check()
