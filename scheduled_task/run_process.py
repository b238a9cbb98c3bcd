"""A run's own process, as its parent sees it: started clean, watched, and ended with its process group.

A definition is code that the owner trusts: one that starts a session of its own on purpose leaves this group.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from understudy.adapters.training_environment import training_environment

TAIL_LINES = 40
"""What is kept of what it prints."""
LONGEST_LINE = 500


class RunProcess:
    """One child and its process group."""

    def __init__(self, module: str, arguments: Sequence[str], *, folder: Path, home: Path) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=folder,
            env=training_environment(os.environ, home=home, scratch=folder),
            stdin=subprocess.PIPE,  # never written to: it closes when we die, and the child sees that
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._reader = threading.Thread(target=self._read, name=f"output of {self._child.pid}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._child.pid

    def wait(self, timeout_s: float) -> int | None:
        """Its exit code, negative for a signal; None where it is still at work after `timeout_s`."""
        try:
            return self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> str:
        """Kill what is left of its group; return the last that it printed."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        self._reader.join(5)
        if not self._reader.is_alive():  # what has left the group may hold the other end for ever
            self._child.stdout.close()
        return "\n".join(self.tail())

    def tail(self) -> list[str]:
        """The last lines that it has printed so far."""
        return list(self._tail)

    def _read(self) -> None:
        assert self._child.stdout is not None
        while line := self._child.stdout.readline(LONGEST_LINE):
            self._tail.append(line.decode(errors="replace").rstrip())


def ending(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
