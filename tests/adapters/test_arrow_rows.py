"""Arrow streams: rows as JSON would bring them, and nothing else, whatever is in the bytes."""

import ast
import io
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.adapters.arrow_streams import DECODERS, MIXED, NUMBERS, stream, table
from understudy.adapters import arrow_rows
from understudy.errors import BadInput, TooLarge
from understudy.parity import Answer
from understudy.rows import Row, RowDecoder
from understudy.signature import Column, Signature

ROWS = [
    (0.5, 1, True, "Bern", "a"),
    (None, 2, False, None, "b"),
    (-3.25, 3, True, "Genève", "a"),
    (1e15, 1, True, "Bern", "b"),
]

ROOT = Path(__file__).parents[2]


def rows(data: pyarrow.Table | bytes, signature: Signature = MIXED) -> list[Row]:
    body = data if isinstance(data, bytes) else stream(data)
    return arrow_rows.rows_of(body, DECODERS[signature], signature)


def matrix(data: pyarrow.Table | bytes) -> "np.ndarray[Any, Any]":
    return arrow_rows.matrix_of(data if isinstance(data, bytes) else stream(data), NUMBERS)


def with_column(name: str, values: Any, signature: Signature = MIXED) -> pyarrow.Table:
    data = table(signature)
    return data.set_column(data.column_names.index(name), name, pyarrow.chunked_array([values]))


@pytest.mark.parametrize(
    "body",
    [
        stream(table()),
        stream(table().select(["plan", "city", "member", "visits", "temp"])),
        stream(table(dictionaries=True)),
        stream(table(), rows_a_batch=1),
        stream(table(dictionaries=True), rows_a_batch=3),
        stream(with_column("city", table()["city"].cast(pyarrow.large_string()).combine_chunks())),
        stream(with_column("city", table()["city"].cast(pyarrow.string_view()).combine_chunks())),
        stream(with_column("visits", pyarrow.array([1, 2, 3, 1], pyarrow.uint8()))),
        stream(with_column("temp", pyarrow.array([0.5, np.nan, -3.25, 1e15]))),
    ],
)
def test_every_way_to_write_a_table_gives_the_rows_that_json_gives(body: bytes) -> None:
    assert rows(body) == ROWS


def test_numbers_alone_come_as_a_matrix_of_float32() -> None:
    found = matrix(stream(table(NUMBERS), rows_a_batch=3))

    assert found.dtype == np.float32
    expected = [[np.nan if value is None else value for value in row[:3]] for row in ROWS]
    np.testing.assert_array_equal(found, np.array(expected, np.float32))


WRONG: list[tuple[str, pyarrow.Table, str]] = [
    ("missing", table().drop_columns("city"), "`city` is missing"),
    ("unknown", table().append_column("x", pyarrow.array(range(4))), "no column `x`"),
    ("twice", table().append_column("city", table()["city"]), "twice"),
    ("floats for integers", with_column("visits", pyarrow.array([1.0, 2, 3, 1])), "`visits` has a type"),
    ("numbers for booleans", with_column("member", pyarrow.array([1, 0, 1, 1])), "`member` has a type"),
    ("texts for numbers", with_column("temp", pyarrow.array(["1"] * 4)), "`temp` has a type"),
    ("decimals", with_column("temp", pyarrow.array([Decimal(1)] * 4)), "`temp` has a type"),
    ("bytes for texts", with_column("city", pyarrow.array([b"a"] * 4)), "`city` has a type"),
    ("lists", with_column("temp", pyarrow.array([[1.0]] * 4)), "`temp` has a type"),
    ("nothing at all", with_column("temp", pyarrow.nulls(4)), "`temp` has a type"),
    ("too large", with_column("temp", pyarrow.array([1, 2, 1e16, 3])), "Row 2: `temp` is beyond"),
    ("infinite", with_column("temp", pyarrow.array([1, 2, 3, -np.inf])), "Row 3: `temp` is infinite"),
    ("inexact", with_column("temp", pyarrow.array([2**53 + 1] * 4)), "Row 0: `temp` is beyond the limit"),
    ("null", with_column("visits", pyarrow.array([1, None, 3, 1])), "Row 1: `visits` is null"),
    ("past int64", with_column("visits", pyarrow.array([2**63] * 4, pyarrow.uint64())), "Row 0: `visits`"),
    ("category", with_column("plan", pyarrow.array(["a", "a", "a", "c"])), "Row 3: `plan` holds no category"),
    ("no rows", table().slice(0, 0), "no rows"),
]


