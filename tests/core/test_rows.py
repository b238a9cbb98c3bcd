"""From the body of a request to rows, or to a short sentence."""

import json
import math
from contextlib import suppress
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import BadInput, BadRow, TooLarge
from understudy.rows import LARGEST_NUMBER, MAX_TEXT, NULL_TEXT, RowDecoder, request_schema, response_schema
from understudy.signature import Column, Signature, Value

SIGNATURE = Signature(
    columns=(
        Column(name="temp °F", kind="number", dtype="float64", nullable=True, example=61.5),
        Column(name="visits", kind="integer", dtype="int64", nullable=False, example=2),
        Column(name="member", kind="boolean", dtype="bool", nullable=False, example=True),
        Column(name="city: of [birth]", kind="text", dtype="str", nullable=True, example="Bern"),
        Column(name="plan", kind="text", dtype="str", nullable=False, example="a", categories=("a", "b")),
    ),
    target="stays",
    task="binary",
    classes=(False, True),
)
DECODER = RowDecoder(SIGNATURE)
ROW: dict[str, Value] = {"temp °F": 61.5, "visits": 2, "member": True, "city: of [birth]": "Genève", "plan": "a"}

ONE = Signature(columns=SIGNATURE.columns[:1], target="y", task="regression", classes=None)


def decode(body: Any) -> list[tuple[Value, ...]]:
    return DECODER.decode(body if isinstance(body, bytes) else json.dumps(body).encode())


def test_a_record_is_one_row_in_signature_order_whatever_its_own_order() -> None:
    backwards = dict(reversed(ROW.items()))

    assert decode(ROW) == decode(backwards) == [(61.5, 2, True, "Genève", "a")]


def test_records_values_and_a_flat_list_say_the_same() -> None:
    values = list(ROW.values())

    expected = [tuple(values)]
    assert decode({"records": [ROW]}) == expected
    assert decode({"values": [values]}) == expected
    assert decode({"values": values}) == expected


def test_a_flat_list_is_one_column_where_the_model_has_one_feature() -> None:
    decoder = RowDecoder(ONE)

    assert decoder.decode(b'{"values": [1, null, 3.5]}') == [(1.0,), (None,), (3.5,)]
    assert decoder.decode(b'{"values": [[1], [2]]}') == [(1.0,), (2.0,)]


def test_integers_are_numbers_and_come_as_floats() -> None:
    (row,) = decode({**ROW, "temp °F": 61})

    assert (row[0], type(row[0])) == (61.0, float)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"temp °F": "61"}, "`temp °F` should be a number or null. Send a number or null."),
        ({"temp °F": True}, "`temp °F` should be a number or null."),
        ({"temp °F": [1]}, "`temp °F` should be a number or null."),
        ({"temp °F": 1.001e15}, "`temp °F` is beyond the limit of 1e+15. Send less, or another unit."),
        ({"visits": 1.5}, "Row 0: `visits` should be an integer. Send an integer."),
        ({"visits": True}, "`visits` should be an integer."),
        ({"visits": None}, "`visits` is null, which this model cannot answer. Send an integer."),
        ({"visits": 2**63}, "`visits` is beyond the limit of 9.22337e+18."),
        ({"visits": 10**4000}, "`visits` is beyond the limit"),
        ({"member": 1}, "`member` should be true or false."),
        ({"member": "true"}, "`member` should be true or false."),
        ({"city: of [birth]": 3}, "`city: of [birth]` should be text or null."),
        ({"city: of [birth]": "x" * (MAX_TEXT + 1)}, "`city: of [birth]` is beyond the limit of 100000 characters."),
        ({"city: of [birth]": f"a{NULL_TEXT}"}, "`city: of [birth]` holds the noncharacter U+FFFF."),
        ({"plan": "c"}, '`plan` holds no category that the model knows. Send one of "a", "b".'),
        ({"plan": None}, "`plan` holds no category that the model knows."),
        ({"surprise": 1}, "There is no column 'surprise'. Send exactly these columns: temp °F, visits,"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_column(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadRow) as refused:
        decode({**ROW, **change})

    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize("name", ROW)
def test_a_missing_column_is_named(name: str) -> None:
    with pytest.raises(BadRow) as refused:
        decode({"records": [ROW, {key: value for key, value in ROW.items() if key != name}]})

    assert str(refused.value).startswith(f"Row 1: the column `{name}` is missing.")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"records": [ROW, {**ROW, "visits": "2"}]}, "Row 1: `visits` should be an integer."),
        ({"values": [[1, 2, True, "x", "a"], [1, 2, 3, "x", "a"]]}, "Row 1: `member` should be true or false."),
        ({"values": [1, 2, 3, "x", "a"]}, "`member` should be true or false."),
        ({"values": [[1, 2]]}, "Row 0: there should be 5 values."),
        ({"values": [1, 2]}, "There should be 5 values."),
        ({"records": [1]}, "Row 0: there should be 5 values."),
    ],
)
def test_the_row_is_named_where_there_are_several(body: Any, sentence: str) -> None:
    with pytest.raises(BadRow) as refused:
        decode(body)

    assert str(refused.value).startswith(sentence)


