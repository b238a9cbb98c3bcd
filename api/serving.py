"""The serving table: which version answers for each model, and how one takes the place of another.

A swap is one assignment of a dictionary, after the new version has been loaded and questioned beside the old one. A
request keeps the version that it began with. What was replaced waits in `leaving` until its last request has gone; then
a thread frees it, so that no request ever pays for it.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

from api.breaker import Breaker, Breakers
from api.cost import FULL, Cost, measured
from api.gather import Gather
from api.lane import Lane
from api.mark import Marks
from api.wording import NUMBERS_AT_ONCE, Wording
from understudy.adapters.bundle import unpack
from understudy.adapters.memory import give_back
from understudy.adapters.runtime import Runtime, open_bundle
from understudy.errors import BundleRefused, Conflict, ModelFailed, NotFinite, NotFound, NothingServes
from understudy.ports import ArtifactStore
from understudy.rows import RowDecoder
from understudy.signature import Signature
from understudy.state import Version

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_EVERY_S = 0.05
BEGUN_WITHIN_S = 0.1
"""Whoever found a version just before it was replaced is counted among its requests by then."""


Head = tuple[bytes, bytes, bytes]
"""Of an answer, as `api/fast.py` writes it: up to its length, up to its id, and to the end."""


Refusals = tuple[object, list[list[bytes]]]
"""The default headers of a second, and some answers that refuse, cut where an id stands."""


class Served:
    """One loaded version and how many requests it is answering."""

    def __init__(
        self, model: str, version: str, runtime: Runtime, *, cost: Cost, loop_limit_s: float, breaker: Breaker
    ) -> None:
        self.breaker = breaker
        self.model, self.version, self.runtime, self.cost = model, version, runtime, cost
        self.signature = runtime.signature
        self.decoder = RowDecoder(runtime.signature)
        self.wording = Wording(runtime.signature, model=model, version=version)
        self._loop_limit_s = loop_limit_s
        self._shares = cost.of(FULL) <= loop_limit_s
        self.gather: Gather | None = None
        self.lane: Lane | None = None
        self.named = (b"model-version", version.encode())
        """The header of its answers."""
        self.head: Head = (b"", b"", b"")
        """Good with the default headers that it was written for."""
        self.head_for: object = None
        self.refusals: dict[str, Refusals] = {}
        """By the reason, each good with the default headers that it was written for."""
        self.in_flight = 0
        """Changed on the event loop only."""

    def is_quick(self, rows: int) -> bool:
        """Whether the event loop may wait for a call of so many rows, and for what is read and written around it."""
        return self._shares if rows <= FULL else self.is_short(rows) and self.cost.of(rows) <= self._loop_limit_s

    def is_short(self, rows: int) -> bool:
        """Whether so many rows are read, and their answer is written, in about a millisecond."""
        width = max(len(self.signature.columns), len(self.signature.classes or ()))
        return rows * width <= NUMBERS_AT_ONCE

    def share_s(self, rows: int) -> float:
        """What a request of so many rows adds to the calls that it waits for: many of one row share a call."""
        return max(self.cost.of(FULL) / FULL * rows, self.cost.of(rows) if rows > FULL else 0.0)

    def call(self, rows: Any, options: Any = None, *, shared: bool = False) -> Any:
        """Ask the model; every call of every way passes here. Takes, gives and raises what `Runtime.run` does.

        Raises ModelUnhealthy where it must not be asked.

        Args:
            shared: of several requests, which are asked one by one where this fails: only then is it counted whose.
        """
        breaker = self.breaker
        call = breaker.enter()
        try:
            return self.runtime.run(rows, options)
        except ModelFailed as error:
            given_up = options is not None and options.terminate  # counted by whoever did
            if call[0] or not (shared or given_up):
                breaker.failed(call[0], not_finite=isinstance(error, NotFinite))
            raise
        finally:
            breaker.leave(call)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Keep this version in memory for one request."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def close(self) -> None:
        """Nobody asks any more: let go of those who hold this, or only the collector of cycles would ever free it."""
        lane, self.lane, self.gather = self.lane, None, None
        if lane is not None:
            lane.close()


Leaving = tuple[float, Served]
"""Since when (s, monotonic), and what."""


class ServingTable:
    """Readers take `get`, which never waits; whoever changes the table waits for whoever is changing it."""

    def __init__(
        self, store: ArtifactStore, *, loop_limit_s: float, default_model: str, breakers: Breakers | None = None
    ) -> None:
        self._breakers = breakers or Breakers(Marks(None, "nobody"))
        self._store, self._loop_limit_s, self._default_model = store, loop_limit_s, default_model
        self._live: Mapping[str, Served] = {}
        self.doors: Mapping[bytes, Served] = {}
        """Target of a request -> the version that answers it."""
        self.serves: Mapping[str, int] = {}
        """Model -> position of the promotion whose version answers."""
        self.swaps: Mapping[str, int] = {}
        """Model -> how many versions have been put on in this process."""
        self.outdated: frozenset[str] = frozenset()
        """Models of which the log names a newer champion, which is being loaded: their requests wait."""
        self.lacks: Mapping[str, str] = {}
        """Model -> why its champion cannot be loaded; nothing older answers in its place."""
        self._lock = Lock()
        self._leaving: SimpleQueue[Served | None] = SimpleQueue()
        self._usher = Thread(target=self._free, name="leaving", daemon=True)
        self._usher.start()

    def get(self, model: str) -> Served:
        try:
            return self._live[model]
        except KeyError:
            raise self._nothing(model) from None

    def _nothing(self, model: str) -> NothingServes:
        if (why := self.lacks.get(model)) is not None:
            return NothingServes(why, remedy="Ask again: it is tried every few seconds; see GET /ready.")
        return NothingServes(
            f"No version of {model[:64]!a} serves yet.",
            remedy="Wait for its first promotion; see GET /runs, or promote a version.",
        )

    def versions(self) -> Mapping[str, str]:
        return {model: served.version for model, served in self._live.items()}

    def queues(self) -> Mapping[str, int]:
        """Model -> requests that wait in its lane; without those that have none."""
        return {model: served.lane.waiting for model, served in self._live.items() if served.lane is not None}

    def signature(self, version: Version) -> Signature:
        """What a version takes and gives, from its bundle; no model is loaded. Raises Conflict as `prepare` does."""
        with loadable(version):
            return unpack(self._store.get(version.digest), digest=version.digest).signature

    def prepare(self, version: Version) -> Served:
        """Load a version beside whatever serves, and let it answer its golden rows.

        Raises Conflict where its stored bytes are gone, changed or no longer load; StorageUnavailable as it is.
        """
        with loadable(version):
            data = self._store.get(version.digest)
            runtime = open_bundle(data, digest=version.digest, trees=version.registered_by == "scheduler")
            runtime.check_golden()
        breaker = self._breakers.of(version.model, version.id)
        cost = measured(runtime)
        return Served(version.model, version.id, runtime, cost=cost, loop_limit_s=self._loop_limit_s, breaker=breaker)

    def swap(self, served: Served, position: int) -> None:
        """Let `served` answer from now on, unless a later promotion (by log position) does already."""
        with self._lock:
            if self.serves.get(served.model, 0) >= position:
                return
            old = self._live.get(served.model)
            self._live = {**self._live, served.model: served}
            self.doors = self._doors()
            self.serves = {**self.serves, served.model: position}
            self.swaps = {**self.swaps, served.model: self.swaps.get(served.model, 0) + 1}
            self.lacks = without(self.lacks, served.model)
        self._leave(old)
        log.info(
            "version %s of %s serves",
            served.version,
            served.model,
            extra={"action": "swapped", "model": served.model, "version": served.version, "position": position},
        )

    def withhold(self, model: str, why: str) -> None:
        """Answer nothing for a model whose champion cannot be loaded: an older version must not speak for it."""
        with self._lock:
            old = self._live.get(model)
            self._live, self.serves = without(self._live, model), without(self.serves, model)
            self.doors = self._doors()
            self.lacks = {**self.lacks, model: why}
        self._leave(old)
        log.error("%s", why, extra={"action": "champion_not_loaded", "model": model})

    def _doors(self) -> Mapping[bytes, Served]:
        doors = {f"/models/{model}/predict".encode(): served for model, served in self._live.items()}
        if (default := self._live.get(self._default_model)) is not None:
            doors[b"/predict"] = default
        return doors

    def _leave(self, old: Served | None) -> None:
        if old is not None:
            self._leaving.put(old)

    def close(self) -> None:
        self._leaving.put(None)
        self._usher.join()
        for served in self._live.values():
            served.close()

    def _free(self) -> None:
        """Drop replaced versions once their last request has left; wait briefly between looks."""
        leaving: list[Leaving] = []
        stop = False
        while not (stop and not leaving):
            stop = self._admit(leaving) or stop
            if let_go(leaving, all_of_them=stop):
                give_back()

    def _admit(self, leaving: list[Leaving]) -> bool:
        """Take one more replaced version; while some still answer, look again every 50 ms."""
        try:
            served = self._leaving.get(timeout=LOOK_EVERY_S if leaving else None)
        except Empty:
            return False
        if served is None:
            return True
        leaving.append((time.monotonic(), served))
        return False


def let_go(leaving: list[Leaving], *, all_of_them: bool) -> bool:
    """Close and drop whatever answers nobody, or all; True where there was any."""
    now_s = time.monotonic()
    left = [
        (since_s, served)
        for since_s, served in leaving
        if all_of_them or (not served.in_flight and now_s - since_s >= BEGUN_WITHIN_S)
    ]
    for one in left:
        one[1].close()
        leaving.remove(one)
    return bool(left)


def without(mapping: Mapping[str, T], name: str) -> Mapping[str, T]:
    return {key: value for key, value in mapping.items() if key != name}


@contextmanager
def loadable(version: Version) -> Iterator[None]:
    """Raise Conflict where the bytes of `version` are gone, changed or no longer load."""
    try:
        yield
    except (BundleRefused, NotFound) as error:
        raise Conflict(
            f"Version {version.id} of {version.model} cannot be loaded: {error.problem}", remedy=error.remedy
        ) from error
