"""How many requests of a kind are answered at once and how many may wait for it; the others are told to come later.

Routes that read the log or write to it run in the server's one pool of 40 threads, whose queue has no end and no order:
200 promotions at once would make heartbeats wait until their runs are taken away. So every right has turnstiles of its
own, which together leave some threads free. Health needs none, for it is answered on the event loop; predictions have
their own bounds, where it is known what a model costs.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from api.access import ROUTES
from understudy.errors import TooMany

LONGEST_WAIT_S = 5.0
"""Half of the time after which most clients give up."""


@dataclass(frozen=True)
class Room:
    """For how many there is room."""

    inside: int
    waiting: int


#: Right, or name of a route that differs from the others of its right -> room. What is not here is let in.
ROOMS: Mapping[str, Room] = {
    "promote": Room(inside=4, waiting=12),
    "operate": Room(inside=4, waiting=12),
    "schedule": Room(inside=10, waiting=60),
    "register": Room(inside=4, waiting=8),
    "artifact": Room(inside=2, waiting=20),
    "read": Room(inside=6, waiting=62),
    "metrics": Room(inside=2, waiting=30),  # whoever watches must see it when reads are many, or wait for a locked log
    "records": Room(inside=2, waiting=22),
    "feedback": Room(inside=2, waiting=30),
    "labelled": Room(inside=2, waiting=20),
    "claim": Room(inside=64, waiting=0),  # waits on the event loop, up to 20 s, and takes a thread for moments
}

LABELS_AT_ONCE, LABELS_PER_S = 50_000, 5_000.0
"""Ten thousand labels cost a fifth of a second of computing, and more where their records are scattered: so they take
a quarter of a core from the predictions at most."""


class Turnstile:
    """Lets in so many at a time; used on the event loop only."""

    def __init__(self, name: str, room: Room) -> None:
        self._name, self._most = name, room.inside + room.waiting
        self._inside = asyncio.Semaphore(room.inside)
        self._here = 0

    @asynccontextmanager
    async def passed(self) -> AsyncIterator[None]:
        """Wait for a place, and hold it. Raises TooMany where too many wait already, or it takes too long."""
        if self._here >= self._most:
            raise too_many(self._name)
        self._here += 1
        try:
            await self._place()
            try:
                yield
            finally:
                self._inside.release()
        finally:
            self._here -= 1

    async def _place(self) -> None:
        try:
            async with asyncio.timeout(LONGEST_WAIT_S):
                await self._inside.acquire()
        except TimeoutError:
            raise too_many(self._name) from None


class Bucket:
    """Lets through so many of a thing a second, and `most` at once after a pause; used on the event loop only."""

    def __init__(self, name: str, *, most: int, per_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
        self._name, self._most, self._per_s, self._now_s = name, most, per_s, now_s
        self._left, self._at_s = float(most), now_s()

    def take(self, n: int) -> None:
        """Raises TooMany where there are not so many left; then none is taken."""
        now_s = self._now_s()
        self._left = min(self._most, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if n > self._left:
            raise TooMany(
                f"More {self._name} come than are taken: {self._per_s:,.0f} a second.",
                remedy="Come back after `Retry-After`; what was sent is all to be sent again.",
            )
        self._left -= n


class Admission:
    """The turnstiles of one process."""

    def __init__(self, rooms: Mapping[str, Room] = ROOMS) -> None:
        self._turnstiles = {name: Turnstile(name, room) for name, room in rooms.items()}
        self.labels = Bucket("labels", most=LABELS_AT_ONCE, per_s=LABELS_PER_S)

    def turnstile(self, route: str) -> Turnstile | None:
        """What a route is behind; None where that is nothing."""
        return self._turnstiles.get(route) or self._turnstiles.get(ROUTES.get(route, ""))


def too_many(name: str) -> TooMany:
    return TooMany(f"Too many requests of this kind ({name}) are waiting.", remedy="Come back after `Retry-After`.")
