from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from scheduled_task.due import first_slot, timed_slot
from scheduled_task.firsts import Firsts
from scheduled_task.keeper import ClockWatch
from scheduled_task.slots import SlotTrigger
from understudy.events import timestamp
from understudy.schedule import Schedule

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def minutes(n: float) -> datetime:
    return NOON + timedelta(minutes=n)


def model(**changes: Any) -> dict[str, Any]:
    """What the API says of a model that is trained each minute."""
    said: dict[str, Any] = {
        "name": "rain",
        "default": True,
        "champion": "1",
        "last_slot": timestamp(NOON),
        "open_runs": [],
        "first": None,
    }
    definition = {"schedule": Schedule.every(minutes=1).to_json()}
    return {**said, "definition": definition, **changes}


@pytest.mark.parametrize(("after_min", "slot_min"), [(0.5, None), (1, 1), (1.9, 1), (90.5, 90)])
@pytest.mark.fault(64)
def test_the_last_slot_that_has_come_since_the_last_one_in_the_log_is_due(
    after_min: float, slot_min: float | None
) -> None:
    slot = timed_slot(model(), since=NOON, now=minutes(after_min))

    assert slot == (None if slot_min is None else timestamp(minutes(slot_min)))


def test_a_model_that_never_had_a_slot_is_due_for_those_since_the_start() -> None:
    fresh = model(last_slot=None)

    assert timed_slot(fresh, since=minutes(5.5), now=minutes(5.9)) is None
    assert timed_slot(fresh, since=minutes(5.5), now=minutes(6)) == timestamp(minutes(6))


def test_a_model_that_nothing_serves_has_no_timed_slots() -> None:
    assert timed_slot(model(champion=None), since=NOON, now=minutes(5)) is None


@pytest.mark.fault(65)
def test_a_clock_that_went_back_two_hours_stalls_nothing_and_names_no_slot_twice() -> None:
    ahead = model(last_slot=timestamp(minutes(120)))

    slots = [timed_slot(ahead, since=NOON, now=minutes(n)) for n in (1, 1.5, 2)]

    assert slots == [f"again/{timestamp(minutes(n))}" for n in (1, 1, 2)]


@pytest.mark.fault(65)
def test_a_clock_that_went_back_starts_no_run_beside_one_that_is_at_work() -> None:
    ahead = model(last_slot=timestamp(minutes(120)), open_runs=["rain-7"])

    assert timed_slot(ahead, since=NOON, now=minutes(1)) is None


@pytest.mark.parametrize("last_slot", [None, timestamp(NOON), timestamp(minutes(120))])
def test_a_model_without_due_times_is_never_due_whatever_the_log_or_the_clock_says(last_slot: str | None) -> None:
    said = model(definition={"schedule": Schedule.on_drift().to_json()}, last_slot=last_slot)

    assert timed_slot(said, since=NOON, now=minutes(60)) is None
    assert first_slot({**said, "champion": None}) == ("first", 0.0)
    assert SlotTrigger(Schedule.on_drift()).get_next_fire_time(None, NOON) is None


@pytest.mark.fault(65)
def test_a_clock_that_jumps_a_year_ahead_is_one_slot() -> None:
    assert timed_slot(model(), since=NOON, now=minutes(525_600)) == timestamp(minutes(525_600))


def first(slot: str, *, state: str = "failed", waits: bool = False) -> dict[str, Any]:
    return {"slot": slot, "state": state, "finished_at": timestamp(NOON), "waits_for_a_person": waits}


@pytest.mark.parametrize(
    ("last", "slot", "pause_s"),
    [
        (None, "first", 0),
        (first("first"), "first/2", 5),
        (first("first/2"), "first/3", 10),
        (first("first/4"), "first/5", 40),
        (first("first/90"), "first/91", 300),
    ],
)
def test_attempts_at_a_first_champion_come_at_growing_distances(
    last: dict[str, Any] | None, slot: str, pause_s: float
) -> None:
    assert first_slot(model(champion=None, first=last)) == (slot, pause_s)


@pytest.mark.parametrize(
    "changes",
    [
        {"champion": "1"},
        {"champion": None, "open_runs": ["rain-1"]},
        {"champion": None, "first": first("first", state="succeeded", waits=True)},
    ],
)
def test_no_first_attempt_is_made_beside_a_champion_a_run_or_a_version_that_waits(changes: dict[str, Any]) -> None:
    assert first_slot(model(**changes)) is None


def test_a_pause_is_measured_from_when_the_end_of_the_attempt_was_first_seen() -> None:
    firsts, waiting = Firsts(), {"rain": model(champion=None, first=first("first"))}

    asked = [firsts.due(waiting, now_s) for now_s in (1000.0, 1004.9, 1005.0)]

    assert asked == [{}, {}, {"rain": "first/2"}]


def test_the_default_model_is_asked_for_first() -> None:
    unserved = {name: model(name=name, champion=None, default=name == "rain") for name in ("bike", "rain", "wind")}

    assert list(Firsts().due(unserved, 0.0)) == ["rain", "bike", "wind"]


def test_a_definition_that_changed_is_tried_at_once() -> None:
    firsts, waiting = Firsts(), {"rain": model(champion=None, first=first("first/9"))}
    firsts.due(waiting, 1000.0)

    firsts.hurry("rain")

    assert firsts.due(waiting, 1000.1) == {"rain": "first/10"}


def test_the_trigger_looks_forward_so_that_a_pause_is_one_firing() -> None:
    trigger = SlotTrigger(Schedule.every(minutes=1))

    assert trigger.get_next_fire_time(None, minutes(0.5)) == minutes(1)
    assert trigger.get_next_fire_time(minutes(1), minutes(61)) == minutes(62)


def test_apscheduler_takes_the_trigger() -> None:
    scheduler = BackgroundScheduler(timezone=UTC)
    scheduler.start(paused=True)

    job = scheduler.add_job(print, SlotTrigger(Schedule.cron("30 2 * * *", zone="Europe/Paris")))
    scheduler.shutdown()

    assert (job.next_run_time.minute, job.next_run_time.second) == (30, 0)


@pytest.mark.fault(65)
@pytest.mark.parametrize("jump_s", [7200.0, -7200.0])
def test_a_clock_that_is_set_is_noticed_once(jump_s: float) -> None:
    wall, steady = [1000.0], [5.0]
    watch = ClockWatch(wall=lambda: wall[0], steady=lambda: steady[0])
    wall[0], steady[0] = 1001.2, 6.0
    drift_s = watch.jumped_s()

    wall[0], steady[0] = wall[0] + 1 + jump_s, 7.0

    assert drift_s == 0.0
    assert [round(watch.jumped_s()), watch.jumped_s()] == [jump_s, 0.0]
