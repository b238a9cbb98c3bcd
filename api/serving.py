"""The serving table: which version answers for each model, and how one takes the place of another.

A swap is one assignment of a dictionary, after the new version has been loaded and questioned beside the old one. A
request keeps the version that it began with. What was replaced waits in `leaving` until its last request has gone; then
a thread frees it, so that no request ever pays for it.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import TypeVar

from understudy.adapters.bundle import unpack
from understudy.adapters.runtime import Runtime, open_bundle
from understudy.errors import BundleRefused, Conflict, NotFound, NothingServes
from understudy.ports import ArtifactStore
from understudy.rows import RowDecoder
from understudy.signature import Signature
from understudy.state import Version

log = logging.getLogger(__name__)

T = TypeVar("T")


class Served:
    """One loaded version and how many requests it is answering."""

    def __init__(self, model: str, version: str, runtime: Runtime) -> None:
        self.model, self.version, self.runtime = model, version, runtime
        self.decoder = RowDecoder(runtime.signature)
        self.in_flight = 0
        """Changed on the event loop only."""

    @contextmanager
    def request(self) -> Iterator[None]:
        """Keep this version in memory for one request."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1


class ServingTable:
    """Readers take `get`, which never waits; whoever changes the table waits for whoever is changing it."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._live: Mapping[str, Served] = {}
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
        return Served(version.model, version.id, runtime)

    def swap(self, served: Served, position: int) -> None:
        """Let `served` answer from now on, unless a later promotion (by log position) does already."""
        with self._lock:
            if self.serves.get(served.model, 0) >= position:
                return
            old = self._live.get(served.model)
            self._live = {**self._live, served.model: served}
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
            self.lacks = {**self.lacks, model: why}
        self._leave(old)
        log.error("%s", why, extra={"action": "champion_not_loaded", "model": model})

    def _leave(self, old: Served | None) -> None:
        if old is not None:
            self._leaving.put(old)

    def close(self) -> None:
        self._leaving.put(None)
        self._usher.join()

    def _free(self) -> None:
        """Drop replaced versions once their last request has left; wait briefly between looks."""
        leaving: list[Served] = []
        stop = False
        while not (stop and not leaving):
            stop = self._admit(leaving) or stop
            leaving = [served for served in leaving if served.in_flight and not stop]

    def _admit(self, leaving: list[Served]) -> bool:
        """Take one more replaced version; while some still answer, look again every 50 ms."""
        try:
            served = self._leaving.get(timeout=0.05 if leaving else None)
        except Empty:
            return False
        if served is None:
            return True
        leaving.append(served)
        return False


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