@pytest.mark.parametrize(("data", "message"), [pytest.param(*case, id=name) for name, *case in WRONG])
def test_what_does_not_fit_the_signature_is_refused_in_the_words_of_json(data: pyarrow.Table, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        rows(data)


def test_a_row_that_is_wrong_far_down_is_named_by_its_own_number() -> None:
    many = pyarrow.concat_tables([table()] * 700 + [with_column("plan", pyarrow.array(["a", "b", "c", "a"]))])

    for body in (stream(many.combine_chunks()), stream(many.combine_chunks(), rows_a_batch=900)):
        with pytest.raises(BadInput, match="Row 2802: `plan`"):
            rows(body)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (with_column("temp", pyarrow.array([1, 2, 1e16, 3]), NUMBERS), "Row 2: `temp` is beyond"),
        (with_column("temp", pyarrow.array([1, np.inf, 2, 3]), NUMBERS), "Row 1: `temp` is infinite"),
        (with_column("visits", pyarrow.array([1, 2, 3, 4]), NUMBERS), "Row 3: `visits` holds no category"),
        (with_column("member", pyarrow.array([True, None, True, True]), NUMBERS), "Row 1: `member` is null"),
        (with_column("visits", pyarrow.array([1, 2, None, 3]), NUMBERS), "Row 2: `visits` holds no category"),
    ],
)
def test_a_matrix_is_refused_for_the_same_reasons(data: pyarrow.Table, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        matrix(stream(data, rows_a_batch=2))


column_of = {
    "temp": st.lists(st.none() | st.floats(-1e16, 1e16) | st.just(float("nan")), min_size=4, max_size=4),
    "visits": st.lists(st.none() | st.integers(0, 4), min_size=4, max_size=4),
    "member": st.lists(st.none() | st.booleans(), min_size=4, max_size=4),
}


@given(st.sampled_from(sorted(column_of)), st.data())
def test_a_matrix_and_rows_are_right_or_wrong_together_and_in_the_same_words(name: str, data: st.DataObject) -> None:
    values = pyarrow.array(data.draw(column_of[name]), table()[name].type)
    body = stream(with_column(name, values, NUMBERS))

    by_row, by_column = outcome(rows, body, NUMBERS), outcome(matrix, body)

    assert by_row == by_column


def outcome(read: Callable[..., Any], *given: Any) -> Any:
    """What came of it: values as float32 with None for null, or the sentence."""
    try:
        found = read(*given)
    except BadInput as error:
        return error.problem
    return [[None if value is None or value != value else np.float32(value) for value in row] for row in found]


def test_an_integer_column_takes_every_int64_and_no_uint64_beyond() -> None:
    count = Signature(
        columns=(Column(name="n", kind="integer", dtype="int64", nullable=False, example=1),),
        target="y",
        task="regression",
        classes=None,
    )
    largest = pyarrow.table({"n": pyarrow.array([2**63 - 1], pyarrow.uint64())})

    assert arrow_rows.matrix_of(stream(largest), count).tolist() == [[2.0**63]]  # what a float32 makes of it
    assert arrow_rows.rows_of(stream(largest), RowDecoder(count), count) == [(2**63 - 1,)]
    with pytest.raises(BadInput, match="Row 0: `n` is beyond the limit"):
        arrow_rows.matrix_of(stream(pyarrow.table({"n": pyarrow.array([2**63], pyarrow.uint64())})), count)


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_a_compressed_stream_is_refused_before_it_is_unpacked(compression: str) -> None:
    zeros = pyarrow.table({"temp": np.zeros(100_000)})

    with pytest.raises(BadInput, match="Compressed"):
        rows(stream(zeros, compression=compression))


def test_metadata_of_a_batch_are_refused_for_they_may_name_a_compression() -> None:
    sink = io.BytesIO()
    batch = table().combine_chunks().to_batches()[0]
    with pyarrow.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch, custom_metadata={"ARROW:experimental_compression": "zstd"})

    with pytest.raises(BadInput, match="metadata"):
        rows(sink.getvalue())


def test_a_thousand_million_rows_of_nothing_are_counted_and_not_made() -> None:
    with pytest.raises(TooLarge, match="1000000000 rows"):
        rows(stream(pyarrow.table({"temp": pyarrow.nulls(10**9)})))


