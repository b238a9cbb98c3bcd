"""Cron expressions in a time zone: which moments they name, through every change of the clock.

An expression has the five fields of cron: minute, hour, day of month, month, day of week; with lists, ranges, steps
and names (`MON`, `JAN`). Where both days are restricted either one will do, otherwise both must match.

A slot is a time on the wall clock of the zone, and each one is due once:

- a time that the clock jumps over is due at the moment of the jump (together with what else is due then);
- a time that the clock shows twice is due the first time, unless the schedule names every hour: that one goes on
  through the repeated hour, or it would be silent for so long.

Everything is found day by day, so a year of missed slots costs a year of days and not of minutes.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from understudy.errors import BadDefinition

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_DAY = timedelta(days=1)
#: 29 February on one given weekday comes back after 40 years at the latest (across 2100); nothing waits longer.
_LONGEST_WAIT = timedelta(days=41 * 366)


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def read(self, text: str) -> frozenset[int]:
        return frozenset(value for part in text.split(",") for value in self._read_part(part))

    def _read_part(self, part: str) -> range:
        span, slash, step_text = part.partition("/")
        step = self._number(step_text) if slash else 1
        if step < 1:
            raise ValueError(f"{self.name} has a step of {step}")
        if span == "*":
            return range(self.low, self.high + 1, step)
        first_text, dash, last_text = span.partition("-")
        first = self._value(first_text)
        last = self._value(last_text) if dash else (self.high if slash else first)
        if last < first:
            raise ValueError(f"{self.name} `{span}` runs backwards")
        return range(first, last + 1, step)

    def _value(self, text: str) -> int:
        value = self.names.index(text) + self.low if text in self.names else self._number(text)
        if not self.low <= value <= self.high:
            raise ValueError(f"{self.name} {value} is not between {self.low} and {self.high}")
        return value

    def _number(self, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 5):
            raise ValueError(f"{self.name} `{text[:20]}` cannot be read")
        return int(text)


_FIELDS = (
    _Field("the minute", 0, 59),
    _Field("the hour", 0, 23),
    _Field("the day of the month", 1, 31),
    _Field("the month", 1, 12, _MONTHS),
    _Field("the weekday", 0, 7, _WEEKDAYS),  # both 0 and 7 are Sunday
)


@dataclass(frozen=True)
class Cron:
    """Wall-clock times in a zone; raises BadDefinition for what is no expression, no zone, or never due."""

    expression: str
    zone: str
    _minutes: frozenset[int] = field(init=False, repr=False, compare=False)
    _hours: frozenset[int] = field(init=False, repr=False, compare=False)
    _days: frozenset[int] = field(init=False, repr=False, compare=False)
    _months: frozenset[int] = field(init=False, repr=False, compare=False)
    _weekdays: frozenset[int] = field(init=False, repr=False, compare=False)
    _either_day: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _zone(self.zone)
        texts = self.expression.upper().split()
        try:
            if len(texts) != len(_FIELDS):
                raise ValueError(f"it has {len(texts)} fields instead of five")
            read = [spec.read(text) for spec, text in zip(_FIELDS, texts, strict=True)]
        except ValueError as error:
            raise BadDefinition(
                f"`{self.expression[:60]}` is no cron expression: {error}.",
                remedy="Give minute, hour, day of month, month and weekday: `*/15 6-18 * * MON-FRI`, for example.",
            ) from error
        for name, values in zip(("_minutes", "_hours", "_days", "_months", "_weekdays"), read, strict=True):
            object.__setattr__(self, name, values)
        object.__setattr__(self, "_either_day", not (texts[2].startswith("*") or texts[4].startswith("*")))
        if self.next_after(datetime(2000, 1, 1, tzinfo=UTC)) is None:
            raise BadDefinition(
                f"`{self.expression[:60]}` is never due: no month that it names has such a day.",
                remedy="Correct the day or the month.",
            )

    def next_after(self, moment: datetime) -> datetime | None:
        """The first slot strictly after `moment`, in UTC; None where none comes within 41 years."""
        return next(self._slots(moment, moment + _LONGEST_WAIT), None)

    def between(self, after: datetime, until: datetime) -> tuple[int, datetime, datetime] | None:
        """Count, first and last of the slots with after < slot <= until; None where there are none."""
        count, first, last = 0, None, None
        for day in self._days_between(after, until):
            slots = _slots_of(self, day)
            start, end = bisect_right(slots, after), bisect_right(slots, until)
            if start < end:
                count, first, last = count + end - start, first or slots[start], slots[end - 1]
        return (count, first, last) if first and last else None

    def _slots(self, after: datetime, until: datetime) -> Iterator[datetime]:
        for day in self._days_between(after, until):
            yield from (slot for slot in _slots_of(self, day) if after < slot <= until)

    def _days_between(self, after: datetime, until: datetime) -> Iterator[date]:
        zone = _zone(self.zone)
        day, last = after.astimezone(zone).date() - _DAY, until.astimezone(zone).date()
        while day <= last:
            if day.month not in self._months:
                day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
                continue
            if self._names(day):
                yield day
            day += _DAY

    def _names(self, day: date) -> bool:
        weekday = day.isoweekday()
        of_month, of_week = day.day in self._days, weekday in self._weekdays or weekday % 7 in self._weekdays
        return (of_month or of_week) if self._either_day else (of_month and of_week)


@lru_cache(maxsize=4096)
def _slots_of(cron: Cron, day: date) -> tuple[datetime, ...]:
    """What is due on one day of the zone, in UTC, in order."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=_zone(cron.zone))
    if midnight.utcoffset() == (midnight + _DAY).utcoffset():
        start = midnight.astimezone(UTC)
        return tuple(start + time for time in _times_of(cron))
    every_hour = len(cron._hours) == 24
    # Aware arithmetic within one zone moves the hands of the clock, and not time.
    moments = (_moments(midnight + time, again=every_hour) for time in _times_of(cron))
    return tuple(sorted({moment for found in moments for moment in found}))


@lru_cache(maxsize=64)
def _times_of(cron: Cron) -> tuple[timedelta, ...]:
    """Times of a day on the wall clock."""
    return tuple(
        timedelta(hours=hour, minutes=minute) for hour in sorted(cron._hours) for minute in sorted(cron._minutes)
    )


def _moments(wall: datetime, *, again: bool) -> list[datetime]:
    """When the clock shows `wall`: at the jump where it never does; twice, if asked for, where it does twice."""
    while wall.astimezone(UTC).astimezone(wall.tzinfo).replace(fold=0) != wall:
        wall += timedelta(minutes=1)
    first, second = wall.astimezone(UTC), wall.replace(fold=1).astimezone(UTC)
    return [first, second] if again and second > first else [first]


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadDefinition(
            f"`{name[:60]}` is no time zone.", remedy='Name one of the tz database, for example zone="Europe/Paris".'
        ) from error
