"""A process that answers nobody any more ends itself, so that another takes its place.

    the event loop has not moved for `limit_s`        ends at once: nobody on it could be answered
    a call of a model has not come back for a minute  drains and ends: its thread cannot be freed otherwise
    the process holds more memory than it may         drains and ends, while all others of its kind are there
    Python itself has not moved for 3 × `limit_s`     the interpreter's own timer ends it: something holds its lock

Time is counted in looks, one a second, and not read off a clock: a process that was asleep itself finds a loop that
has missed one look, not sixty. The last line is the exception, since nobody is left to look: a process that somebody
stops for so long ends as well, but its model is not blamed, for the time of the last look tells the two apart.

Where the threads were goes to the log with whatever else the process has left, see `api/burial.py`.
"""

import asyncio
import faulthandler
import logging
import os
import sys
from collections.abc import Callable, Collection
from threading import Event, Thread, get_ident

from api.breaker import Breaker, Breakers
from api.mark import End, Marks
from api.memory import resident_bytes
from api.serving import Served
from understudy.adapters.duty import Duty
from understudy.events import Ended
from understudy.failures import BLOCKED

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
CALL_WITHIN_S = 60.0
"""Six times the default deadline: a large batch may take its time, and whoever asked has long been told."""
PATIENCE = 3
MOST_NAMED = 3
"""Versions for whose calls a process ends; there is room for no more."""


class Watchdog:
    """A thread that looks once a second."""

    def __init__(
        self,
        marks: Marks,
        breakers: Breakers,
        *,
        limit_s: float,
        memory_limit: int,
        turn: Duty,
        others_are_there: Callable[[], bool],
    ) -> None:
        """`memory_limit` in bytes, 0 for none; `turn` is held by the process that ends for its memory."""
        self._marks, self._breakers, self._turn = marks, breakers, turn
        self._limit_s, self._memory_limit = limit_s, memory_limit
        self._others_are_there = others_are_there
        self._retire_here: Callable[[], None] | None = None
        self.retired = False
        """Whether the process ends in order to be started again."""
        self._began_with: int | None = None
        """Bytes, once all models were loaded."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._moved = True
        self._still_s = 0.0
        self._calls: dict[Breaker, tuple[float, float]] = {}
        self._stop = Event()
        self._thread = Thread(target=self._watch, name="watchdog", daemon=True)

    def arm(self, retire: Callable[[], None]) -> None:
        """Let it end this process; `retire` tells the server to drain, and is called by the watchdog's thread."""
        self._retire_here = retire

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to look, where it has been armed. Called on the loop's thread."""
        if self._retire_here is None:
            return
        self._loop, self._loop_thread = loop, get_ident()
        if self._marks.stack is not None:
            faulthandler.enable(self._marks.stack, all_threads=True)
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._stop.set()
            self._thread.join()
            faulthandler.cancel_dump_traceback_later()
            faulthandler.disable()
        self._turn.close()

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            try:
                self._look()
            except Exception:
                log.exception("the watchdog met a bug", extra={"action": "bug"})

    def _look(self) -> None:
        self._marks.look()
        if self._marks.stack is not None:
            faulthandler.dump_traceback_later(PATIENCE * self._limit_s, exit=True, file=self._marks.stack)
        self._follow_calls()
        self._look_at_loop()
        if not self.retired:
            self._look_at_calls()
            self._look_at_memory()

    def _look_at_loop(self) -> None:
        self._still_s = 0.0 if self._moved else self._still_s + LOOK_EVERY_S
        if self._still_s >= self._limit_s:
            self._end(f"answered nobody for {self._still_s:.0f} s and ended itself")
        if self._moved and self._loop is not None:
            self._moved = False
            self._loop.call_soon_threadsafe(self._move)

    def _move(self) -> None:
        self._moved = True

    def _end(self, reason: str) -> None:
        """Leave everything as it is. Calls of other threads have not held up the loop."""
        self._testify(self._limit_s / 2, reason, among=called_by(self._loop_thread))
        os._exit(BLOCKED)

    def _testify(self, still_s: float, reason: str, *, among: Collection[Breaker] | None = None) -> None:
        """Leave behind why this process ends, and by which calls: those that have lasted so long."""
        calls = [(one, lasted_s) for one, (_, lasted_s) in self._calls.items() if among is None or one in among]
        lasting = [(one.model, one.version) for one, lasted_s in calls if lasted_s >= still_s]
        how: Ended = "hung" if lasting else "silent"
        self._marks.end(End(how=how, reason=reason, calling=lasting[:MOST_NAMED]))
        if self._marks.stack is not None:
            faulthandler.dump_traceback(self._marks.stack, all_threads=True)

    def _follow_calls(self) -> None:
        """Note which calls are still those of the look before."""
        now = {breaker: breaker.began_s for breaker in self._breakers.calling()}
        before = self._calls
        self._calls = {
            breaker: (began_s, before[breaker][1] + LOOK_EVERY_S if before.get(breaker, (-1,))[0] == began_s else 0.0)
            for breaker, began_s in now.items()
        }

    def _look_at_calls(self) -> None:
        longest = max((still_s for _, still_s in self._calls.values()), default=0.0)
        if longest >= CALL_WITHIN_S:
            self._testify(CALL_WITHIN_S, f"waited in vain for {longest:.0f} s and ended itself")
            self._retire(f"a call of a model has not come back for {longest:.0f} s")

    def _look_at_memory(self) -> None:
        """Another process would be no smaller where this one was too large from the start: then nothing is gained."""
        if not self._memory_limit or not self._others_are_there():
            return
        held, allowed = resident_bytes(), f"{self._memory_limit / 2**20:.0f} MiB are allowed"
        if self._began_with is None:
            self._began_with = held
            if held > self._memory_limit:
                words = "A process that has just begun holds %.0f MiB, and only %s: none is replaced."
                log.error(words, held / 2**20, allowed, extra={"action": "memory_limit.impossible"})
        if self._began_with <= self._memory_limit < held and self._turn.is_mine():
            self._retire(f"it holds {held / 2**20:.0f} MiB, and {allowed}")

    def _retire(self, why: str) -> None:
        assert self._retire_here is not None
        self.retired = True
        log.warning("This process drains and ends: %s.", why, extra={"action": "process.retires"})
        self._retire_here()


def called_by(thread: int) -> set[Breaker]:
    """Those of the versions that a thread is in the middle of calling, by its frames: a call notes nothing for it."""
    frame, found = sys._current_frames().get(thread), set()
    while frame is not None:
        if frame.f_code is Served.call.__code__ and "breaker" in frame.f_locals:
            found.add(frame.f_locals["breaker"])
        frame = frame.f_back
    return found
