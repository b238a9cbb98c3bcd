"""The claim protocol: a slot is served, missed or skipped once; a model does one run at a time; old tokens are void."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.given import NEW_YEAR, History, defined, registered
from understudy import runs
from understudy.errors import BadInput, NotFound, StaleClaim
from understudy.events import (
    AttentionNeeded,
    JobKind,
    Outcome,
    RunClaimed,
    RunFinished,
    RunRequested,
    SlotSkipped,
    SlotsMissed,
    VersionPromoted,
    moment,
    timestamp,
)
from understudy.runs import ATTEMPTS, Wish, check_dates
from understudy.state import Run, RunState

OUTCOMES: tuple[Outcome, ...] = ("succeeded", "refused", "failed", "skipped")


def minute(number: int) -> str:
    """The slot of the `number`th minute of the year."""
    return timestamp(NEW_YEAR + timedelta(minutes=number))


def wish(slot: str, *, model: str = "rain", job: JobKind = "train", **what: Any) -> Wish:
    return Wish(model=model, job=job, slot=slot, by="scheduler", **what)


def ask(history: History, slot: str, **what: Any) -> list[str]:
    """Ask for a run; return the kinds of the events that this made."""
    events = runs.request(history.state, wish(slot, **what), history.now)
    history.add(*events)
    return [event.kind for event in events]


def take(history: History, *, at_once: int = 1, claimant: str = "scheduler-1") -> Run | None:
    events = runs.claim(history.state, claimant, at_once=at_once)
    history.add(*events)
    return history.state.run(events[0].run) if events else None


def taken(history: History, **how: Any) -> tuple[str, int]:
    """Claim a run that must be there; return its id and its token."""
    run = take(history, **how)
    assert run is not None
    assert run.token is not None
    return run.id, run.token


def end(history: History, run: str, token: int, outcome: Outcome = "succeeded", reason: str = "") -> list[str]:
    events = runs.finish(history.state, run, token, outcome, reason, {"rows": 5})
    history.add(*events)
    return [event.kind for event in events]


def give_up(history: History, run: str, token: int) -> list[str]:
    events = runs.abandon(history.state, run, token, "no heartbeat for 10 s")
    history.add(*events)
    return [event.kind for event in events]


@pytest.fixture
def history() -> History:
    """A model with a schedule of minutes."""
    made = History()
    made.add(defined())
    return made


@pytest.fixture
def serving(history: History) -> History:
    """The same, and a champion."""
    history.add(
        registered("1"),
        VersionPromoted(
            model="rain", key="k", version="1", replaces=None, how="override", ground=None, by="operator", reason="so"
        ),
    )
    return history


# Asking


def test_a_wish_is_one_run_however_often_it_is_sent(history: History) -> None:
    assert ask(history, minute(5), params={"C": 2}, like="rain-7", start_date="2025-01-01T00:00:00Z") == [
        "run.requested"
    ]
    assert [ask(history, minute(5)) for _ in range(3)] == [[], [], []]

    run = history.state.run("rain-1")
    assert (run.state, run.slot, run.params, run.like, run.attempt) == (
        RunState.QUEUED,
        minute(5),
        {"C": 2},
        "rain-7",
        0,
    )
    assert run.as_of == timestamp(NEW_YEAR)


def test_a_wish_stays_fulfilled_after_its_run_has_ended(history: History) -> None:
    ask(history, minute(5))
    end(history, *taken(history))

    assert ask(history, minute(5)) == []


def test_the_data_of_a_run_are_those_that_had_arrived_when_it_was_asked_for_unless_it_says_otherwise(
    history: History,
) -> None:
    history.wait(seconds=90)
    ask(history, "by-hand/a")
    ask(history, "by-hand/b", as_of=minute(1))

    assert (history.state.run("rain-1").as_of, history.state.run("rain-2").as_of) == (timestamp(history.now), minute(1))


def test_nothing_can_be_asked_of_a_model_that_is_not_defined(history: History) -> None:
    with pytest.raises(NotFound, match="no model 'snow'"):
        ask(history, minute(1), model="snow")


def test_a_slot_that_comes_due_while_its_model_is_at_work_is_skipped_and_says_so(serving: History) -> None:
    ask(serving, minute(1))
    taken(serving)

    assert ask(serving, minute(2)) == ["slot.skipped"]
    assert ask(serving, minute(2)) == []

    assert serving.state.skipped["rain", "train", minute(2)] == "rain-1 was at work"
    assert serving.state.run("rain-1").state is RunState.RUNNING
    assert len(serving.state.runs) == 1


def test_a_slot_of_another_model_is_not_skipped_for_it(serving: History) -> None:
    serving.add(defined("bike_demand"))
    ask(serving, minute(1))

    assert ask(serving, minute(1), model="bike_demand") == ["run.requested"]


def test_new_rows_are_one_run_however_many_schedulers_have_counted_them(serving: History) -> None:
    assert [ask(serving, "rows/0") for _ in range(3)] == [["run.requested"], [], []]
    assert ask(serving, "rows/1") == []  # the run at work may have seen them

    end(serving, *taken(serving))

    assert ask(serving, "rows/0") == []
    assert ask(serving, "rows/1") == ["run.requested"]
    assert [run.slot for run in serving.state.runs.values()] == ["rows/0", "rows/1"]


def test_rows_that_were_counted_before_another_run_are_counted_again(serving: History) -> None:
    ask(serving, minute(1))
    end(serving, *taken(serving))

    assert ask(serving, "rows/0") == []
    assert serving.state.model("rain").last_slot == minute(1)


def test_a_run_by_hand_waits_for_the_one_at_work_and_is_not_skipped(serving: History) -> None:
    ask(serving, minute(1))
    busy = taken(serving)

    assert ask(serving, "by-hand/now") == ["run.requested"]
    assert take(serving, at_once=9) is None
    end(serving, *busy)
    assert taken(serving)[0] == "rain-2"


def test_missed_slots_are_counted_and_one_run_stands_for_all(serving: History) -> None:
    ask(serving, minute(1))
    end(serving, *taken(serving))
    serving.wait(minutes=61)

    assert ask(serving, minute(61)) == ["slots.missed", "run.requested"]

    missed = serving.entries[-2].event
    assert isinstance(missed, SlotsMissed)
    assert (missed.first, missed.last, missed.count) == (minute(2), minute(60), 59)
    assert missed.reason == f"no scheduler asked for them in time; the run of {minute(61)} stands for all"
    assert [ask(serving, minute(number)) for number in (2, 30, 60)] == [[], [], []]


def test_slots_missed_before_one_that_is_skipped_are_counted_too(serving: History) -> None:
    ask(serving, minute(1))

    assert ask(serving, minute(10)) == ["slots.missed", "slot.skipped"]

    missed = serving.entries[-2].event
    assert isinstance(missed, SlotsMissed)
    assert (missed.first, missed.last, missed.count) == (minute(2), minute(9), 8)
    assert missed.reason == "no scheduler asked for them in time; rain-1 was at work"


def test_nothing_is_missed_before_the_first_slot_or_between_two_in_a_row(serving: History) -> None:
    assert ask(serving, minute(100)) == ["run.requested"]
    end(serving, *taken(serving))

    assert ask(serving, minute(101)) == ["run.requested"]


def test_the_first_attempts_end_once_a_champion_serves(serving: History) -> None:
    assert ask(serving, "first") == ask(serving, "first/2") == []


def test_a_first_attempt_does_not_stand_beside_another_run(history: History) -> None:
    assert ask(history, "first") == ["run.requested"]
    assert ask(history, "first/2") == []
    end(history, *taken(history), outcome="failed")

    assert ask(history, "first/2") == ["run.requested"]
    assert history.state.models["rain"].first == "rain-2"


WORK = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(1, 5)),
        st.tuples(st.just("ask"), st.integers(0, 3)),
        st.tuples(st.just("by hand"), st.integers(0, 99)),
        st.tuples(st.just("claim"), st.integers(0, 0)),
        st.tuples(st.just("finish"), st.integers(0, 3)),
        st.tuples(st.just("fall silent"), st.integers(0, 0)),
    ),
    min_size=10,
    max_size=60,
)


@settings(max_examples=100)
@given(WORK)
def test_every_slot_ends_in_exactly_one_run_or_one_record_that_it_was_missed_or_skipped(
    work: list[tuple[str, int]],
) -> None:
    """Asked for late, twice, in the wrong order or not at all: fault 59's promise, as far as decisions keep it."""
    history = History()
    history.add(defined())
    first = None
    for act, number in work:
        running = next((run for run in history.state.open_runs() if run.token is not None), None)
        match act:
            case "pass":
                history.wait(minutes=number)
            case "ask":
                slot = timestamp(history.now - timedelta(minutes=number))
                if history.state.models["rain"].last_slot is None:
                    first = first or slot
                ask(history, slot)
            case "by hand":
                ask(history, f"by-hand/{number}")
            case "claim":
                take(history)
            case "finish" if running:
                end(history, running.id, running.token or 0, OUTCOMES[number])
            case "fall silent" if running:
                give_up(history, running.id, running.token or 0)

    if first is not None:
        last = history.state.models["rain"].last_slot
        assert last is not None
        assert records_of_slots(history) == Counter(minutes_from(moment(first), moment(last)))


