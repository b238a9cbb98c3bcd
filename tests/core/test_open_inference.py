"""Requests of the Open Inference Protocol: from JSON and binary tensors to rows, and from answers back."""

import json
import math
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.errors import BadInput, BadRow, TooLarge
from understudy.foreign_rows import checked
from understudy.open_inference import Asked, metadata, outputs_of, read, written
from understudy.parity import Answer
from understudy.rows import MAX_ROWS, RowDecoder
from understudy.signature import Column, Signature
from understudy.tensors import DATATYPES, FLOATS, from_binary, to_binary

MIXED = Signature(
    columns=(
        Column(name="temp °F", kind="number", dtype="float64", nullable=True, example=61.5),
        Column(name="visits", kind="integer", dtype="int64", nullable=False, example=2),
        Column(name="member", kind="boolean", dtype="bool", nullable=False, example=True),
        Column(name="city", kind="text", dtype="str", nullable=True, example="Bern"),
    ),
    target="stays",
    task="multiclass",
    classes=("high", "låg"),
)
NUMBERS = Signature(
    columns=(
        Column(name="a", kind="number", dtype="float64", nullable=True, example=1.0),
        Column(name="b", kind="integer", dtype="int64", nullable=False, example=1),
    ),
    target="spend",
    task="regression",
    classes=None,
)

Tensor = dict[str, Any]


def tensor(name: str, datatype: str, data: list[Any], shape: list[int] | None = None, **more: Any) -> Tensor:
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data, **more}


def named(rows: int = 2) -> list[Tensor]:
    """One input a column, for MIXED."""
    return [
        tensor("temp °F", "FP64", [0.5, None][:rows]),
        tensor("visits", "INT32", [1, 2][:rows]),
        tensor("member", "BOOL", [True, False][:rows]),
        tensor("city", "BYTES", ["Bern", "Genève"][:rows]),
    ]


def matrix(rows: list[list[Any]], datatype: str = "FP64") -> list[Tensor]:
    return [tensor("input", datatype, [value for row in rows for value in row], [len(rows), len(rows[0])])]


def asked(inputs: list[Tensor], signature: Signature = MIXED, **more: Any) -> Asked:
    return read(json.dumps({"inputs": inputs, **more}).encode(), None, signature)


def binary(inputs: list[tuple[str, str, list[int], bytes]], signature: Signature, **more: Any) -> Asked:
    """The same, with the bytes of every input behind the JSON."""
    head = [
        {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(data)}}
        for name, datatype, shape, data in inputs
    ]
    body = json.dumps({"inputs": head, **more}).encode()
    return read(body + b"".join(data for *_, data in inputs), len(body), signature)


def rows(found: Asked, signature: Signature = MIXED) -> list[tuple[Any, ...]]:
    return checked(RowDecoder(signature), found.rows)


def test_named_inputs_become_rows_in_signature_order_whatever_their_own() -> None:
    expected = [(0.5, 1, True, "Bern"), (None, 2, False, "Genève")]

    assert rows(asked(named())) == rows(asked(named()[::-1])) == expected


def test_one_tensor_of_numbers_is_rows_in_signature_order() -> None:
    values: list[list[Any]] = [[0.5, 1], [None, 2.0]]

    flat = asked(matrix(values), NUMBERS)
    nested = asked([tensor("input", "FP32", values, [2, 2])], NUMBERS)

    assert rows(flat, NUMBERS) == rows(nested, NUMBERS) == [(0.5, 1), (None, 2)]


def test_a_column_may_be_a_tensor_of_one_column() -> None:
    wide = [{**one, "shape": [2, 1], "data": [[value] for value in one["data"]]} for one in named()]

    assert rows(asked(wide)) == rows(asked(named()))


def test_bytes_behind_the_json_say_the_same_as_json() -> None:
    texts = b"".join(struct.pack("<I", len(text)) + text for text in (b"Bern", "Genève".encode()))
    inputs = [
        ("temp °F", "FP64", [2], np.array([0.5, math.nan]).tobytes()),
        ("visits", "INT32", [2, 1], np.array([1, 2], np.int32).tobytes()),
        ("member", "BOOL", [2], b"\1\0"),
        ("city", "BYTES", [2], texts),
    ]

    assert rows(binary(inputs, MIXED)) == rows(asked(named()))


