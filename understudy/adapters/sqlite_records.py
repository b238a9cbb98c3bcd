"""Prediction records in a SQLite file of their own."""

import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from threading import Lock

from understudy.adapters import sqlite
from understudy.errors import NotFound
from understudy.events import moment, timestamp
from understudy.ports import Prediction

INSERT = """
INSERT OR IGNORE INTO predictions (id, time, model, version, row_values, answer, latency_ms, role)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
ONE = "SELECT id, time, model, version, row_values, answer, latency_ms, role FROM predictions WHERE id = ?"
ENDS = "SELECT min(number), max(number) FROM predictions"
YOUNG = "SELECT min(number) FROM predictions WHERE number < ? AND time >= ?"
TRIM_BELOW = "DELETE FROM predictions WHERE number < ?"
TRIM_OLDEST = "DELETE FROM predictions WHERE number IN (SELECT number FROM predictions ORDER BY number LIMIT ?)"


class SqliteRecords:
    """`ports.Records` on one SQLite file."""

    def __init__(self, path: Path) -> None:
        self._db, self._lock = sqlite.connect(path, "records"), Lock()

    def append(self, predictions: Sequence[Prediction]) -> None:
        rows = [
            (p.id, timestamp(p.time), p.model, p.version, p.rows, p.answer, p.latency_ms, p.role) for p in predictions
        ]
        with self._lock, sqlite.writing(self._db):
            self._db.executemany(INSERT, rows)

    def get(self, prediction_id: str) -> Prediction:
        with self._lock, sqlite.storage_errors():
            row = self._db.execute(ONE, (prediction_id,)).fetchone()
        if row is None:
            raise NotFound(
                "No prediction with that id is on record.",
                remedy="Use the `prediction_id` of an answer; records are trimmed by age and size.",
            )
        id, time, *rest = row
        return Prediction(id, moment(time), *rest)

    def count(self) -> int:
        with self._lock, sqlite.storage_errors():
            return int(self._db.execute("SELECT count(*) FROM predictions").fetchone()[0])

    def trim(self, *, before: datetime, max_bytes: int, share: float = 1.0) -> int:
        with self._lock, sqlite.writing(self._db):
            return self._trim_old(timestamp(before), share) + self._trim_to(max_bytes)

    def _trim_old(self, before: str, share: float) -> int:
        """Drop old records from the front; one that is not old keeps those behind it."""
        first, last = self._db.execute(ENDS).fetchone()
        if first is None:
            return 0
        end = first + max(1, math.ceil(share * (last - first + 1)))
        (young,) = self._db.execute(YOUNG, (end, before)).fetchone()
        return self._db.execute(TRIM_BELOW, (end if young is None else young,)).rowcount

    def _trim_to(self, max_bytes: int) -> int:
        """Drop the oldest tenth until the pages in use fit."""
        gone = 0
        while self._bytes_in_use() > max_bytes and (left := self._rows()):
            gone += self._db.execute(TRIM_OLDEST, (max(1, left // 10),)).rowcount
        return gone

    def _bytes_in_use(self) -> int:
        pages, free, size = (
            int(self._db.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def _rows(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM predictions").fetchone()[0])

    def close(self) -> None:
        with self._lock:
            self._db.close()
