"""State is a pure fold: in one go, in parts or at a past moment it is the same, and what cannot happen is refused."""

import copy
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import timedelta
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.given import HERE, NEW_YEAR, History, candidate, defined, fact, judged, registered, tried
from understudy import failures, promotion, runs
from understudy.errors import LogTampered, NotFound, UnderstudyError
from understudy.events import (
    AttentionNeeded,
    Event,
    How,
    LiveCompared,
    PromotionAborted,
    PromotionStarted,
    Recorded,
    RunAbandoned,
    RunClaimed,
    RunFinished,
    RunRequested,
    SlotsMissed,
    VerdictReached,
    VersionPromoted,
    VersionRefitted,
    VersionRegistered,
    timestamp,
)
from understudy.registry import fold
from understudy.stages import TRANSITIONS, Replaced
from understudy.state import Registry, RunState, Stage

# Histories: anything that the decisions allow, in any order

MODELS = ("rain", "bike_demand")


def some_version(history: History, model: str, chance: int) -> str:
    known = history.state.models[model].version_count if model in history.state.models else 0
    return str(max(known - chance % 3, 1))


def register(history: History, model: str, chance: int) -> tuple[Event, ...]:
    count = history.state.models[model].version_count if model in history.state.models else 0
    open_run = next((run.id for run in history.state.open_runs() if run.model == model), None)
    return (registered(str(count + 1), model=model, run=open_run),)


def try_it(history: History, model: str, chance: int) -> tuple[Event, ...]:
    version = history.state.version(model, some_version(history, model, chance))
    return (tried(version.id, model=model, passed=chance % 7 > 0),)


def judge(history: History, model: str, chance: int) -> tuple[Event, ...]:
    version = history.state.version(model, some_version(history, model, chance))
    champion = history.state.models[model].champion
    until = timestamp(history.now) if chance % 5 else chance
    return (judged(version.id, model=model, champion=champion, passed=chance % 3 > 0, until=until, profile="p"),)


def make_ready(history: History, model: str, chance: int) -> tuple[Event, ...]:
    version = str(history.state.models[model].version_count + 1)
    champion = history.state.models[model].champion
    return (
        registered(version, model=model),
        tried(version, model=model),
        judged(version, model=model, champion=champion),
    )


def start(history: History, model: str, chance: int) -> tuple[Event, ...]:
    how: How = "override" if chance % 2 else "promotion"
    wish = promotion.Wish(
        model=model, version=some_version(history, model, chance), key=str(chance), by="operator", how=how, reason="so"
    )
    return promotion.start(history.state, wish, history.now, HERE)


def demote(history: History, model: str, chance: int) -> tuple[Event, ...]:
    back = promotion.predecessor(history.state.model(model))
    wish = promotion.Wish(model=model, version=back, key=str(chance), by="operator", how="demotion", reason="so")
    return promotion.start(history.state, wish, history.now, HERE)


def go_back(history: History, model: str, chance: int) -> tuple[Event, ...]:
    wish = failures.way_back(history.state.model(model), "so")
    return promotion.start(history.state, wish, history.now, HERE) if wish else ()


def commit(history: History, model: str, chance: int) -> tuple[Event, ...]:
    pending = history.state.model(model).pending
    return promotion.commit(history.state, model, pending.key, history.now, HERE) if pending else ()


def abort(history: History, model: str, chance: int) -> tuple[Event, ...]:
    pending = history.state.model(model).pending
    return promotion.abort(history.state, model, pending.key, "so") if pending and chance % 4 == 0 else ()


def request(history: History, model: str, chance: int) -> tuple[Event, ...]:
    due = timestamp(history.now.replace(second=0))
    slot = (due, "first", f"by-hand/{chance}", f"first/{chance % 3}", due)[chance % 5]
    return runs.request(history.state, runs.Wish(model=model, job="train", slot=slot, by="scheduler"), history.now)


def claim(history: History, model: str, chance: int) -> tuple[Event, ...]:
    return runs.claim(history.state, "a scheduler", at_once=2)


def finish(history: History, model: str, chance: int) -> tuple[Event, ...]:
    held = [run for run in history.state.open_runs() if run.token is not None]
    if not held:
        return ()
    run = held[chance % len(held)]
    if chance % 4 == 0:
        return runs.abandon(history.state, run.id, run.token or 0, "silent")
    outcome: Any = ("succeeded", "refused", "failed")[chance % 3]
    return runs.finish(history.state, run.id, run.token or 0, outcome, "so", {"rows": chance})