@pytest.mark.parametrize(
    "spoilt",
    [
        named()[:3],
        [*named(), tensor("more", "FP32", [1, 2])],
        [*named()[:3], *named()[:1]],
        [*named()[:3], tensor("city", "BYTES", ["Bern"])],
        [*named()[:3], tensor("city", "FP32", [1, 2])],
        [*named()[:3], tensor("city", "BYTES", ["Bern", 3])],
        [*named()[:3], tensor("city", "BYTES", ["Bern", "Ulm"], [1, 2])],
        [*named()[:3], tensor("city", "BYTES", ["Bern"], [2])],
        [*named()[:3], tensor("city", "COMPLEX", ["Bern", "Ulm"])],
        [*named()[:3], {"name": "city", "datatype": "BYTES", "shape": [2]}],
        [*named()[:3], tensor("city", "BYTES", ["Bern", "Ulm"], parameters={"shared_memory_region": "x"})],
        [*named()[:3], tensor("city", "BYTES", ["Bern", "Ulm"], parameters={"binary_data_size": 4})],
        [*named()[:3], tensor("city", "BYTES", ["Bern", "Ulm"], typo=1)],
        [tensor("input", "FP64", [1.0] * 8, [2, 4])],
        [],
    ],
)
def test_inputs_that_are_not_those_of_the_signature_are_refused(spoilt: list[Tensor]) -> None:
    with pytest.raises(BadInput):
        asked(spoilt)


@pytest.mark.parametrize(
    ("column", "datatype", "data", "message"),
    [
        (0, "FP32", [0.5, 1e16], "Row 1: `temp °F` is beyond"),
        (0, "INT8", [1, 300], "no INT8"),
        (1, "INT64", [1, None], "Row 1: `visits` is null"),
        (2, "BOOL", [True, 1], "no BOOL"),
    ],
)
def test_a_value_is_refused_as_predict_refuses_it(column: int, datatype: str, data: list[Any], message: str) -> None:
    inputs = named()
    inputs[column] |= {"datatype": datatype, "data": data}

    with pytest.raises(BadInput, match=message):
        rows(asked(inputs))


def test_an_infinity_in_bytes_is_no_null() -> None:
    with pytest.raises(BadInput, match="infinity"):
        binary([("input", "FP32", [1, 2], np.array([math.inf, 1], np.float32).tobytes())], NUMBERS)


@pytest.mark.parametrize("data", [b"", b"\1", b"\5\0\0\0abc", b"\1\0\0\0a\1\0\0\0", b"\1\0\0\0a\1\0\0\0\xff"])
def test_texts_that_lie_about_their_length_are_refused(data: bytes) -> None:
    with pytest.raises(BadInput, match="texts"):
        from_binary("city", "BYTES", [2], memoryview(data))


def test_a_matrix_that_lies_about_its_shape_is_refused_before_a_value_is_made() -> None:
    with pytest.raises(TooLarge, match="at most 10000 are answered") as caught:
        binary([("input", "FP64", [2**62, 2], b"")], NUMBERS)

    assert "Arrow" in caught.value.remedy
    assert "batch job" in caught.value.remedy
    with pytest.raises(BadInput, match="bytes"):
        binary([("input", "FP64", [MAX_ROWS, 2], b"")], NUMBERS)


def test_a_name_given_twice_in_one_object_is_refused() -> None:
    body = b'{"inputs": [], "inputs": [{"name": "input", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}'

    with pytest.raises(BadInput, match="twice"):
        read(body, None, NUMBERS)
    with pytest.raises(BadInput, match="twice"):  # a colon hidden in an escape makes up for the one that was dropped
        read(body[:-1] + b', "id": "\\u003a"}', None, NUMBERS)


@pytest.mark.parametrize("identity", ["x" * 129, "a\nb", "\u202e"])
def test_an_id_that_cannot_be_printed_or_is_long_is_refused(identity: str) -> None:
    with pytest.raises(BadInput, match="`id`"):
        asked(named(), id=identity)


def test_only_outputs_that_there_are_can_be_asked_for_and_each_once() -> None:
    assert list(asked(named(), outputs=[{"name": "probabilities"}]).outputs) == ["probabilities"]
    assert list(asked(named()).outputs) == ["predictions", "probabilities"]
    for wrong in (["labels"], ["predictions", "predictions"]):
        with pytest.raises(BadInput):
            asked(named(), outputs=[{"name": name} for name in wrong])
    with pytest.raises(BadInput, match="probabilities"):
        asked(matrix([[1, 2]]), NUMBERS, outputs=[{"name": "probabilities"}])


ANSWER = Answer(["låg", "high"], [[0.25, 0.75], [0.5, 0.5]])


def test_an_answer_is_json_with_the_id_that_came() -> None:
    content, length = said(asked(named(), id="n 1"))

    assert length is None
    assert json.loads(content) == {
        "model_name": "m",
        "model_version": "7",
        "id": "n 1",
        "parameters": {"prediction_id": "p"},
        "outputs": [
            {"name": "predictions", "datatype": "BYTES", "shape": [2], "data": ["låg", "high"]},
            {"name": "probabilities", "datatype": "FP64", "shape": [2, 2], "data": [0.25, 0.75, 0.5, 0.5]},
        ],
    }


