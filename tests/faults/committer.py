"""A process that goes the whole way of a version: `python -m tests.faults.committer HOME`.

It does the steps of three: a promoter's, from the bytes of a bundle to the answer, and those of two workers that act on
the log and say where they stand. One line of its output acknowledges one step.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from api.journal import Journal
from tests.given import HERE, defined
from tests.tracing import MARK
from understudy import promotion, rollout
from understudy.adapters.folder_store import FolderStore
from understudy.adapters.sqlite_log import SqliteLog
from understudy.adapters.sqlite_pulse import SqlitePulse
from understudy.events import Event, VersionRegistered, VersionTried
from understudy.promotion import Wish
from understudy.rollout import Free, Prepare, Sign, Swap
from understudy.state import Registry

OLD, NEW = b"the bytes of the version that serves", b"the bytes of a better one"
KEY = "a key that is kept over a retry"


class Worker:
    """What a worker holds in memory, and what it pulses of it."""

    def __init__(self, name: str, store: FolderStore, pulse: SqlitePulse) -> None:
        self.name, self._store, self._pulse = name, store, pulse
        self.loaded: dict[int, bytes] = {}
        self.serves: dict[str, int] = {}
        self.answers: dict[str, bytes] = {}

    def look(self, state: Registry) -> None:
        """Do what the log says, and tell."""
        for step in rollout.steps(state, self.serves, self.loaded):
            match step:
                case Prepare(model, version, began):
                    self.loaded[began] = self._store.get(state.version(model, version).digest)
                case Swap(model, version, position, began):
                    spare = self.loaded.pop(began, None)
                    self.answers[model] = spare or self._store.get(state.version(model, version).digest)
                    self.serves[model] = position
                case Free(began):
                    del self.loaded[began]
        sign = Sign(
            worker=self.name, position=state.position, serves=self.serves, ready=frozenset(self.loaded)
        ).to_json()
        self._pulse.beat(f"worker/{self.name}", sign)


class Way:
    """The log, the store and the pulse of one home, and the steps on them."""

    def __init__(self, home: Path, acknowledge: Callable[[str], object] = lambda step: None) -> None:
        self._acknowledge = acknowledge
        self.store, self.pulse = FolderStore(home / "store"), SqlitePulse(home / "pulse.db")
        self.log = SqliteLog(home / "events.db")
        self.journal = Journal(self.log)
        self.workers = [Worker(name, self.store, self.pulse) for name in ("one", "two")]

    def go(self, data: bytes, key: str) -> None:
        """Bring `data` to serve under `key`; any step may have been done already."""
        self.define()
        digest = self.store.put(data)
        self._acknowledge("stored")
        version = self.register(digest)
        self._acknowledge("registered")
        self.journal.decide(lambda state, now: tried(state, version))
        self._acknowledge("tried")
        self.promote(version, key)
        self._acknowledge("promoted")

    def register(self, digest: str) -> str:
        def decide(state: Registry, now: object) -> list[Event]:
            number = str(state.model("rain").version_count + 1)
            new = VersionRegistered(
                model="rain", version=number, digest=digest, size=1, summary={}, run=None, by="operator"
            )
            return [] if ("rain", digest) in state.digests else [new]

        return self.journal.decide(decide).digests["rain", digest]

    def promote(self, version: str, key: str) -> None:
        wish = Wish(model="rain", version=version, key=key, by="operator", how="override", reason="a test")
        state = self.journal.decide(lambda state, now: promotion.start(state, wish, now, HERE))
        self._acknowledge("started")
        pending = state.models["rain"].pending
        if pending is not None:
            self.look()
            assert rollout.readiness(self.signs(), pending.position).complete
            self.journal.decide(lambda state, now: promotion.commit(state, "rain", key, now, HERE))
            self._acknowledge("committed")
        self.look()
        done = promotion.done(self.journal.state.models["rain"], key)
        assert done is not None
        assert rollout.behind(self.signs(), "rain", done.position) == ()

    def look(self) -> None:
        state = self.journal.catch_up()
        for worker in self.workers:
            worker.look(state)

    def signs(self) -> list[Sign]:
        beats = self.pulse.read().items()
        return [Sign.from_json(who.removeprefix("worker/"), beat.state) for who, beat in beats]

    def define(self) -> None:
        self.journal.decide(lambda state, now: [] if "rain" in state.models else [defined()])

    def close(self) -> None:
        for port in (self.log, self.pulse):
            port.close()


def tried(state: Registry, version: str) -> list[Event]:
    found = state.version("rain", version)
    trial = VersionTried(
        model="rain", version=version, digest=found.digest, environment=HERE, passed=True, reason="", report={},
        against=None,
    )  # fmt: skip
    return [] if HERE in found.trials else [trial]


def say(step: str) -> None:
    os.write(1, f"{step}\n".encode())


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def main(home: str) -> None:
    MARK.exists()
    way = Way(Path(home), say)
    way.go(NEW, KEY)
    way.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