def note(history: History, model: str, chance: int) -> tuple[Event, ...]:
    return (AttentionNeeded(model=model, version=None, run=None, reason="so", remedy="look"),)


def let_time_pass(history: History, model: str, chance: int) -> tuple[Event, ...]:
    history.wait(seconds=chance % 90)
    return ()


def define(history: History, model: str, chance: int) -> tuple[Event, ...]:
    return (defined(model, mode="auto" if chance % 2 else "propose"),)


ACTS: list[Callable[[History, str, int], tuple[Event, ...]]] = [
    define, register, try_it, judge, make_ready, make_ready, start, start, start, commit, commit, commit, demote,
    go_back, demote, abort, request, request, claim, finish, note, let_time_pass,
]  # fmt: skip


def told(script: list[tuple[int, int, int]]) -> History:
    """What happens when these acts are tried in turn; what a decision refuses does not happen."""
    history = History()
    for model in MODELS:
        history.add(defined(model))
        candidate(history, "1", model=model)
    for act, which, chance in script:
        try:
            events = ACTS[act](history, MODELS[which], chance)
        except UnderstudyError:
            continue
        history.add(*events)
    return history


ACT = st.tuples(st.integers(0, len(ACTS) - 1), st.integers(0, len(MODELS) - 1), st.integers(0, 1000))
SCRIPTS = st.lists(ACT, min_size=30, max_size=60)


@settings(max_examples=50)
@given(SCRIPTS, st.data())
def test_folding_in_parts_gives_what_folding_at_once_gives(script: list[tuple[int, int, int]], data: Any) -> None:
    entries = told(script).entries
    cut = data.draw(st.integers(0, len(entries)))

    whole = fold(entries)
    early = fold(entries[:cut])

    assert fold(entries[cut:], early) == whole == fold(entries)
    assert (whole.position, whole.hash) == (len(entries), entries[-1].hash)


@settings(max_examples=50)
@given(SCRIPTS, st.data())
def test_what_was_folded_before_never_changes(script: list[tuple[int, int, int]], data: Any) -> None:
    entries = told(script).entries
    cut = data.draw(st.integers(0, len(entries)))
    early = fold(entries[:cut])
    as_it_was = copy.deepcopy(early)

    fold(entries[cut:], early)

    assert early == as_it_was


@settings(max_examples=50)
@given(SCRIPTS)
def test_the_state_at_a_past_moment_is_the_fold_up_to_it(script: list[tuple[int, int, int]]) -> None:
    history, moments = told(script), set[Any]()
    states = {0: Registry()}
    for entry in history.entries:
        states[entry.position] = fold([entry], states[entry.position - 1])
        moments.add(entry.time)

    for moment in moments:
        past = fold(entry for entry in history.entries if entry.time <= moment)
        assert past == states[past.position]
        assert past.time == moment


@settings(max_examples=50)
@given(SCRIPTS)
def test_in_every_state_what_is_said_twice_agrees(script: list[tuple[int, int, int]]) -> None:
    state = Registry()
    for entry in told(script).entries:
        state = fold([entry], state)
        agrees(state)


def agrees(state: Registry) -> None:
    """The promises that hold in every state, whatever happened."""
    for name, model in state.models.items():
        versions = [version for (owner, _), version in state.versions.items() if owner == name]
        champions = [version.id for version in versions if version.stage is Stage.CHAMPION]
        assert champions == ([model.champion] if model.champion else [])
        assert model.version_count == len(versions)
        assert set(model.line) <= {version.id for version in versions}
        assert model.promotions[-1].version == model.champion if model.promotions else model.champion is None
        barred = promotion.barred_versions(model)
        assert not [change for change in model.promotions[-1:] if change.by == "api" and change.version in barred]
        assert model.pending is None or model.pending.key not in {one.key for one in model.promotions}
        assert all(state.digests[name, version.digest] == version.id for version in versions)
        of_model = [run for run in state.runs.values() if run.model == name]
        assert {run.id for run in of_model if run.state in (RunState.QUEUED, RunState.RUNNING)} == set(model.open_runs)
        assert sum(run.state is RunState.RUNNING for run in of_model) <= 1
        assert model.run_count == len(of_model)
        assert len(model.judged) == len({version for version, _ in model.judged}) <= 2
    for run in state.runs.values():
        assert (run.state is RunState.RUNNING) == (run.token is not None)
        assert state.slots[run.model, run.job, run.slot] == run.id
    assert not set(state.slots) & set(state.skipped)


# The table of stages


