"""What every event log promises, on every adapter; below it, what a SQLite file of its own must find out."""

import itertools
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest

from tests.conftest import nobody
from tests.given import NEW_YEAR, LogSite, SqliteSite, fact
from understudy.adapters import sqlite
from understudy.errors import ConcurrentAppend, LogTampered, StorageFull, StorageUnavailable, UnderstudyError
from understudy.events import GENESIS, Event, Recorded, SlotSkipped, VersionRegistered, chain, encode, timestamp
from understudy.ports import EventLog

SITES: list[Callable[[Path], LogSite]] = [SqliteSite]


@pytest.fixture(params=SITES, ids=lambda site: site.__name__)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> LogSite:
    made: LogSite = request.param(tmp_path)
    return made


@pytest.fixture
def sqlite_site(tmp_path: Path) -> SqliteSite:
    return SqliteSite(tmp_path)


@pytest.fixture
def log(site: LogSite) -> Iterator[EventLog]:
    opened = site.open()
    yield opened
    opened.close()


def slots(log: EventLog, **window: int) -> list[str]:
    return [entry.event.slot for entry in log.read(**window) if isinstance(entry.event, SlotSkipped)]


def facts(count: int) -> list[SlotSkipped]:
    return [fact(str(number)) for number in range(1, count + 1)]


# Order


def test_the_log_numbers_facts_from_one_and_gives_them_back_as_they_were(log: EventLog) -> None:
    odd = {"ü": [1.5, None, {"x": "\n\u2028'\""}]}
    told = [
        fact("a"),
        VersionRegistered(model="ra\x00in", version="1", digest="d", size=2**62, summary=odd, run=None, by="operator"),
    ]

    appended = log.append(*told)

    assert list(log.read()) == appended
    assert [entry.event for entry in appended] == told
    assert [entry.position for entry in appended] == [1, 2]


def test_an_empty_log_has_no_events_and_stands_at_the_beginning(log: EventLog) -> None:
    assert (list(log.read()), log.head(), log.append()) == ([], (0, GENESIS), [])


def test_each_row_carries_the_hash_of_the_row_before_and_of_all_that_it_says(log: EventLog) -> None:
    log.append(*facts(3))

    before = GENESIS
    for entry in log.read():
        event, time = entry.event, timestamp(entry.time)
        before = chain(before, position=entry.position, time=time, kind=event.kind, schema=1, data=encode(event))
        assert entry.hash == before
    assert log.head() == (3, before)


def test_four_processes_that_write_at_once_leave_no_gap_and_keep_their_own_order(site: LogSite) -> None:
    command = [sys.executable, "-m", "tests.appender", site.address]
    writers = [
        subprocess.Popen([*command, name, "20", "2"], stdout=subprocess.PIPE, text=True)
        for name in ("a", "b", "c", "d")
    ]
    answers = [[int(line) for line in writer.communicate()[0].split()] for writer in writers]

    with closing(site.open()) as log:
        entries = list(log.read())

    assert [writer.returncode for writer in writers] == [0, 0, 0, 0]
    assert [entry.position for entry in entries] == list(range(1, 161))
    assert sorted(itertools.chain(*answers)) == list(range(2, 161, 2))
    for name, acknowledged in zip("abcd", answers, strict=True):
        told = [f"{name}/{number}/{part}" for number in range(20) for part in range(2)]
        assert [slot for slot in (e.event.slot for e in entries) if slot.startswith(name)] == told  # type: ignore[attr-defined]
        assert [entries[position - 1].event for position in acknowledged] == [fact(slot) for slot in told[1::2]]


