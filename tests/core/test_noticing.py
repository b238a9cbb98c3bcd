"""What drift leads to: a note, and a run where the schedule says so. Never a promotion, and never twice."""

from typing import Any

import pytest

from tests.given import History, candidate, defined
from understudy import runs
from understudy.drift import Effect, Kind, Quality, Report
from understudy.events import (
    AttentionNeeded,
    DriftNoticed,
    Event,
    ModelDefined,
    RunClaimed,
    RunRequested,
    VersionPromoted,
)
from understudy.noticing import again, noticed
from understudy.schedule import Schedule


def effect(name: str, low: float) -> Effect:
    return Effect(
        name=name,
        measure="scores" if name == "1" else "values",
        kind="number",
        effect=low + 0.05,
        low=low,
        high=low + 0.1,
        usual=0.0,
        rows=1000,
        effective=900.0,
        told="median 12 → 18",
    )


def report(*columns: Effect, version: str = "1") -> Report:
    return Report(
        version=version,
        rows=1000,
        since=None,
        until=None,
        columns=list(columns),
        unmeasured={},
        scores=effect("1", 0.2),
        quality=Quality(now=0.7, then=0.8, measured=0.81, lost=0.1, low=0.05, high=0.15, rows=1000),
        disagreement=None,
        delay=None,
    )


REPORT = report(*(effect(name, 0.3) for name in ("temp", "wind", "rain", "sun")), effect("still", 0.0))


def serving(schedule: Schedule) -> History:
    """A model with that schedule, whose version 1 serves."""
    history = History()
    history.add(defined())
    definition: Any = {**(history.state.model("rain").definition or {}), "schedule": schedule.to_json()}
    history.add(ModelDefined(model="rain", definition=definition, source_digest="b" * 64, by="scheduler"))
    candidate(history, "1")
    history.add(
        VersionPromoted(
            model="rain", key="k", version="1", replaces=None, how="promotion", ground=4, by="scheduler", reason=""
        )
    )
    return history


def told(history: History, *news: Kind, about: Report = REPORT) -> tuple[Event, ...]:
    events = noticed(history.state, "rain", about, news, history.now)
    history.add(*events)
    return events


def test_drift_is_a_fact_with_what_crossed_and_a_note_for_a_person() -> None:
    history = serving(Schedule.every(hours=6))

    fact, note = told(history, "columns")

    assert isinstance(fact, DriftNoticed)
    assert {one["name"] for one in fact.report["columns"]} == {"temp", "wind", "rain", "sun"}
    assert fact.report["scores"] is None
    assert isinstance(note, AttentionNeeded)
    assert note.reason == fact.reason
    assert "`temp`: 35% of the rows lie elsewhere (30% to 40%), median 12 → 18" in fact.reason
    assert "So did 1 more." in fact.reason
    assert "Schedule.on_drift()" in note.remedy


def test_a_schedule_that_waits_for_drift_gets_one_run_for_all_that_is_new() -> None:
    history = serving(Schedule.on_drift())

    events = told(history, "columns", "quality", "scores")

    run = events[-1]
    assert [type(event) for event in events[:-1]] == [DriftNoticed, AttentionNeeded] * 3
    assert isinstance(run, RunRequested)
    first = next(event for event in events if isinstance(event, DriftNoticed))
    position = history.state.position - len(events) + 1
    assert (run.slot, run.by, first.version) == (f"drift/{position}", "api", "1")
    assert history.state.run("rain-1").slot == run.slot


def test_a_run_that_waits_already_will_see_the_drift_and_one_at_work_may_not() -> None:
    history = serving(Schedule.on_drift())
    history.add(
        *runs.request(history.state, runs.Wish(model="rain", job="train", slot="by-hand/a", by="operator"), history.now)
    )

    waiting = told(history, "columns")
    history.add(RunClaimed(model="rain", run="rain-1", attempt=1, claimant="host/1/1"))
    at_work = told(history, "scores")

    assert not any(isinstance(event, RunRequested) for event in waiting)
    assert isinstance(at_work[-1], RunRequested)


def test_a_test_of_gates_that_waits_is_no_run_that_will_see_the_drift() -> None:
    history = serving(Schedule.on_drift())
    slot = runs.selftest_slot(history.state.models["rain"])
    wish = runs.Wish(model="rain", job="selftest", slot=slot, by="scheduler")
    history.add(*runs.request(history.state, wish, history.now))

    assert isinstance(told(history, "columns")[-1], RunRequested)


@pytest.mark.parametrize("about", [report(version="2"), REPORT])
def test_a_report_of_another_version_or_without_news_changes_nothing(about: Report) -> None:
    history = serving(Schedule.on_drift())

    assert told(history, *(() if about is REPORT else ("columns",)), about=about) == ()


def ended(history: History, outcome: Any) -> None:
    """Claim the run that waits, and end it."""
    [run] = history.state.model("rain").open_runs
    [claim] = runs.claim(history.state, "host/1/1", at_once=1)
    history.add(claim)
    token = history.state.run(run).token
    assert token is not None
    history.add(*runs.finish(history.state, run, token, outcome, "a test says so", {}))


def tried_again(history: History) -> list[str]:
    """The slots that a further report of the same drift asks for."""
    events = again(history.state, "rain", "1", history.now)
    history.add(*events)
    return [event.slot for event in events if isinstance(event, RunRequested)]


def test_a_run_that_found_nothing_to_learn_from_is_tried_again_with_pauses_that_double() -> None:
    history = serving(Schedule.on_drift())
    run = told(history, "columns")[-1]
    assert isinstance(run, RunRequested)

    assert tried_again(history) == []  # it waits
    ended(history, "skipped")
    assert tried_again(history) == []
    history.wait(minutes=5)
    assert tried_again(history) == [f"{run.slot}/2"]
    ended(history, "failed")
    history.wait(minutes=9)
    assert tried_again(history) == []
    history.wait(minutes=1)
    assert tried_again(history) == [f"{run.slot}/3"]


def test_what_was_judged_is_not_tried_again_nor_where_the_schedule_no_longer_says_so() -> None:
    judged, warned, other = serving(Schedule.on_drift()), serving(Schedule.on_drift()), serving(Schedule.every(hours=6))
    for history, outcome in ((judged, "refused"), (warned, "skipped")):
        told(history, "columns")
        ended(history, outcome)
        history.wait(minutes=600)
    told(other, "columns")

    assert tried_again(judged) == []
    assert again(warned.state, "rain", "2", warned.now) == ()
    assert tried_again(other) == []
    assert len(tried_again(warned)) == 1
