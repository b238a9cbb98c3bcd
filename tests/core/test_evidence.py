"""Evidence is rows, strictly read; conclusions that come with it are not even looked at."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import BadInput
from understudy.evidence import Evidence, OwnLosses, build, row_digest

DIGEST, OTHER = "a" * 64, "b" * 64
CLOCK = [f"2026-01-01T00:0{minute}:00.000000Z" for minute in range(3)]


def parts(**changes: Any) -> dict[str, Any]:
    given = {
        "model": "rain",
        "candidate": DIGEST,
        "champion": OTHER,
        "task": "binary",
        "classes": ["dry", "wet"],
        "clock": CLOCK,
        "rows": [row_digest([1.0, "a", row]) for row in range(3)],
        "labels": ["dry", "wet", "wet"],
        "candidate_out": [[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]],
        "champion_out": [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]],
        "times_measured": "2026-01-01T00:05:00.000000Z",
        "profile": "c" * 64,
    }
    return {**given, **changes}


def regression(**changes: Any) -> dict[str, Any]:
    numbers = {"task": "regression", "classes": None, "labels": [1, 2.5, 3.0]}
    return parts(**{**numbers, "candidate_out": [1.0, 2.0, 3], "champion_out": [0.0, 0.0, 0.0], **changes})


def sent(**changes: Any) -> bytes:
    """Evidence as somebody else may have written it, with `changes` on top."""
    return json.dumps({**json.loads(build(**parts())), **changes}).encode()


def test_what_was_built_is_read_back() -> None:
    found = Evidence.parse(build(**parts()))

    assert (found.model, found.candidate, found.champion, found.n) == ("rain", DIGEST, OTHER, 3)
    assert found.labels.tolist() == [0, 1, 1]
    assert found.candidate_out.tolist() == [[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]
    assert (found.start, found.end) == (CLOCK[0], CLOCK[2])


def test_a_regression_holds_one_number_per_row() -> None:
    found = Evidence.parse(build(**regression(clock=[7, 8, 9])))

    assert found.labels.tolist() == [1.0, 2.5, 3.0]
    assert found.candidate_out.tolist() == [1.0, 2.0, 3.0]
    assert (found.start, found.end) == (7, 9)


def test_arrays_are_written_as_lists_are() -> None:
    lists = build(**regression())
    arrays = build(**regression(labels=np.array([1, 2.5, 3.0]), candidate_out=np.array([1.0, 2.0, 3.0])))

    assert json.loads(arrays) == json.loads(lists)


def test_groups_and_own_losses_are_kept_row_by_row() -> None:
    own = OwnLosses(
        name="cost", candidate=np.array([1.0, np.nan, 2.0]), champion=np.ones(3), constant=np.array([0.5, 0.5, 1e9])
    )

    found = Evidence.parse(build(**parts(groups={"sky": ["fog", None, "fog"]}, own=own)))

    assert found.groups == {"sky": ["fog", None, "fog"]}
    assert found.own is not None
    assert found.own.name == "cost"
    assert np.array_equal(found.own.candidate, own.candidate, equal_nan=True)
    assert found.own.champion is not None
    assert (found.own.champion.tolist(), found.own.constant.tolist()) == ([1.0] * 3, [0.5, 0.5, 1e9])


def test_evidence_without_them_is_written_as_it_always_was() -> None:
    document = json.loads(build(**parts()))

    assert {"groups", "own"}.isdisjoint(document)
    assert Evidence.parse(build(**parts())).groups == {}
    assert Evidence.parse(build(**parts())).own is None


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), None])
def test_an_answer_that_is_no_number_is_kept_as_such(broken: float | None) -> None:
    one = Evidence.parse(build(**parts(candidate_out=[[0.9, 0.1], [broken, 0.8], [0.5, 0.5]])))
    row = Evidence.parse(build(**parts(candidate_out=[[0.9, 0.1], None, [0.5, 0.5]])))
    number = Evidence.parse(build(**regression(candidate_out=[1.0, broken, 3.0])))

    assert np.isnan(one.candidate_out).tolist() == [[False, False], [True, False], [False, False]]
    assert np.isnan(row.candidate_out).all(axis=1).tolist() == [False, True, False]
    assert np.isnan(number.candidate_out).tolist() == [False, True, False]


def test_a_label_that_is_none_of_the_classes_has_no_code() -> None:
    assert Evidence.parse(build(**parts(labels=["dry", "snow", "wet"]))).labels.tolist() == [0, -1, 1]


def test_without_a_champion_there_are_no_answers_of_one() -> None:
    assert Evidence.parse(build(**parts(champion=None, champion_out=None))).champion_out is None


@pytest.mark.parametrize("forged", [{"p": 0.0001}, {"mean": -5.0}, {"passed": True}, {"answer": "better", "gain": 1e9}])
def test_a_conclusion_that_is_sent_is_ignored(forged: dict[str, Any]) -> None:
    honest, found = Evidence.parse(sent()), Evidence.parse(sent(**forged))

    assert set(vars(found)) == set(vars(honest))
    assert found.candidate_out.tolist() == honest.candidate_out.tolist()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"format": 2}, "format"),
        ({"candidate": "v7"}, "candidate"),
        ({"candidate": DIGEST.upper()}, "candidate"),
        ({"champion": None}, "champion_out"),
        ({"champion_out": None}, "champion_out"),
        ({"task": "ranking"}, "task"),
        ({"task": "regression"}, "no classes"),
        ({"classes": None}, "classes"),
        ({"classes": ["dry"]}, "classes"),
        ({"classes": ["dry", "dry"]}, "classes"),
        ({"classes": ["dry", "wet", "snow"]}, "two classes"),
        ({"clock": CLOCK[:2]}, "clock"),
        ({"clock": CLOCK[::-1]}, "time order"),
        ({"clock": [1, 2, CLOCK[2]]}, "clock"),
        ({"clock": ["2026-01-01", "2026-01-02", "2026-01-03"]}, "clock"),
        ({"clock": [True, True, True]}, "clock"),
        ({"rows": ["x", "y", "z"]}, "rows"),
        ({"rows": []}, "no rows"),
        ({"labels": ["dry", "wet"]}, "labels"),
        ({"labels": ["dry", None, "wet"]}, "labels"),
        ({"candidate_out": [0.9, 0.2, 0.5]}, "probabilities in each row"),
        ({"candidate_out": [[0.9, 0.1], [1.0], [0.5, 0.5]]}, "probabilities in each row"),
        ({"candidate_out": [["0.9", 0.1], [0.2, 0.8], [0.5, 0.5]]}, "candidate_out"),
        ({"candidate_out": [[0.9, 0.1]]}, "candidate_out"),
        ({"times_measured": "yesterday"}, "times_measured"),
        ({"profile": "../events.db"}, "profile"),
        ({"model": ""}, "model"),
        ({"groups": {"sky": ["fog"]}}, "groups"),
        ({"groups": {"sky": ["fog", 3, None]}}, "groups"),
        ({"groups": {"sky": ["fog", "x" * 101, None]}}, "groups"),
        ({"own": {"name": "cost", "candidate": [1, 2], "champion": [1, 2, 3], "constant": [1, 2, 3]}}, "own.candidate"),
        ({"own": {"name": "cost", "candidate": [1, 2, 3], "champion": None, "constant": [1, 2, 3]}}, "own.champion"),
        ({"own": {"name": "cost", "candidate": [1, 2, 3], "champion": [1, 2, 3]}}, "constant"),
        ({"own": {"name": "cost", "candidate": [1, 2, "3"], "champion": [1] * 3, "constant": [1] * 3}}, "own"),
    ],
)
def test_evidence_whose_parts_do_not_fit_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        Evidence.parse(sent(**changes))


@pytest.mark.parametrize("labels", [["1", "2", "3"], [True, False, True]])
def test_labels_of_a_regression_are_numbers(labels: list[Any]) -> None:
    with pytest.raises(BadInput, match="not all numbers"):
        build(**regression(labels=labels))


def test_answers_of_a_regression_are_numbers() -> None:
    with pytest.raises(BadInput, match="holds lists"):
        build(**regression(champion_out=[[0.0], [0.0], [0.0]]))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"{" * 100_000,
        b"[" * 100_000,
        sent().replace(b"0.9", b"NaN"),
        sent().replace(b"0.9", b"Infinity"),
        sent().replace(b"0.9", b"1e999"),
        sent().replace(b'"dry"', b'"\\ud800"'),
        build(**regression()).replace(b"2.5", b"9" * 400),
        build(**regression(clock=[1, 2, 3])).replace(b"[1,2,3]", b"[1,2," + b"9" * 40 + b"]"),
    ],
)
def test_bytes_that_are_no_evidence_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(BadInput, match="This is no evidence"):
        Evidence.parse(data)


@given(st.binary(max_size=200))
def test_no_bytes_at_all_do_more_than_be_refused(data: bytes) -> None:
    with pytest.raises(BadInput):
        Evidence.parse(data)


def test_the_row_set_names_the_rows_and_their_order() -> None:
    rows = [row_digest([row]) for row in range(3)]
    sets = [
        Evidence.parse(build(**parts(rows=order))).row_set for order in (rows, rows, rows[::-1], rows[:2] + rows[:1])
    ]

    assert sets[0] == sets[1]
    assert len(set(sets)) == 3


def test_a_row_has_one_digest_whatever_its_numbers_are_wrapped_in() -> None:
    plain = row_digest([1.5, 2, True, "ä", None])

    assert plain == row_digest([np.float64(1.5), np.int64(2), np.True_, "ä", float("nan")])  # type: ignore[list-item]
    assert len(plain) == 16
    assert plain != row_digest([1.5, 2, True, "a", None])
