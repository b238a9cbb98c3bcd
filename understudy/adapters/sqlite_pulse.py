"""Signs of life in a SQLite file that need not survive a power loss."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from understudy.adapters import sqlite
from understudy.ports import Beat

BEAT = """
INSERT INTO pulse (who, counter, state) VALUES (?, 1, ?)
ON CONFLICT (who) DO UPDATE SET counter = counter + 1, state = excluded.state
"""


class SqlitePulse:
    """`ports.Pulse` on one SQLite file, with `synchronous=OFF`."""

    def __init__(self, path: Path) -> None:
        self._db, self._lock = sqlite.connect(path, "pulse", synchronous="OFF"), Lock()

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