def test_threads_may_share_one_log(log: EventLog) -> None:
    threads = [Thread(target=lambda: [log.append(fact("x")) and list(log.read()) for _ in range(15)]) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [entry.position for entry in log.read()] == list(range(1, 91))


def test_time_never_goes_back_when_the_clock_does(site: LogSite) -> None:
    readings = iter(NEW_YEAR + timedelta(hours=hours) for hours in (0, 2, -2, 1, 3))
    with closing(site.open(clock=lambda: next(readings))) as log:
        for event in facts(5):
            log.append(event)

        times = [entry.time for entry in log.read()]

    assert times == [NEW_YEAR + timedelta(hours=hours) for hours in (0, 2, 2, 2, 3)]


def test_time_never_goes_back_behind_what_another_process_wrote(site: LogSite) -> None:
    with closing(site.open(clock=lambda: NEW_YEAR)) as fast, closing(site.open(clock=lambda: before(1))) as slow:
        fast.append(fact("a"))

        assert slow.append(fact("b"))[0].time == NEW_YEAR


def before(hours: int) -> datetime:
    return NEW_YEAR - timedelta(hours=hours)


# Compare and append


def test_appending_from_a_stale_position_changes_nothing(log: EventLog) -> None:
    log.append(fact("a"), expect=0)

    with pytest.raises(ConcurrentAppend, match="position 1"):
        log.append(fact("b"), expect=0)

    assert slots(log) == ["a"]


def test_appending_from_the_position_that_was_read_goes_through(log: EventLog) -> None:
    log.append(*facts(3), expect=0)

    assert log.append(fact("4"), expect=3)[0].position == 4


def test_of_two_that_decide_on_the_same_position_one_must_decide_again(site: LogSite) -> None:
    with closing(site.open()) as one, closing(site.open()) as other:
        one.append(fact("a"))
        list(other.read())
        one.append(fact("b"), expect=1)

        with pytest.raises(ConcurrentAppend, match="position 2"):
            other.append(fact("c"), expect=1)
        other.append(fact("c"), expect=2)

        assert slots(one) == slots(other) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "impossible",
    [
        pytest.param(SlotSkipped(model="rain", job="train", slot="b", reason=float("nan")), id="NaN"),  # type: ignore[arg-type]
        pytest.param(SlotSkipped(model="rain", job="train", slot="b", reason="\ud800"), id="half a character"),
        pytest.param(SlotSkipped(model="rain", job="train", slot="b", reason=b"bytes"), id="bytes"),  # type: ignore[arg-type]
    ],
)
def test_several_events_are_stored_all_together_or_not_at_all(log: EventLog, impossible: Event) -> None:
    log.append(fact("a"))

    with pytest.raises((ValueError, TypeError)):
        log.append(fact("c"), impossible)
    log.append(fact("d"))

    assert slots(log) == ["a", "d"]


def test_a_fact_that_could_not_be_read_back_is_never_written(log: EventLog) -> None:
    class Novelty(SlotSkipped):
        kind = "a kind that no release knows"

    with pytest.raises(LogTampered, match="cannot be read"):
        log.append(Novelty(model="rain", job="train", slot="a", reason=""))

    assert log.head() == (0, GENESIS)


# Reading


def test_reading_goes_on_after_a_position_and_stops_at_a_limit(log: EventLog) -> None:
    log.append(*facts(9))

    assert slots(log, after=6) == ["7", "8", "9"]
    assert slots(log, after=2, limit=3) == ["3", "4", "5"]
    assert slots(log, after=7, limit=5) == ["8", "9"]
    assert slots(log, after=9) == slots(log, limit=0) == []


def test_a_page_that_somebody_else_reads_hides_nothing_from_a_follower(site: LogSite) -> None:
    with closing(site.open()) as log, closing(site.open()) as other:
        log.append(*facts(3))
        assert slots(log, after=3) == []
        other.append(fact("4"))

        assert slots(log, limit=2) == ["1", "2"]
        assert slots(log, after=3) == ["4"]


@pytest.mark.parametrize("seed", range(5))
def test_followers_and_pages_in_any_order_see_every_event_once(site: LogSite, seed: int) -> None:
    chance = random.Random(seed)
    with closing(site.open()) as log, closing(site.open()) as other:
        told: list[str] = []
        followed: list[str] = []
        for number in range(60):
            match chance.choice(["append", "elsewhere", "refused", "page", "follow"]):
                case "append":
                    log.append(fact(str(number)))
                    told.append(str(number))
                case "elsewhere":
                    other.append(fact(str(number)), fact(f"{number}b"))
                    told += [str(number), f"{number}b"]
                case "refused":
                    with pytest.raises(ConcurrentAppend):
                        log.append(fact("never"), expect=10_000)
                case "page":
                    start = chance.randint(0, len(told))
                    assert slots(log, after=start, limit=2) == told[start : start + 2]
                case _:
                    followed += slots(log, after=len(followed))
                    assert followed == told


