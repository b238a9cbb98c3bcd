"""Rows of a request: from JSON to tuples in signature order, or a short answer that says which column is wrong.

A body is one record `{"column": value, …}`, or `{"records": [record, …]}`, or `{"values": [[…], …]}` in signature
order; a flat list of values is one row, or one column where the model has one feature. Types are strict: neither "1"
nor true is a number. Nothing that was sent is repeated in an error, beyond a short excerpt of a name.
"""

import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Optional

import msgspec

from understudy.errors import BadInput, BadRow, TooLarge
from understudy.signature import Column, ColumnKind, Signature, Value

MAX_ROWS = 10_000
MAX_TEXT = 100_000
"""Characters in one text value."""

MANY_BYTES = 4096
KEY = "Names the row, so that a label finds it; the model never sees it."

LARGEST_NUMBER = 1e15
"""Floats tell all integers up to here apart, and the float32 of many models can still hold the square."""

#: Stands for a null in the text columns of an ONNX form, whose strings know none; Unicode promises that no text has it.
NULL_TEXT = "\uffff"

Row = tuple[Value, ...]
Shape = Literal["record", "records", "values", "flat"]
Decoders = Mapping[Shape, msgspec.json.Decoder[Any]]

EXPECTED: Mapping[ColumnKind, str] = {
    "number": "a number",
    "integer": "an integer",
    "boolean": "true or false",
    "text": "text",
}

_SHAPE = re.compile(rb'\s*\{\s*"(?:(records)|(values))"\s*:\s*(\[\s*\[)?')
_PLACE = re.compile(
    r" - at `\$(?:\.(?:records|values))?(?:\[(?P<row>\d+)\])?(?:\[(?P<index>\d+)\]|\.(?P<name>.+))?`$", re.DOTALL
)
_FIELD = re.compile(r"Object (missing required|contains unknown) field `(.*?)`(?: - at `.*)?$", re.DOTALL)


