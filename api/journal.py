"""The log as the API uses it: facts in, the newest state out, and decisions appended only while they are right."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from threading import Lock, RLock

from understudy.errors import ConcurrentAppend, Conflict, LogTampered, UnderstudyError
from understudy.events import Event as Fact
from understudy.events import Recorded
from understudy.ports import EventLog
from understudy.registry import fold
from understudy.state import Registry

PACE = 0.5
"""Seconds that pass in the log in one second, while the clock lies behind its newest event."""

NEWS_WITHIN_S = 0.25
"""How long a question waits for somebody else's look at the log."""
BLIND_FOR_S = 1.0
"""After a look that failed, questions are answered from what is known."""

Decide = Callable[[Registry, datetime], Sequence[Fact]]


class Journal:
    """One process's view of the log. `state` is replaced, never changed.

    An append may wait seconds for its turn, so looks go over a connection of their own, which nothing waits on.
    """

    def __init__(
        self,
        log: EventLog,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        reader: EventLog | None = None,
    ) -> None:
        self._log, self._reader, self._clock = log, reader or log, clock
        self._deciding, self._looking, self._taking = RLock(), RLock(), Lock()
        self.state = Registry()
        self.damage: LogTampered | None = None
        """Set for good once the log does not extend what was read from it: control is read-only from then on."""
        self._looked_s, self._failed_s = time.monotonic(), float("-inf")
        self._newest = (datetime.min.replace(tzinfo=UTC), self._looked_s)
        """Time of the newest event, and when this process read it on its own monotonic clock."""
        self.catch_up()

    def catch_up(self) -> Registry:
        """Fold what has been appended since the last look."""
        with self._looking:
            self._refuse_damage()
            began_s = time.monotonic()
            try:
                self._take(list(self._reader.read(after=self.state.position)))
            except LogTampered as damage:
                self.damage = damage
                raise
            except UnderstudyError:
                self._failed_s = time.monotonic()
                raise
            self._looked_s = began_s
            return self.state

    def newest(self) -> Registry:
        """The newest state that can be had soon: another process may have written a moment ago.

        While the log cannot be read that is the last one known, for questions are answered all the same.
        """
        if time.monotonic() - self._failed_s < BLIND_FOR_S or not self._looking.acquire(timeout=NEWS_WITHIN_S):
            return self.state
        try:
            return self.catch_up()
        except UnderstudyError:
            return self.state
        finally:
            self._looking.release()

    def decide(self, decide: Decide) -> Registry:
        """Append what `decide` says of the newest state, and return the state after it.

        A log that moved on meanwhile is no conflict by itself: read on, fold, decide again.
        """
        with self._deciding:
            while True:
                state, now = self.catch_up(), self.now()
                facts = decide(state, now)
                if not facts:
                    return state
                check_possible(state, facts, now)
                try:
                    self._take(self._append(facts, state.position, now))
                except ConcurrentAppend:
                    continue
                return self.state

    def read(self, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        """Events as they stand in the log. Raises LogTampered, and then control is read-only from now on."""
        try:
            return list(self._reader.read(after=after, limit=limit))
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
        """Seconds since the last look at the log that succeeded began."""
        return time.monotonic() - self._looked_s

    def now(self) -> datetime:
        """The time of a decision and of its events.

        Where a clock that was set back lies behind the newest event it goes on from there, or nothing would ever grow
        old; and slower, or the log would stay ahead for good.
        """
        time_, seen_s = self._newest
        return max(self._clock(), time_ + timedelta(seconds=PACE * (time.monotonic() - seen_s)))

    def _append(self, facts: Sequence[Fact], position: int, now: datetime) -> list[Recorded]:
        try:
            return self._log.append(*facts, expect=position, now=now)
        except LogTampered as damage:
            self.damage = damage
            raise

    def _take(self, entries: Sequence[Recorded]) -> None:
        """Fold what is new of `entries`: a look and an append may have found the same events."""
        with self._taking:
            new = [entry for entry in entries if entry.position > self.state.position]
            if new:
                self.state = fold(new, self.state)
                self._newest = (new[-1].time, time.monotonic())

    def _refuse_damage(self) -> None:
        if self.damage is not None:
            raise LogTampered(self.damage.problem, remedy=self.damage.remedy)


def check_possible(state: Registry, facts: Sequence[Fact], now: datetime) -> None:
    """Raise Conflict for what no reader of the log could follow: appended, it would stand there for ever."""
    entries = [Recorded(state.position + i, now, fact, state.hash) for i, fact in enumerate(facts, start=1)]
    try:
        fold(entries, state)
    except LogTampered as impossible:
        raise Conflict(
            f"What is recorded rules this out. {impossible.problem}",
            remedy="Look at what is recorded, and decide again.",
        ) from impossible
