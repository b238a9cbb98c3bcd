"""How far and how often, as people type it (`7d`, `12h`, `30m`, `500rows`), and the dates that follow from it."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from understudy.errors import BadInput
from understudy.events import moment, timestamp
from understudy.evidence import Clock
from understudy.schedule import Interval, Schedule

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
FORM = re.compile(r"(\d{1,9})\s*(s|m|h|d|w|rows?)")
LONGEST_S = 100 * 366 * 86_400
SHAPES = "a number with s, m, h, d or w, such as 7d; or a number of rows, such as 500rows"


@dataclass(frozen=True, kw_only=True)
class Span:
    """So much time, or so many rows; one of the two."""

    time: timedelta | None = None
    rows: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Span":
        """Raises BadInput."""
        found = FORM.fullmatch(text.strip().lower())
        if found is None or int(found[1]) == 0:
            raise BadInput(f"{text[:40]!a} is no length.", remedy=f"Write {SHAPES}.")
        number, unit = int(found[1]), found[2]
        if unit not in UNITS:
            return cls(rows=number)
        if number * UNITS[unit] > LONGEST_S:
            raise BadInput(f"{text[:40]!a} is longer than a hundred years.", remedy=f"Write {SHAPES}.")
        return cls(time=timedelta(seconds=number * UNITS[unit]))

    def __str__(self) -> str:
        if self.time is None:
            return f"{self.rows} rows"
        seconds = int(self.time.total_seconds())
        unit = next(unit for unit in reversed(UNITS) if seconds % UNITS[unit] == 0)
        return f"{seconds // UNITS[unit]}{unit}"


def read_moment(text: str) -> str | Span:
    """A day or a time as the log writes it, in UTC where it names no zone; or how long before the end.

    Raises BadInput.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        pass
    else:
        return timestamp((found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC))
    try:
        return Span.parse(text)
    except BadInput:
        raise BadInput(
            f"{text[:40]!a} is no time.",
            remedy="Write a day such as 2026-01-31, a time such as 2026-01-31T12:00:00Z, or how long before the end: "
            "30d, or 5000rows.",
        ) from None


def before(end: Clock, by: Span, clock: Sequence[Clock]) -> Clock:
    """The moment that lies so long, or so many of the rows in `clock`, before `end`. Raises BadInput."""
    if by.rows is not None:
        return clock[max(0, bisect_right(clock, end) - 1 - by.rows)]
    if isinstance(end, int) or by.time is None:
        raise no_time()
    return timestamp(moment(end) - by.time)


def dates(start: Clock, end: Clock, every: Schedule | Span, clock: Sequence[Clock], *, most: int) -> list[Clock]:
    """`start`, and each moment between it and `end` at which a run is due; at most `most` + 1 of them.

    Args:
        clock: of every row that has a label, in order.

    Raises BadInput for times where rows have none.
    """
    first = bisect_right(clock, start)
    rows = every.rows if isinstance(every, Span) else every.new_rows
    found: set[Clock] = set()
    if rows is not None:
        found.update(one for one in clock[first + rows - 1 :: rows] if start < one < end)  # type: ignore[operator]
    if (schedule := _nominal(every)) is not None:
        if isinstance(start, int) or isinstance(end, int):
            raise no_time()
        found.update(islice(_slots(schedule, start, end), most + 1))
    return [start, *sorted(found)][: most + 1]


def no_time() -> BadInput:
    return BadInput(
        "The rows of this model have no time, so dates cannot be counted in hours.",
        remedy="Count in rows, such as --every 500rows; or name the column that is their time: `time=`.",
    )


def _nominal(every: Schedule | Span) -> Schedule | None:
    if isinstance(every, Schedule):
        return None if every.rule is None else every
    return None if every.time is None else Schedule(Interval(int(every.time.total_seconds())))


def _slots(schedule: Schedule, start: str, end: str) -> Iterator[str]:
    slot = schedule.next_after(moment(start))
    while slot is not None and timestamp(slot) < end:
        yield timestamp(slot)
        slot = schedule.next_after(slot)
