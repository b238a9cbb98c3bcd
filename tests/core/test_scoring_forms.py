"""MLflow's four forms: from JSON to rows in the order of a signature."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import BadInput, TooLarge
from understudy.foreign_rows import checked
from understudy.rows import MAX_ROWS, RowDecoder
from understudy.scoring_forms import read
from understudy.signature import Column, Signature

SIGNATURE = Signature(
    columns=(
        Column(name="temp", kind="number", dtype="float64", nullable=True, example=61.5),
        Column(name="visits", kind="integer", dtype="int64", nullable=False, example=2),
        Column(name="city", kind="text", dtype="str", nullable=True, example="Bern"),
    ),
    target="stays",
    task="binary",
    classes=(0, 1),
)
ONE = Signature(columns=SIGNATURE.columns[:1], target="y", task="regression", classes=None)
DECODER = RowDecoder(SIGNATURE)

NAMES = ["temp", "visits", "city"]
ROWS: list[list[Any]] = [[0.5, 1, "Bern"], [None, 2, "a: b"]]
RECORDS = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
BACKWARDS = [dict(reversed(record.items())) for record in RECORDS]
COLUMNS = {name: [row[i] for row in ROWS] for i, name in enumerate(NAMES)}


def rows(body: Any, signature: Signature = SIGNATURE) -> list[tuple[Any, ...]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return checked(DECODER if signature is SIGNATURE else RowDecoder(signature), read(data, signature))


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": NAMES, "data": ROWS}},
        {"dataframe_split": {"columns": NAMES[::-1], "data": [row[::-1] for row in ROWS], "index": [4, 5]}},
        {"dataframe_records": RECORDS},
        {"dataframe_records": BACKWARDS},
        {"inputs": COLUMNS},
        {"inputs": {name: [[value] for value in column] for name, column in COLUMNS.items()}},
        {"inputs": ROWS},
        {"inputs": RECORDS},
        {"instances": RECORDS},
        {"instances": ROWS},
        {"instances": ROWS, "params": None},
        {"instances": ROWS, "params": {}},
    ],
)
def test_every_form_says_the_same_rows(body: dict[str, Any]) -> None:
    assert rows(body) == [tuple(row) for row in ROWS]


@pytest.mark.parametrize("body", [{"inputs": [1, None]}, {"instances": [[1], [None]]}, {"inputs": {"temp": [1, None]}}])
def test_plain_values_are_rows_of_a_model_of_one_column(body: dict[str, Any]) -> None:
    assert rows(body, ONE) == [(1.0,), (None,)]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "0 of the known forms"),
        ({"inputs": ROWS, "instances": ROWS}, "2 of the known forms"),
        ({"records": RECORDS}, "unknown field"),
        ([RECORDS], "no request of MLflow"),
        ({"instances": ROWS, "params": {"temperature": 1}}, "no `params`"),
        ({"dataframe_split": {"columns": NAMES[:2], "data": ROWS}}, "The column `city` is missing"),
        ({"dataframe_split": {"columns": [*NAMES, "x"], "data": ROWS}}, "There is no column `x`"),
        ({"dataframe_split": {"columns": [*NAMES, "city"], "data": ROWS}}, "given twice"),
        ({"dataframe_split": {"columns": NAMES, "data": [ROWS[0], ROWS[1][:2]]}}, "Row 1: there should be 3 values"),
        ({"dataframe_records": [RECORDS[0], {**RECORDS[1], "x": 1}]}, "Row 1: there is no column `x`"),
        ({"dataframe_records": [{}]}, "Row 0: the column `temp` is missing"),
        ({"instances": [RECORDS[0], ROWS[1]]}, "Row 1: there should be a record"),
        ({"instances": [ROWS[0], 3]}, "Row 1: there should be 3 values"),
        ({"inputs": {**COLUMNS, "city": ["Bern"]}}, "differ in length"),
        ({"inputs": {**COLUMNS, "visits": ["1", 2]}}, "Row 0: `visits` should be an integer"),
        ({"inputs": {**COLUMNS, "visits": [True, 2]}}, "Row 0: `visits` should be an integer"),
        ({"inputs": [ROWS]}, "Row 0: there should be 3 values"),
        ({"inputs": []}, "no rows"),
        ({"dataframe_split": {"columns": NAMES, "data": []}}, "no rows"),
        (b'{"inputs": {"temp": [NaN], "visits": [1], "city": ["a"]}}', "not JSON"),
        (b'{"instances": [{"temp": 1, "temp": 2, "visits": 1, "city": "a"}]}', "twice"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON|no request"),
    ],
)
def test_what_is_missing_unknown_or_of_another_type_is_refused(body: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        rows(body)


def test_more_rows_than_a_body_of_json_may_have_are_refused_with_where_to_go() -> None:
    with pytest.raises(TooLarge, match="10001 rows; at most 10000") as caught:
        rows({"instances": [ROWS[0]] * (MAX_ROWS + 1)})

    assert "Arrow" in caught.value.remedy


def test_a_row_that_is_wrong_far_down_is_named_by_its_own_number() -> None:
    many = [ROWS[0]] * 2500 + [[0.5, "one", "Bern"]]

    with pytest.raises(BadInput, match="Row 2500: `visits`"):
        rows({"instances": many})


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*NAMES, "x"]), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["dataframe_split", "dataframe_records", "inputs", "instances", "x"]), values))
def test_whatever_is_sent_is_rows_or_a_sentence(body: dict[str, Any]) -> None:
    with suppress(BadInput):  # and no other error
        assert all(len(row) == 3 for row in rows(body))
