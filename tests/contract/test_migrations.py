"""Databases grow step by step, and each step is there with the record that it ran, or not at all."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.migrator import FIRST, SECOND, open_database
from tests.tracing import points, under_strace
from understudy.adapters import sqlite
from understudy.adapters.sqlite_log import SqliteLog
from understudy.adapters.sqlite_pulse import SqlitePulse
from understudy.adapters.sqlite_records import SqliteRecords
from understudy.errors import NewerDatabase, StorageUnavailable

SCHEMAS = {"events": SqliteLog, "records": SqliteRecords, "pulse": SqlitePulse}
SCRIPTS = sorted((Path(sqlite.__file__).parent / "sql").iterdir())


def schema(file: Path) -> tuple[int, list[tuple[str, ...]]]:
    """The number of the newest step that ran, and everything that the database declares."""
    with closing(sqlite3.connect(file)) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        return version, db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_step_in_turn_and_all_at_once_give_the_same_database(name: str, tmp_path: Path) -> None:
    scripts = sqlite.migrations(name)
    with closing(open_database(tmp_path / "grown.db")) as grown:
        for number in range(1, len(scripts) + 1):
            sqlite.migrate(grown, scripts[:number], name="grown.db")

    SCHEMAS[name](tmp_path / "fresh.db").close()

    assert schema(tmp_path / "grown.db") == schema(tmp_path / "fresh.db")
    assert schema(tmp_path / "fresh.db")[0] == len(scripts) > 0


def test_every_script_is_numbered_without_a_gap_and_belongs_to_a_schema() -> None:
    names = [f"{name}_{number:03}.sql" for name in SCHEMAS for number in range(1, len(sqlite.migrations(name)) + 1)]

    assert sorted(script.name for script in SCRIPTS) == sorted(names)


@pytest.mark.parametrize("script", [*[script.read_text() for script in SCRIPTS], FIRST, SECOND])
def test_no_statement_of_a_script_is_left_out(script: str) -> None:
    assert "".join(sqlite.statements(script)).rstrip() == script.rstrip()


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    SqliteLog(tmp_path / "events.db").close()
    before = (tmp_path / "events.db").read_bytes()

    SqliteLog(tmp_path / "events.db").close()

    assert (tmp_path / "events.db").read_bytes() == before


@pytest.mark.fault(56)
def test_an_older_database_is_brought_up_to_date_and_keeps_its_rows(tmp_path: Path) -> None:
    with closing(open_database(tmp_path / "made-up.db")) as db:
        sqlite.migrate(db, [FIRST], name="made-up.db")
        db.execute("INSERT INTO readings (at) VALUES ('noon')")

        sqlite.migrate(db, [FIRST, SECOND], name="made-up.db")

        assert db.execute("SELECT at, station FROM readings").fetchall() == [("noon", None)]
        assert db.execute("SELECT name FROM stations").fetchall() == [("north; south",)]
        assert sqlite.version_of(db) == 2


@pytest.mark.fault(56)
@pytest.mark.parametrize("name", SCHEMAS)
def test_a_newer_database_is_refused_and_left_as_it_is(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.db"
    SCHEMAS[name](file).close()
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version=99")
    before = file.read_bytes()

    with pytest.raises(NewerDatabase, match=rf"{name}\.db has schema 99; this release knows \d+\. Start the newer"):
        SCHEMAS[name](file)

    assert file.read_bytes() == before


@pytest.mark.fault(56)
def test_a_step_that_fails_leaves_nothing_of_itself_or_of_those_before_it(tmp_path: Path) -> None:
    with closing(open_database(tmp_path / "made-up.db")) as db:
        with pytest.raises(StorageUnavailable, match="stations already exists"):
            sqlite.migrate(db, [FIRST, SECOND, "CREATE TABLE stations (x);"], name="made-up.db")

        assert sqlite.version_of(db) == 0
        assert db.execute("SELECT * FROM sqlite_master").fetchall() == []
        sqlite.migrate(db, [FIRST, SECOND], name="made-up.db")
        assert sqlite.version_of(db) == 2


def test_four_processes_that_open_a_new_database_at_once_all_find_it_ready(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.appender", f"sqlite:///{tmp_path / 'events.db'}", "x", "1", "1"]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]

    assert sorted(int(child.communicate()[0]) for child in children) == [1, 2, 3, 4]


@pytest.mark.fault(56)
def test_a_process_killed_in_a_migration_leaves_the_old_database_or_the_new_one(tmp_path: Path, strace: None) -> None:
    old, file, trace = tmp_path / "old.db", tmp_path / "made-up.db", tmp_path / "trace"
    with closing(open_database(old)) as db:
        sqlite.migrate(db, [FIRST], name="old.db")
    shutil.copy(old, file)
    watched = {"calls": "pwrite64,fdatasync,ftruncate", "paths": [file, Path(f"{file}-journal")], "trace": trace}
    under_strace("tests.migrator", file, **watched)  # type: ignore[arg-type]
    before, after = schema(old), schema(file)
    found = []

    for call, when in points(trace):
        shutil.copy(old, file)
        killed = under_strace("tests.migrator", file, inject=f"{call}:signal=KILL:when={when}", **watched)  # type: ignore[arg-type]
        found.append(schema(file))
        assert killed.returncode != 0

    assert before[0] == 1
    assert after[0] == 2
    assert [state for state in found if state not in (before, after)] == []
    assert before in found
    assert after in found
