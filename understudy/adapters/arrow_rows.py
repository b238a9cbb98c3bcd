"""Rows in Arrow's stream format, and answers in it.

100 rows of 30 numbers cost 100 µs as JSON, most of a prediction; as Arrow they are there already. So such a body may
hold ten times as many rows as one of JSON: 100,000 of 16 columns are 13 MB, about what fits into the cap of a body.

Arrow is C++, and a stream comes from anybody. Nothing is read before the messages have been walked
(`arrow_messages`), no column before its type is one of a few flat ones, and no value before Arrow has validated the
whole batch, every offset and index of it.

It is imported where it is needed, and takes 30 MB. Its own ways to numpy and from lists import pandas, which takes
another 45: so the buffers of a column are read and written here.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from understudy.adapters.arrow_messages import BATCH, announced, broken
from understudy.errors import BadInput, BadRow, TooLarge
from understudy.foreign_rows import CHUNK_ROWS, check_count, checked, excerpt
from understudy.parity import Answer
from understudy.rows import EXPECTED, LARGEST_NUMBER, Row, RowDecoder
from understudy.signature import Column, Signature, Value

MEDIA_TYPE = "application/vnd.apache.arrow.stream"

MOST_ROWS = 100_000
MOST_TEXT = 16 * 2**20
"""Bytes of text in a request, each row's for itself: a word of a dictionary stands in any number of rows."""


def rows_of(body: bytes, decoder: RowDecoder, signature: Signature) -> list[Row]:
    """Rows of a stream, checked as the decoder of the version checks JSON.

    Raises BadInput for what is no such stream or has another type, BadRow for other columns or values than the
    signature's, TooLarge.
    """
    rows: list[Row] = []
    for first, arrays in _batches(body, signature):
        columns = [_values(column, array, first) for column, array in zip(signature.columns, arrays, strict=True)]
        for start in range(0, len(columns[0]), CHUNK_ROWS):
            part = [column[start : start + CHUNK_ROWS] for column in columns]
            rows += checked(decoder, list(zip(*part, strict=True)), first=first + start)
    return rows


def matrix_of(body: bytes, signature: Signature) -> "np.ndarray[Any, Any]":
    """Rows of a stream as float32, (n, columns), NaN for null; for signatures without text. Raises as `rows_of`."""
    parts = [
        np.column_stack(
            [_numbers(column, array, first) for column, array in zip(signature.columns, arrays, strict=True)]
        )
        for first, arrays in _batches(body, signature)
    ]
    return np.concatenate(parts)


def written(
    output: "Answer | np.ndarray[Any, Any]", signature: Signature, *, model: str, version: str, prediction_id: str
) -> bytes:
    """An answer as a stream: `predictions`, of a classification `probabilities` too, and the rest as metadata.

    Args:
        output: what `Runtime.run` gives: (n, classes) or (n, 1), or an Answer.
    """
    import pyarrow

    predictions, numbers = _said(output, signature)
    columns: dict[str, Any] = {"predictions": _array(predictions)}
    if signature.classes is not None:
        flat = _array(np.asarray(numbers, np.float64).ravel())
        columns["probabilities"] = pyarrow.FixedSizeListArray.from_arrays(flat, len(signature.classes))
    said = {"model": model, "version": version, "prediction_id": prediction_id}
    said["classes"] = msgspec.json.encode(signature.classes).decode()
    batch = pyarrow.record_batch(columns).replace_schema_metadata(said)
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    stream: bytes = sink.getvalue().to_pybytes()
    return stream


def _said(output: "Answer | np.ndarray[Any, Any]", signature: Signature) -> tuple[Any, Any]:
    """Predictions, and probabilities."""
    if isinstance(output, Answer):
        numbers = signature.classes is None
        return (np.asarray(output.predictions, np.float64) if numbers else output.predictions), output.probabilities
    if signature.classes is None:
        return output.ravel().astype(np.float64), None
    return [signature.classes[i] for i in output.argmax(axis=1).tolist()], output


