"""How long a connection is waited for: every connection is looked at once a second, and no request sets a timer.

Whoever keeps us waiting is let go: who connects and says nothing, who sends half a request, who sends it or takes its
answer more slowly than `PACE`, who stays after the last answer. What we are answering ourselves may take its time.

The wait is counted, not read off two clocks: a second for each second in which the next move was the client's, less
what was moved at `PACE`. So 256 MiB over a slow link take as long as they need, one byte a second is closed as soon as
silence, and a process that was asleep itself blames nobody.
"""

import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from api.wire import Wire

PATIENCE_S = 10.0
"""Behind the pace. With a look a second a connection is closed 10 to 12 s after it fell silent."""
PACE = 64 * 1024
"""Bytes in a second: a poor telephone line does more."""
LONGEST_STEP_S = 2.0
"""A look that comes later than that was held up by us."""
LINGER_S = 0.5
"""While the process stops, for who is idle: long enough for a request that is on its way."""

AT_ONCE = struct.pack("ii", 1, 0)

Stage = Literal["first", "request", "answer", "idle", "reader"]
"""What is waited for: a first byte, the rest of a request, us, a next request, that what we sent is taken."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A connection as one look found it."""

    stage: Stage
    asked: int
    moved: int
    """Bytes, up to a constant: those that came, or those that were taken."""
    waited_s: float = 0.0


class Patience:
    """What the look before has seen."""

    def __init__(self, *, keep_alive_s: float) -> None:
        self._idle_s, self._first_s = keep_alive_s, PATIENCE_S
        self._sights: dict[Wire, Sight] = {}

    def hurry(self) -> None:
        """The process is stopping: who is not amid a request has had his time."""
        self._idle_s = self._first_s = LINGER_S

    def look(self, connections: Iterable[Wire], elapsed_s: float) -> None:
        """Look at all of them, `elapsed_s` after the look before; close those that are waited for in vain."""
        elapsed_s = min(elapsed_s, LONGEST_STEP_S)
        before, self._sights = self._sights, {}
        for connection in [*connections]:
            sight = seen(connection, before.get(connection), elapsed_s)
            self._sights[connection] = sight
            if sight.waited_s > self._limit_s(sight.stage):
                end(connection, sight.stage)

    def _limit_s(self, stage: Stage) -> float:
        return {"idle": self._idle_s, "first": self._first_s}.get(stage, PATIENCE_S)


def stage_of(connection: Wire) -> Stage:
    if connection.transport.get_write_buffer_size():
        return "reader"
    if connection.is_answering():
        return "answer"
    if connection.is_amid:
        return "request"
    return "idle" if connection.asked else "first"


def seen(connection: Wire, before: Sight | None, elapsed_s: float) -> Sight:
    """One connection now, and for how long it has kept us waiting."""
    stage, asked = stage_of(connection), connection.asked
    moved = -connection.transport.get_write_buffer_size() if stage == "reader" else connection.read
    if before is None or stage == "answer" or (before.stage, before.asked) != (stage, asked):
        return Sight(stage, asked, moved)
    behind_s = before.waited_s + elapsed_s - max(moved - before.moved, 0) / PACE
    return Sight(stage, asked, moved, max(behind_s, 0.0))


def end(connection: Wire, stage: Stage) -> None:
    if stage == "reader":
        # `close` would wait until all is taken, and so would the system after it, but for this.
        with suppress(OSError):
            connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        connection.transport.abort()
    elif not connection.transport.is_closing():
        if stage == "request":
            late = f"The request did not come whole: it fell {PATIENCE_S:g} s behind {PACE // 1024} KiB/s."
            connection.refuse(408, "request_timeout", late, "Send it faster, or in smaller parts.")
        else:
            connection.transport.close()
