"""What every store of prediction records promises, on every adapter."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.given import NEW_YEAR
from tests.recorded import PROCESS, SAID, batch, call, chunk, id_of, minute, signature
from understudy.adapters import sqlite
from understudy.adapters.sqlite_records import SqliteRecords
from understudy.errors import NotFound, StorageFull, StorageUnavailable
from understudy.events import timestamp
from understudy.parity import Answer
from understudy.ports import Records
from understudy.records import Chunk, Gap, Progress

OPENERS: list[Callable[[Path], Records]] = [lambda folder: SqliteRecords(folder / "records.db")]
FOREVER = 2**62


@pytest.fixture(params=OPENERS, ids=["SqliteRecords"])
def open_records(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Records]:
    return lambda: request.param(tmp_path)


@pytest.fixture
def records(open_records: Callable[[], Records]) -> Iterator[Records]:
    opened = open_records()
    yield opened
    opened.close()


def one(number: int) -> Chunk:
    """A chunk of one request, answered `number` minutes after New Year."""
    return chunk(call(number))


def heavy(number: int) -> Chunk:
    """A chunk of 20 kB."""
    noise = np.random.default_rng(number).bytes(10_000)
    return chunk(batch(number, [[0, 0]], rows=noise, n=1_250, output=np.zeros((1_250, 2), np.float32)))


def on_record(records: Records, among: range) -> list[int]:
    """The numbers on record."""

    def known(number: int) -> bool:
        try:
            return bool(records.get(id_of(number)))
        except NotFound:
            return False

    return list(filter(known, among))


def test_a_prediction_comes_back_as_it_was_answered(records: Records) -> None:
    odd = batch(7, [[0.1, float("nan")], [2, 3]], roles=["operator"])
    records.append([one(1), chunk(odd, model="bike_demand", version="12")])

    found = records.get(id_of(7))

    assert found.rows == [[0.1, None], [2.0, 3.0]]
    assert found.answer == Answer(["yes", "yes"], [[0.25, 0.75], [0.25, 0.75]])
    assert (found.model, found.version, found.role, found.latency_s) == ("bike_demand", "12", "operator", 0.001)
    assert (found.columns, found.withheld, found.classes) == (("a", "b"), (), ("no", "yes"))
    assert (found.id, found.time) == (id_of(7), NEW_YEAR + timedelta(minutes=7))
    assert (records.get(id_of(1)).rows, records.get(id_of(1)).answer) == ([[1.5, 0.25]], SAID)
    assert records.count() == 2


def test_a_row_of_a_prediction_has_a_name(records: Records) -> None:
    records.append([chunk(batch(7, [[1, 2], [3, 4]]))])

    assert records.get(id_of(7) + "/1").rows == [[3.0, 4.0]]
    assert records.get(id_of(7) + "/0").answer == SAID
    with pytest.raises(NotFound, match=r"no such row\. It has 2"):
        records.get(id_of(7) + "/2")


@pytest.mark.parametrize("id", ["p1' OR 1=1", "", "0", id_of(2), id_of(1, process="000000"), id_of(1) + "0"])
def test_an_id_that_is_not_on_record_is_not_found(records: Records, id: str) -> None:
    records.append([one(1)])

    with pytest.raises(NotFound, match="No prediction with that id"):
        records.get(id)


def test_requests_of_models_that_answer_in_turns_are_told_apart(records: Records) -> None:
    now = minute(0)
    rain = chunk(*(call(number, ms=now) for number in range(0, 40, 2)))
    bikes = chunk(*(call(number, [[number, 0]], ms=now) for number in range(1, 40, 2)), model="bike_demand")
    records.append([rain, bikes])

    assert records.get(id_of(17, now)).rows == [[17.0, 0.0]]
    assert {records.get(id_of(number, now)).model for number in range(0, 40, 2)} == {"rain"}


def test_numbers_of_requests_may_begin_again(records: Records) -> None:
    last = 2**32 - 1
    records.append([chunk(call(last, [[1, 1], [2, 2], [3, 3]], ms=minute(0)))])

    assert records.get(id_of(last, minute(0))).rows == [[1.0, 1.0]]
    assert records.get(id_of(1, minute(0))).rows == [[3.0, 3.0]]


def test_storing_nothing_is_nothing(records: Records) -> None:
    records.append([])

    assert records.count() == 0


def test_records_outlive_the_process_that_wrote_them(open_records: Callable[[], Records]) -> None:
    first = open_records()
    first.append([one(1)])
    first.close()

    second = open_records()

    assert second.get(id_of(1)).answer == SAID
    second.close()


def test_threads_may_share_them(records: Records) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: records.append([one(number)]), range(80)))

    assert records.count() == 80


def test_a_killed_process_leaves_a_gap_of_what_it_had_not_written(records: Records) -> None:
    records.append([one(1)], progress=Progress(PROCESS, 40, minute(1)))

    found = records.mourn(PROCESS, handed=42, since_ms=minute(0), until_ms=minute(2))

    assert found == Gap(PROCESS, minute(1), minute(2), 2, "killed")
    assert records.gaps() == [found]
    with pytest.raises(NotFound, match="It was lost: its process was killed"):
        records.get(id_of(5, ms=minute(2)))


def test_a_process_that_is_killed_before_it_wrote_anything_leaves_a_gap_too(records: Records) -> None:
    found = records.mourn(PROCESS, handed=3, since_ms=minute(0), until_ms=minute(1))

    assert found == Gap(PROCESS, minute(0), minute(1), 3, "killed")


def test_a_killed_process_that_had_written_all_leaves_no_gap(records: Records) -> None:
    records.append([one(1)], progress=Progress(PROCESS, 1, minute(1)))

    assert records.mourn(PROCESS, handed=1, since_ms=minute(0), until_ms=minute(1)) is None
    assert records.gaps() == []


def test_what_went_down_with_the_system_is_a_gap_of_unknown_size(records: Records) -> None:
    records.append([one(1)], progress=Progress(PROCESS, 1, minute(1)))

    assert records.mourn(PROCESS, handed=None, since_ms=minute(0), until_ms=minute(0)) == Gap(
        PROCESS, minute(1), minute(1), None, "killed"
    )


def test_a_killed_process_is_mourned_once(records: Records) -> None:
    records.mourn(PROCESS, handed=3, since_ms=minute(0), until_ms=minute(1))
    records.leave(PROCESS)

    assert records.mourn(PROCESS, handed=3, since_ms=minute(0), until_ms=minute(1)) is None
    assert len(records.gaps()) == 1


def test_a_gap_is_stored_with_the_records_around_it(records: Records) -> None:
    full = Gap(PROCESS, minute(1), minute(2), 9, "full")
    records.append([one(1)], gaps=[full], progress=Progress(PROCESS, 10, minute(2)))

    assert records.gaps() == [full]
    assert records.mourn(PROCESS, handed=10, since_ms=minute(0), until_ms=minute(2)) is None
    with pytest.raises(NotFound, match="the disk did not answer"):
        records.get(id_of(5, ms=minute(2)))


def test_trimming_drops_what_is_older_than_a_moment(records: Records) -> None:
    records.append([one(number) for number in range(10)])

    assert records.trim(before=NEW_YEAR + timedelta(minutes=4), max_bytes=FOREVER) == 4

    assert on_record(records, range(10)) == [4, 5, 6, 7, 8, 9]
    assert records.trim(before=NEW_YEAR + timedelta(minutes=4), max_bytes=FOREVER) == 0


def test_a_clock_that_is_a_year_ahead_costs_few_records(records: Records) -> None:
    records.append([one(number) for number in range(1000)])

    dropped = [records.trim(before=NEW_YEAR + timedelta(days=365), max_bytes=FOREVER, share=0.002) for _ in range(3)]

    assert dropped == [2, 2, 2]
    assert records.trim(before=NEW_YEAR, max_bytes=FOREVER, share=0.002) == 0
    assert on_record(records, range(10)) == [6, 7, 8, 9]


def test_trimming_may_drop_everything(records: Records) -> None:
    records.append([one(number) for number in range(10)])

    assert records.trim(before=NEW_YEAR + timedelta(days=1), max_bytes=FOREVER) == 10
    assert records.trim(before=NEW_YEAR + timedelta(days=1), max_bytes=FOREVER) == 0


def test_trimming_drops_the_oldest_until_the_rest_fits(records: Records) -> None:
    records.append([heavy(number) for number in range(100)])

    dropped = records.trim(before=NEW_YEAR, max_bytes=800_000)

    kept = on_record(records, range(100))
    assert kept == list(range(dropped, 100))
    assert 30 <= len(kept) < 60
    assert records.trim(before=NEW_YEAR, max_bytes=800_000) == 0


def test_trimming_to_less_than_nothing_ends_with_nothing(records: Records) -> None:
    records.append([one(number) for number in range(10)])

    assert records.trim(before=NEW_YEAR, max_bytes=0) == 10
    assert records.count() == 0


def test_a_trimmed_store_takes_new_records_in_the_same_room(tmp_path: Path) -> None:
    file = tmp_path / "records.db"
    records, sizes = SqliteRecords(file), []
    for turn in range(12):
        records.append([heavy(50 * turn + i) for i in range(50)])
        records.trim(before=NEW_YEAR, max_bytes=500_000)
        sizes.append(file.stat().st_size)

    assert max(sizes[4:]) == sizes[3]
    records.close()


def test_a_full_volume_takes_no_part_of_a_batch_and_goes_on_once_there_is_room(small_volume: Path) -> None:
    records = SqliteRecords(small_volume / "records.db")
    records.append([one(1)])

    with pytest.raises(StorageFull, match="no room left"):
        records.append([heavy(number) for number in range(2, 150)])

    assert records.count() == 1
    records.append([one(2)])
    assert records.get(id_of(2)).answer == SAID
    records.close()


def test_closed_records_say_that_they_cannot_be_used(records: Records) -> None:
    records.close()

    with pytest.raises(StorageUnavailable, match="closed"):
        records.count()


OLD_INSERT = """
INSERT INTO predictions (id, time, model, version, row_values, answer, latency_ms, role) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file of an earlier release, with ten predictions of one a minute."""
    file = tmp_path / "records.db"
    answer = {"predictions": ["no"], "probabilities": [[0.75, 0.25]], "classes": ["no", "yes"]}
    with closing(sqlite3.connect(file)) as db, db:
        sqlite.migrate(db, sqlite.migrations("records")[:1], name="records.db")
        for i in range(10):
            time = timestamp(NEW_YEAR + timedelta(minutes=i))
            said = json.dumps(answer).encode()
            db.execute(OLD_INSERT, (f"{i:023}", time, "rain", "2", b"[[1.5,null]]", said, 0.25, "open"))
    return file


@pytest.mark.fault(56)
def test_what_an_earlier_release_recorded_is_still_on_record(old: Path) -> None:
    records = SqliteRecords(old)
    records.append([one(1)])

    found = records.get(f"{3:023}")

    assert (found.model, found.version, found.role, found.latency_s) == ("rain", "2", None, 0.00025)
    assert (found.rows, found.answer) == ([[1.5, None]], Answer(["no"], [[0.75, 0.25]]))
    assert records.count() == 11
    records.close()


def test_what_an_earlier_release_recorded_is_trimmed_first(old: Path) -> None:
    records = SqliteRecords(old)
    records.append([one(100)])

    assert records.trim(before=NEW_YEAR + timedelta(minutes=4), max_bytes=FOREVER) == 4
    assert records.get(f"{4:023}").version == "2"
    assert records.trim(before=NEW_YEAR + timedelta(minutes=101), max_bytes=FOREVER) == 7
    assert records.count() == 0
    records.close()


def test_columns_that_are_withheld_are_named_and_stored_nowhere(tmp_path: Path) -> None:
    records = SqliteRecords(tmp_path / "records.db")
    secret = float(np.float32(123.456))
    records.append([chunk(call(1, [[secret, 2.0]]), withheld=["a"])])
    records.append([chunk(call(2, rows=[("a secret", 2.0)]), withheld=["a"], about=signature("text", "number"))])
    records.close()

    again = SqliteRecords(tmp_path / "records.db")

    assert (again.get(id_of(1)).columns, again.get(id_of(1)).withheld) == (("b",), ("a",))
    assert again.get(id_of(1)).rows == again.get(id_of(2)).rows == [[2.0]]
    again.close()
    stored = (tmp_path / "records.db").read_bytes()
    assert np.float32(secret).tobytes() not in stored
    assert b"a secret" not in stored


def test_a_chunk_that_is_changed_on_disk_is_not_taken_for_another(records: Records) -> None:
    made = one(1)
    records.append([replace(made, process="000000")])

    with pytest.raises(NotFound):
        records.get(id_of(1))
