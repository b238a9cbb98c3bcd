"""From the event loop to the disk: nothing waits, nothing is lost unseen, and what must be kept is kept."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from api.recorder import Recorder, size_of
from tests.recorded import NOW, PROCESS, answered, call, id_of, recording
from tests.workers import wait_for
from understudy.adapters.handover import left_behind
from understudy.adapters.sqlite_records import SqliteRecords
from understudy.errors import NotFound, StorageFull, StorageUnavailable
from understudy.records import is_sampled


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Somebody else writes to the records, and does not come to an end."""
    with closing(sqlite3.connect(folder / "records.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def numbers(records: SqliteRecords, among: range) -> set[int]:
    def known(number: int) -> bool:
        try:
            return bool(records.get(id_of(number, NOW)).rows)
        except NotFound:
            return False

    return set(filter(known, among))


def test_what_was_added_is_on_record_soon_and_a_stop_loses_nothing(tmp_path: Path) -> None:
    with recording(tmp_path) as (made, records):
        made.add(answered(0, rows=3))
        wait_for(lambda: made.written == 3, "the records")
        assert (made.waiting, made.lag_s) == (0, 0.0)
        for number in range(3, 3_000):
            made.add(answered(number))
        made.stop()

        assert made.written == records.count() == 3_000
        assert numbers(records, range(0, 3_000, 100)) == set(range(0, 3_000, 100))
    with left_behind(tmp_path / "recorders") as found:
        assert found == []


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_that_was_asked_for_is_recorded(tmp_path: Path, share: float) -> None:
    expected = {number for number in range(200) if is_sampled(id_of(number, NOW).encode(), share)}

    with recording(tmp_path, share=share) as (made, records):
        for number in range(0, 200, 4):
            made.add(answered(number, rows=4))
        made.stop()

        assert numbers(records, range(200)) == expected
        assert (made.written, made.waiting, made.dropped) == (len(expected), 0, 0)
        assert records.gaps() == []


@pytest.mark.fault(50)
def test_while_the_database_is_locked_predictions_wait_and_are_written_then(tmp_path: Path) -> None:
    with recording(tmp_path) as (made, records):
        with locked(tmp_path):
            for number in range(50):
                made.add(answered(number))
            wait_for(lambda: made.lag_s > 0.3, "a flush that has begun")
            assert (made.waiting, made.written) == (50, 0)
        wait_for(lambda: made.written == 50, "the records")

        assert records.count() == 50
        assert made.longest_s > 0.3


@pytest.mark.fault(52)
def test_while_the_disk_is_full_predictions_wait_and_are_written_once_there_is_room(small_volume: Path) -> None:
    with recording(small_volume) as (made, records):
        made.add(answered(0))
        wait_for(lambda: made.written == 1, "the first record")
        ballast = small_volume / "ballast"
        fill(ballast)
        for number in range(1, 20_000):
            made.add(answered(number))
        wait_for(lambda: made.lag_s > 0.3, "a flush that fails")
        assert (made.written, made.dropped) == (1, 0)

        ballast.unlink()
        wait_for(lambda: made.written == 20_000, "the rest")
        assert records.count() == 20_000


def fill(file: Path) -> None:
    with suppress(OSError), file.open("wb", buffering=0) as opened:
        while opened.write(bytes(4096)):
            pass


def test_beyond_the_limit_the_newest_are_dropped_and_leave_a_gap(tmp_path: Path) -> None:
    with recording(tmp_path, most_waiting=100 * size_of(answered(0))) as (made, records):
        with locked(tmp_path):
            for number in range(150):
                made.add(answered(number))
            assert made.dropped == 49
        wait_for(lambda: made.waiting == 0 and records.gaps(), "the records and the gap")

        assert numbers(records, range(150)) == set(range(101))
        assert [(gap.reason, gap.lost, gap.since_ms) for gap in records.gaps()] == [("full", 49, NOW)]
        made.add(answered(150))
    with left_behind(tmp_path / "recorders") as found:
        assert found == []


def test_what_cannot_be_put_into_chunks_is_a_gap_and_costs_no_other(tmp_path: Path) -> None:
    odd = SimpleNamespace(model="odd", version="1", runtime=SimpleNamespace(signature=None))
    with recording(tmp_path) as (made, records):
        made.add(answered(0))
        made.add(call(1, [[1, 1]] * 4, ms=NOW, served=odd))  # type: ignore[arg-type]
        made.add(answered(5))
        made.stop()

        assert numbers(records, range(6)) == {0, 5}
        assert [(gap.reason, gap.lost) for gap in records.gaps()] == [("failed", 4)]
        assert (made.dropped, made.waiting) == (4, 0)


def test_who_waits_for_what_cannot_be_put_into_chunks_is_told_so(tmp_path: Path) -> None:
    async def ask(made: Recorder) -> None:
        made.add(call(1, ms=NOW, served=SimpleNamespace(model="odd", version="1", runtime=None)))  # type: ignore[arg-type]
        await made.kept()

    with recording(tmp_path, durable=True) as (made, _):
        for _ in range(2):  # the second may be somebody who had been answered beside the first
            with pytest.raises(StorageUnavailable, match="could not be put on record"):
                asyncio.run(ask(made) if made.dropped == 0 else made.kept())


def test_many_who_wait_share_a_commit_and_find_their_records(tmp_path: Path) -> None:
    async def ask(made: Recorder, number: int) -> None:
        made.add(answered(number))
        await made.kept()

    async def many(made: Recorder) -> None:
        await asyncio.gather(*(ask(made, number) for number in range(64)))

    with recording(tmp_path, durable=True) as (made, records):
        asyncio.run(many(made))

        assert made.durable
        assert records.count() == 64


def test_who_waits_while_nothing_can_be_kept_is_told_so(tmp_path: Path) -> None:
    async def ask(made: Recorder) -> None:
        made.add(answered(0))
        await made.kept()

    with recording(tmp_path, durable=True, wait_s=0.2) as (made, _):
        with locked(tmp_path), pytest.raises(StorageUnavailable, match="locked"):
            asyncio.run(ask(made))
        wait_for(lambda: made.written == 1, "the record")


@pytest.mark.fault(52)
def test_who_waits_while_the_disk_is_full_is_told_so(small_volume: Path) -> None:
    async def ask(made: Recorder) -> None:
        for number in range(20_000):
            made.add(answered(number))
        await made.kept()

    with recording(small_volume, durable=True) as (made, _):
        fill(small_volume / "ballast")
        with pytest.raises(StorageFull, match="no room left"):
            asyncio.run(ask(made))
        (small_volume / "ballast").unlink()


def test_nobody_waits_for_a_recorder_that_has_stopped(tmp_path: Path) -> None:
    with recording(tmp_path, durable=True) as (made, _):
        made.stop()
        made.add(answered(0))

        with pytest.raises(StorageUnavailable, match="could not be put on record"):
            asyncio.run(made.kept())


def test_what_a_definition_withholds_is_withheld_from_what_waits_already(tmp_path: Path) -> None:
    definition: dict[str, Any] = {}
    with recording(tmp_path, definition=lambda model: definition, wait_s=0.1) as (made, records):
        with locked(tmp_path):
            made.add(answered(0))
            wait_for(lambda: made.lag_s > 0.3, "a flush that has begun")
            definition["tags"] = {"a": ["personal"]}
            wait_for(lambda: made.lag_s > 1, "another flush")
        made.add(answered(1))
        wait_for(lambda: made.written == 2, "the records")

        assert [records.get(id_of(number, NOW)).withheld for number in (0, 1)] == [("a",), ("a",)]
        assert [records.get(id_of(number, NOW)).columns for number in (0, 1)] == [("b",), ("b",)]


KILLED = """
import os, signal, sys, time
from pathlib import Path
from tests.recorded import answered, recording
with recording(Path(sys.argv[1])) as (made, records):
    for number in range(40):
        made.add(answered(number))
    while made.written < 40:
        time.sleep(0.01)
    made._thread.join(0.3)  # the next flush is as far away as can be
    for number in range(40, 47):
        made.add(answered(number))
    print(made.written, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_says_how_many_it_had_not_written(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, check=False)

    with closing(SqliteRecords(tmp_path / "records.db")) as records, left_behind(tmp_path / "recorders") as found:
        ((left),) = found
        gap = records.mourn(left.process, handed=left.handed, since_ms=left.since_ms, until_ms=left.until_ms)
        count = records.count()

    assert done.returncode == -9
    assert (left.process, left.handed, left.until_ms) == (PROCESS, 47, NOW)
    assert gap is not None
    assert gap.lost == 47 - count == 7
    assert list((tmp_path / "recorders").iterdir()) == []