def test_an_answer_may_be_bytes_for_all_outputs_or_for_one() -> None:
    all_, length = said(asked(named(), parameters={"binary_data_output": True}))
    one, head = said(asked(named(), outputs=[{"name": "probabilities", "parameters": {"binary_data": True}}]))

    assert length is not None
    assert head is not None
    texts, numbers = json.loads(all_[:length])["outputs"]
    behind = all_[length:]
    assert from_binary("", "BYTES", [2], memoryview(behind[: texts["parameters"]["binary_data_size"]])) == [
        "låg",
        "high",
    ]
    assert (
        behind[-numbers["parameters"]["binary_data_size"] :] == one[head:] == np.array([0.25, 0.75, 0.5, 0.5]).tobytes()
    )


def said(found: Asked) -> tuple[bytes, int | None]:
    return written(found, ANSWER, MIXED, model="m", version="7", prediction_id="p")


def test_metadata_name_one_tensor_for_numbers_and_one_a_column_for_a_mixed_table() -> None:
    of_numbers = metadata(NUMBERS, model="m", version="7", platform="p")
    of_mixed = metadata(MIXED, model="m", version="7", platform="p")

    assert [(i["name"], i["datatype"], i["shape"]) for i in of_numbers["inputs"]] == [("input", "FP64", [-1, 2])]
    assert json.loads(of_numbers["inputs"][0]["parameters"]["columns"]) == ["a", "b"]
    assert [i["datatype"] for i in of_mixed["inputs"]] == ["FP64", "INT64", "BOOL", "BYTES"]
    assert [(o["name"], o["datatype"], o["shape"]) for o in of_mixed["outputs"]] == [
        ("predictions", "BYTES", [-1]),
        ("probabilities", "FP64", [-1, 2]),
    ]
    assert outputs_of(NUMBERS) == {"predictions": ("FP64", [])}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["input", "a", "b", "c"]),
        "shape": st.lists(st.integers(-1, 3), max_size=3),
        "datatype": st.sampled_from([*DATATYPES, "BF16"]),
    },
    optional={"data": values, "parameters": st.dictionaries(st.sampled_from(["binary_data_size", "x"]), values)},
)


@given(st.lists(tensors, max_size=3), st.binary(max_size=32), st.booleans())
def test_whatever_is_sent_is_rows_or_a_sentence(inputs: list[Tensor], tail: bytes, behind: bool) -> None:
    head = json.dumps({"inputs": inputs}).encode()
    with suppress(BadInput):  # and no other error
        found = rows(read(head + tail * behind, len(head) if behind else None, NUMBERS), NUMBERS)
        assert all(len(row) == 2 for row in found)


@given(st.binary(max_size=64), st.none() | st.integers(0, 80))
def test_bytes_that_are_no_request_are_refused(body: bytes, length: int | None) -> None:
    with pytest.raises(BadInput):
        read(body, length, MIXED)


@given(st.sampled_from([name for name in DATATYPES if name not in FLOATS]), st.data())
def test_every_datatype_comes_back_from_bytes_as_it_went_in(datatype: str, data: st.DataObject) -> None:
    kinds: dict[str, Any] = {"BOOL": st.booleans(), "BYTES": st.text(max_size=5)}
    signed, bits = not datatype.startswith("U"), int("".join(filter(str.isdigit, datatype)) or 8)
    whole = st.integers(-(2 ** (bits - 1)) if signed else 0, 2 ** (bits - signed) - 1)
    sent = data.draw(st.lists(kinds.get(datatype, whole), max_size=5))

    assert from_binary("x", datatype, [len(sent)], memoryview(to_binary(datatype, sent))) == sent


@given(st.lists(st.lists(st.floats(-1e15, 1e15) | st.none(), min_size=2, max_size=2), min_size=1, max_size=5))
def test_numbers_are_the_same_rows_in_json_and_in_bytes(sent: list[list[float | None]]) -> None:
    pair = Signature(
        columns=tuple(Column(name=n, kind="number", dtype="float64", nullable=True, example=1.0) for n in "ab"),
        target="y",
        task="regression",
        classes=None,
    )
    data = np.array([[math.nan if v is None else v for v in row] for row in sent]).tobytes()

    in_bytes = binary([("input", "FP64", [len(sent), 2], data)], pair)

    assert rows(in_bytes, pair) == rows(asked(matrix(sent), pair), pair) == [tuple(row) for row in sent]


def test_no_rows_and_too_many_are_refused() -> None:
    with pytest.raises(BadRow, match="no rows"):
        asked([tensor("input", "FP64", [], [0, 2])], NUMBERS)
    with pytest.raises(TooLarge):
        asked(matrix([[1, 2]] * (MAX_ROWS + 1)), NUMBERS)
