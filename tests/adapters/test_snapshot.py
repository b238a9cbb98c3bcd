import pandas as pd
import pytest

from tests.adapters.stream import Given, at, model, rows
from understudy.adapters import snapshot
from understudy.errors import BadDefinition, DataRefused, SourceFailed
from understudy.events import timestamp

LATE = at(10_000)


def test_rows_are_taken_in_the_order_of_their_clock_up_to_the_moment_asked_for() -> None:
    shuffled = rows(100).sample(frac=1, random_state=3)

    taken = snapshot.take(model(shuffled), as_of=at(49), now=at(49))

    assert taken.frame["at"].tolist() == [at(minute) for minute in range(50)]


def test_rows_may_be_chosen_by_date() -> None:
    taken = snapshot.take(model(rows(100)), as_of=LATE, now=LATE, start=at(10), end=at(19))

    assert len(taken.frame) == 10


def test_rows_without_a_time_cannot_be_chosen_by_date() -> None:
    with pytest.raises(BadDefinition, match="cannot be chosen by date"):
        snapshot.take(model(rows(100), time=None), as_of=LATE, now=LATE, start=at(10))


def test_labelled_rows_from_the_future_are_counted_and_left_out() -> None:
    taken = snapshot.take(model(rows(100)), as_of=at(80), now=at(80))

    assert (len(taken.frame), taken.future) == (81, 14)  # five minutes are the leeway of two clocks


def test_a_look_at_the_past_finds_no_rows_from_the_future() -> None:
    taken = snapshot.take(model(rows(100)), as_of=at(10), now=LATE)

    assert (len(taken.frame), taken.future) == (11, 0)


def test_times_may_be_texts_and_are_in_utc_where_they_name_no_zone() -> None:
    frame = rows(3).assign(at=["2026-01-01T02:00:00", "2026-01-01T02:00:00+01:00", "2026-01-01"])

    taken = snapshot.take(model(frame), as_of=LATE, now=LATE)

    assert taken.frame["at"].tolist() == [at(0), at(60), at(120)]


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (rows(0), "no rows"),
        (rows(9).drop(columns="label"), "no column `label`, which the definition names as its target"),
        (rows(9).drop(columns="at"), "no column `at`, which the definition names as its time"),
        (rows(9).assign(at=range(9)), "holds numbers"),
        (rows(9).assign(at=[*map(str, rows(8)["at"]), "soon"]), "1 of 9 rows have no time"),
        (rows(9).rename(columns={"y": "x"}), "Two columns are named `x`"),
    ],
)
@pytest.mark.fault(71)
def test_rows_that_cannot_be_used_are_refused_with_what_is_wrong(frame: pd.DataFrame, words: str) -> None:
    with pytest.raises(DataRefused, match=words):
        snapshot.take(model(frame), as_of=LATE, now=LATE)


def fail(error: Exception) -> Given:
    def give(as_of: object) -> None:
        raise error

    return Given(give)


@pytest.mark.fault(70)
@pytest.mark.parametrize(
    ("source", "words"),
    [
        (fail(ConnectionError("connection refused")), "raised ConnectionError: connection refused"),
        (fail(SourceFailed("The warehouse is down.", remedy="Wait.")), "The warehouse is down"),
        (Given(lambda as_of: [1, 2]), "gave a list instead of a frame"),
    ],
)
def test_a_source_that_fails_is_named_as_the_cause(source: Given, words: str) -> None:
    with pytest.raises(SourceFailed, match=words):
        snapshot.take(model(source), as_of=LATE, now=LATE)


def test_what_a_source_says_of_itself_is_kept_and_not_stored_with_the_rows() -> None:
    frame = rows(9)
    frame.attrs["note"] = "It has ended."

    taken = snapshot.take(model(frame), as_of=LATE, now=LATE)

    assert taken.note == "It has ended."
    assert snapshot.write(taken.frame) == snapshot.write(snapshot.take(model(rows(9)), as_of=LATE, now=LATE).frame)


def test_a_snapshot_is_read_back_as_it_was_with_the_clock_of_each_row() -> None:
    nan = float("nan")
    frame = rows(9).assign(label=[0, 1, nan, 0, 1, nan, 0, 1, 0], city=[nan, *rows(8)["city"]])

    back = snapshot.read(snapshot.write(frame), model(frame))

    pd.testing.assert_frame_equal(back.frame, frame)
    assert back.clock.tolist() == [timestamp(at(minute)) for minute in range(9)]
    assert back.mature.tolist() == [0, 1, 3, 4, 6, 7, 8]


def test_without_a_time_rows_are_counted() -> None:
    back = snapshot.read(snapshot.write(rows(3)), model(rows(3), time=None))

    assert back.clock.tolist() == [0, 1, 2]


def test_a_column_of_mixed_values_is_refused() -> None:
    with pytest.raises(DataRefused, match="cannot be stored"):
        snapshot.write(rows(2).assign(x=["one", 2]))


def test_a_clock_of_another_kind_says_nothing_about_what_is_later() -> None:
    clock = snapshot.read(snapshot.write(rows(3)), model(rows(3))).clock

    assert snapshot.later(clock, 1).tolist() == [True, True, True]
    assert snapshot.later(clock, timestamp(at(1))).tolist() == [False, False, True]
