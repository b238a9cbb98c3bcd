"""A process that migrates: `python -m tests.migrator FILE` brings a database of two made-up steps to the newest."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from understudy.adapters.sqlite import migrate

FIRST = """
CREATE TABLE readings (at TEXT);
"""
SECOND = """
-- A step of several statements; this one; has semicolons in its comment.
CREATE TABLE stations (name TEXT DEFAULT 'a;b');
INSERT INTO stations (name) VALUES ('north; south');
ALTER TABLE readings ADD COLUMN station TEXT;
"""


def open_database(file: Path) -> sqlite3.Connection:
    """As `sqlite.connect` does it, but for the schema."""
    db = sqlite3.connect(file, isolation_level=None)
    db.execute("PRAGMA journal_mode=TRUNCATE")
    db.execute("PRAGMA synchronous=FULL")
    return db


if __name__ == "__main__":
    with closing(open_database(Path(sys.argv[1]))) as database:
        migrate(database, [FIRST, SECOND], name="made-up.db")