def _array(values: "Sequence[Value] | np.ndarray[Any, Any]") -> Any:
    """An array of Arrow's, of values of one kind without nulls."""
    import pyarrow

    if isinstance(values[0], str):
        texts = [str(value).encode() for value in values]
        ends = np.cumsum([0, *map(len, texts)], dtype=np.int32)
        kind, buffers = pyarrow.string(), [ends, b"".join(texts)]
    elif isinstance(values[0], bool):
        kind, buffers = pyarrow.bool_(), [np.packbits(np.asarray(values, bool), bitorder="little")]
    elif isinstance(values[0], int):
        kind, buffers = pyarrow.int64(), [np.asarray(values, np.int64)]
    else:
        kind, buffers = pyarrow.float64(), [np.asarray(values, np.float64)]
    return pyarrow.Array.from_buffers(kind, len(values), [None, *map(pyarrow.py_buffer, buffers)])


def _batches(body: bytes, signature: Signature) -> Iterator[tuple[int, list[Any]]]:
    """Number of the first row, and one validated array a column in signature order, for each batch with rows."""
    import pyarrow

    messages = announced(body)
    lengths = [message.length for message in messages if message.kind == BATCH]
    if min((message.length for message in messages), default=0) < 0:
        raise broken()
    check_count(sum(lengths), most=MOST_ROWS)
    if max(message.length for message in messages) > MOST_ROWS:
        raise TooLarge(f"A dictionary has more than {MOST_ROWS} words.", remedy="Send such a column as plain text.")
    first = text = 0
    try:
        options = pyarrow.ipc.IpcReadOptions(use_threads=False)
        with pyarrow.ipc.open_stream(pyarrow.py_buffer(body), options=options) as reader:
            places = _places(reader.schema, signature)
            for batch in reader:
                batch.validate(full=True)
                if not batch.num_rows:
                    continue
                arrays = [batch.column(place) for place in places]
                text += sum(map(_text_bytes, arrays))
                if text > MOST_TEXT:
                    raise TooLarge(f"The texts have more than {MOST_TEXT // 2**20} MiB.", remedy="Send fewer rows.")
                yield first, arrays
                first += batch.num_rows
    except (pyarrow.ArrowException, OSError, ValueError):
        raise broken() from None


def _places(schema: Any, signature: Signature) -> list[int]:
    """Where each column of the signature stands. Raises BadRow for other columns, BadInput for other types."""
    names = schema.names
    missing = next((name for name in signature.names if name not in names), None)
    unknown = next((name for name in names if name not in signature.names), None)
    listed = ", ".join(signature.names[:20]) + (", …" if len(signature.names) > 20 else "")
    if missing is not None:
        raise BadRow(f"The column `{missing}` is missing.", remedy=f"Send exactly these columns: {listed}.")
    if unknown is not None:
        raise BadRow(f"There is no column `{excerpt(unknown)}`.", remedy=f"Send exactly these columns: {listed}.")
    if len(names) > len(signature.names):
        raise BadRow("A column is given twice.", remedy=f"Send exactly these columns: {listed}.")
    for column in signature.columns:
        if not _fits(column, schema.field(column.name).type):
            raise BadInput(
                f"`{column.name}` has a type of Arrow that does not fit.", remedy=f"Send {WANTED[column.kind]}."
            )
    return [names.index(name) for name in signature.names]


WANTED = {
    "number": "floats or integers",
    "integer": "integers",
    "boolean": "booleans",
    "text": "strings, plain or in a dictionary",
}


def _fits(column: Column, kind: Any) -> bool:
    from pyarrow import types

    if column.kind == "number":
        return bool(types.is_floating(kind) or types.is_integer(kind))
    if column.kind == "integer":
        return bool(types.is_integer(kind))
    if column.kind == "boolean":
        return bool(types.is_boolean(kind))
    return _is_text(kind.value_type if types.is_dictionary(kind) else kind)


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _text_bytes(array: Any) -> int:
    """Bytes of text in all rows of a column, each row's for itself; 0 where it holds none."""
    from pyarrow import types

    if types.is_dictionary(array.type):
        used, null = _plain(array.indices)
        return int(_lengths(array.dictionary)[used[~null]].sum())
    return int(_lengths(array).sum()) if _is_text(array.type) else 0