def stages(history: History, version: str = "1") -> Stage:
    return history.state.versions["rain", version].stage


def promoted(version: str, replaces: str | None, how: How = "override") -> VersionPromoted:
    return VersionPromoted(
        model="rain", key=version, version=version, replaces=replaces, how=how, ground=None, by="operator", reason="so"
    )


def standing(stage: Stage | None) -> History:
    """A history in which version 1 stands at `stage`."""
    history = History()
    history.add(defined(), registered("9"))
    if stage is None:
        return history
    history.add(registered("1"))
    match stage:
        case Stage.PASSED:
            history.add(judged("1", passed=True))
        case Stage.REFUSED:
            history.add(judged("1", passed=False))
        case Stage.CHAMPION:
            history.add(promoted("1", None))
        case Stage.RETIRED:
            history.add(promoted("1", None), promoted("9", "1"))
    return history


def happening(event: type, passed: bool | None, champion: str | None) -> Event:
    """The event of a row of the table, about version 1."""
    if event is VersionRegistered:
        return registered("1")
    if event is VerdictReached:
        return judged("1", passed=bool(passed))
    if event is VersionRefitted:
        return VersionRefitted(
            model="rain", version="1", of="9", evidence="e" * 64, passed=bool(passed), reason="", facts={}
        )
    if event is LiveCompared:
        about: dict[str, Any] = {"serving": champion or "9", "pair": 1, "rows": 100, "evidence": "e" * 64}
        return LiveCompared(model="rain", version="1", **about, standing={}, facts={})
    return promoted("9" if event is Replaced else "1", champion)


EVENTS = [
    (VersionRegistered, None),
    (VerdictReached, True),
    (VerdictReached, False),
    (VersionRefitted, True),
    (VersionRefitted, False),
    (LiveCompared, None),
    (VersionPromoted, None),
    (Replaced, None),
]
ROWS = [(stage, event, passed) for stage in (None, *Stage) for event, passed in EVENTS]
NO_TRANSITION = {(Stage.CHAMPION, VerdictReached, True), (Stage.CHAMPION, VerdictReached, False)}
"""A champion is judged and stays champion: that is no change of stage."""


@pytest.mark.parametrize(("stage", "event", "passed"), sorted(TRANSITIONS, key=str))
def test_every_transition_of_the_table_happens(stage: Stage | None, event: type, passed: bool | None) -> None:
    history = standing(stage)
    if event is VersionRefitted:
        history.add(judged("9"))  # a refit stands on the verdict of its candidate

    history.add(happening(event, passed, history.state.models["rain"].champion))

    assert stages(history) is TRANSITIONS[stage, event, passed]


@pytest.mark.parametrize(
    ("stage", "event", "passed"),
    [row for row in ROWS if row not in TRANSITIONS and row not in NO_TRANSITION and row[1] is not Replaced],
)
def test_what_is_not_in_the_table_cannot_happen(stage: Stage | None, event: type, passed: bool | None) -> None:
    history = standing(stage)
    before = history.state

    with pytest.raises(LogTampered, match=rf"Event {len(history.entries) + 1} of the log is impossible"):
        history.add(happening(event, passed, before.models["rain"].champion))

    assert history.state is before


@pytest.mark.parametrize("passed", [True, False])
def test_a_champion_that_is_judged_stays_the_champion(passed: bool) -> None:
    history = standing(Stage.CHAMPION)

    history.add(judged("1", champion="1", passed=passed))

    assert stages(history) is Stage.CHAMPION
    assert history.state.version("rain", "1").judgement is not None


@pytest.mark.parametrize(
    "event",
    [
        tried("7"),
        judged("7"),
        promoted("7", None),
        RunClaimed(model="rain", run="rain-7", attempt=1, claimant="x"),
        RunAbandoned(model="rain", run="rain-7", token=1, why="x"),
        RunFinished(
            model="rain", run="rain-7", token=1, outcome="failed", reason="x", version=None, result={}
        ),
    ],
    ids=lambda event: event.kind,
)  # fmt: skip
def test_a_fact_about_something_unknown_cannot_happen(event: Event) -> None:
    history = standing(None)

    with pytest.raises(LogTampered, match="Event 3 of the log is impossible: nothing before it is called"):
        history.add(event)


# The line of champions


def serving(*versions: str) -> History:
    """A history in which these were promoted in turn."""
    history = History()
    history.add(defined(), *(registered(version) for version in sorted(set(versions))))
    for version in versions:
        history.add(promoted(version, history.state.models["rain"].champion))
    return history