def test_reading_what_has_not_changed_asks_for_no_rows(sqlite_site: SqliteSite) -> None:
    with closing(sqlite_site.open()) as log, closing(sqlite_site.open()) as other:
        log.append(*facts(3))
        list(log.read(after=3))
        statements: list[str] = []
        log._db.set_trace_callback(statements.append)  # type: ignore[attr-defined]

        assert slots(log, after=3) == []
        assert statements == ["PRAGMA data_version"]

        other.append(fact("4"))
        assert slots(log, after=3) == ["4"]


# Tampering: whoever saw the log before finds it


@pytest.fixture
def seen(site: LogSite) -> Iterator[EventLog]:
    """A log of five events, all of them read, and quiet since."""
    with closing(site.open()) as log:
        log.append(*facts(5))
        list(log.read())
        list(log.read(after=5))
        yield log


FORGED = "INSERT INTO events SELECT 6, time, kind, schema, data, hash FROM events WHERE position = 5"
TAMPERINGS = {
    "a changed fact": (
        "UPDATE events SET data = replace(data, 'rain', 'snow') WHERE position = 2",
        "changed at event 2",
    ),
    "a changed time": ("UPDATE events SET time = '2020' || substr(time, 5) WHERE position = 1", "changed at event 1"),
    "a changed hash": ("UPDATE events SET hash = upper(hash) WHERE position = 5", "event 5"),
    "a deleted row": ("DELETE FROM events WHERE position = 3", "event 2 to 4"),
    "a deleted first row": ("DELETE FROM events WHERE position = 1", "event 0 to 2"),
    "a moved row": ("UPDATE events SET position = 9 WHERE position = 4", "event 3 to 5"),
    "a forged row at the end": (FORGED, "changed at event 6"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_reading_from_the_beginning_finds(seen: EventLog, site: LogSite, name: str) -> None:
    statement, found = TAMPERINGS[name]
    site.doctor(statement)

    with pytest.raises(LogTampered, match=found):
        list(seen.read())
    with closing(site.open()) as fresh, pytest.raises(LogTampered):
        list(fresh.read())


def test_a_tail_that_was_cut_off_is_found_by_whoever_saw_it(seen: EventLog, site: LogSite) -> None:
    site.doctor("DELETE FROM events WHERE position > 3")

    for use in (seen.read, lambda: seen.read(after=3), lambda: seen.read(after=5), lambda: [seen.head()]):
        with pytest.raises(LogTampered, match="event 5"):
            list(use())
    with pytest.raises(LogTampered, match="event 5"):
        seen.append(fact("6"))
    assert count(site) == 3


def test_a_tail_that_was_cut_off_is_found_by_whoever_wrote_it_and_read_nothing(site: LogSite) -> None:
    with closing(site.open()) as writer:
        writer.append(*facts(5))
        site.doctor("DELETE FROM events WHERE position > 3")

        with pytest.raises(LogTampered, match="event 5"):
            writer.append(fact("6"))


def test_a_tail_that_was_cut_off_is_found_by_whoever_read_it_and_wrote_nothing(site: LogSite) -> None:
    with closing(site.open()) as writer, closing(site.open()) as reader:
        writer.append(*facts(5))
        list(reader.read(limit=2))
        list(reader.read(after=2))
        site.doctor("DELETE FROM events WHERE position > 3")

        with pytest.raises(LogTampered, match="event 5"):
            list(reader.read(after=3))


def count(site: LogSite) -> int:
    """Rows that the log holds, counted by somebody who has seen nothing."""
    with closing(site.open()) as fresh:
        return fresh.head()[0]


def test_a_log_written_anew_with_a_valid_chain_is_found_by_a_follower(seen: EventLog, site: LogSite) -> None:
    forge(site, [*facts(4), fact("another"), fact("6")])

    with pytest.raises(LogTampered, match="event 5"):
        list(seen.read(after=5))
    with pytest.raises(LogTampered, match="event 5"):
        list(seen.read(limit=2))
    with pytest.raises(LogTampered, match="event 5"):
        seen.append(fact("7"))
    assert count(site) == 6


def forge(site: LogSite, events: list[SlotSkipped]) -> None:
    site.doctor("DELETE FROM events")
    before = GENESIS
    for position, event in enumerate(events, start=1):
        time, data = timestamp(NEW_YEAR), encode(event)
        before = chain(before, position=position, time=time, kind=event.kind, schema=1, data=data)
        site.doctor("INSERT INTO events VALUES (?, ?, ?, 1, ?, ?)", (position, time, event.kind, data, before))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET time = '9999' || substr(time, 5) WHERE position = 5",
        "UPDATE events SET data = 'not JSON' WHERE position = 5",
        "UPDATE events SET kind = 'x' WHERE position = 5",
    ],
)
def test_nothing_is_built_on_a_last_row_that_was_changed(seen: EventLog, site: LogSite, statement: str) -> None:
    site.doctor(statement)

    with pytest.raises(LogTampered, match="changed at event 5"):
        seen.append(fact("6"))
    with pytest.raises(LogTampered, match="changed at event 5"):
        seen.head()