def _lengths(array: Any) -> "np.ndarray[Any, Any]":
    """Bytes of each text; int64."""
    from pyarrow import types

    first, end = array.offset, array.offset + len(array)
    if len(array) == 0:
        return np.zeros(0, np.int64)
    if types.is_string_view(array.type):  # four integers each, and the first of them is its length
        views = np.frombuffer(array.buffers()[1], np.int32, 4 * end)
        return views[4 * first :: 4].astype(np.int64)
    offsets = np.frombuffer(array.buffers()[1], np.int64 if types.is_large_string(array.type) else np.int32, end + 1)
    return np.diff(offsets[first:].astype(np.int64))


def _plain(array: Any) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    """Values of a column of numbers or booleans in their own type, anything where null; and where that is."""
    from pyarrow import types

    first, end = array.offset, array.offset + len(array)
    valid, data = array.buffers()
    null = np.zeros(len(array), bool) if valid is None else _bits(valid, end)[first:] == 0
    if types.is_boolean(array.type):
        return _bits(data, end)[first:], null
    return np.frombuffer(data, array.type.to_pandas_dtype(), end)[first:], null


def _bits(data: Any, n: int) -> "np.ndarray[Any, Any]":
    return np.unpackbits(np.frombuffer(data, np.uint8), count=n, bitorder="little")


def _values(column: Column, array: Any, first: int) -> list[Value]:
    """A column as Python's values; a null and a NaN are None."""
    if column.kind == "text":
        return _words(array)
    if column.kind != "number":
        return list(array.to_pylist())
    numbers = _finite(column, _floats(column, array, first), first)
    values: list[Value] = numbers.tolist()
    for i in np.flatnonzero(np.isnan(numbers)).tolist():
        values[i] = None
    return values


def _words(array: Any) -> list[Value]:
    """Texts; rows that have a word of a dictionary share it."""
    from pyarrow import types

    if not types.is_dictionary(array.type):
        return list(array.to_pylist())
    words = array.dictionary.to_pylist()
    return [None if i is None else words[i] for i in array.indices.to_pylist()]


def _numbers(column: Column, array: Any, first: int) -> "np.ndarray[Any, Any]":
    """A column as float32, checked; NaN for null."""
    numbers = _finite(column, _floats(column, array, first), first)
    null = np.isnan(numbers)
    allowed = null if column.nullable else np.zeros_like(null)
    if column.categories is not None:
        known = np.isin(numbers, np.asarray(column.categories, np.float64)) | allowed
        _refuse(column, ~known, first, "holds no category that the model knows")
        return numbers.astype(np.float32)
    low, high = LIMITS[column.kind]
    wrong = ~((numbers >= low) & (numbers <= high) | allowed)
    is_null = bool(wrong.any() and null[wrong.argmax()])
    why = "is null, which this model cannot answer" if is_null else f"is beyond the limit of {high:g}"
    _refuse(column, wrong, first, why)
    return numbers.astype(np.float32)


LIMITS = {"number": (-LARGEST_NUMBER, LARGEST_NUMBER), "integer": (-(2.0**63), 2.0**63), "boolean": (0.0, 1.0)}


def _floats(column: Column, array: Any, first: int) -> "np.ndarray[Any, Any]":
    """As float64, NaN for null; integers that it does not hold exactly are beyond the limit of every number column."""
    values, null = _plain(array)
    if column.kind == "integer" and values.dtype == np.uint64:
        _refuse(column, (values > 2**63 - 1) & ~null, first, f"is beyond the limit of {2.0**63:g}")
    return np.where(null, np.nan, values.astype(np.float64))


def _finite(column: Column, numbers: "np.ndarray[Any, Any]", first: int) -> "np.ndarray[Any, Any]":
    _refuse(column, np.isinf(numbers), first, "is infinite")
    return numbers


def _refuse(column: Column, wrong: "np.ndarray[Any, Any]", first: int, why: str) -> None:
    """Raise BadRow for the first row that is wrong."""
    if wrong.any():
        raise BadRow(
            f"Row {first + int(wrong.argmax())}: `{column.name}` {why}.", remedy=f"Send {EXPECTED[column.kind]}."
        )