def records_of_slots(history: History) -> Counter[str]:
    """How often the log says of each slot what became of it."""
    found = Counter[str]()
    for entry in history.entries:
        match entry.event:
            case RunRequested(slot=slot) | SlotSkipped(slot=slot) if slot.startswith("20"):
                found[slot] += 1
            case SlotsMissed(first=first, last=last, count=count):
                missed = minutes_from(moment(first), moment(last))
                assert len(missed) == count
                found.update(missed)
    return found


def minutes_from(first: datetime, last: datetime) -> list[str]:
    return [
        timestamp(first + timedelta(minutes=number)) for number in range((last - first) // timedelta(minutes=1) + 1)
    ]


# Claiming


def test_the_oldest_run_is_claimed_and_its_token_is_the_place_of_the_claim_in_the_log(history: History) -> None:
    ask(history, "by-hand/a")
    history.wait(seconds=1)
    ask(history, "by-hand/b")

    assert take(history, claimant="scheduler-1") == history.state.run("rain-1")

    run = history.state.run("rain-1")
    assert (run.state, run.attempt, run.claimant, run.claimed_at) == (RunState.RUNNING, 1, "scheduler-1", history.now)
    assert history.entries[-1].position == run.token
    assert isinstance(history.entries[-1].event, RunClaimed)


def test_nothing_is_claimed_where_nothing_waits(history: History) -> None:
    assert take(history) is None


def test_two_runs_of_one_model_never_work_at_once(history: History) -> None:
    history.add(defined("bike_demand"))
    for model, slot in (("rain", "a"), ("rain", "b"), ("bike_demand", "a"), ("bike_demand", "b")):
        ask(history, f"by-hand/{slot}", model=model)
        history.wait(seconds=1)

    claimed = [take(history, at_once=10) for _ in range(3)]

    assert [run.id if run else None for run in claimed] == ["rain-1", "bike_demand-1", None]


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_no_more_runs_work_at_once_than_allowed(at_once: int) -> None:
    history = History()
    for model in ("a", "b", "c", "d"):
        history.add(defined(model))
        ask(history, "first", model=model)

    claimed = [take(history, at_once=at_once) for _ in range(5)]

    assert sum(run is not None for run in claimed) == at_once


# Ending


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_run_ends_with_what_its_holder_says(history: History, outcome: Outcome) -> None:
    ask(history, "first")
    run, token = taken(history)
    history.add(registered("1", run=run))

    end(history, run, token, outcome, "because")

    ended = history.state.run(run)
    assert (ended.state, ended.reason, ended.version, ended.result) == (RunState(outcome), "because", "1", {"rows": 5})
    assert (ended.token, ended.ended_by) == (None, token)
    assert list(history.state.open_runs()) == []


def test_the_same_end_said_twice_is_one_event(history: History) -> None:
    ask(history, "first")
    run, token = taken(history)

    assert end(history, run, token) == ["run.finished"]
    assert end(history, run, token) == []


def test_an_end_cannot_be_changed_once_it_is_told(history: History) -> None:
    ask(history, "first")
    run, token = taken(history)
    end(history, run, token, "failed")

    with pytest.raises(StaleClaim, match=f"Token {token} no longer holds run rain-1, which is failed"):
        end(history, run, token, "succeeded")


def test_only_the_token_that_holds_a_run_may_end_it_or_keep_it_alive(history: History) -> None:
    ask(history, "first")
    run, token = taken(history)

    for stale in (token - 1, token + 1, 0, -1):
        with pytest.raises(StaleClaim, match="no longer holds"):
            end(history, run, stale)
        with pytest.raises(StaleClaim):
            runs.held(history.state, run, stale)
    assert runs.held(history.state, run, token).id == run
    with pytest.raises(NotFound):
        end(history, "rain-9", token)


def test_a_run_that_waits_is_held_by_nobody(history: History) -> None:
    ask(history, "first")

    with pytest.raises(StaleClaim, match="which is queued"):
        end(history, "rain-1", 2)


@pytest.mark.parametrize(
    ("outcome", "made_a_version", "needs_a_person"),
    [
        ("succeeded", True, False),
        ("succeeded", False, False),
        ("skipped", False, False),
        ("refused", True, False),  # the verdict has said so itself
        ("refused", False, True),
        ("failed", True, True),
        ("failed", False, True),
    ],
)
def test_a_run_that_brought_nothing_although_it_should_have_needs_a_person(
    history: History, outcome: Outcome, made_a_version: bool, needs_a_person: bool
) -> None:
    ask(history, "first")
    run, token = taken(history)
    if made_a_version:
        history.add(registered("1", run=run))

    kinds = end(history, run, token, outcome, "the source is empty")

    assert kinds == ["run.finished"] + ["attention.needed"] * needs_a_person
    if needs_a_person:
        assert history.state.models["rain"].attention[-1].reason == f"Run rain-1 {outcome}: the source is empty"


# Falling silent


def test_a_run_whose_holder_fell_silent_goes_back_to_the_queue_and_its_old_token_is_refused(history: History) -> None:
    ask(history, "first")
    run, old = taken(history)

    assert give_up(history, run, old) == ["run.abandoned"]
    assert history.state.run(run).state is RunState.QUEUED
    again, new = taken(history, claimant="scheduler-2")

    assert (again, history.state.run(run).attempt) == (run, 2)
    with pytest.raises(StaleClaim):
        end(history, run, old)
    assert end(history, run, new) == ["run.finished"]


def test_a_run_is_tried_three_times_and_then_it_is_the_cause(history: History) -> None:
    ask(history, "first")
    for _ in range(ATTEMPTS - 1):
        assert give_up(history, *taken(history)) == ["run.abandoned"]

    run, token = taken(history)
    assert give_up(history, run, token) == ["run.abandoned", "run.finished", "attention.needed"]

    ended = history.state.run(run)
    assert (ended.state, ended.reason, ended.ended_by) == (RunState.FAILED, "its process died 3 times", None)
    assert history.state.models["rain"].attention[-1].reason == "Run rain-1 failed: its process died 3 times"
    assert take(history) is None
    for stale in (token, 0):
        with pytest.raises(StaleClaim):
            end(history, run, stale, "failed")


def test_giving_up_a_run_that_somebody_else_holds_by_now_changes_nothing(history: History) -> None:
    ask(history, "first")
    run, old = taken(history)
    give_up(history, run, old)
    _, new = taken(history)

    assert give_up(history, run, old) == []
    end(history, run, new)
    assert give_up(history, run, new) == []


# Dates


@pytest.mark.parametrize("text", ["2026-01-31", "tomorrow", "", "9999-12-31T23:59:59-23:59", "2026-01-31T12:00:00"])
def test_a_date_that_is_no_time_with_a_zone_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(BadInput, match="not an RFC 3339 time with a zone") as refused:
        check_dates(None, "2026-01-31T12:00:00Z", text)

    assert not text or text not in str(refused.value).replace("2026-01-31T12:00:00Z", "")


def test_dates_that_are_not_given_or_have_a_zone_are_accepted() -> None:
    check_dates(None, "2026-01-31T12:00:00Z", "2026-01-31T12:00:00+05:30")


def test_an_end_by_nobody_s_token_is_written_as_such(history: History) -> None:
    ask(history, "first")
    for _ in range(ATTEMPTS):
        give_up(history, *taken(history))

    ends = [entry.event for entry in history.entries if isinstance(entry.event, RunFinished)]
    notes = [entry.event for entry in history.entries if isinstance(entry.event, AttentionNeeded)]
    assert [event.token for event in ends] == [None]
    assert [note.run for note in notes] == ["rain-1"]