def test_a_reader_whose_position_is_beyond_the_log_is_told(log: EventLog) -> None:
    log.append(*facts(2))
    list(log.read())

    with pytest.raises(LogTampered, match="no event 7"):
        list(log.read(after=7))


def test_an_event_of_a_later_release_is_named_and_not_guessed_at(log: EventLog, site: LogSite) -> None:
    data = '{"model":"rain"}'
    link = chain(GENESIS, position=1, time=timestamp(NEW_YEAR), kind="model.renamed", schema=1, data=data)
    site.doctor("INSERT INTO events VALUES (1, ?, 'model.renamed', 1, ?, ?)", (timestamp(NEW_YEAR), data, link))

    with pytest.raises(LogTampered, match=r"Event 1 of the log cannot be read as `model\.renamed`"):
        list(log.read())


# What only a file can do


@pytest.mark.parametrize(
    "statement", ["UPDATE events SET reason = 'x'", "UPDATE events SET time = ''", "DELETE FROM events"]
)
def test_no_statement_changes_or_removes_a_row(sqlite_site: SqliteSite, statement: str) -> None:
    with closing(sqlite_site.open()) as log, closing(sqlite3.connect(sqlite_site.file)) as db:
        log.append(fact("a"))

        with pytest.raises(sqlite3.DatabaseError):
            db.execute(statement)
        db.rollback()

        assert slots(log) == ["a"]


def replace_by_a_copy(file: Path) -> None:
    shutil.copy(file, file.with_name("copy"))
    file.with_name("copy").replace(file)


@pytest.mark.parametrize("lose", [Path.unlink, replace_by_a_copy, lambda file: file.rename(file.with_name("moved"))])
def test_a_file_that_is_gone_or_another_one_is_found_at_the_next_use(
    sqlite_site: SqliteSite, lose: Callable[[Path], None]
) -> None:
    with closing(sqlite_site.open()) as log:
        log.append(*facts(3))
        lose(sqlite_site.file)
        left = sorted(sqlite_site.file.parent.iterdir())

        for use in (log.read, lambda: log.read(after=3), lambda: [log.head()], lambda: log.append(fact("4"))):
            with pytest.raises(LogTampered, match="no longer the file"):
                list(use())
        assert sorted(sqlite_site.file.parent.iterdir()) == left


def outcome(file: Path) -> list[Recorded] | UnderstudyError:
    """What somebody gets who opens a copy of the log and reads it all."""
    try:
        with closing(SqliteSite(file.parent).open()) as log:
            return list(log.read())
    except UnderstudyError as error:
        return error


def flips_do_no_silent_harm(site: SqliteSite, seed: int, flips: int) -> None:
    """Flip bits, one at a time; only a log that is shorter may look healthy, and its followers know better."""
    with closing(site.open()) as log:
        log.append(*facts(200))
        whole = list(log.read())
    healthy, chance = site.file.read_bytes(), random.Random(seed)
    found = 0
    for _ in range(flips):
        bit = chance.randrange(len(healthy) * 8)
        broken = bytearray(healthy)
        broken[bit // 8] ^= 1 << bit % 8
        site.file.write_bytes(broken)

        read = outcome(site.file)

        if isinstance(read, UnderstudyError):
            found += 1
        elif read != whole:
            assert read == whole[: len(read)], bit
            with closing(site.open()) as log, pytest.raises(LogTampered):
                list(log.read(after=len(whole)))
    assert found > flips // 2


def test_no_flipped_bit_changes_what_is_read(sqlite_site: SqliteSite) -> None:
    flips_do_no_silent_harm(sqlite_site, seed=1, flips=200)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(2, 6))
