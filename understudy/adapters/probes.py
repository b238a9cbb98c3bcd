"""Rows that a request may hold and training did not: what the fitted model, and its twin, must be asked before they
serve.

nulls       in each column where the model answers them, and in all of these at once
unknowns    texts and whole numbers that no training row held, and fractions between known numbers
extremes    far outside the training rows, up to the largest number that a request may hold
"""

from collections.abc import Iterator, Sequence

from understudy.rows import LARGEST_NUMBER
from understudy.signature import Column, Value

Row = list[Value]

UNKNOWN_TEXT = "no such category"
SPANS_AWAY = 10
"""How far outside the training rows the near extremes lie, in multiples of their range."""


def typical_row(columns: Sequence[Column]) -> Row:
    return [column.example for column in columns]


def null_rows(columns: Sequence[Column], rows: Sequence[Row]) -> Iterator[Row]:
    """Each of `rows` with each nullable column set to null, one at a time and all together."""
    nullable = [i for i, column in enumerate(columns) if column.nullable]
    for row in rows:
        for i in nullable:
            yield _with(row, {i: None})
        if len(nullable) > 1:
            yield _with(row, dict.fromkeys(nullable))


def unknown_values(column: Column, known: Sequence[Value]) -> list[Value]:
    """Values of the column's kind that are not among `known`, where the model does not forbid them."""
    if column.categories is not None or column.kind == "boolean":
        return []
    if column.kind == "text":
        return [text for text in (UNKNOWN_TEXT, "", UNKNOWN_TEXT.upper()) if text not in known]
    numbers = [value for value in known if value is not None]
    highest = max((float(value) for value in numbers), default=0.0)
    if column.kind == "integer":
        return [int(highest) + 1]
    return [min((float(value) for value in numbers), default=0.0) + 0.37, highest + 1.63]


def extreme_values(column: Column, known: Sequence[Value]) -> list[Value]:
    """Values far away from `known`, on both sides, and zero."""
    if column.categories is not None or column.kind not in ("number", "integer"):
        return []
    numbers = [float(value) for value in known if value is not None] or [0.0]
    low, high = min(numbers), max(numbers)
    away = SPANS_AWAY * (high - low or 1.0)
    if column.kind == "integer":
        return [int(low - away), 0, int(high + away), -(2**63), 2**63 - 1]
    return [low - away, 0.0, high + away, -LARGEST_NUMBER, LARGEST_NUMBER]


def probe_rows(columns: Sequence[Column], rows: Sequence[Row]) -> list[Row]:
    """All probes around some training rows and the typical one, in a fixed order."""
    typical = typical_row(columns)
    known = [[row[i] for row in rows] for i in range(len(columns))]
    found = list(null_rows(columns, [typical, *rows[:: max(1, len(rows) // 10)]]))
    for make in (unknown_values, extreme_values):
        per_column = [make(column, values) for column, values in zip(columns, known, strict=True)]
        found += [_with(typical, {i: value}) for i, values in enumerate(per_column) for value in values]
        for k in range(max(map(len, per_column), default=0)):
            found.append(_with(typical, {i: values[k] for i, values in enumerate(per_column) if k < len(values)}))
    return [
        row
        for row in found
        if all(value is not None or column.nullable for value, column in zip(row, columns, strict=True))
    ]


def _with(row: Row, changes: dict[int, Value]) -> Row:
    return [changes.get(i, value) for i, value in enumerate(row)]
