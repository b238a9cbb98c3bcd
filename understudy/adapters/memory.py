"""Memory that nobody uses any more, given back to the system.

glibc keeps what is freed for the next who asks, and gives threads heaps of their own, up to eight for each core: every
thread that has once loaded a version leaves holes in another heap, and a process grows over its swaps though nothing in
it does. Python's threads take turns anyway, so they share one heap here; and after each load, and each version that is
freed, whole pages of it are given back, which takes about a millisecond without Python's lock.
`python -m bench.memory` measures what comes of it.
"""

import ctypes
from collections.abc import Callable
from typing import Any

ARENA_MAX = -8
"""`M_ARENA_MAX` of <malloc.h>."""


def _found(name: str, *takes: Any) -> Callable[..., int] | None:
    """A function of glibc's; None where the C library has none of that name, as musl's and that of macOS."""
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return None
    function.argtypes, function.restype = takes, ctypes.c_int
    found: Callable[..., int] = function
    return found


MALLOPT, TRIM = _found("mallopt", ctypes.c_int, ctypes.c_int), _found("malloc_trim", ctypes.c_size_t)


def share_one_heap() -> None:
    """Make no further heaps from now on; nothing happens where that cannot be asked for."""
    if MALLOPT is not None:
        MALLOPT(ARENA_MAX, 1)


def give_back() -> None:
    """Let the system have what is free; nothing happens where that cannot be asked for."""
    if TRIM is not None:
        TRIM(0)
