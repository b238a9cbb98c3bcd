"""The test of a definition's gates is a run of its own kind: asked for once, and in nobody's way."""

from datetime import timedelta

import pytest

from tests.given import NEW_YEAR, History, defined, registered
from understudy import runs
from understudy.events import AttentionNeeded, RunRequested, VersionPromoted, timestamp
from understudy.runs import Wish, selftest_slot
from understudy.state import Run


@pytest.fixture
def serving() -> History:
    """A model with a champion."""
    made = History()
    promoted = VersionPromoted(
        model="rain", key="k", version="1", replaces=None, how="override", ground=None, by="operator", reason="so"
    )
    made.add(defined(), registered("1"), promoted)
    return made


def ask(history: History, slot: str, *, job: str = "selftest") -> list[str]:
    wish = Wish(model="rain", job=job, slot=slot, by="scheduler")  # type: ignore[arg-type]  # one of two words
    events = runs.request(history.state, wish, history.now)
    history.add(*events)
    return [event.kind for event in events]


def current(history: History) -> str:
    return selftest_slot(history.state.models["rain"])


def take(history: History, *, selftest: bool) -> Run | None:
    events = runs.claim(history.state, "a scheduler", at_once=1, selftest=selftest)
    history.add(*events)
    return history.state.run(events[0].run) if events else None


def test_the_gates_of_a_definition_are_tested_once(serving: History) -> None:
    assert ask(serving, current(serving)) == ["run.requested"]
    assert ask(serving, current(serving)) == []

    run = take(serving, selftest=True)
    assert run is not None
    assert run.token is not None
    serving.add(*runs.finish(serving.state, run.id, run.token, "succeeded", "", {}))

    assert ask(serving, current(serving)) == []


def test_a_changed_definition_is_another_test_and_the_old_one_is_asked_for_no_more(serving: History) -> None:
    before = current(serving)
    serving.add(defined(mode="propose"))

    assert current(serving) != before
    assert ask(serving, before) == []
    assert ask(serving, current(serving)) == ["run.requested"]


def test_no_gates_are_tested_before_a_first_champion_serves() -> None:
    history = History()
    history.add(defined())

    assert ask(history, current(history)) == []


def test_a_slot_of_a_test_is_none_of_a_training(serving: History) -> None:
    assert ask(serving, current(serving), job="train") == []
    assert ask(serving, timestamp(NEW_YEAR)) == []


def test_no_training_is_skipped_or_waits_for_a_test(serving: History) -> None:
    ask(serving, current(serving))
    assert take(serving, selftest=True) is not None

    assert ask(serving, timestamp(NEW_YEAR + timedelta(minutes=1)), job="train") == ["run.requested"]
    training = take(serving, selftest=False)

    assert training is not None
    assert training.job == "train"


def test_a_test_does_not_wait_for_a_training_and_only_one_is_at_work(serving: History) -> None:
    ask(serving, timestamp(NEW_YEAR), job="train")
    assert take(serving, selftest=False) is not None
    ask(serving, current(serving))

    assert take(serving, selftest=True) is not None
    serving.add(defined(mode="propose"))
    ask(serving, current(serving))
    assert take(serving, selftest=True) is None


def test_whoever_asks_for_trainings_is_given_no_test(serving: History) -> None:
    ask(serving, current(serving))

    assert take(serving, selftest=False) is None


def test_a_test_that_something_came_through_needs_a_person_and_says_what_to_look_at(serving: History) -> None:
    ask(serving, current(serving))
    run = take(serving, selftest=True)
    assert run is not None
    assert run.token is not None

    *_, note = runs.finish(serving.state, run.id, run.token, "failed", "1 of 35 sabotages came through.", {})

    assert isinstance(note, AttentionNeeded)
    assert note.reason == f"Run {run.id} failed: 1 of 35 sabotages came through."
    assert "understudy selftest" in note.remedy


def test_a_test_makes_no_slot_of_the_schedule(serving: History) -> None:
    requested = runs.request(
        serving.state, Wish(model="rain", job="selftest", slot=current(serving), by="scheduler"), serving.now
    )
    serving.add(*requested)

    assert isinstance(requested[0], RunRequested)
    assert serving.state.models["rain"].last_slot is None
