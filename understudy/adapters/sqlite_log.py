"""The event log in a SQLite file."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock

from understudy.adapters import sqlite
from understudy.errors import ConcurrentAppend, LogTampered
from understudy.events import GENESIS, Event, Recorded, chain, decode, encode, moment, timestamp

LAST = "SELECT position, time, hash FROM events ORDER BY position DESC LIMIT 1"
AFTER = "SELECT position, time, kind, schema, data, hash FROM events WHERE position > ? ORDER BY position LIMIT ?"
AT = "SELECT hash FROM events WHERE position = ?"
INSERT = "INSERT INTO events (position, time, kind, schema, data, hash) VALUES (?, ?, ?, ?, ?, ?)"


def wall_clock() -> datetime:
    return datetime.now(UTC)


class SqliteLog:
    """`ports.EventLog` on one SQLite file, for any number of threads and processes.

    It remembers position and hash of the newest event it has seen: a log that does not extend it has been
    tampered with, or is another file under the same name.
    """

    def __init__(self, path: Path, *, clock: Callable[[], datetime] = wall_clock) -> None:
        self._path, self._clock, self._lock = path, clock, RLock()
        self._db = sqlite.connect(path, "events")
        self._inode = path.stat().st_ino
        self._seen: tuple[int, str] = (0, GENESIS)
        self._unchanged: tuple[int, int] | None = None

    def append(self, *events: Event, expect: int | None = None) -> list[Recorded]:
        with self._lock:
            self._check_file()
            with sqlite.writing(self._db):
                position, time, hash = self._last()
                self._check_extends(position, hash)
                if expect is not None and position != expect:
                    raise ConcurrentAppend(
                        f"The log is at position {position}, not {expect}.", remedy="Read on, fold, and decide again."
                    )
                added = list(self._rows(events, position, time, hash))
                with sqlite.storage_errors():
                    self._db.executemany(INSERT, [row for row, _ in added])
            recorded = [entry for _, entry in added]
            if recorded:
                self._seen = (recorded[-1].position, recorded[-1].hash)
            return recorded

    def _rows(
        self, events: tuple[Event, ...], position: int, last: str, hash: str
    ) -> Iterator[tuple[tuple[object, ...], Recorded]]:
        time = max(timestamp(self._clock()), last)
        for event in events:
            position, data = position + 1, encode(event)
            hash = chain(hash, position=position, time=time, kind=event.kind, schema=event.schema, data=data)
            # Decoding what was just encoded: a fact that could not be read back must never be written.
            entry = Recorded(position, moment(time), decode(event.kind, event.schema, data, position=position), hash)
            yield (position, time, event.kind, event.schema, data, hash), entry

    def read(self, *, after: int = 0, limit: int | None = None) -> Iterator[Recorded]:
        with self._lock:
            self._check_file()
            if self._nothing_after(after):
                return
            with sqlite.storage_errors():
                previous = self._hash_at(after)
                rows = self._db.execute(AFTER, (after, -1 if limit is None else limit)).fetchall()
            entries = list(verified(rows, after, previous))
            if entries and entries[-1].position >= self._seen[0]:
                self._check_passes_seen(entries)
                self._seen = (entries[-1].position, entries[-1].hash)
        yield from entries

    def head(self) -> tuple[int, str]:
        with self._lock:
            self._check_file()
            with sqlite.storage_errors():
                position, _, hash = self._last()
            self._check_extends(position, hash)
            return position, hash

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _last(self) -> tuple[int, str, str]:
        return self._db.execute(LAST).fetchone() or (0, "", GENESIS)

    def _hash_at(self, position: int) -> str:
        if position == 0:
            return GENESIS
        row = self._db.execute(AT, (position,)).fetchone()
        if row is None:
            raise tampered(f"has no event {position}")
        return str(row[0])

    def _nothing_after(self, after: int) -> bool:
        """Ask SQLite's own change counter (2 µs) before asking for rows."""
        with sqlite.storage_errors():
            version = int(self._db.execute("PRAGMA data_version").fetchone()[0])
        unchanged = self._unchanged == (version, self._seen[0]) and after >= self._seen[0] > 0
        self._unchanged = (version, self._seen[0])
        return unchanged

    def _check_file(self) -> None:
        """A file that was deleted or replaced is still open here, and would swallow facts."""
        try:
            same = self._path.stat().st_ino == self._inode
        except OSError:
            same = False
        if not same:
            raise tampered("is no longer the file that was opened")

    def _check_extends(self, position: int, hash: str) -> None:
        """Raise unless the event that was seen last is still in its place."""
        seen, seen_hash = self._seen
        with sqlite.storage_errors():
            there = hash if position == seen else self._hash_at(seen)
        if position < seen or there != seen_hash:
            raise tampered(f"no longer holds event {seen} as it was read")

    def _check_passes_seen(self, entries: list[Recorded]) -> None:
        seen, seen_hash = self._seen
        first = entries[0].position
        if first <= seen and entries[seen - first].hash != seen_hash:
            raise tampered(f"no longer holds event {seen} as it was read")


def verified(rows: list[tuple[int, str, str, int, str, str]], after: int, previous: str) -> Iterator[Recorded]:
    """Yield rows as events, each checked: numbered without a gap, and chained to the row before."""
    for position, time, kind, schema, data, hash in rows:
        after += 1
        if position != after:
            raise tampered(f"jumps from event {after - 1} to {position}")
        if chain(previous, position=position, time=time, kind=kind, schema=schema, data=data) != hash:
            raise tampered(f"was changed at event {position}")
        previous = hash
        yield Recorded(position, moment(time), decode(kind, schema, data, position=position), hash)


def tampered(what: str) -> LogTampered:
    return LogTampered(
        f"The event log {what}.",
        remedy="Nothing more is written to it. Keep the file, run `understudy verify log`, and restore a backup.",
    )