def test_no_flipped_bit_changes_what_is_read_however_many(sqlite_site: SqliteSite, seed: int) -> None:
    flips_do_no_silent_harm(sqlite_site, seed=seed, flips=1000)


def test_bytes_that_are_no_database_are_refused_in_our_words(sqlite_site: SqliteSite) -> None:
    sqlite_site.file.write_bytes(b"no database at all" * 100)

    with pytest.raises(StorageUnavailable, match="not a database"):
        sqlite_site.open()


def test_another_process_that_holds_the_lock_costs_a_bounded_wait_and_no_fact(sqlite_site: SqliteSite) -> None:
    """The storage's part of fault 50; that predictions go on meanwhile is for the API's tests."""
    hold = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""
    with closing(sqlite_site.open()) as log:
        log.append(fact("a"))
        holder = subprocess.Popen(
            [sys.executable, "-c", hold, os.fspath(sqlite_site.file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert holder.stdout is not None
        holder.stdout.readline()
        began = os.times().elapsed

        with pytest.raises(StorageUnavailable, match="locked"):
            log.append(fact("b"))
        waited_s = os.times().elapsed - began
        holder.communicate()

        assert sqlite.WAIT_S * 0.9 <= waited_s <= sqlite.WAIT_S * 2
        log.append(fact("c"))
        assert slots(log) == ["a", "c"]


# A volume in trouble: the storage's part of fault 52


def append_pairs(log: EventLog, stored: list[str]) -> None:
    """Append two events at a time, until that fails, and note what was acknowledged."""
    for number in itertools.count():
        log.append(fact(f"{number}"), fact(f"{number}b"))
        stored += [f"{number}", f"{number}b"]


def test_a_full_volume_takes_no_half_event_and_the_log_goes_on_once_there_is_room(small_volume: Path) -> None:
    with closing(SqliteSite(small_volume).open()) as log:
        log.append(fact("1"))
        filler = small_volume / "filler"
        filler.write_bytes(bytes(900_000))
        stored: list[str] = ["1"]

        with pytest.raises(StorageFull, match="no room left"):
            append_pairs(log, stored)
        assert slots(log) == stored

        filler.unlink()
        log.append(fact("last"))
        assert slots(log) == [*stored, "last"]


def test_a_log_on_a_read_only_volume_can_be_read_and_says_that_it_takes_nothing(small_volume: Path) -> None:
    site = SqliteSite(small_volume)
    with closing(site.open()) as log:
        log.append(*facts(3))
    subprocess.run(["mount", "-o", "remount,ro", str(small_volume)], check=True)

    with closing(site.open()) as log:
        assert slots(log) == ["1", "2", "3"]
        with pytest.raises(StorageUnavailable, match="readonly"):
            log.append(fact("4"))
        assert slots(log) == ["1", "2", "3"]


def test_a_volume_that_was_unmounted_is_not_written_beside(small_volume: Path) -> None:
    with closing(SqliteSite(small_volume).open()) as log:
        log.append(fact("1"))
        subprocess.run(["umount", "--lazy", str(small_volume)], check=True)

        with pytest.raises(LogTampered, match="no longer the file"):
            log.append(fact("2"))
        assert list(small_volume.iterdir()) == []


def test_another_volume_mounted_over_the_log_is_found_though_its_copy_has_the_same_number(small_volume: Path) -> None:
    site = SqliteSite(small_volume)
    with closing(site.open()) as log:
        log.append(fact("1"))
        copy = site.file.read_bytes()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small_volume)], check=True)
        site.file.write_bytes(copy)

        with pytest.raises(LogTampered, match="no longer the file"):
            log.append(fact("2"))


def test_a_log_that_its_account_may_not_open_is_unavailable_and_not_begun_anew(small_volume: Path) -> None:
    site = SqliteSite(small_volume)
    with closing(site.open()) as log:
        log.append(fact("1"))
    site.file.chmod(0o000)

    with nobody(), pytest.raises(StorageUnavailable, match="unable to open"):
        site.open()