def test_the_row_is_named_where_a_flat_list_is_a_column() -> None:
    with pytest.raises(BadRow, match="Row 2: `temp °F` should be a number or null"):
        RowDecoder(ONE).decode(b'{"values": [1, 2, "3"]}')


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"5",
        b"[]",
        b"{}",
        b'"text"',
        b"{]",
        b"[" * 100_000,
        b'{"temp \xc2\xb0F":' + b"[" * 100_000,
        b'{"records":' + b"[" * 100_000,
        json.dumps(ROW).encode() + b" {}",
        json.dumps(ROW).encode("utf-16"),
        b"\xef\xbb\xbf" + json.dumps(ROW).encode(),
        b"\xff\xfe",
        b'{"visits": 1\x00}',
        b'{"temp \xc2\xb0F": NaN}',
        b'{"temp \xc2\xb0F": Infinity}',
        b'{"temp \xc2\xb0F": 1e999}',
        b'{"city: of [birth]": "\\ud800"}',
        b'{"city: of [birth]": "\xff"}',
        b'{"records": null}',
        b'{"records": {}}',
        b'{"records": []}',
        b'{"values": []}',
        b'{"values": [[]]}',
        b'{"values": {}}',
        b'{"values": [[1, 2, true, "x", "a"]], "records": []}',
        b'{"\\u0072ecords": []}',
    ],
    ids=lambda body: ascii(body[:24]),
)
def test_a_body_of_another_shape_is_refused_with_a_sentence(body: bytes) -> None:
    with pytest.raises(BadInput) as refused:
        DECODER.decode(body)

    assert len(str(refused.value)) < 300


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_bad_input(body: bytes) -> None:
    with suppress(BadInput):
        DECODER.decode(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda v: st.lists(v) | st.dictionaries(st.text(), v),
)


SCHEMA = jsonschema_rs.validator_for(request_schema(SIGNATURE))

sendable = st.fixed_dictionaries(
    {
        "temp °F": json_values | st.floats(-1e20, 1e20) | st.integers(10**15 - 5, 10**15 + 5),
        "visits": json_values | st.integers(2**63 - 5, 2**63 + 5) | st.just(2.0),
        "member": json_values | st.booleans(),
        "city: of [birth]": json_values | st.text(st.characters(exclude_characters=NULL_TEXT)),
        "plan": st.sampled_from(["a", "b", "c", None, 1]),
    }
)


@given(sendable)
def test_exactly_what_the_schema_allows_is_read(record: dict[str, Any]) -> None:
    text = json.dumps({"records": [record]})

    try:
        rows = decode(text.encode())
    except BadInput:
        assert "NaN" in text or "Infinity" in text or not SCHEMA.is_valid(json.loads(text))
    else:
        assert SCHEMA.is_valid(json.loads(text))
        assert list(rows[0]) == [record[name] for name in SIGNATURE.names]


def test_an_integer_may_be_written_with_a_point_as_json_says() -> None:
    categories = Column(name="hour", kind="integer", dtype="int64", nullable=True, example=1, categories=(1, 2))
    decoder = RowDecoder(Signature(columns=(categories,), target="y", task="regression", classes=None))

    rows = decoder.decode(b'{"values": [1.0, 2, null]}')

    assert rows == [(1,), (2,), (None,)]
    assert [type(row[0]) for row in rows[:2]] == [int, int]
    for body, row in ((b'{"values": [1.5]}', 0), (b'{"values": [1, 3.0]}', 1)):
        with pytest.raises(BadRow, match=f"Row {row}: `hour` holds no category"):
            decoder.decode(body)


def test_a_name_given_twice_is_refused_also_where_texts_hold_colons() -> None:
    once = json.dumps({**ROW, "city: of [birth]": "a: b: c"})
    twice = once[:-1] + ', "visits": 3}'

    assert decode(once.encode())
    with pytest.raises(BadRow, match="The name 'visits' is given twice in one object"):
        decode(twice.encode())
    with pytest.raises(BadRow, match="'values' is given twice"):
        RowDecoder(ONE).decode(b'{"values": [1], "values": [2]}')


def test_more_rows_than_allowed_are_too_large_and_just_enough_are_not() -> None:
    decoder = RowDecoder(ONE, max_rows=3)

    assert len(decoder.decode(b'{"values": [1, 2, 3]}')) == 3
    with pytest.raises(TooLarge, match=r"holds 4 rows; at most 3 .* Send fewer rows"):
        decoder.decode(b'{"values": [1, 2, 3, 4]}')


def test_what_was_sent_is_not_echoed_beyond_a_short_escaped_piece() -> None:
    secret = "s3cret" * 50

    for body in ({**ROW, "visits": secret}, {**ROW, "plan": secret}, {**ROW, f"<script>\n\u202e{secret}": 1}):
        with pytest.raises(BadRow) as refused:
            decode(body)
        assert secret not in str(refused.value)
        assert str(refused.value).isprintable()


def test_minus_zero_and_the_largest_numbers_pass() -> None:
    rows = RowDecoder(ONE).decode(json.dumps({"values": [-0.0, LARGEST_NUMBER, -LARGEST_NUMBER]}).encode())

    assert math.copysign(1, float(str(rows[0][0]))) == -1
    assert rows[1:] == [(LARGEST_NUMBER,), (-LARGEST_NUMBER,)]


def test_the_example_of_the_schema_is_a_row_that_is_read() -> None:
    schema = request_schema(SIGNATURE)

    assert decode(schema["example"]) == [(61.5, 2, True, "Bern", "a")]
    assert SCHEMA.is_valid(schema["example"])


@pytest.mark.parametrize(
    ("signature", "answer"),
    [
        (SIGNATURE, {"predictions": [True], "probabilities": [[0.2, 0.8]], "classes": [False, True]}),
        (ONE, {"predictions": [1.5], "probabilities": None, "classes": None}),
    ],
)
def test_the_schema_of_an_answer_fits_answers_of_the_task(signature: Signature, answer: dict[str, Any]) -> None:
    whole = {**answer, "model": "m", "version": "1", "prediction_id": "p"}

    validator = jsonschema_rs.validator_for(response_schema(signature))

    assert validator.is_valid(whole)
    assert not validator.is_valid({**whole, "predictions": ["no label"]})
