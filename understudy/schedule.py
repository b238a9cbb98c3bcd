"""Slots: the nominal times at which a model is due, given a time. Nothing here asks what time it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from understudy.cron import Cron
from understudy.errors import BadDefinition

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
    """When a model is due; made by `Schedule.every(...)` or `Schedule.cron(...)`."""

    rule: Interval | Cron

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

    def next_after(self, moment: datetime) -> datetime:
        """The first slot strictly after `moment` (aware), in UTC."""
        slot = self.rule.next_after(moment)
        assert slot is not None, "an expression that is never due was refused when it was written"
        return slot

    def slots_between(self, after: datetime, until: datetime) -> Slots | None:
        """The slots with after < slot <= until, counted exactly; None where there are none.

        Costs nothing for intervals; for cron at most 0.3 ms (every minute) for each day on which something is due.
        """
        found = self.rule.between(after, until)
        return Slots(*found) if found else None

    def to_json(self) -> dict[str, Any]:
        if isinstance(self.rule, Interval):
            return {"every_s": self.rule.seconds}
        return {"cron": self.rule.expression, "zone": self.rule.zone}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Schedule":
        """Read a schedule back; raises BadDefinition for anything else."""
        match dict(data):
            case {"every_s": int(seconds)}:
                return cls.every(seconds=seconds)
            case {"cron": str(expression), "zone": str(zone)}:
                return cls.cron(expression, zone=zone)
        raise BadDefinition("This is no schedule.", remedy='Give {"every_s": …} or {"cron": "…", "zone": "…"}.')

    def __str__(self) -> str:
        if isinstance(self.rule, Interval):
            return f"every {timedelta(seconds=self.rule.seconds)}"
        return f"`{self.rule.expression}` in {self.rule.zone}"
