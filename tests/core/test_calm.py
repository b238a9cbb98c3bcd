"""What was taken back is barred until a person says otherwise, and a loop of promoting and going back has an end."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from tests.given import HERE, NEW_YEAR, History, candidate, defined, judged
from understudy import calm, promotion
from understudy.calm import COOL_DOWN, MOST_TAKEN_BACK, NEWEST, unrest
from understudy.errors import Conflict, NoGround
from understudy.events import AttentionNeeded
from understudy.failures import way_back, why_it_stays
from understudy.promotion import FRESH_FOR, Wish, barred, barred_versions
from understudy.state import Model, Registry

MINUTE = timedelta(minutes=1)


def carry_out(history: History, wish: Wish) -> None:
    history.add(*promotion.start(history.state, wish, history.now, HERE))
    history.add(*promotion.commit(history.state, wish.model, wish.key, history.now, HERE))


def wish(version: str, **how: Any) -> Wish:
    return Wish(model="rain", version=version, **{"key": f"to-{version}", "by": "scheduler", **how})


def by_hand(history: History, version: str, **how: Any) -> None:
    """An operator promotes a version; a new one, where there is none of that name."""
    if ("rain", version) not in history.state.versions:
        candidate(history, version)
    key = f"by-hand-{len(history.entries)}"
    carry_out(history, wish(version, **{"key": key, "by": "operator", "how": "override", "reason": "so", **how}))


def fail(history: History) -> None:
    """The champion goes, because it fails."""
    wish = way_back(rain(history), "it raised")
    assert wish is not None
    carry_out(history, wish)


def rain(history: History) -> Model:
    return history.state.model("rain")


def alarms(history: History) -> list[str]:
    return [note.reason for note in rain(history).attention if "a person acts" in note.reason]


@pytest.fixture
def history() -> History:
    """Version 1 serves, and has done so for a day."""
    made = History()
    made.add(defined())
    candidate(made, "1")
    carry_out(made, wish("1"))
    made.wait(days=1)
    return made


def promote_anew(history: History, version: str) -> None:
    candidate(history, version)
    carry_out(history, wish(version))


# Barred


def test_a_version_that_was_taken_back_by_itself_is_barred_however_new_its_evidence(history: History) -> None:
    promote_anew(history, "2")
    fail(history)
    history.wait(days=3)
    history.add(judged("2", champion="1"))

    with pytest.raises(NoGround, match="Version 2 of rain is barred since it was taken back") as refused:
        promotion.start(history.state, wish("2", key="again"), history.now, HERE)

    assert refused.value.remedy.startswith("An operator lifts the bar: understudy promote rain 2")
    assert barred(rain(history), "2") == "Version 2 fails while it serves: it raised."
    assert barred(rain(history), "1") is None


def test_an_operator_lifts_the_bar_by_promoting_and_one_who_goes_back_bars_nothing(history: History) -> None:
    promote_anew(history, "2")
    fail(history)
    by_hand(history, "2")

    assert barred_versions(rain(history)) == {}
    by_hand(history, "1", how="demotion")
    assert barred_versions(rain(history)) == {}


def test_a_version_that_fails_again_is_barred_again(history: History) -> None:
    promote_anew(history, "2")
    fail(history)
    by_hand(history, "2")
    fail(history)

    assert [*barred_versions(rain(history))] == ["2"]


def with_a_barred_champion_before(history: History) -> None:
    """Version 2 served twice, failed the second time, and is before 3 in the line by the first."""
    for version in ("2", "3", "2"):
        by_hand(history, version)
    fail(history)
    by_hand(history, "4")
    by_hand(history, "3", how="demotion")


def test_a_way_back_steps_over_a_barred_champion_and_the_line_goes_on_from_there(history: History) -> None:
    with_a_barred_champion_before(history)
    assert rain(history).line == ("1", "2", "3")

    fail(history)

    assert (rain(history).champion, rain(history).line) == ("1", ("1",))


def test_an_operator_may_go_back_to_what_is_barred_and_lifts_the_bar(history: History) -> None:
    with_a_barred_champion_before(history)

    by_hand(history, "2", how="demotion")

    assert rain(history).champion == "2"
    assert barred_versions(rain(history)) == {}


def test_nobody_but_the_api_may_step_over_a_champion_and_it_over_barred_ones_only(history: History) -> None:
    with_a_barred_champion_before(history)

    for by, version in (("operator", "1"), ("api", "2")):
        with pytest.raises(Conflict, match="is not the champion before this one"):
            promotion.start(history.state, wish(version, key="k", by=by, how="demotion"), history.now, HERE)


def test_where_every_earlier_champion_is_barred_the_one_that_fails_stays() -> None:
    history = History()
    history.add(defined())
    for version in ("2", "3", "2"):
        by_hand(history, version)
    fail(history)
    by_hand(history, "4")
    by_hand(history, "3", how="demotion")

    assert rain(history).line == ("2", "3")
    assert way_back(rain(history), "it raised") is None
    assert why_it_stays(rain(history)) == "It stays: every earlier champion was taken back too, and is barred."


# Calm


def test_after_a_way_back_nothing_changes_by_itself_for_as_long_as_evidence_is_fresh(history: History) -> None:
    promote_anew(history, "2")
    fail(history)
    history.wait(minutes=1)
    candidate(history, "3")
    history.now += COOL_DOWN - 2 * MINUTE

    with pytest.raises(NoGround, match="has just been taken back, and nothing changes by itself for 10 minutes"):
        promotion.start(history.state, wish("3"), history.now, HERE)

    history.wait(minutes=1)
    assert unrest(rain(history), history.now) is None
    assert promotion.start(history.state, wish("3"), history.now, HERE) != ()
    assert COOL_DOWN >= FRESH_FOR, "or what was measured before could undo it"


def test_a_person_need_not_wait(history: History) -> None:
    promote_anew(history, "2")
    fail(history)

    by_hand(history, "3")

    assert rain(history).champion == "3"
    assert unrest(rain(history), history.now) is None


def loop(history: History, times: int, first: int = 2) -> None:
    """Promote and fail, as often as calm lets it."""
    for version in map(str, range(first, first + times)):
        history.now += COOL_DOWN
        promote_anew(history, version)
        fail(history)


@pytest.mark.fault(69)
def test_the_fifth_change_of_a_day_that_is_taken_back_is_the_last_until_a_person_acts(history: History) -> None:
    loop(history, MOST_TAKEN_BACK - 1)
    assert alarms(history) == []
    loop(history, 1, first=50)

    assert alarms(history) == [
        "5 of the newest 5 automatic changes of rain within a day were taken back. Nothing changes by itself until a "
        "person acts."
    ]
    assert history.kinds()[-2:] == ["version.promoted", "attention.needed"], "in one append"
    history.wait(days=40)
    candidate(history, "60")
    with pytest.raises(NoGround, match="until a person acts"):
        promotion.start(history.state, wish("60"), history.now, HERE)


@pytest.mark.parametrize("act", ["promotes", "goes back", "changes the definition"])
def test_once_a_person_has_acted_changes_are_counted_anew(history: History, act: str) -> None:
    promote_anew(history, "900")
    history.wait(minutes=1)
    loop(history, MOST_TAKEN_BACK)
    if act == "promotes":
        by_hand(history, "70")
    elif act == "goes back":
        by_hand(history, "1", how="demotion")
    else:
        history.add(defined())

    assert unrest(rain(history), history.now) is None
    loop(history, MOST_TAKEN_BACK - 1, first=80)
    assert len(alarms(history)) == 1
    loop(history, 1, first=90)
    assert len(alarms(history)) == 2


def test_what_a_person_put_on_and_failed_is_no_automatic_change(history: History) -> None:
    for version in map(str, range(2, 12)):
        by_hand(history, version)
        fail(history)

    assert alarms(history) == []
    assert "has just been taken back" in (unrest(rain(history), history.now) or "")
    loop(history, MOST_TAKEN_BACK - 1, first=80)
    assert alarms(history) == []


def test_a_day_later_what_was_taken_back_no_longer_counts(history: History) -> None:
    loop(history, MOST_TAKEN_BACK - 1)
    history.wait(days=1, minutes=1)
    loop(history, MOST_TAKEN_BACK - 1, first=80)

    assert alarms(history) == []


def test_good_changes_leave_room_for_some_that_are_taken_back_and_hide_no_loop_however_many_they_were(
    history: History,
) -> None:
    for version in map(str, range(100, 200)):
        promote_anew(history, version)
    loop(history, NEWEST // 2 - 1, first=200)
    assert alarms(history) == []
    loop(history, 1, first=300)
    assert len(alarms(history)) == 1


# A day of a schedule that promotes every minute

Seen = Callable[[Registry], Registry]
"""What the rules are shown of a state."""


def itself(state: Registry) -> Registry:
    return state


def blind(state: Registry) -> Registry:
    """The state without the ways back: what the rules were to see if there was neither bar nor calm."""
    model = state.model("rain")
    kept = tuple(change for change in model.promotions if not calm.is_way_back(change))
    return replace(state, models={"rain": replace(model, promotions=kept)})


def day(
    taken_back: float, *, seed: int = 1, better: float = 0.4, minutes: int = 24 * 60, seen: Seen = itself
) -> History:
    """Every minute a candidate; `better` of them pass, and a share of those that serve fails within the minute."""
    chance, history = Random(seed), History()
    history.add(defined())
    promote_anew(history, "0")
    for minute in range(1, minutes + 1):
        history.wait(minutes=1)
        if chance.random() >= better:
            continue
        candidate(history, str(minute))
        ours = wish(str(minute))
        with suppress(NoGround):
            history.add(*promotion.start(seen(history.state), ours, history.now, HERE))
            history.add(*promotion.commit(seen(history.state), "rain", ours.key, history.now, HERE))
            if chance.random() < taken_back:
                fail(history)
    return history


def changes(history: History) -> int:
    return len(rain(history).promotions)


@pytest.mark.fault(69)
def test_a_loop_of_a_whole_day_makes_ten_changes_and_one_alarm_within_the_hour_and_somebody_serves() -> None:
    history = day(1.0, better=1.0)

    assert changes(history) == 1 + 2 * MOST_TAKEN_BACK
    assert len(alarms(history)) == 1
    assert rain(history).champion == "0"
    told = next(entry.time for entry in history.entries if isinstance(entry.event, AttentionNeeded))
    assert told - history.entries[0].time <= timedelta(hours=1)


@pytest.mark.fault(69)
def test_without_the_guard_it_is_a_loop_of_every_minute() -> None:
    history = day(1.0, better=1.0, minutes=120, seen=blind)

    assert changes(history) == 1 + 2 * 120


@pytest.mark.fault(69)
@pytest.mark.parametrize("seed", range(2))
def test_an_honest_schedule_of_every_minute_is_never_stopped_by_the_cap(seed: int) -> None:
    """One change in six is taken back, which is much."""
    history = day(1 / 6, seed=seed)

    assert alarms(history) == []
    assert changes(history) > 200


def test_a_loop_of_every_second_change_is_stopped_too() -> None:
    assert all(alarms(day(0.6, seed=seed, minutes=8 * 60)) for seed in range(3))


def test_a_model_that_nobody_has_promoted_is_calm() -> None:
    assert unrest(Model(name="rain"), NEW_YEAR) is None
    assert way_back(Model(name="rain"), "so") is None
    assert [*calm.ways_back(Model(name="rain"))] == []
