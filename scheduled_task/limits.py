"""What a run's own process does to itself before any code of a user runs.

Set from inside and not by the parent between fork and exec, where a process with threads must run no Python.
"""

import contextlib
import fcntl
import os
import resource
import signal
import sys
import threading


def apply(*, memory_mb: int) -> None:
    """Give this process, and each that it starts, at most so much address space; and no core file."""
    size = memory_mb * 2**20
    with contextlib.suppress(ValueError, OSError):  # systems that cannot limit it, and limits that are lower already
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def end_with_parent() -> None:
    """End this process, and all that it has started, once its parent is gone: nobody holds the other end of stdin.

    The kernel does it where it can, at once, whatever is being computed; a thread elsewhere, which waits for its turn.
    """
    with contextlib.suppress(AttributeError, OSError):  # Linux alone can choose the signal
        _kill_when_stdin_closes(sys.stdin.fileno())
    threading.Thread(target=_wait_for_parent, name="parent", daemon=True).start()


def _kill_when_stdin_closes(stdin: int) -> None:
    """Have the kernel send SIGKILL to our group when the pipe's other end closes; nothing is ever written to it."""
    if os.getpgrp() != os.getpid():
        return  # the group is not ours to kill
    fcntl.fcntl(stdin, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(stdin, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(stdin, fcntl.F_SETFL, fcntl.fcntl(stdin, fcntl.F_GETFL) | os.O_ASYNC)


def _wait_for_parent() -> None:
    with contextlib.suppress(OSError, ValueError):
        while os.read(sys.stdin.fileno(), 1024):
            pass
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
