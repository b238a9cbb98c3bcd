"""How many connections there is room for, and how those beyond are told.

Every connection is an open file, and a process has a limit of these. At the limit nothing works: no connection can be
accepted, not even to be refused, and no model or database can be opened. So room ends before: what the process itself
has open, and some files for what it opens later, are taken off. A few connections more are let in for health alone, so
that whoever watches the process can see that it lives; the next ones get a short 503.
"""

import resource
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from api.errors import problem, retry_after_s

SPARE_FILES = 24
"""For what is opened later: databases and their journals, a bundle, a trial with its pipes. At most a quarter of the
limit, for it may be small."""
FOR_HEALTH = 8
"""Connections beyond the room."""
HEALTH = frozenset({"/health", "/ready", "/metrics"})
LEAST = 4
FEW = 256
"""Connections among which counting the other files takes no time."""


class Crowd(ServerState):
    """The connections of a server."""

    def __init__(self) -> None:
        super().__init__()
        self._own_files = 0
        self.room = LEAST
        """Connections that get everything."""

    def look(self) -> None:
        """Count again; the limit may be changed from outside, and what the process has open grows with its use."""
        if len(self.connections) < FEW and (found := open_files()) is not None:
            self._own_files = found - len(self.connections)
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.room = room(limit, self._own_files)

    def has_room(self) -> bool:
        return len(self.connections) <= self.room

    def is_full(self) -> bool:
        return len(self.connections) > self.room + FOR_HEALTH

    def health_only(self, app: ASGIApp) -> ASGIApp:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] in HEALTH:
                await app(scope, receive, send)
                return
            later = {"Retry-After": str(retry_after_s())}
            refusal = problem(scope, 503, "crowded", "Too many connections are open.", "Come back later.", later)
            await refusal(scope, receive, send)

        return answer


def room(limit: int, own_files: int) -> int:
    """Connections that get everything, of a process that may open `limit` files."""
    if limit == resource.RLIM_INFINITY:
        limit = 2**20
    return max(limit - own_files - min(SPARE_FILES, limit // 4) - FOR_HEALTH, LEAST)


def open_files() -> int | None:
    """What this process has open; None where that cannot be seen, which takes a file too."""
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        return None
