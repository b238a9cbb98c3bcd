"""Reading a log without trusting it: what follows is folded, and the first event that does not is named."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.given import History, SqliteSite, defined, fact, registered, tried
from understudy.adapters.audit import Audit, LogRow, audit, extended, file_pages, row_of
from understudy.errors import NotFound, StorageUnavailable
from understudy.events import Recorded, VersionPromoted, chain, encode, fields_of, timestamp


def rows_of(history: History) -> list[LogRow]:
    """A log as SQLite holds it."""
    return [
        (entry.position, timestamp(entry.time), entry.event.kind, entry.event.schema, encode(entry.event), entry.hash)
        for entry in history.entries
    ]


def changed(row: LogRow, **changes: object) -> LogRow:
    names = ("position", "time", "kind", "schema", "data", "hash")
    return tuple({**dict(zip(names, row, strict=True)), **changes}.values())


def rechained(rows: list[LogRow]) -> list[LogRow]:
    """The same rows with hashes that follow: what somebody writes who knows how."""
    done, before = list[LogRow](), "0" * 64
    for position, time, kind, schema, data, _ in rows:
        before = chain(before, position=position, time=time, kind=kind, schema=schema, data=data)
        done.append((position, time, kind, schema, data, before))
    return done


@pytest.fixture
def history() -> History:
    history = History()
    for event in (defined(), fact("2026-01-01T00:01:00Z"), registered("1"), tried("1"), fact("2026-01-01T00:02:00Z")):
        history.add(event)
        history.wait(seconds=1)
    return history


def test_a_log_that_follows_is_folded_to_its_end(history: History) -> None:
    found = audit([rows_of(history)[:2], rows_of(history)[2:]])

    assert found == Audit(history.state, None)
    assert found.broken_at is None


@pytest.mark.parametrize("page", [1, 2, 5])
@pytest.mark.parametrize(
    "tamper",
    [
        lambda rows: changed(rows[2], data=rows[2][4].replace("1000", "1001")),
        lambda rows: changed(rows[2], time="2026-01-01T00:00:09.000000Z"),
        lambda rows: changed(rows[2], hash="f" * 64),
        lambda rows: changed(rows[2], kind="version.forgotten"),
        lambda rows: rows[3],
    ],
    ids=["data", "time", "hash", "kind", "removed"],
)
@pytest.mark.fault(51)
def test_the_first_event_that_does_not_follow_is_named(
    history: History, tamper: Callable[[list[LogRow]], LogRow], page: int
) -> None:
    rows = rows_of(history)
    rows[2] = tamper(rows)

    found = audit(rows[start : start + page] for start in range(0, len(rows), page))

    assert found.broken_at == 3
    assert found.problem
    assert found.state.position == 2


def test_a_time_that_goes_back_does_not_follow_even_where_the_hashes_do(history: History) -> None:
    rows = rows_of(history)
    rows[3] = changed(rows[3], time="2025-12-31T00:00:00.000000Z")

    found = audit([rechained(rows)])

    assert (found.broken_at, found.problem) == (4, "Event 4 is dated before the one before it.")


def test_a_time_that_is_none_does_not_follow_even_where_the_hashes_do(history: History) -> None:
    rows = rows_of(history)
    rows[3] = changed(rows[3], time="yesterday")

    assert audit([rechained(rows)]).broken_at == 4


def test_an_event_that_cannot_have_happened_is_named_even_where_the_hashes_follow(history: History) -> None:
    promoted = VersionPromoted(
        model="rain", key="k", version="7", replaces=None, how="promotion", ground=None, by="scheduler", reason=""
    )
    rows = [*rows_of(history), (6, "2026-01-01T00:00:09.000000Z", promoted.kind, 1, encode(promoted), "")]

    found = audit([rechained(rows)])

    assert found.broken_at == 6
    assert found.problem is not None
    assert found.problem.startswith("Event 6 of the log is impossible")


def test_an_audit_can_end_at_a_position_and_keep_what_it_was_asked_for(history: History) -> None:
    def is_third(entry: Recorded) -> bool:
        return entry.position == 3

    found = audit([rows_of(history)], until=4, keep=is_third)

    assert found.state.position == 4
    assert found.kept == {3: history.entries[2]}
    assert extended(found, rows_of(history)[4:]).state == history.state


def test_what_the_api_shows_of_an_event_has_the_hash_of_the_row(history: History) -> None:
    rows = rows_of(history)
    shown = [
        {
            "position": entry.position,
            "time": timestamp(entry.time),
            "kind": entry.event.kind,
            "schema": entry.event.schema,
            "model": entry.event.model,
            "data": fields_of(entry.event),
            "hash": entry.hash,
        }
        for entry in history.entries
    ]

    assert [row_of(item) for item in json.loads(json.dumps(shown))] == rows


def test_a_file_is_read_while_the_api_is_down_and_never_changed(tmp_path: Path) -> None:
    site = SqliteSite(tmp_path)
    with closing(site.open()) as log:
        log.append(defined(), fact("2026-01-01T00:01:00Z"))
    before = site.file.read_bytes()

    found = audit(file_pages(site.file))

    assert found.state.position == 2
    assert found.problem is None
    assert site.file.read_bytes() == before


@pytest.mark.fault(51)
def test_a_row_that_was_changed_in_the_file_is_named(tmp_path: Path) -> None:
    site = SqliteSite(tmp_path)
    with closing(site.open()) as log:
        log.append(*(fact(f"by-hand/{number}") for number in range(5)))
    site.doctor("UPDATE events SET data = replace(data, 'by-hand/3', 'by-hand/9') WHERE position = 4")

    found = audit(file_pages(site.file))

    assert (found.broken_at, found.problem) == (4, "The event log was changed at event 4.")


def test_a_file_that_is_no_log_or_not_there_is_said_to_be(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    other.write_text("this is no database, and long enough to be looked at as one by its header" * 20)

    with pytest.raises(StorageUnavailable, match="not a database"):
        audit(file_pages(other))
    with pytest.raises(NotFound, match="no log"):
        audit(file_pages(tmp_path / "nowhere.db"))


def test_a_database_without_our_table_is_said_to_be_none(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE cats (name TEXT)")

    with pytest.raises(StorageUnavailable, match="no such table"):
        audit(file_pages(other))
