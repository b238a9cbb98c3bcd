"""Signs of life in a SQLite file that need not survive a power loss."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from sqlite3 import Connection
from threading import Lock
from typing import Any

from understudy.adapters import sqlite
from understudy.errors import StorageUnavailable
from understudy.ports import Beat

WAIT_S = 1.0
"""How long a sign of life waits for others; the next one comes soon."""

DAMAGED = ("SQLITE_NOTADB", "SQLITE_CORRUPT")
BEAT = """
INSERT INTO pulse (who, counter, state) VALUES (?, 1, ?)
ON CONFLICT (who) DO UPDATE SET counter = counter + 1, state = excluded.state
"""


class SqlitePulse:
    """`ports.Pulse` on one SQLite file, with `synchronous=OFF`."""

    def __init__(self, path: Path) -> None:
        self._db, self._lock = connect(path), Lock()

    def beat(self, who: str, state: Mapping[str, Any]) -> None:
        with self._lock, sqlite.storage_errors():
            self._db.execute(BEAT, (who, json.dumps(state)))

    def read(self) -> Mapping[str, Beat]:
        with self._lock, sqlite.storage_errors():
            rows = self._db.execute("SELECT who, counter, state FROM pulse").fetchall()
        return {who: Beat(counter, json.loads(state)) for who, counter, state in rows}

    def forget(self, who: Iterable[str]) -> None:
        with self._lock, sqlite.storage_errors():
            self._db.executemany("DELETE FROM pulse WHERE who = ?", [(name,) for name in who])

    def close(self) -> None:
        with self._lock:
            self._db.close()


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
