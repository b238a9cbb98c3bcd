"""Small things that tests of several kinds begin with: facts, a log in memory, and the places that adapters live in."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Any, Protocol

from understudy.adapters.sqlite_log import SqliteLog, wall_clock
from understudy.events import (
    GENESIS,
    Event,
    ModelDefined,
    Recorded,
    Role,
    SlotSkipped,
    VerdictReached,
    VersionRegistered,
    VersionTried,
    chain,
    encode,
    timestamp,
)
from understudy.ports import EventLog
from understudy.registry import fold
from understudy.state import Registry

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
HERE = "libraries-of-today"
"""A fingerprint of an environment."""


def fact(slot: str, *, model: str = "rain") -> SlotSkipped:
    """The smallest fact: it needs nothing before it."""
    return SlotSkipped(model=model, job="train", slot=slot, reason="a test says so")


def defined(model: str = "rain", *, mode: str = "auto", every_s: int = 60) -> ModelDefined:
    definition = {"name": model, "promotion": {"mode": mode}, "schedule": {"every_s": every_s}}
    return ModelDefined(model=model, definition=definition, source_digest="5" * 64, by="scheduler")


def registered(version: str, *, model: str = "rain", run: str | None = None) -> VersionRegistered:
    digest = f"{int(version):064x}"
    return VersionRegistered(
        model=model, version=version, digest=digest, size=1000, summary={}, run=run, by="scheduler"
    )


def tried(version: str, *, model: str = "rain", passed: bool = True, environment: str = HERE) -> VersionTried:
    return VersionTried(
        model=model,
        version=version,
        digest=f"{int(version):064x}",
        environment=environment,
        passed=passed,
        reason="" if passed else "it answered NaN",
        report={},
        against=None,
    )


def judged(
    version: str,
    *,
    model: str = "rain",
    champion: str | None = None,
    passed: bool = True,
    until: str | int | None = None,
    profile: str | None = None,
) -> VerdictReached:
    return VerdictReached(
        model=model,
        version=version,
        champion=champion,
        evidence="e" * 64,
        verdict={},
        facts={},
        until=until,
        profile=profile,
        passed=passed,
    )


@dataclass
class History:
    """A log in memory, for the core: it numbers and chains as a real one does, and keeps the state beside."""

    now: datetime = NEW_YEAR
    entries: list[Recorded] = field(default_factory=list)
    state: Registry = field(default_factory=Registry)

    def add(self, *events: Event) -> Registry:
        """Append `events` at `now` and return the state after them."""
        for event in events:
            self.entries.append(self._recorded(event))
            self.state = fold(self.entries[-1:], self.state)
        return self.state

    def wait(self, **duration: float) -> datetime:
        """Let time pass: `wait(seconds=60)`."""
        self.now += timedelta(**duration)
        return self.now

    def kinds(self) -> list[str]:
        return [entry.event.kind for entry in self.entries]

    def _recorded(self, event: Event) -> Recorded:
        position = len(self.entries) + 1
        before = self.entries[-1].hash if self.entries else GENESIS
        time = timestamp(self.now)
        data = encode(event)
        link = chain(before, position=position, time=time, kind=event.kind, schema=event.schema, data=data)
        return Recorded(position, self.now, event, link)


def candidate(history: History, version: str, *, model: str = "rain", **verdict: Any) -> Registry:
    """Register a version, try it here, and judge it against the champion of the moment."""
    champion = history.state.models[model].champion if model in history.state.models else None
    verdict = {"champion": champion, **verdict}
    return history.add(
        registered(version, model=model), tried(version, model=model), judged(version, model=model, **verdict)
    )


ROLES: tuple[Role, ...] = ("client", "scheduler", "operator")


class LogSite(Protocol):
    """Where an adapter keeps one log."""

    address: str
    """What `open_log` opens, in any process."""

    def open(self, clock: Callable[[], datetime] = wall_clock) -> EventLog: ...

    def doctor(self, statement: str, values: Iterable[object] = ()) -> None:
        """Change what is stored behind the log's back, as somebody with access to the database can."""


class SqliteSite:
    """A log in a SQLite file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "events.db"
        self.address = f"sqlite:///{self.file}"

    def open(self, clock: Callable[[], datetime] = wall_clock) -> EventLog:
        return SqliteLog(self.file, clock=clock)

    def doctor(self, statement: str, values: Iterable[object] = ()) -> None:
        with closing(sqlite3.connect(self.file)) as db, db:
            db.execute("DROP TRIGGER IF EXISTS events_are_never_changed")
            db.execute("DROP TRIGGER IF EXISTS events_are_never_removed")
            db.execute(statement, tuple(values))


def open_log(address: str) -> EventLog:
    """The log at an address, in a child process of a test."""
    return SqliteLog(Path(address.removeprefix("sqlite:///")))


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """Do `work` again and again in another thread, for as long as the block takes."""
    over = Flag()

    def again() -> None:
        while not over.is_set():
            work()

    thread = Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
