"""The log as the API uses it: facts in, the newest state out, and decisions appended only while they are right."""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from threading import Event, RLock, Thread

from understudy.errors import ConcurrentAppend, LogTampered, UnderstudyError
from understudy.events import Event as Fact
from understudy.events import Recorded
from understudy.ports import EventLog
from understudy.registry import fold
from understudy.state import Registry

log = logging.getLogger(__name__)

FRESH_FOR_S = 5.0
"""How long after the last successful look at the log this process counts as ready."""

LOOK_EVERY_S = 0.5
"""Only the API writes the log, and sees its own events at once: a slow look is for the day of a second process."""

Decide = Callable[[Registry, datetime], Sequence[Fact]]


class Journal:
    """One process's view of the log. `state` is replaced, never changed."""

    def __init__(self, log: EventLog, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._log, self._clock = log, clock
        self._lock = RLock()
        self.state = Registry()
        self.damage: LogTampered | None = None
        """Set for good once the log does not extend what was read from it: control is read-only from then on."""
        self._looked_s = time.monotonic()
        self._newest = (datetime.min.replace(tzinfo=UTC), self._looked_s)
        """Time of the newest event, and when this process read it on its own monotonic clock."""
        self.catch_up()

    def catch_up(self) -> Registry:
        """Fold what has been appended since the last look."""
        with self._lock:
            self._refuse_damage()
            try:
                entries = list(self._log.read(after=self.state.position))
                self._take(entries)
            except LogTampered as damage:
                self.damage = damage
                raise
            self._looked_s = time.monotonic()
            return self.state

    def decide(self, decide: Decide) -> Registry:
        """Append what `decide` says of the newest state, and return the state after it.

        A log that moved on meanwhile is no conflict by itself: read on, fold, decide again.
        """
        with self._lock:
            while True:
                state = self.catch_up()
                facts = decide(state, self._now())
                if not facts:
                    return state
                try:
                    self._take(self._append(facts, state.position))
                except ConcurrentAppend:
                    continue
                return self.state

    def read(self, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        """Events as they stand in the log. Raises LogTampered, and then control is read-only from now on."""
        try:
            return list(self._log.read(after=after, limit=limit))
        except LogTampered as damage:
            self.damage = damage
            raise

    def entry(self, position: int) -> Recorded:
        """The event at a position that the state names."""
        return self.read(after=position - 1, limit=1)[0]

    def wall_clock(self) -> datetime:
        """What the clock says, whatever the log says: to be compared with what other processes read off theirs."""
        return self._clock()

    def age_s(self) -> float:
        """Seconds since the log was last read."""
        return time.monotonic() - self._looked_s

    def _now(self) -> datetime:
        """The time of a decision: it goes on from the newest event where a clock that was set back lies behind it."""
        time_, seen_s = self._newest
        return max(self._clock(), time_ + timedelta(seconds=time.monotonic() - seen_s))

    def _append(self, facts: Sequence[Fact], position: int) -> list[Recorded]:
        try:
            return self._log.append(*facts, expect=position)
        except LogTampered as damage:
            self.damage = damage
            raise

    def _take(self, entries: Sequence[Recorded]) -> None:
        if entries:
            self.state = fold(entries, self.state)
            self._newest = (entries[-1].time, time.monotonic())

    def _refuse_damage(self) -> None:
        if self.damage is not None:
            raise LogTampered(self.damage.problem, remedy=self.damage.remedy)


class Follower:
    """A thread that keeps looking at the log, and calls back with each new state."""

    def __init__(self, journal: Journal, react: Callable[[Registry], None]) -> None:
        self._journal, self._react, self._stop = journal, react, Event()
        self._thread = Thread(target=self._follow, name="log-follower", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            try:
                self._react(self._journal.catch_up())
            except UnderstudyError:
                continue  # `age_s` grows, and /ready says so
            except Exception:
                log.exception("following the log met a bug", extra={"action": "bug"})
