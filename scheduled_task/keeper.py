"""What is done every few seconds on a clock that never jumps: edited definitions, first attempts, and the clock itself.

APScheduler sleeps until a time on the wall clock. If that clock is set while it sleeps it would wake too late, or two
hours late; so whoever sets it is noticed here, and every model is looked at again.
"""

import logging
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Protocol

from understudy.errors import UnderstudyError

log = logging.getLogger(__name__)

JUMP_S = 2.0
"""A clock that is only being disciplined moves by less between two looks."""


class Part(Protocol):
    """What works in a thread of its own."""

    def start(self) -> None: ...

    def stop(self) -> None:
        """Ask it to end; returns at once."""

    def join(self, timeout_s: float) -> None: ...


class Every:
    """Calls something every so many seconds, from a thread of its own, until it is told to stop."""

    def __init__(self, name: str, call: Callable[[], None], *, seconds: float) -> None:
        self._name, self._call, self._seconds = name, call, seconds
        self._stop = Event()
        self._well = True
        self._thread = Thread(target=self._loop, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns at once; see `join`."""
        self._stop.set()

    def join(self, timeout_s: float) -> None:
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                self._call()
                self._well = True
            except UnderstudyError as error:
                level = logging.WARNING if self._well else logging.DEBUG  # once for each time that it begins to fail
                log.log(level, "%s: %s", self._name, error, extra={"action": "waiting"})
                self._well = False
            except Exception:
                log.exception("%s met a bug.", self._name, extra={"action": "bug"})
            self._stop.wait(self._seconds)


class ClockWatch:
    """Notices that the wall clock was set."""

    def __init__(self, *, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._steady = wall, steady
        self._offset_s = wall() - steady()

    def jumped_s(self) -> float:
        """By how many seconds it was set since the last look; 0 where it was not."""
        offset_s = self._wall() - self._steady()
        moved_s, self._offset_s = offset_s - self._offset_s, offset_s
        return moved_s if abs(moved_s) >= JUMP_S else 0.0
