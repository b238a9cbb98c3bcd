"""Slots: each nominal time once, whatever the clocks of the world do."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from understudy.errors import BadDefinition
from understudy.schedule import Schedule, Slots

#: Clock changes north and south, at midnight, by half an hour, by two hours, in winter instead of summer, and none.
ZONES = (
    "America/New_York",
    "Europe/London",
    "Europe/Dublin",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Asia/Beirut",
    "America/Havana",
    "America/Santiago",
    "Antarctica/Troll",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Asia/Kathmandu",
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def slots(schedule: Schedule, after: datetime, until: datetime) -> list[datetime]:
    found: list[datetime] = []
    while (slot := schedule.next_after(found[-1] if found else after)) is not None and slot <= until:
        found.append(slot)
    return found


def year_of(zone: str, year: int = 2024) -> tuple[datetime, datetime]:
    first = datetime(year, 1, 1, tzinfo=ZoneInfo(zone))
    return (first - timedelta(seconds=1)).astimezone(UTC), (
        first.replace(year=year + 1) - timedelta(seconds=1)
    ).astimezone(UTC)


def test_an_interval_is_aligned_to_the_epoch_and_strictly_after() -> None:
    every_minute = Schedule.every(minutes=1)

    assert every_minute.next_after(at("2026-11-21T10:00:00Z")) == at("2026-11-21T10:01:00Z")
    assert every_minute.next_after(at("2026-11-21T10:00:59.999999Z")) == at("2026-11-21T10:01:00Z")
    assert every_minute.next_after(at("2026-11-21T11:00:30+01:00")) == at("2026-11-21T10:01:00Z")


def test_missed_slots_of_an_interval_are_counted_by_arithmetic() -> None:
    found = Schedule.every(seconds=1).slots_between(at("1990-01-01T00:00:00Z"), at("2026-01-01T00:00:00.5Z"))

    assert found == Slots(1_136_073_600, at("1990-01-01T00:00:01Z"), at("2026-01-01T00:00:00Z"))


@pytest.mark.parametrize("schedule", [Schedule.every(minutes=5), Schedule.cron("*/5 * * * *", zone="UTC")], ids=str)
def test_between_two_moments_the_later_one_counts_and_the_earlier_one_does_not(schedule: Schedule) -> None:
    after, until = at("2026-01-01T00:05:00Z"), at("2026-01-01T00:15:00Z")

    assert schedule.slots_between(after, until) == Slots(2, at("2026-01-01T00:10:00Z"), until)
    assert schedule.slots_between(after, at("2026-01-01T00:09:59Z")) is None
    assert schedule.slots_between(until, after) is None


@pytest.mark.fault(66)
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("time", ["0:30", "1:30", "2:00", "2:15", "2:30", "3:00", "23:30"])
def test_a_daily_slot_comes_once_a_day_through_both_changes_of_the_clock(zone: str, time: str) -> None:
    hour, minute = time.split(":")
    schedule = Schedule.cron(f"{minute} {hour} * * *", zone=zone)

    found = slots(schedule, *year_of(zone))

    assert [slot.astimezone(ZoneInfo(zone)).date() for slot in found] == [
        date(2024, 1, 1) + timedelta(days=day) for day in range(366)
    ]
    assert schedule.slots_between(*year_of(zone)) == Slots(366, found[0], found[-1])


@pytest.mark.fault(66)
@pytest.mark.parametrize("zone", ZONES)
def test_every_six_hours_is_four_times_a_day_through_both_changes_of_the_clock(zone: str) -> None:
    found = slots(Schedule.cron("0 */6 * * *", zone=zone), *year_of(zone))

    assert len(found) == len(set(found)) == 366 * 4
    assert found == sorted(found)


@pytest.mark.fault(66)
@pytest.mark.parametrize("zone", ZONES)
def test_a_schedule_of_every_hour_is_never_silent_through_a_repeated_hour(zone: str) -> None:
    schedule = Schedule.cron("*/30 * * * *", zone=zone)

    found = slots(schedule, *year_of(zone))

    gaps = {later - earlier for earlier, later in pairwise(found)}
    assert timedelta(0) < min(gaps) <= max(gaps) == timedelta(minutes=30)
    assert schedule.slots_between(*year_of(zone)) == Slots(len(found), found[0], found[-1])


@pytest.mark.fault(66)
def test_a_time_that_the_clock_jumps_over_is_due_at_the_jump_and_a_repeated_one_the_first_time() -> None:
    schedule = Schedule.cron("30 1,2 * * *", zone="America/New_York")

    spring = slots(schedule, at("2026-03-08T00:00:00-05:00"), at("2026-03-08T23:00:00-04:00"))
    autumn = slots(schedule, at("2026-11-01T00:00:00-04:00"), at("2026-11-01T23:00:00-05:00"))

    assert spring == [at("2026-03-08T01:30:00-05:00"), at("2026-03-08T03:00:00-04:00")]
    assert autumn == [at("2026-11-01T01:30:00-04:00"), at("2026-11-01T02:30:00-05:00")]


@pytest.mark.fault(66)
@pytest.mark.parametrize("zone", ZONES)
def test_the_29th_of_february_comes_in_leap_years_only(zone: str) -> None:
    found = slots(Schedule.cron("0 12 29 2 *", zone=zone), at("2023-01-01T00:00:00Z"), at("2033-01-01T00:00:00Z"))

    assert [slot.astimezone(ZoneInfo(zone)).date() for slot in found] == [
        date(2024, 2, 29),
        date(2028, 2, 29),
        date(2032, 2, 29),
    ]


@pytest.mark.parametrize(
    ("expression", "weekdays"),
    [
        ("0 9 * * SUN", {7}),
        ("0 9 * * 0", {7}),
        ("0 9 * * 7", {7}),
        ("0 9 * * mon-wed", {1, 2, 3}),
        ("0 9 * * 5-7", {5, 6, 7}),
    ],
)
def test_weekdays_count_from_sunday_as_cron_does_and_have_names(expression: str, weekdays: set[int]) -> None:
    found = slots(Schedule.cron(expression, zone="Asia/Tokyo"), at("2026-01-01T00:00:00Z"), at("2026-02-01T00:00:00Z"))

    assert {slot.astimezone(ZoneInfo("Asia/Tokyo")).isoweekday() for slot in found} == weekdays


def test_either_day_will_do_where_both_are_restricted() -> None:
    found = slots(Schedule.cron("0 0 13 * FRI", zone="UTC"), at("2026-01-31T00:00:00Z"), at("2026-02-28T00:00:00Z"))

    assert [slot.day for slot in found] == [6, 13, 20, 27]


def test_a_week_of_missed_slots_is_counted_exactly() -> None:
    schedule = Schedule.cron("*/2 * * * *", zone="America/New_York")

    found = schedule.slots_between(at("2026-10-31T12:00:00Z"), at("2026-11-07T12:00:00Z"))

    assert found == Slots(7 * 720, at("2026-10-31T12:02:00Z"), at("2026-11-07T12:00:00Z"))


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("* * * *", "4 fields instead of five"),
        ("0 * * * * *", "6 fields instead of five"),
        ("@daily", "1 fields"),
        ("60 * * * *", "the minute 60 is not between 0 and 59"),
        ("0 24 * * *", "the hour 24 is not between 0 and 23"),
        ("0 0 0 * *", "the day of the month 0 is not between"),
        ("0 0 * FOO *", "the month `FOO` cannot be read"),
        ("0 0 * * FRI-MON", "`FRI-MON` runs backwards"),
        ("*/0 * * * *", "a step of 0"),
        ("1,, * * * *", "the minute `` cannot be read"),
        ("² * * * *", "cannot be read"),
        ("0 0 30 2 *", "never due"),
    ],
)
def test_a_mistake_in_an_expression_is_named(expression: str, problem: str) -> None:
    with pytest.raises(BadDefinition, match=problem):
        Schedule.cron(expression, zone="UTC")


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../../etc/passwd", "Europe/"])
def test_a_zone_has_a_name_in_the_tz_database(zone: str) -> None:
    with pytest.raises(BadDefinition, match="no time zone"):
        Schedule.cron("0 0 * * *", zone=zone)


@pytest.mark.parametrize("parts", [{}, {"minutes": 0}, {"minutes": -1}, {"hours": 1.5}, {"days": True}])
def test_an_interval_is_whole_and_longer_than_nothing(parts: dict[str, int]) -> None:
    with pytest.raises(BadDefinition, match="whole number"):
        Schedule.every(**parts)


SIX_HOURS, MORNINGS = Schedule.every(hours=6), Schedule.cron("0 6 * * MON-FRI", zone="Europe/Paris")


@pytest.mark.parametrize(
    ("schedule", "written"),
    [
        (SIX_HOURS, {"every_s": 21600}),
        (MORNINGS, {"cron": "0 6 * * MON-FRI", "zone": "Europe/Paris"}),
        (Schedule.on_drift(), {"on_drift": True}),
        (Schedule.on_new_rows(500), {"on_new_rows": 500}),
        (SIX_HOURS | Schedule.on_drift(), {"every_s": 21600, "on_drift": True}),
        (
            Schedule.on_new_rows(500) | MORNINGS | Schedule.on_drift(),
            {"cron": "0 6 * * MON-FRI", "zone": "Europe/Paris", "on_drift": True, "on_new_rows": 500},
        ),
    ],
    ids=str,
)
def test_a_schedule_survives_json_and_is_written_as_before_where_it_has_times_alone(
    schedule: Schedule, written: dict[str, object]
) -> None:
    assert schedule.to_json() == written
    assert Schedule.from_json(written) == schedule


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"every_s": "60"},
        {"cron": "* * * * *"},
        {"every_s": 0},
        {"every_s": 60, "often": True},
        {"on_drift": False},
        {"every_s": 60, "on_drift": "yes"},
        {"on_new_rows": 5},
        {"on_new_rows": True},
        {"on_new_rows": None},
        {"on_drift": True, "on_new_rows": 500.0},
    ],
)
def test_what_is_no_schedule_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(BadDefinition):
        Schedule.from_json(data)


def test_a_schedule_without_times_is_due_at_none_and_has_missed_none() -> None:
    schedule = Schedule.on_drift() | Schedule.on_new_rows(500)

    assert schedule.next_after(at("2026-01-01T00:00:00Z")) is None
    assert schedule.slots_between(at("1990-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z")) is None
    assert str(schedule) == "when the data drift or when 500 new rows have a label"


def test_what_is_added_to_a_schedule_leaves_its_times_as_they_are() -> None:
    schedule = Schedule.on_drift() | SIX_HOURS

    assert schedule.next_after(at("2026-01-01T01:00:00Z")) == at("2026-01-01T06:00:00Z")
    assert str(schedule) == "every 6:00:00 or when the data drift"
    assert schedule | Schedule.on_drift() | SIX_HOURS == schedule


@pytest.mark.parametrize(
    ("one", "other"), [(SIX_HOURS, MORNINGS), (Schedule.on_new_rows(500), Schedule.on_new_rows(600))], ids=str
)
def test_two_times_or_two_numbers_of_rows_do_not_combine(one: Schedule, other: Schedule) -> None:
    with pytest.raises(BadDefinition, match="do not combine"):
        one | other


@pytest.mark.parametrize("rows", [0, 99, -500, 500.0, True, "500"])
def test_a_number_of_new_rows_is_one_that_can_be_judged_by(rows: int) -> None:
    with pytest.raises(BadDefinition, match="at least 100"):
        Schedule.on_new_rows(rows)