class RowDecoder:
    """Reads the bodies of requests to one version.

    Making one compiles the signature; decoding then takes a few microseconds a row. Threads may share one.
    """

    def __init__(self, signature: Signature, *, max_rows: int = MAX_ROWS) -> None:
        self._columns, self._max_rows = signature.columns, max_rows
        self._decoders = _decoders(signature.columns, whole_floats=False)
        self._texts = tuple(i for i, column in enumerate(signature.columns) if column.kind == "text")
        self._record = self._decoders["record"].decode

    def record(self, body: bytes | bytearray) -> Row | None:
        """The row of a body that is one record and surely right; None where `decode` has to look closer.

        Most requests are such a body, and this answers them in a third of the time.
        """
        try:
            row: Row = msgspec.structs.astuple(self._record(body))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        if body.count(b":") != len(row):  # a colon in a text, or a name that was given twice
            return None
        for i in self._texts:
            if NULL_TEXT in (row[i] or ""):  # type: ignore[operator]
                return None
        return row

    def decode(self, body: bytes) -> list[Row]:
        """Read all rows of a body.

        Raises BadInput where it is no JSON of a known shape, BadRow where a row does not fit the signature, TooLarge
        above `max_rows`.
        """
        shape = _shape_of(body)
        self._check_number(body, shape)
        try:
            rows = self._read(body, shape)
        except msgspec.ValidationError as error:
            raise self._explained(str(error), shape) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BadInput("The body is not JSON in UTF-8.", remedy=_unreadable(body)) from None
        self._check(rows, body, shape)
        return rows

    def _check_number(self, body: bytes, shape: Shape) -> None:
        """Refuse far too many rows before values are made of them: of 16 MiB there may be millions."""
        if len(body) <= 2 * self._max_rows * len(self._columns):  # a value and a comma each
            return
        sign = {"values": "[", "records": "{", "flat": "," if len(self._columns) == 1 else ""}.get(shape, "")
        if sign and not self._texts and not any(sign in column.name for column in self._columns):
            rows = _count(body, sign) + (1 if sign == "," else -1)
            if rows > self._max_rows and _count(body, ",") >= rows - 1:  # and is not only deep
                raise self._too_many(rows)

    def _too_many(self, rows: int) -> TooLarge:
        return TooLarge(
            f"The body holds {rows} rows; at most {self._max_rows} are answered at once.",
            remedy="Send fewer rows at a time, an Arrow stream, or leave a whole table to a batch job.",
        )

    def _read(self, body: bytes, shape: Shape) -> list[Row]:
        try:
            return self._rows(shape, self._decoders[shape].decode(body))
        except msgspec.ValidationError as error:
            if "got `float`" not in str(error):
                raise
        rows = self._rows(shape, self._lenient[shape].decode(body))
        return [self._with_integers(i, row) for i, row in enumerate(rows)]

    @functools.cached_property
    def _lenient(self) -> Decoders:
        """For JSON's word on integers, which counts 2.0 among them; slower, and seldom needed."""
        return _decoders(self._columns, whole_floats=True)

    def _with_integers(self, number: int, row: Row) -> Row:
        whole = list(row)
        for i, column in enumerate(self._columns):
            value = whole[i]
            if column.kind == "integer" and value is not None:
                whole[i] = int(value)
                if whole[i] != value or not _is_integer_of(column, int(value)):
                    found, remedy = _misfit(column, "")
                    raise BadRow(f"Row {number}: {found}.", remedy=remedy)
        return tuple(whole)

    def _rows(self, shape: Shape, decoded: Any) -> list[Row]:
        if shape == "record":
            return [msgspec.structs.astuple(decoded)]
        if shape == "records":
            return [msgspec.structs.astuple(record) for record in decoded.records]
        if shape == "values":
            return list(decoded.values)
        return [(value,) for value in decoded.values] if len(self._columns) == 1 else [decoded.values]

    def _check(self, rows: list[Row], body: bytes, shape: Shape) -> None:
        """What types do not say: how many rows, one value per name, and the one character that is ours."""
        if not rows:
            raise BadRow("The body holds no rows.", remedy="Send at least one row.")
        if len(rows) > self._max_rows:
            raise self._too_many(len(rows))
        wrapped = 0 if shape == "record" else 1
        named = len(rows) * len(self._columns) if shape in ("record", "records") else 0
        colons = _count(body, ":") if named else body.count(b":")
        if colons != wrapped + named:  # in texts, or of a name that was given twice
            check_distinct_names(body)
        for i in self._texts:
            if any(NULL_TEXT in (row[i] or "") for row in rows):  # type: ignore[operator]
                raise BadRow(f"`{self._columns[i].name}` holds the noncharacter U+FFFF.", remedy="Send text.")

    def _explained(self, problem: str, shape: Shape) -> BadInput:
        """Say what msgspec found in the words of the signature."""
        place = _PLACE.search(problem)
        row, name = self._place(place, shape) if place else (None, None)
        field = _FIELD.match(problem)
        column = next((column for column in self._columns if column.name == name), None)
        if field and field.group(1) == "missing required":
            found, remedy = f"the column `{field.group(2)}` is missing", self._remedy()
        elif field:
            found, remedy = f"there is no column {_excerpt(field.group(2))}", self._remedy()
        elif column:
            found, remedy = _misfit(column, problem)
        elif row is not None or problem.startswith("Expected `array` of length"):
            found, remedy = f"there should be {len(self._columns)} values", self._remedy()
        else:
            return BadInput(
                "The body is no record of named values.",
                remedy='Send {"column": value, …}, {"records": [{…}, …]} or {"values": [[…], …]}.',
            )
        return BadRow(f"{found[0].upper()}{found[1:]}." if row is None else f"Row {row}: {found}.", remedy=remedy)

    def _place(self, place: re.Match[str], shape: Shape) -> tuple[int | None, str | None]:
        """Which row, and which column, an error of msgspec's speaks of."""
        row, index = place["row"], place["index"]
        if shape == "flat" and row is not None:
            return (None, self._columns[int(row)].name) if len(self._columns) > 1 else (int(row), self._columns[0].name)
        name = self._columns[int(index)].name if index is not None else place["name"]
        return (None if row is None else int(row)), name

    def _remedy(self) -> str:
        names = [column.name for column in self._columns]
        listed = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
        return f"Send exactly these columns: {listed}."


def request_schema(signature: Signature, key: str | None = None) -> dict[str, Any]:
    """JSON Schema of a body, with a typical row as its example.

    `key`: the column by which a record may be named beside its features.
    """
    properties = {column.name: _schema_of(column) for column in signature.columns}
    named = {} if key is None else {key: {"type": ["integer", "string", "null"], "description": KEY}}
    record = {
        "type": "object",
        "title": "One record",
        "properties": {**properties, **named},
        "required": list(properties),
        "additionalProperties": False,
    }
    row = {"type": "array", "prefixItems": list(properties.values()), "minItems": len(properties)}
    row |= {"maxItems": len(properties)}
    return {
        "anyOf": [
            record,
            _wrapped_schema("records", {**record, "title": "Record"}, "Many records"),
            _wrapped_schema("values", row, "Rows of values, in the order of the signature"),
        ],
        "example": {column.name: column.example for column in signature.columns},
    }


