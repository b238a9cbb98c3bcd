"""What every store of prediction records promises, on every adapter."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.given import NEW_YEAR
from understudy.adapters.sqlite_records import SqliteRecords
from understudy.errors import NotFound, StorageFull, StorageUnavailable
from understudy.ports import Prediction, Records

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


def prediction(number: int, **changes: object) -> Prediction:
    """Answered `number` minutes after New Year."""
    made = Prediction(
        id=f"p{number}",
        time=NEW_YEAR + timedelta(minutes=number),
        model="rain",
        version="3",
        rows=b"[[1.5,null]]",
        answer=b'{"predictions":["no"]}',
        latency_ms=0.25,
        role="client",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def ids(records: Records, among: range) -> list[int]:
    """The numbers on record."""

    def known(number: int) -> bool:
        try:
            return bool(records.get(f"p{number}"))
        except NotFound:
            return False

    return list(filter(known, among))


def test_a_prediction_comes_back_as_it_was_answered(records: Records) -> None:
    odd = prediction(7, rows=bytes(range(256)), answer=b"", model="bike_demand", role="operator")
    records.append([prediction(1), odd])

    assert records.get("p7") == odd
    assert records.get("p1") == prediction(1)
    assert records.count() == 2


def test_an_id_that_is_not_on_record_is_not_found(records: Records) -> None:
    with pytest.raises(NotFound, match="No prediction with that id"):
        records.get("p1' OR 1=1")


def test_an_id_that_is_there_already_is_left_as_it_is(records: Records) -> None:
    records.append([prediction(1)])

    records.append([prediction(1, answer=b"another"), prediction(2), prediction(2, answer=b"twice")])

    assert records.get("p1").answer == records.get("p2").answer == prediction(1).answer
    assert records.count() == 2


def test_storing_nothing_is_nothing(records: Records) -> None:
    records.append([])

    assert records.count() == 0


def test_records_outlive_the_process_that_wrote_them(open_records: Callable[[], Records]) -> None:
    first = open_records()
    first.append([prediction(1)])
    first.close()

    second = open_records()

    assert second.get("p1") == prediction(1)
    second.close()


def test_threads_may_share_them(records: Records) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: records.append([prediction(number)]), range(80)))

    assert records.count() == 80


def test_trimming_drops_what_is_older_than_a_moment(records: Records) -> None:
    records.append([prediction(number) for number in range(10)])

    assert records.trim(before=NEW_YEAR + timedelta(minutes=4), max_bytes=FOREVER) == 4

    assert ids(records, range(10)) == [4, 5, 6, 7, 8, 9]
    assert records.trim(before=NEW_YEAR + timedelta(minutes=4), max_bytes=FOREVER) == 0


def test_a_clock_that_is_a_year_ahead_costs_few_records(records: Records) -> None:
    records.append([prediction(number) for number in range(1000)])

    dropped = [records.trim(before=NEW_YEAR + timedelta(days=365), max_bytes=FOREVER, share=0.002) for _ in range(3)]

    assert dropped == [2, 2, 2]
    assert records.trim(before=NEW_YEAR, max_bytes=FOREVER, share=0.002) == 0
    assert ids(records, range(10)) == [6, 7, 8, 9]


def test_trimming_may_drop_everything(records: Records) -> None:
    records.append([prediction(number) for number in range(10)])

    assert records.trim(before=NEW_YEAR + timedelta(days=1), max_bytes=FOREVER) == 10
    assert records.trim(before=NEW_YEAR + timedelta(days=1), max_bytes=FOREVER) == 0


def test_trimming_drops_the_oldest_until_the_rest_fits(records: Records) -> None:
    records.append([prediction(number, rows=bytes(10_000)) for number in range(100)])

    dropped = records.trim(before=NEW_YEAR, max_bytes=400_000)

    kept = ids(records, range(100))
    assert kept == list(range(dropped, 100))
    assert 20 <= len(kept) < 40
    assert records.trim(before=NEW_YEAR, max_bytes=400_000) == 0


def test_trimming_to_less_than_nothing_ends_with_nothing(records: Records) -> None:
    records.append([prediction(number) for number in range(10)])

    assert records.trim(before=NEW_YEAR, max_bytes=0) == 10
    assert records.count() == 0


def test_a_trimmed_store_takes_new_records_in_the_same_room(tmp_path: Path) -> None:
    file = tmp_path / "records.db"
    records, numbers = SqliteRecords(file), itertools.count()
    sizes = []
    for _ in range(12):
        records.append([prediction(next(numbers), rows=bytes(10_000)) for _ in range(50)])
        records.trim(before=NEW_YEAR, max_bytes=500_000)
        sizes.append(file.stat().st_size)

    assert max(sizes[4:]) == sizes[3]
    records.close()


def test_a_full_volume_takes_no_part_of_a_batch_and_goes_on_once_there_is_room(small_volume: Path) -> None:
    records = SqliteRecords(small_volume / "records.db")
    records.append([prediction(1)])

    with pytest.raises(StorageFull, match="no room left"):
        records.append([prediction(number, rows=bytes(100_000)) for number in range(2, 40)])

    assert records.count() == 1
    records.append([prediction(2)])
    assert records.get("p2") == prediction(2)
    records.close()


def test_closed_records_say_that_they_cannot_be_used(records: Records) -> None:
    records.close()

    with pytest.raises(StorageUnavailable, match="closed"):
        records.count()