def back(history: History) -> str | None:
    """Demote once; say who serves."""
    model = history.state.models["rain"]
    history.add(promoted(promotion.predecessor(model), model.champion, how="demotion"))
    return history.state.models["rain"].champion


def test_demotions_walk_back_the_champions_one_at_a_time_and_never_bounce() -> None:
    history = serving("1", "2", "3", "4")

    assert [back(history), back(history), back(history)] == ["3", "2", "1"]
    with pytest.raises(UnderstudyError, match="no earlier champion"):
        back(history)


def test_after_a_demotion_the_next_promotion_begins_a_new_end_of_the_line() -> None:
    history = serving("1", "2", "3")
    back(history)
    history.add(registered("4"), promoted("4", "2"))

    assert history.state.models["rain"].line == ("1", "2", "4")
    assert [back(history), back(history)] == ["2", "1"]


def test_a_version_that_served_twice_is_walked_back_to_twice() -> None:
    history = serving("1", "2", "1", "3")

    assert [back(history), back(history), back(history)] == ["1", "2", "1"]


def test_every_change_of_champion_is_on_record_demotions_too() -> None:
    history = serving("1", "2")
    back(history)

    found = [(one.version, one.replaces, one.how) for one in history.state.models["rain"].promotions]
    assert found == [("1", None, "override"), ("2", "1", "override"), ("1", "2", "demotion")]
    assert (stages(history, "1"), stages(history, "2")) == (Stage.CHAMPION, Stage.RETIRED)


@pytest.mark.parametrize("version", ["3", "1"])
def test_a_demotion_to_anything_but_the_champion_before_cannot_happen(version: str) -> None:
    history = serving("1", "2", "3")

    with pytest.raises(LogTampered, match="impossible"):
        history.add(promoted(version, "3", how="demotion"))


# What else the log says


def test_the_newest_trial_counts_in_each_environment() -> None:
    history = standing(Stage.CANDIDATE)
    history.add(tried("1", passed=False), tried("1", environment="libraries of next year"), tried("1"))

    trials = history.state.version("rain", "1").trials
    assert {name: (trial.passed, trial.position) for name, trial in trials.items()} == {
        "libraries of next year": (True, 5),
        HERE: (True, 6),
    }


def test_the_next_holdout_begins_after_what_any_other_version_was_judged_on() -> None:
    history = serving("1")
    history.add(registered("2"), judged("1", until="2026-01-01"), judged("2", until="2026-01-05"))
    model = history.state.models["rain"]
    assert [model.judged_until(version) for version in ("2", "1", None)] == ["2026-01-01", "2026-01-05", "2026-01-05"]

    history.add(registered("3"), judged("3", until="2026-01-03"), judged("2", until=None))
    model = history.state.models["rain"]
    assert (model.judged_until("2"), model.judged_until("3")) == ("2026-01-03", "2026-01-05")


def test_a_model_that_was_given_a_time_column_is_judged_by_its_new_clock_alone() -> None:
    history = serving("1")
    history.add(registered("2"), judged("1", until=500), judged("2", until="2026-01-05"))

    assert history.state.models["rain"].judged_until(None) == "2026-01-05"
    assert history.state.models["rain"].judged_until("2") is None


def test_accepted_data_are_the_measure_for_the_next_until_the_definition_changes() -> None:
    history = standing(Stage.CANDIDATE)
    history.add(judged("1", profile="a" * 64), judged("1", profile=None, passed=False))
    assert history.state.models["rain"].profile == "a" * 64

    history.add(defined())
    assert history.state.models["rain"].profile is None


def test_of_what_needs_attention_the_newest_hundred_are_kept() -> None:
    history = History()
    history.add(*(AttentionNeeded(model="rain", version=None, run=None, reason=str(n), remedy="") for n in range(130)))

    assert [note.reason for note in history.state.models["rain"].attention] == [str(n) for n in range(30, 130)]


def test_an_aborted_promotion_leaves_the_champion_and_frees_the_way() -> None:
    history = serving("1")
    history.add(
        registered("2"),
        PromotionStarted(model="rain", key="k", version="2", replaces="1", how="override", by="operator", reason="so"),
    )
    pending = history.state.models["rain"].pending
    assert pending is not None
    assert (pending.key, pending.position, pending.time) == ("k", 5, NEW_YEAR)

    history.add(PromotionAborted(model="rain", key="another", version="2", why="so"))
    assert history.state.models["rain"].pending == pending
    history.add(PromotionAborted(model="rain", key="k", version="2", why="so"))
    assert history.state.models["rain"].pending is None
    assert history.state.models["rain"].champion == "1"


