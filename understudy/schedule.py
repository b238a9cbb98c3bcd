"""When a model is trained again: at nominal times, when its data drift, when enough new rows have their label.

Any of the three is enough, and they combine: `Schedule.every(hours=6) | Schedule.on_drift()`. Nominal times make slots,
given a time; nothing here asks what time it is. A schedule without nominal times has no slots, and misses none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any

from understudy.cron import Cron
from understudy.errors import BadDefinition

FEWEST_NEW_ROWS = 100
"""Fewer are not judged by: see `understudy/adapters/recipe.py`."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Slots:
    """Some slots in a row."""

    count: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class Interval:
    """Every so many seconds, counted from 1970-01-01T00:00:00Z, so that every process names the same slots."""

    seconds: int

    def next_after(self, moment: datetime) -> datetime:
        return self._slot(self._number(moment) + 1)

    def between(self, after: datetime, until: datetime) -> tuple[int, datetime, datetime] | None:
        first, last = self._number(after) + 1, self._number(until)
        return (last - first + 1, self._slot(first), self._slot(last)) if last >= first else None

    def _number(self, moment: datetime) -> int:
        return (moment - _EPOCH) // timedelta(seconds=self.seconds)

    def _slot(self, number: int) -> datetime:
        return _EPOCH + number * timedelta(seconds=self.seconds)


@dataclass(frozen=True)
class Schedule:
    """When a model is due; made by the four class methods, and combined with `|`."""

    rule: Interval | Cron | None = None
    """Nominal times; None: there are none."""
    drift: bool = False
    """Due when the data drift."""
    new_rows: int | None = None
    """Due when so many rows have a label that were not there, or had none, at the last run."""

    @classmethod
    def every(cls, *, seconds: int = 0, minutes: int = 0, hours: int = 0, days: int = 0) -> "Schedule":
        """Every so often; the parts add up. Raises BadDefinition unless they are whole numbers, and not all 0."""
        parts = (seconds, minutes, hours, days)
        if any(type(part) is not int or part < 0 for part in parts) or not any(parts):
            raise BadDefinition(
                "An interval is a whole number of seconds, minutes, hours or days, and longer than nothing.",
                remedy="Write `Schedule.every(minutes=5)`, for example.",
            )
        return cls(Interval(seconds + 60 * minutes + 3600 * hours + 86400 * days))

    @classmethod
    def cron(cls, expression: str, *, zone: str) -> "Schedule":
        """Times on the wall clock of `zone`, a name of the tz database. What changes of the clock do: see `cron.py`."""
        return cls(Cron(expression, zone))

    @classmethod
    def on_drift(cls) -> "Schedule":
        """Whenever the data, or the answers, have moved away from those of the champion's training, beyond noise."""
        return cls(drift=True)

    @classmethod
    def on_new_rows(cls, rows: int) -> "Schedule":
        """Whenever `rows` rows have a label that no version was fitted on or judged by. Raises BadDefinition."""
        if type(rows) is not int or rows < FEWEST_NEW_ROWS:
            raise BadDefinition(
                f"A number of new rows is whole, and at least {FEWEST_NEW_ROWS}: fewer are not judged by.",
                remedy="Write `Schedule.on_new_rows(500)`, for example.",
            )
        return cls(new_rows=rows)

    def __or__(self, other: "Schedule") -> "Schedule":
        """Due when either is. Raises BadDefinition where both have nominal times, or both a number of rows."""
        if not isinstance(other, Schedule):
            return NotImplemented
        for ours, theirs, what in ((self.rule, other.rule, "times"), (self.new_rows, other.new_rows, "new rows")):
            if None not in (ours, theirs) and ours != theirs:
                raise BadDefinition(
                    f"Two schedules of {what} do not combine.", remedy="Keep one of them; add `on_drift()`, say."
                )
        return Schedule(self.rule or other.rule, self.drift or other.drift, self.new_rows or other.new_rows)

    def next_after(self, moment: datetime) -> datetime | None:
        """The first slot strictly after `moment` (aware), in UTC; None where there are no nominal times."""
        if self.rule is None:
            return None
        slot = self.rule.next_after(moment)
        assert slot is not None, "an expression that is never due was refused when it was written"
        return slot

    def slots_between(self, after: datetime, until: datetime) -> Slots | None:
        """The slots with after < slot <= until, counted exactly; None where there are none.

        Costs nothing for intervals; for cron at most 0.3 ms (every minute) for each day on which something is due.
        """
        found = None if self.rule is None else self.rule.between(after, until)
        return Slots(*found) if found else None

    def step_s(self, moment: datetime) -> float | None:
        """Seconds between the next two slots; None where there are no nominal times."""
        first = self.next_after(moment)
        second = None if first is None else self.next_after(first)
        return None if first is None or second is None else (second - first).total_seconds()

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it. One of nominal times alone is what earlier releases wrote."""
        drift = {"on_drift": True} if self.drift else {}
        return {**_times(self.rule), **drift, **({"on_new_rows": self.new_rows} if self.new_rows else {})}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Schedule":
        """Read a schedule back; raises BadDefinition for anything else."""
        times = {name: value for name, value in data.items() if name not in ("on_drift", "on_new_rows")}
        parts = []
        match times:
            case {"every_s": int(seconds)} if len(times) == 1:
                parts.append(cls.every(seconds=seconds))
            case {"cron": str(expression), "zone": str(zone)} if len(times) == 2:
                parts.append(cls.cron(expression, zone=zone))
        if data.get("on_drift") is True:
            parts.append(cls.on_drift())
        if "on_new_rows" in data:
            parts.append(cls.on_new_rows(data["on_new_rows"]))
        if not parts or (times and parts[0].rule is None) or data.get("on_drift", True) is not True:
            raise BadDefinition("This is no schedule.", remedy=f"Give {_FORMS}.")
        return reduce(or_, parts)

    def __str__(self) -> str:
        rows = f"when {self.new_rows} new rows have a label" if self.new_rows else ""
        return " or ".join(filter(None, (_shown(self.rule), "when the data drift" if self.drift else "", rows)))


_FORMS = '{"every_s": …}, {"cron": "…", "zone": "…"}, "on_drift": true, "on_new_rows": …, or several of them'


def _times(rule: Interval | Cron | None) -> dict[str, Any]:
    match rule:
        case None:
            return {}
        case Interval():
            return {"every_s": rule.seconds}
    return {"cron": rule.expression, "zone": rule.zone}


def _shown(rule: Interval | Cron | None) -> str:
    match rule:
        case None:
            return ""
        case Interval():
            return f"every {timedelta(seconds=rule.seconds)}"
    return f"`{rule.expression}` in {rule.zone}"
