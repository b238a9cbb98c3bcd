"""Lengths and moments as people type them, and the dates that follow."""

from datetime import timedelta

import pytest

from understudy.errors import BadInput
from understudy.schedule import Schedule
from understudy.spans import Span, before, dates, read_moment

HOURS = [f"2026-01-{1 + hour // 24:02}T{hour % 24:02}:00:00.000000Z" for hour in range(72)]


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("7d", Span(time=timedelta(days=7))),
        ("12h", Span(time=timedelta(hours=12))),
        ("30m", Span(time=timedelta(minutes=30))),
        ("45 s", Span(time=timedelta(seconds=45))),
        ("2W", Span(time=timedelta(days=14))),
        ("365rows", Span(rows=365)),
        ("1 row", Span(rows=1)),
    ],
)
def test_a_length_is_a_time_or_a_number_of_rows(text: str, span: Span) -> None:
    assert Span.parse(text) == span
    assert Span.parse(str(span)) == span


@pytest.mark.parametrize("text", ["", "7", "0d", "d", "-7d", "7 days", "1.5h", "7d12h", "999999999w", "rows"])
def test_anything_else_is_no_length(text: str) -> None:
    with pytest.raises(BadInput) as found:
        Span.parse(text)

    assert "such as 7d" in found.value.remedy


def test_a_moment_is_a_day_a_time_or_a_length_before_the_end() -> None:
    assert read_moment("2026-01-31") == "2026-01-31T00:00:00.000000Z"
    assert read_moment("2026-01-31T12:00:00+02:00") == "2026-01-31T10:00:00.000000Z"
    assert read_moment("30d") == Span(time=timedelta(days=30))
    with pytest.raises(BadInput, match="is no time"):
        read_moment("yesterday")


def test_before_the_end_is_counted_in_time_or_in_rows() -> None:
    assert before(HOURS[-1], Span.parse("1d"), HOURS) == HOURS[-25]
    assert before(HOURS[-1], Span.parse("10rows"), HOURS) == HOURS[-11]
    assert before(HOURS[-1], Span.parse("1000rows"), HOURS) == HOURS[0]
    assert before(71, Span.parse("10rows"), list(range(72))) == 61
    with pytest.raises(BadInput, match="have no time"):
        before(71, Span.parse("1d"), list(range(72)))


def test_dates_begin_with_the_start_and_follow_the_schedule() -> None:
    found = dates(HOURS[5], HOURS[-1], Schedule.every(days=1), HOURS, most=100)

    assert found == [HOURS[5], HOURS[24], HOURS[48]]


def test_dates_counted_in_rows_are_when_the_last_of_them_arrived() -> None:
    found = dates(HOURS[5], HOURS[-1], Span.parse("20rows"), HOURS, most=100)

    assert found == [HOURS[5], HOURS[25], HOURS[45], HOURS[65]]
    assert dates(HOURS[5], HOURS[-1], Schedule.on_new_rows(100), HOURS, most=100) == [HOURS[5]]
    assert dates(5, 71, Span.parse("20rows"), list(range(72)), most=100) == [5, 25, 45, 65]


def test_times_and_rows_combine_as_in_a_schedule() -> None:
    many = [f"2026-01-01T00:{minute // 60:02}:{minute % 60:02}.000000Z" for minute in range(300)]

    found = dates(many[0], many[-1], Schedule.every(minutes=2) | Schedule.on_new_rows(100), many, most=100)

    assert found == [many[0], many[100], many[120], many[200], many[240]]


def test_a_schedule_that_waits_for_drift_alone_has_no_dates_but_the_first() -> None:
    assert dates(HOURS[0], HOURS[-1], Schedule.on_drift(), HOURS, most=100) == [HOURS[0]]


def test_there_are_never_many_more_dates_than_asked_for() -> None:
    assert len(dates(HOURS[0], HOURS[-1], Schedule.every(seconds=1), HOURS, most=100)) == 101


def test_rows_without_a_time_know_no_hours() -> None:
    with pytest.raises(BadInput, match="have no time") as found:
        dates(5, 71, Span.parse("1d"), list(range(72)), most=100)

    assert "--every 500rows" in found.value.remedy
