"""What dead processes have left is read, told and removed, by whichever process comes first.

Its parent, where it had one, saw how it ended and wrote it down. Where nobody saw it, what it left has to say: a stack
is written by the interpreter where a fatal signal or a long silence ended it, and nothing where it was killed from
outside.
"""

import logging
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from api.journal import Journal
from api.mark import WITNESSED_WITHIN_S, End, Remains, dead, forget, remains
from api.memory import kills_for_memory
from api.roster import Roster
from understudy.events import ProcessDied
from understudy.state import Registry

log = logging.getLogger(__name__)

FATAL = re.compile(r"^Fatal Python error: (.{1,80})$", re.MULTILINE)
CRASHES = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT})
SHORT = "was killed by the system because memory was short"
SILENCE = re.compile(r"^Timeout \((\d+):(\d\d):(\d\d)", re.MULTILINE)
"""How the interpreter's own watchdog begins: how long nothing was to run."""
SOONER_S = 2.0
"""It wakes by then. What has lasted longer was not running at all."""


class Burial:
    """Called by one thread."""

    def __init__(self, folder: Path, journal: Journal, roster: Roster) -> None:
        self._folder, self._journal, self._roster = folder, journal, roster
        self._found_s: dict[Path, float] = {}
        self._told: set[Path] = set()
        """Marks that would not go."""

    def bury(self) -> None:
        """Append what has happened to the dead. Raises StorageUnavailable; then they wait for the next time."""
        for path in sorted(self._folder.glob("*.mark")):
            with dead(path) as file:
                if file is None:
                    continue
                left = remains(file, path)
                if left is not None and self._is_too_soon(path, left):
                    continue
                if left is not None and path not in self._told:
                    self._tell(left)
                self._remove(path)

    def _remove(self, path: Path) -> None:
        """What cannot be removed is tried again, and not told again."""
        self._found_s.pop(path, None)
        try:
            forget(path)
            self._told.discard(path)
        except OSError as error:
            if path not in self._told:
                words = "The mark of a dead process cannot be removed: %s."
                log.warning(words, error.strerror, extra={"action": "mark.stays"})
            self._told.add(path)

    def _is_too_soon(self, path: Path, left: Remains) -> bool:
        found_s = self._found_s.setdefault(path, time.monotonic())
        ours = left.life.parent == os.getppid()
        return ours and left.end is None and time.monotonic() - found_s < WITNESSED_WITHIN_S

    def _tell(self, left: Remains) -> None:
        self._roster.forget(left.life.worker)
        end = left.end or guessed(left)
        called = " and ".join(f"version {version} of {model}" for model, version in left.calling)
        where = f"while it was calling {called}" if called else "while it was calling no model"
        message = f"Process {left.life.worker} {end.reason} {where}."
        extra = {"action": "process.died", "how": end.how, "stack": left.stack}
        log.error("%s", message, extra=extra)
        events = [*died(left, end, message)]
        self._journal.decide(lambda state, now: [one for one in events if is_news(state, one)])


def is_news(state: Registry, event: ProcessDied) -> bool:
    """Whether it belongs to no model, or to one that exists and has not heard of it."""
    model = state.models.get(event.model)
    return not event.model if model is None else not model.knows(event)


def died(left: Remains, end: End, reason: str) -> Iterator[ProcessDied]:
    """An event for each version that was being called, or one for none."""
    for model, version in left.calling or (("", None),):
        yield ProcessDied(
            model=model, version=version, worker=left.life.worker, how=end.how, reason=reason, mark=left.mark
        )


def seen(code: int, *, is_stopped: bool | None, memory_was_short: bool) -> End:
    """How a child ended, as its parent saw it.

    Args:
        code: as `multiprocessing` gives it: negative for a signal.
        is_stopped: of one that answered no ping and was killed for it: whether somebody had stopped it.
    """
    if is_stopped is not None:
        words = "had been stopped by somebody" if is_stopped else "answered no ping"
        return End(how="stopped" if is_stopped else "silent", reason=f"{words} and was replaced")
    if code >= 0:
        return End(how="exited", reason=f"ended with code {code}")
    name = signal.Signals(-code).name
    if -code in CRASHES:
        return End(how="crashed", reason=f"crashed ({name})")
    if -code == signal.SIGKILL and memory_was_short:
        return End(how="out_of_memory", reason=SHORT)
    return End(how="killed", reason=f"was killed from outside ({name})")


def guessed(left: Remains) -> End:
    """How a process ended that nobody saw end."""
    if fatal := FATAL.search(left.stack):
        return End(how="crashed", reason=f"crashed ({fatal[1]})")
    if silence := SILENCE.search(left.stack):
        hours, minutes, seconds = map(int, silence.groups())
        if left.still_s > 3600 * hours + 60 * minutes + seconds + SOONER_S:
            return End(how="stopped", reason="had been stopped by somebody, or the machine had been, and ended itself")
        return End(how="silent", reason="ran no Python for a long time and was ended")
    now, before = kills_for_memory(), left.life.memory_kills
    if now is not None and before is not None and now > before:
        return End(how="out_of_memory", reason=SHORT)
    return End(how="killed", reason="was killed, or the machine stopped,")
