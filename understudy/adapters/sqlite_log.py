"""The event log in a SQLite file."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Any

from understudy.adapters import sqlite
from understudy.errors import ConcurrentAppend, LogTampered
from understudy.events import GENESIS, Event, Recorded, chain, decode, encode, moment, timestamp

LAST = "SELECT max(position) FROM events"
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

    def __init__(
        self, path: Path, *, clock: Callable[[], datetime] = wall_clock, wait_s: float = sqlite.WAIT_S
    ) -> None:
        """`wait_s`: how long one call waits for other processes."""
        self._path, self._clock, self._lock = path, clock, RLock()
        self._db = sqlite.connect(path, "events", wait_s=wait_s)
        self._file = identity(path)
        self._seen: tuple[int, str] = (0, GENESIS)
        self._end: tuple[int, int] | None = None
        """Data version, and the position after which there was nothing at that version."""

    def append(self, *events: Event, expect: int | None = None, now: datetime | None = None) -> list[Recorded]:
        with self._lock:
            self._check_file()
            self._end = None  # the data version counts only what others change
            with sqlite.writing(self._db):
                self._check_seen()
                position, time, hash = self._last()
                if expect is not None and position != expect:
                    raise ConcurrentAppend(
                        f"The log is at position {position}, not {expect}.", remedy="Read on, fold, and decide again."
                    )
                added = list(self._rows(events, max(timestamp(now or self._clock()), time), position, hash))
                self._db.executemany(INSERT, [row for row, _ in added])
            recorded = [entry for _, entry in added]
            if recorded:
                self._seen = (recorded[-1].position, recorded[-1].hash)
            return recorded

    def _rows(
        self, events: tuple[Event, ...], time: str, position: int, hash: str
    ) -> Iterator[tuple[tuple[object, ...], Recorded]]:
        for event in events:
            position, data = position + 1, encode(event)
            hash = chain(hash, position=position, time=time, kind=event.kind, schema=event.schema, data=data)
            # Decoding what was just encoded: a fact that could not be read back must never be written.
            entry = Recorded(position, moment(time), decode(event.kind, event.schema, data, position=position), hash)
            yield (position, time, event.kind, event.schema, data, hash), entry

    def read(self, *, after: int = 0, limit: int | None = None) -> Iterator[Recorded]:
        with self._lock:
            self._check_file()
            version = self._data_version()
            if self._end == (version, after):
                return
            with sqlite.storage_errors():
                self._check_seen()
                previous = self._hash_at(after)
                rows = self._db.execute(AFTER, (after, -1 if limit is None else limit)).fetchall()
            entries = list(verified(rows, after, previous))
            last = (entries[-1].position, entries[-1].hash) if entries else (after, previous)
            self._seen = max(self._seen, last)
            if limit is None:
                self._end = (version, last[0])
        yield from entries

    def head(self) -> tuple[int, str]:
        with self._lock:
            self._check_file()
            with sqlite.storage_errors():
                self._check_seen()
                position, _, hash = self._last()
            return position, hash

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _last(self) -> tuple[int, str, str]:
        """Position, time and hash of the last row, which is checked too: the next one is built on it."""
        position = self._db.execute(LAST).fetchone()[0]
        if position is None:
            return 0, "", GENESIS
        rows = self._db.execute(AFTER, (position - 1, 1)).fetchall()
        (last,) = verified(rows, position - 1, self._hash_at(position - 1))
        return last.position, timestamp(last.time), last.hash

    def _hash_at(self, position: int) -> str:
        if position == 0:
            return GENESIS
        row = self._db.execute(AT, (position,)).fetchone()
        if row is None:
            raise tampered(f"has no event {position}")
        return str(row[0])

    def _data_version(self) -> int:
        """SQLite's own counter of what others changed: asking it (2 µs) is cheaper than asking for rows."""
        with sqlite.storage_errors():
            return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def _check_file(self) -> None:
        """A file that was deleted or replaced is still open here, and would swallow facts."""
        try:
            same = identity(self._path) == self._file
        except OSError:
            same = False
        if not same:
            raise tampered("is no longer the file that was opened")

    def _check_seen(self) -> None:
        """Raise unless the event that was seen last is still in its place."""
        position, hash = self._seen
        if self._hash_at(position) != hash:
            raise tampered(f"no longer holds event {position} as it was read")


def identity(path: Path) -> tuple[int, int]:
    """What tells a file from another one of the same name, also on another volume."""
    found = path.stat()
    return found.st_dev, found.st_ino


def verified(rows: list[tuple[int, Any, Any, int, Any, str]], after: int, previous: str) -> Iterator[Recorded]:
    """Yield rows as events, each checked: numbered without a gap, and chained to the row before.

    `Any`: a flipped bit makes other types of what was text.
    """
    for position, time, kind, schema, data, hash in rows:
        after += 1
        if position != after:
            raise tampered(f"jumps from event {after - 1} to {position}")
        is_text = all(isinstance(value, str) for value in (time, kind, data))
        if not is_text or chain(previous, position=position, time=time, kind=kind, schema=schema, data=data) != hash:
            raise tampered(f"was changed at event {position}")
        previous = hash
        yield Recorded(position, moment(time), decode(kind, schema, data, position=position), hash)


def tampered(what: str) -> LogTampered:
    return LogTampered(
        f"The event log {what}.",
        remedy="Nothing more is written to it. Keep the file, run `understudy verify log`, and restore a backup.",
    )