def test_a_long_word_in_many_rows_is_refused_before_it_is_repeated() -> None:
    n, word = 50_000, b"x" * 1_000
    long = pyarrow.DictionaryArray.from_arrays(np.zeros(n, np.int8), [word.decode()])
    view = struct.pack("<i4sii", len(word), word[:4], 0, 0)
    views = pyarrow.Array.from_buffers(
        pyarrow.string_view(), n, [None, pyarrow.py_buffer(view * n), pyarrow.py_buffer(word)]
    )
    rest = {name: table().slice(0, 1)[name].take(np.zeros(n, np.int8)) for name in ("temp", "visits", "member", "plan")}

    for column in (long, views):
        with pytest.raises(TooLarge, match="texts"):
            rows(pyarrow.table({**rest, "city": column}))


def test_one_row_more_than_the_cap_is_too_large() -> None:
    zeros = pyarrow.table({"temp": np.zeros(100_001), "visits": np.ones(100_001, np.int8), "member": [True] * 100_001})

    assert matrix(zeros.slice(1)).shape == (100_000, 3)
    with pytest.raises(TooLarge, match="100001 rows; at most 100000"):
        matrix(zeros)


def test_many_empty_batches_are_refused() -> None:
    with pytest.raises(BadInput, match="messages"):
        rows(stream(pyarrow.concat_tables([table()] * 300), rows_a_batch=1))


@pytest.mark.parametrize("body", [b"", b"ARROW1", b"{}", b"\xff" * 64, stream(table())[:-300], stream(table())[8:]])
def test_bytes_that_are_no_stream_are_refused(body: bytes) -> None:
    with pytest.raises(BadInput, match=r"no stream of Arrow|no rows"):
        rows(body)


@pytest.mark.parametrize(
    "count", [pytest.param(2_000, id="short"), pytest.param(200_000, id="long", marks=pytest.mark.slow)]
)
@pytest.mark.timeout(600)
def test_no_mutated_stream_ends_the_process_or_fills_its_memory(count: int) -> None:
    program = [sys.executable, "-X", "faulthandler", "-m", "tests.adapters.arrow_streams", "7", str(count)]

    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    ends, grown = done.stdout.rsplit(" ", 1)
    assert set(ast.literal_eval(ends)) == {"rows", "BadInput", "BadRow", "TooLarge"}  # it gets everywhere
    assert int(grown) < 200


def test_streams_are_read_and_written_without_pandas() -> None:
    program = (
        "import sys; from tests.adapters.arrow_streams import *; from understudy.parity import Answer\n"
        "body = sys.stdin.buffer.read()\n"
        "assert read(body, MIXED) == 'rows'\n"
        "arrow_rows.written(Answer([True], [[0.5, 0.5]]), MIXED, model='m', version='1', prediction_id='p')\n"
        "assert 'pandas' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", program], cwd=ROOT, input=stream(table(dictionaries=True)), check=True)


@pytest.mark.parametrize("labels", [(0, 1), (False, True), ("low", "höh")])
def test_what_a_model_says_in_numbers_becomes_the_labels_of_its_classes(labels: tuple[Any, ...]) -> None:
    signature = replace(MIXED, classes=labels)
    output = np.array([[0.25, 0.75], [0.5, 0.5], [1, 0]], np.float32)

    body = arrow_rows.written(output, signature, model="m", version="7", prediction_id="p")

    found = pyarrow.ipc.open_stream(body).read_all()
    found.validate(full=True)
    assert found["predictions"].to_pylist() == [labels[1], labels[0], labels[0]]
    assert found["probabilities"].to_pylist() == output.tolist()


def test_an_answer_is_a_stream_that_says_who_gave_it() -> None:
    answer = Answer([True, False], [[0.25, 0.75], [0.5, 0.5]])

    body = arrow_rows.written(answer, MIXED, model="m", version="7", prediction_id="p")

    found = pyarrow.ipc.open_stream(body).read_all()
    assert found.to_pydict() == {"predictions": answer.predictions, "probabilities": answer.probabilities}
    assert found.schema.metadata == {
        b"model": b"m",
        b"version": b"7",
        b"prediction_id": b"p",
        b"classes": b"[false,true]",
    }


def test_a_number_is_answered_without_probabilities() -> None:
    body = arrow_rows.written(Answer([1.5], None), NUMBERS, model="m", version="7", prediction_id="p")

    assert pyarrow.ipc.open_stream(body).read_all().to_pydict() == {"predictions": [1.5]}
