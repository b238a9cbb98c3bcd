"""Losses of a pair on labelled predictions, beside the records."""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from understudy.adapters import sqlite
from understudy.errors import Conflict
from understudy.ports import ScoredRow

UNTIL = "SELECT cursor FROM scored_until WHERE model = ? AND pair = ?"
NEWEST = "SELECT pair FROM scored_until WHERE model = ?"
COME_TO = "INSERT OR REPLACE INTO scored_until (model, pair, cursor) VALUES (?, ?, ?)"
FORGET = "DELETE FROM scored WHERE model = ? AND pair < ?"
COUNT = "SELECT count(*) FROM scored WHERE model = ? AND pair = ?"
INSERT = "INSERT INTO scored (model, pair, place, id, serving, other) VALUES (?, ?, ?, ?, ?, ?)"
READ = "SELECT id, serving, other FROM scored WHERE model = ? AND pair = ? AND place >= ? ORDER BY place"


class SqliteScores:
    """`ports.Scores` on the file of the records."""

    def __init__(self, path: Path, *, wait_s: float = sqlite.WAIT_S) -> None:
        """`wait_s`: how long a statement waits for another process's lock."""
        self._db, self._lock = sqlite.connect(path, "records", wait_s=wait_s), Lock()

    def cursor(self, model: str, pair: int) -> str | None:
        with self._lock, sqlite.storage_errors():
            found = self._db.execute(UNTIL, (model, pair)).fetchone()
        return None if found is None else str(found[0])

    def add(self, model: str, pair: int, *, after: str | None, until: str, rows: Sequence[ScoredRow]) -> None:
        with self._lock, sqlite.writing(self._db):
            newest = self._db.execute(NEWEST, (model,)).fetchone()
            found = self._db.execute(UNTIL, (model, pair)).fetchone()
            if (None if found is None else found[0]) != after or (newest is not None and newest[0] > pair):
                raise Conflict(
                    "Somebody else has scored these rows meanwhile.",
                    remedy="Ask where it stands, and go on from there.",
                )
            self._db.execute(FORGET, (model, pair))
            (count,) = self._db.execute(COUNT, (model, pair)).fetchone()
            numbered = [(model, pair, count + i, *row) for i, row in enumerate(rows)]
            self._db.executemany(INSERT, numbered)
            self._db.execute(COME_TO, (model, pair, until))

    def read(self, model: str, pair: int, *, since: int = 0) -> list[ScoredRow]:
        with self._lock, sqlite.storage_errors():
            return self._db.execute(READ, (model, pair, since)).fetchall()

    def close(self) -> None:
        with self._lock:
            self._db.close()