def response_schema(signature: Signature) -> dict[str, Any]:
    """JSON Schema of the answer to `request_schema`."""
    classes = None if signature.classes is None else list(signature.classes)
    prediction: dict[str, Any] = {"type": "number"} if classes is None else {"enum": classes}
    numbers = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
    properties = {
        "predictions": {"type": "array", "items": prediction},
        "probabilities": {"type": "null"} if classes is None else numbers,
        "classes": {"const": classes},
        "model": {"type": "string"},
        "version": {"type": "string"},
        "prediction_id": {"type": "string"},
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


def _decoders(columns: Sequence[Column], *, whole_floats: bool) -> Decoders:
    types = [_type_of(column, whole_floats=whole_floats) for column in columns]
    fields = [(f"c{i}", kind) for i, kind in enumerate(types)]
    names = {f"c{i}": column.name for i, column in enumerate(columns)}
    record: Any = msgspec.defstruct("Record", fields, rename=names, forbid_unknown_fields=True, gc=False)
    row: Any = tuple.__class_getitem__(tuple(types))
    flat: Any = list.__class_getitem__(types[0]) if len(types) == 1 else row
    return {
        "record": msgspec.json.Decoder(record),
        "records": msgspec.json.Decoder(_wrapper("records", list[record])),
        "values": msgspec.json.Decoder(_wrapper("values", list[row])),
        "flat": msgspec.json.Decoder(_wrapper("values", flat)),
    }


def _is_integer_of(column: Column, value: int) -> bool:
    return -(2**63) <= value < 2**63 and (column.categories is None or value in column.categories)


def _shape_of(body: bytes) -> Shape:
    found = _SHAPE.match(body)
    if not found:
        return "record"
    if found.group(1):
        return "records"
    return "values" if found.group(3) else "flat"


def _unreadable(body: bytes) -> str:
    """What to do about a body that is no JSON: what most often is the reason."""
    if not body.strip():
        return "The body is empty: send one JSON object."
    if re.search(rb"[\s:,\[]-?(?:NaN|Infinity)\b", body[:MANY_BYTES]):
        return "NaN and Infinity are no JSON: send null for what is missing, where the model takes it."
    return "Send one JSON object."


def _count(body: bytes, sign: str) -> int:
    """How many there are; where there may be thousands, by comparing many bytes at a time."""
    if len(body) < MANY_BYTES:
        return body.count(sign.encode())
    import numpy as np  # here, so that whoever names a model does not wait for it

    return int(np.count_nonzero(np.frombuffer(body, np.uint8) == ord(sign)))


def _wrapper(name: str, kind: Any) -> Any:
    return msgspec.defstruct("Body", [(name, kind)], forbid_unknown_fields=True)


def _type_of(column: Column, *, whole_floats: bool) -> Any:
    """The type that msgspec is to insist on."""
    kinds: Mapping[ColumnKind, Any] = {
        "number": Annotated[float, msgspec.Meta(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)],
        "integer": Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)],
        "boolean": bool,
        "text": Annotated[str, msgspec.Meta(max_length=MAX_TEXT)],
    }
    kind = kinds[column.kind] if column.categories is None else Literal.__getitem__(column.categories)
    if whole_floats and column.kind == "integer":
        kind = int | float
    return Optional.__getitem__(kind) if column.nullable else kind


def _schema_of(column: Column) -> dict[str, Any]:
    kinds: Mapping[ColumnKind, dict[str, Any]] = {
        "number": {"type": "number", "minimum": -LARGEST_NUMBER, "maximum": LARGEST_NUMBER},
        "integer": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
        "boolean": {"type": "boolean"},
        "text": {"type": "string", "maxLength": MAX_TEXT},
    }
    schema = kinds[column.kind] if column.categories is None else {"enum": list(column.categories)}
    return {"anyOf": [schema, {"type": "null"}]} if column.nullable else schema


def _wrapped_schema(name: str, item: dict[str, Any], title: str) -> dict[str, Any]:
    rows = {"type": "array", "items": item, "minItems": 1, "maxItems": MAX_ROWS}
    return {
        "type": "object",
        "title": title,
        "properties": {name: rows},
        "required": [name],
        "additionalProperties": False,
    }


def check_distinct_names(body: bytes) -> None:
    """Raises BadRow where an object names something twice: the decoder would silently take the last."""

    def distinct(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise BadRow(f"The name {_excerpt(twice)} is given twice in one object.", remedy="Give each name once.")

    json.loads(body, object_pairs_hook=distinct)


def _misfit(column: Column, problem: str) -> tuple[str, str]:
    """What is wrong with a value of this column, and what to send instead."""
    null = " or null" if column.nullable else ""
    if column.categories is not None:
        known = [json.dumps(category)[:40] for category in column.categories[:10]]
        more = ", …" if len(column.categories) > len(known) else ""
        return f"`{column.name}` holds no category that the model knows", f"Send one of {', '.join(known)}{more}{null}."
    if "got `null`" in problem:
        return f"`{column.name}` is null, which this model cannot answer", f"Send {EXPECTED[column.kind]}."
    if any(sign in problem for sign in ("out of range", "<=", ">=")):
        limit = f"{MAX_TEXT} characters" if column.kind == "text" else f"{_limit_of(column):g}"
        return f"`{column.name}` is beyond the limit of {limit}", "Send less, or another unit."
    return f"`{column.name}` should be {EXPECTED[column.kind]}{null}", f"Send {EXPECTED[column.kind]}{null}."


def _limit_of(column: Column) -> float:
    return LARGEST_NUMBER if column.kind == "number" else 2.0**63


def _excerpt(name: str) -> str:
    """A short, escaped piece of what a client sent."""
    return ascii(name[:40]) + ("…" if len(name) > 40 else "")
