"""SQLite as all adapters here use it: one way to connect, to migrate and to write.

- No WAL: SQLite 3.7.0 to 3.51.2, which stock Pythons link, can corrupt a database when two connections checkpoint.
  `journal_mode=TRUNCATE` with `synchronous=FULL` syncs the folder too, so an acknowledged commit survives a power loss
  (`DELETE` mode does not: its commit can come back undone).
- Every writing transaction is `BEGIN IMMEDIATE`: a deferred one that reads first fails at once under contention,
  whatever the time-out says.
"""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Literal

from understudy.errors import NewerDatabase, StorageFull, StorageUnavailable

WAIT_S = 5.0
"""How long a statement waits for another process's lock; control answers 503 after it."""


def connect(
    path: Path, schema: str, *, synchronous: Literal["FULL", "OFF"] = "FULL", wait_s: float = WAIT_S
) -> sqlite3.Connection:
    """Open `path`, bring it to the newest `schema` and return a connection that may change threads (callers lock)."""
    with storage_errors():
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, timeout=wait_s, isolation_level=None, check_same_thread=False)
    try:
        with storage_errors():
            db.execute("PRAGMA journal_mode=TRUNCATE").fetchone()
            db.execute(f"PRAGMA synchronous={synchronous}")
        migrate(db, migrations(schema), name=path.name)
    except BaseException:
        db.close()
        raise
    return db


def migrations(schema: str) -> list[str]:
    """The numbered scripts of one schema, oldest first."""
    folder = resources.files("understudy.adapters") / "sql"
    scripts = sorted((f for f in folder.iterdir() if f.name.startswith(f"{schema}_")), key=lambda f: f.name)
    return [script.read_text("utf-8") for script in scripts]


def migrate(db: sqlite3.Connection, scripts: list[str], *, name: str) -> None:
    """Run the scripts that `db` has not seen; each commits together with the record that it ran.

    Raises NewerDatabase where `db` was written by a later release.
    """
    with writing(db):
        done = version_of(db)
        if done > len(scripts):
            raise NewerDatabase(
                f"{name} has schema {done}; this release knows {len(scripts)}.",
                remedy="Start the newer release again, or restore a backup made before it.",
            )
        for number, script in enumerate(scripts[done:], start=done + 1):
            for statement in statements(script):
                db.execute(statement)
            db.execute(f"PRAGMA user_version={number}")


def version_of(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def statements(script: str) -> Iterator[str]:
    """Split a script where SQLite itself says that a statement is complete."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextmanager
def writing(db: sqlite3.Connection) -> Iterator[None]:
    """One transaction: all of the block or nothing of it."""
    with storage_errors():
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


@contextmanager
def storage_errors() -> Iterator[None]:
    """Say in our words what SQLite or the file system could not do."""
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # a message may quote bytes that are no text
        if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
            raise StorageFull("The database has no room left.", remedy="Free space on its volume.") from error
        raise StorageUnavailable(
            f"The database cannot be used: {str(error)[:50]}.",
            remedy="Try again; if it stays, check its volume and `understudy verify log`.",
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("The volume has no room left.", remedy="Free space on it.") from error
        raise StorageUnavailable(
            f"The volume cannot be used: {error.strerror}.", remedy="Check that it is mounted and writable."
        ) from error
