"""What every store of labels promises, on every adapter."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.given import NEW_YEAR
from tests.recorded import PROCESS, batch, call, chunk, in_chunks, minute, signature
from understudy.adapters.sqlite_labels import SqliteLabels
from understudy.adapters.sqlite_records import SqliteRecords
from understudy.errors import Conflict, StorageUnavailable
from understudy.label_quality import FEWEST
from understudy.labels import MODEL_SOURCE, MOST_OF_ALL, Answered, Given, Labelled, Place, request_of
from understudy.maturity import Cohort, Delay
from understudy.ports import Labels, Records
from understudy.records import Identity, Keyed
from understudy.signature import Value

OPENERS: list[Callable[[Path], tuple[Records, Labels]]] = [
    lambda folder: (SqliteRecords(folder / "records.db"), SqliteLabels(folder / "records.db"))
]
LATER = minute(10_000)


@pytest.fixture(params=OPENERS, ids=["SqliteLabels"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Records, Labels]]:
    records, labels = request.param(tmp_path)
    with closing(records), closing(labels):
        yield records, labels


@pytest.fixture
def records(both: tuple[Records, Labels]) -> Records:
    return both[0]


@pytest.fixture
def labels(both: tuple[Records, Labels]) -> Labels:
    return both[1]


def at(number: int, row: int = 0, ms: int | None = None, process: str = PROCESS) -> Place:
    return Place(minute(number) if ms is None else ms, process, number, row)


def given(number: int, label: object = 1, *, source: str = "feedback", model: str = "rain", **place: Any) -> Given:
    return Given(model, at(number, **place), source, str(label))


def answer(records: Records, numbers: Sequence[int], **changes: Any) -> None:
    """One prediction a minute, of these numbers."""
    records.append(
        [chunk(call(number, [[number, 0.5]]), about=signature(classes=(0, 1)), **changes) for number in numbers]
    )


def judged(labels: Labels, until: int = 10_000, after: Place | None = None, limit: int = 100) -> list[Labelled]:
    return labels.judged("rain", after=after, until_ms=minute(until), limit=limit)[0]


def told(found: Sequence[Labelled]) -> list[tuple[int, Value]]:
    return [(one.place.number, one.label) for one in found]


def test_requests_are_found_with_their_rows_wherever_their_records_are(records: Records, labels: Labels) -> None:
    now = minute(0)
    records.append(in_chunks(*(call(number, ms=now + number) for number in range(700))))
    records.append([chunk(batch(2_000, [[1, 2], [3, 4], [5, 6]], ms=now + 2_000), model="bike_demand", version="9")])
    asked = [Identity(now + number, number, PROCESS) for number in (0, 499, 699, 700, 2_000)]

    found = labels.find(map(request_of, asked))

    assert {number: one.rows for (_, _, number), one in found.items()} == {0: 1, 499: 1, 699: 1, 2_000: 3}
    assert found[request_of(asked[4])] == Answered("bike_demand", "9", 3, ("no", "yes"))
    assert labels.find([(PROCESS, now + 5, 4), ("000000", now + 4, 4)]) == {}
    assert labels.find([]) == {}


def test_numbers_that_begin_again_are_found_too(records: Records, labels: Labels) -> None:
    records.append([chunk(call(2**32 - 1, [[1, 1], [2, 2], [3, 3]], ms=minute(0)))])

    assert len(labels.find([(PROCESS, minute(0), number) for number in (2**32 - 1, 0, 1, 2)])) == 3


@pytest.mark.fault(74)
def test_labels_are_facts_of_which_the_latest_counts(records: Records, labels: Labels) -> None:
    answer(records, range(3))

    first = labels.add([given(0, 1), given(1, 1), given(1, 1), given(1, 0)], now_ms=minute(5))
    again = labels.add([given(0, 1), given(1, 1, source="lab"), given(2, 0)], now_ms=minute(6))

    assert first == ["accepted", "accepted", "known", "changed"]
    assert again == ["known", "changed", "accepted"]
    assert told(judged(labels)) == [(0, 1), (1, 1), (2, 0)]
    assert [one.source for one in judged(labels)] == ["feedback", "lab", "feedback"]


@pytest.mark.fault(74)
def test_what_the_source_of_the_model_says_counts_whoever_spoke_before_or_since(
    records: Records, labels: Labels
) -> None:
    answer(records, range(FEWEST))
    lies = [given(number, 0, source=f"lie {i}") for number in range(FEWEST) for i in range(MOST_OF_ALL // 2)]
    truth = [given(number, 1, source=MODEL_SOURCE) for number in range(FEWEST)]

    labels.add(lies[: len(lies) // 2], now_ms=LATER)
    assert labels.add(truth, now_ms=LATER) == ["changed"] * (FEWEST // 2) + ["accepted"] * (FEWEST // 2)
    assert set(labels.add([given(number, 0) for number in range(FEWEST)], now_ms=LATER)) == {"accepted"}
    labels.add(lies[len(lies) // 2 :], now_ms=LATER)

    assert labels.add(truth, now_ms=LATER) == ["known"] * FEWEST
    every = labels.recorded("rain", after=None, until_ms=LATER, limit=100)
    assert told(judged(labels)) == told(every) == [(number, 1) for number in range(FEWEST)]
    assert {one.source for one in [*judged(labels), *every]} == {MODEL_SOURCE}
    sample, _ = labels.sample("rain", since_ms=0, until_ms=LATER, most=10_000)
    assert (set(sample.labels), sample.disputed) == ({1}, FEWEST)


def test_what_is_refused_stores_nothing_and_stops_nobody(records: Records, labels: Labels) -> None:
    answer(records, range(2))
    wavering = [given(0, number % 2) for number in range(10)]

    outcomes = labels.add([*wavering, given(1)], now_ms=minute(5))

    assert [type(one) is Conflict for one in outcomes] == [False] * 8 + [True, False, False]
    assert told(judged(labels)) == [(0, 1), (1, 1)]
    assert outcomes[9] == "known"


def test_two_who_send_the_same_at_once_store_it_once(records: Records, labels: Labels) -> None:
    answer(records, range(50))
    sent = [given(number) for number in range(50)]

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda _: labels.add(sent, now_ms=LATER), range(8)))

    assert sum(one.count("accepted") for one in outcomes) == 50
    assert sum(one.count("known") for one in outcomes) == 350


@pytest.mark.fault(75)
def test_what_is_late_is_kept_and_not_judged_by(records: Records, labels: Labels) -> None:
    answer(records, range(4))
    labels.add([given(0), given(1)], now_ms=minute(5))
    labels.close_until("rain", minute(2))

    outcomes = labels.add([given(0), given(1, 0), given(2), given(3)], now_ms=minute(6))

    assert outcomes == ["known", "late", "late", "accepted"]
    assert told(judged(labels)) == [(0, 1), (1, 1), (3, 1)]
    everything = labels.recorded("rain", after=None, until_ms=LATER, limit=100)
    assert told(everything) == [(0, 1), (1, 0), (2, 1), (3, 1)]


def test_closed_once_is_closed_and_each_model_has_its_own(labels: Labels) -> None:
    assert labels.closed_ms("rain") is None

    labels.close_until("rain", 500)
    labels.close_until("rain", 300)

    assert labels.closed_ms("rain") == 500
    assert labels.closed_ms("bike_demand") is None


@pytest.mark.fault(76)
def test_a_stretch_in_doubt_is_not_judged_and_it_is_told_once(records: Records, labels: Labels) -> None:
    answer(records, range(8))
    labels.add([given(number) for number in range(8)], now_ms=minute(9))

    news = [
        labels.close_until("rain", minute(1)),
        labels.close_until("rain", minute(3), doubt="odd"),
        labels.close_until("rain", minute(5), doubt="odd"),
        labels.close_until("rain", minute(4), doubt="odd"),
        labels.close_until("rain", minute(6)),
        labels.close_until("rain", minute(7), doubt="odd"),
    ]

    assert news == [False, True, False, False, False, True]
    assert told(judged(labels, until=7)) == [(0, 1), (1, 1), (6, 1)]


def test_a_sample_is_what_is_about_to_be_judged_and_what_was_before_it_but_for_what_is_in_doubt(
    records: Records, labels: Labels
) -> None:
    new = FEWEST + 10
    answer(records, range(6 + new))
    labels.add([given(number, number % 2) for number in range(6)], now_ms=LATER)
    labels.add([given(6 + i, i % 3) for i in range(new)], now_ms=LATER)
    labels.add([given(6, 1), given(7, 1, source="lab")], now_ms=LATER)
    labels.close_until("rain", minute(3))
    labels.close_until("rain", minute(5), doubt="odd")

    sample, before = labels.sample("rain", since_ms=minute(5), until_ms=LATER, most=1_000)

    assert list(sample.labels)[::-1] == [1, *(i % 3 for i in range(1, new))]
    assert (sample.disputed, before) == (1, [1, 0, 1, 0])


def test_where_little_is_about_to_be_judged_the_sample_reaches_back(records: Records, labels: Labels) -> None:
    answer(records, range(80))
    labels.add([given(number, int(number >= 70)) for number in range(80)], now_ms=LATER)

    sample, before = labels.sample("rain", since_ms=minute(69), until_ms=LATER, most=1_000)

    assert list(sample.labels) == [1] * 10 + [0] * (FEWEST - 10)
    assert len(before) == 80 - FEWEST


def test_rows_are_listed_as_they_were_answered_page_by_page(records: Records, labels: Labels) -> None:
    now, about = minute(0), signature(classes=(0, 1))
    for process in ("bbbbbb", "aaaaaa"):
        calls = [batch(number, [[number, 0], [number, 1]], ms=now + 10 * (number // 3)) for number in range(60)]
        records.append(in_chunks(*calls, about=about, process=process))
    places = [
        at(number, row, now + 10 * (number // 3), process)
        for number in range(60)
        for process in ("aaaaaa", "bbbbbb")
        for row in range(2)
    ]
    labels.add([Given("rain", place, "feedback", "1") for place in places], now_ms=LATER)

    def by_label(after: Place | None) -> list[Labelled]:
        return labels.judged("rain", after=after, until_ms=LATER, limit=70)[0]

    def each(after: Place | None) -> list[Labelled]:
        return labels.recorded("rain", after=after, until_ms=LATER, limit=70)

    for listed in (by_label, each):
        found: list[Labelled] = []
        while page := listed(found[-1].place if found else None):
            found += page
        assert [one.place for one in found] == sorted(places)
        assert [one.values for one in found] == [[one.place.number, one.place.row] for one in found]


def test_a_row_of_a_chunk_that_ends_later_is_not_stepped_over(records: Records, labels: Labels) -> None:
    now = minute(0)
    records.append([chunk(call(number, ms=now + 1_000 * number)) for number in range(100)])
    records.append([chunk(*(call(number, ms=now + ms) for number, ms in ((0, 62_700), (1, 63_100))), process="000000")])

    found: list[Labelled] = []
    while page := labels.recorded("rain", after=found[-1].place if found else None, until_ms=LATER, limit=64):
        found += page

    assert len(found) == 102
    assert found == sorted(found, key=lambda one: one.place)


def test_columns_that_are_hidden_by_now_are_named_and_not_shown(records: Records, labels: Labels) -> None:
    answer(records, range(2))
    answer(records, [2], withheld=["b"])

    found = labels.recorded("rain", after=None, until_ms=LATER, limit=9, hidden=["a"])

    assert [(one.columns, one.withheld, one.values) for one in found] == [
        (("b",), ("a",), [0.5]),
        (("b",), ("a",), [0.5]),
        ((), ("b", "a"), []),
    ]


def test_labels_whose_records_are_gone_are_stepped_over(records: Records, labels: Labels) -> None:
    answer(records, range(200))
    labels.add([given(number) for number in range(200)], now_ms=LATER)
    records.trim(before=NEW_YEAR.replace(hour=3), max_bytes=2**62)

    found, last = labels.judged("rain", after=None, until_ms=LATER, limit=50)

    assert found[0].place.number == 180
    assert last == at(199)


def test_labels_and_keys_go_with_their_records(records: Records, labels: Labels) -> None:
    keyed = [Keyed("rain", f'"{number}"', Identity(minute(number), number, PROCESS), 0) for number in range(300)]
    records.append([chunk(call(number), about=signature(classes=(0, 1))) for number in range(300)], keyed=keyed)
    labels.add([given(number) for number in range(0, 300, 2)], now_ms=LATER)

    assert labels.trim() == 0
    records.trim(before=NEW_YEAR.replace(hour=4), max_bytes=2**62)

    assert labels.trim() == 180 + 90  # an hour is left for records that were written late
    assert labels.by_key("rain", ['"179"', '"180"']).keys() == {'"180"'}
    records.trim(before=NEW_YEAR.replace(hour=20), max_bytes=2**62)
    assert labels.trim() == 120 + 60


def test_a_key_names_the_newest_row_that_was_asked_for_under_it(records: Records, labels: Labels) -> None:
    keyed = [Keyed("rain", '"A"', Identity(minute(number), number, PROCESS), number) for number in (1, 3, 2)]
    records.append([chunk(call(1))], keyed=[*keyed, Keyed("rain", "7", Identity(minute(9), 9, PROCESS), 0), *keyed])

    assert labels.by_key("rain", ['"A"', "7", '"7"']) == {'"A"': at(3, 3), "7": at(9)}
    assert labels.by_key("bike_demand", ['"A"']) == {}


def test_rows_with_a_key_that_the_source_has_not_labelled_are_listed_whatever_others_told(
    records: Records, labels: Labels
) -> None:
    keyed = [Keyed("rain", str(number), Identity(minute(number), number, PROCESS), 0) for number in range(5)]
    records.append([chunk(call(number), about=signature(classes=(0, 1))) for number in range(5)], keyed=keyed)
    labels.add([given(1, source=MODEL_SOURCE), given(2), given(3, source=MODEL_SOURCE), given(3)], now_ms=LATER)

    assert labels.unlabelled("rain", after=None, limit=2) == [(at(0), "0"), (at(2), "2")]
    assert labels.unlabelled("rain", after=at(2), limit=2) == [(at(4), "4")]
    assert labels.unlabelled("bike_demand", after=None, limit=2) == []


def test_delays_are_those_of_first_labels_of_each_source_from_all_of_the_time(records: Records, labels: Labels) -> None:
    answer(records, range(30))
    for delay, label in ((3, 1), (5, 1), (6, 0)):
        for number in range(30):
            given_then = given(number, label, source=str(min(delay, 5)))
            labels.add([given_then], now_ms=minute(number + delay))
    labels.close_until("rain", minute(30))
    labels.add([given(20, source="late")], now_ms=minute(60))

    seen = labels.delays("rain", since_ms=0, now_ms=minute(60), most=400)

    assert sorted(seen) == sorted(
        [Delay(str(of), minute(number), minute(number + of), False) for number in range(30) for of in (3, 5)]
        + [Delay("late", minute(20), minute(60), True)]
    )
    assert len(labels.delays("rain", since_ms=minute(21), now_ms=minute(60), most=400)) == 18
    assert labels.delays("bike_demand", since_ms=0, now_ms=minute(60), most=400) == []


def test_a_cohort_counts_requests_and_those_that_have_a_label(records: Records, labels: Labels) -> None:
    answer(records, range(10))
    answer(records, range(10), model="bike_demand", process="000000")
    labels.add([given(2), given(3), given(3, 0), given(8)], now_ms=LATER)

    assert labels.cohort("rain", since_ms=minute(2), until_ms=minute(6)) == Cohort(minute(2), minute(6), 4, 1, rows=1)


def test_a_cohort_that_begins_within_a_chunk_knows_the_labels_of_all_of_it(records: Records, labels: Labels) -> None:
    start = minute(0)
    records.append([chunk(*(batch(i, [[1, 2], [3, 4]], ms=start + 10 * i) for i in range(50)))])
    labels.add([given(i, ms=start + 10 * i, row=row) for i in range(50) for row in range(2)], now_ms=LATER)

    found = labels.cohort("rain", since_ms=start + 445, until_ms=start + 500)

    assert (found.requests, found.labelled, found.rows) == (50, 50, 10)


def test_labels_outlive_the_process_that_stored_them(tmp_path: Path) -> None:
    file = tmp_path / "records.db"
    with closing(SqliteRecords(file)) as records, closing(SqliteLabels(file)) as labels:
        answer(records, [1])
        labels.add([given(1)], now_ms=LATER)
        labels.close_until("rain", minute(1))

    with closing(SqliteLabels(file)) as again:
        assert again.add([given(1)], now_ms=LATER) == ["known"]
        assert (told(judged(again)), again.closed_ms("rain")) == ([(1, 1)], minute(1))


def test_closed_labels_say_that_they_cannot_be_used(labels: Labels) -> None:
    labels.close()

    with pytest.raises(StorageUnavailable, match="closed"):
        labels.closed_ms("rain")
