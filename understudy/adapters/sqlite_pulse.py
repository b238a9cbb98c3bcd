"""Signs of life in a SQLite file that need not survive a power loss."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from sqlite3 import Connection
from threading import Lock
from typing import Any, TypeVar

from understudy.adapters import sqlite
from understudy.errors import StorageUnavailable
from understudy.ports import Beat

T = TypeVar("T")

WAIT_S = 1.0
"""How long a sign of life waits for others; the next one comes soon."""

MOVED = "SQLITE_READONLY_DBMOVED"
"""The file was removed, or another one took its name."""
DAMAGED = ("SQLITE_NOTADB", "SQLITE_CORRUPT")
BEAT = """
INSERT INTO pulse (who, counter, state) VALUES (?, 1, ?)
ON CONFLICT (who) DO UPDATE SET counter = counter + 1, state = excluded.state
"""


class SqlitePulse:
    """`ports.Pulse` on one SQLite file, with `synchronous=OFF`. A file that is damaged or gone begins anew."""

    def __init__(self, path: Path) -> None:
        self._path, self._db, self._lock = path, connect(path), Lock()

    def beat(self, who: str, state: Mapping[str, Any]) -> None:
        self._do(lambda db: db.execute(BEAT, (who, json.dumps(state))))

    def read(self) -> Mapping[str, Beat]:
        rows = self._do(lambda db: db.execute("SELECT who, counter, state FROM pulse").fetchall())
        return {who: Beat(counter, json.loads(state)) for who, counter, state in rows}

    def forget(self, who: Iterable[str]) -> None:
        names = [(name,) for name in who]
        self._do(lambda db: db.executemany("DELETE FROM pulse WHERE who = ?", names))

    def forget_unmoved(self, beats: Mapping[str, Beat]) -> None:
        seen = [(who, beat.counter) for who, beat in beats.items()]
        self._do(lambda db: db.executemany("DELETE FROM pulse WHERE who = ? AND counter = ?", seen))

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _do(self, what: Callable[[Connection], T]) -> T:
        with self._lock:
            try:
                with sqlite.storage_errors():
                    return what(self._db)
            except StorageUnavailable as error:
                if getattr(error.__cause__, "sqlite_errorname", "") not in (*DAMAGED, MOVED):
                    raise
            self._db.close()
            self._db = connect(self._path)
            with sqlite.storage_errors():
                return what(self._db)


def connect(path: Path) -> Connection:
    """Open the pulse; what a power loss has damaged begins anew, for nothing in it is worth a start that fails."""
    try:
        db = sqlite.connect(path, "pulse", synchronous="OFF", wait_s=WAIT_S)
        with sqlite.storage_errors():
            if db.execute("PRAGMA quick_check").fetchone()[0] == "ok":
                return db
        db.close()
    except StorageUnavailable as error:
        if getattr(error.__cause__, "sqlite_errorname", "") not in DAMAGED:
            raise
    for name in (path.name, f"{path.name}-journal"):
        path.with_name(name).unlink(missing_ok=True)
    return sqlite.connect(path, "pulse", synchronous="OFF", wait_s=WAIT_S)