def test_a_version_is_tied_to_the_run_that_made_it() -> None:
    history = History()
    history.add(defined(), requested("first"), registered("1", run="rain-1"), registered("2", run="gone"))

    assert history.state.run("rain-1").version == "1"
    assert history.state.version("rain", "2").run == "gone"


def test_a_run_keeps_its_version_where_its_end_names_none() -> None:
    history = History()
    end = RunFinished(model="rain", run="rain-1", token=3, outcome="failed", reason="so", version=None, result={})
    history.add(defined(), requested("first"), registered("1", run="rain-1"), end)

    assert history.state.run("rain-1").version == "1"


def requested(slot: str, number: int = 1) -> RunRequested:
    return RunRequested(
        model="rain", run=f"rain-{number}", job="train", slot=slot, as_of=timestamp(NEW_YEAR), params={},
        start_date=None, end_date=None, like=None, by="scheduler",
    )  # fmt: skip


@pytest.mark.parametrize(
    "name", ["by-hand/9T99Z", "9T99Z", "9999-12-31T23:59:59Z", "first", "again/9999-01-01T00:00:00Z"]
)
def test_no_name_of_a_slot_passes_for_a_time_to_come(name: str) -> None:
    """Or every due time after it would count as served."""
    history = History()
    history.add(defined(), requested(timestamp(NEW_YEAR)), requested(name, 2), fact(name))

    assert history.state.models["rain"].last_slot == timestamp(NEW_YEAR)


def test_missed_slots_count_as_served_up_to_the_last_of_them() -> None:
    history, later = History(), timestamp(NEW_YEAR + timedelta(hours=1))
    missed = SlotsMissed(model="rain", job="train", first=timestamp(NEW_YEAR), last=later, count=61, reason="so")
    history.add(defined(), missed)

    assert history.state.models["rain"].last_slot == later


def test_what_is_unknown_is_not_found_by_a_name_that_can_be_shown() -> None:
    history = standing(Stage.CANDIDATE)
    nasty = "<b>\n\x1b[31m" + "x" * 1000

    for ask in (history.state.model, history.state.run, lambda name: history.state.version("rain", name)):
        with pytest.raises(NotFound) as refused:
            ask(nasty)
        assert str(refused.value).isprintable()
        assert len(str(refused.value)) < 250
    assert history.state.champion("rain") is None


def test_nobody_who_holds_a_state_can_change_it() -> None:
    state = serving("1").state

    with pytest.raises(FrozenInstanceError):
        state.position = 0  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        state.models["rain"].run_count = 0  # type: ignore[misc]


# A year of minutes


def calls_of(work: Callable[[], object]) -> int:
    """How many functions were called: a measure that a busy machine does not change."""
    count = 0

    def called(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def a_long_log(length: int) -> list[Recorded]:
    """Minutes of retraining: each asks, claims, registers, tries, judges, finishes; one in ten promotes."""
    events: list[Event] = [defined()]
    for number in range(1, length):
        run, version = f"rain-{number}", str(number)
        due = timestamp(NEW_YEAR + timedelta(minutes=number))
        events += [
            requested(due, number),
            RunClaimed(model="rain", run=run, attempt=1, claimant="x"),
            registered(version, run=run),
            tried(version),
            judged(version, until=due),
            RunFinished(model="rain", run=run, token=1, outcome="succeeded", reason="", version=version, result={}),
        ]
        if number % 10 == 0:
            events.append(promoted(version, None))
        if len(events) >= length:
            break
    return [Recorded(n, NEW_YEAR, event, str(n)) for n, event in enumerate(events[:length], start=1)]


def test_fifty_thousand_events_cost_ten_times_what_five_thousand_do() -> None:
    short, long = a_long_log(5_000), a_long_log(50_000)

    few, many = calls_of(lambda: fold(short)), calls_of(lambda: fold(long))

    assert many < 11 * few
    assert many < 50_000 * 60


def test_one_more_event_costs_the_same_number_of_steps_after_any_history() -> None:
    short, long = fold(a_long_log(100)), fold(a_long_log(20_000))
    entry = Recorded(1_000_000, NEW_YEAR, fact(timestamp(NEW_YEAR)), "hash")

    assert calls_of(lambda: fold([entry], long)) == calls_of(lambda: fold([entry], short))


def test_reading_on_where_nothing_happened_gives_the_very_same_state() -> None:
    state = serving("1").state

    assert fold([], state) is state
