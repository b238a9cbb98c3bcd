"""Rows that a request may hold and training did not: a fitted model and its twin are asked these before they serve.

nulls       in each column where the model answers them, and in all of these at once
unknowns    texts and whole numbers that no training row held, and fractions between known numbers
extremes    far outside the training rows, up to the largest number that a request may hold
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from understudy.rows import LARGEST_NUMBER
from understudy.signature import Column, Value

T = TypeVar("T")
FloatArray = npt.NDArray[np.float64]
Row = list[Value]

UNKNOWN_TEXTS = ("no such category", "", "NO SUCH CATEGORY")
SPANS_AWAY = 10
"""How far outside the training rows the near extremes lie, in multiples of their range."""


MIDDLES = 20
"""Most numbers between known ones that are tried in one column."""
MOST_DIGITS = 4
"""After the point; numbers with more are measurements that nobody sends twice."""


@dataclass(frozen=True)
class Known:
    """What training has seen in one column."""

    low: float
    high: float
    values: frozenset[Value]
    """Every text or integer; empty for numbers, of which a column may hold millions."""
    between: tuple[float, ...]
    """Some middles of neighbouring values, where they need no more digits than the values themselves."""


def known_of(columns: Sequence[Column], features: pd.DataFrame) -> dict[str, Known]:
    """Look through a `feature_frame`, column by column."""
    return {column.name: _known(column, features[column.name].dropna()) for column in columns}


def _known(column: Column, seen: "pd.Series[float]") -> Known:
    if column.kind == "text" or seen.empty:
        return Known(0.0, 0.0, frozenset(seen.unique().tolist()), ())
    values = frozenset(seen.unique().tolist()) if column.kind == "integer" else frozenset()
    return Known(float(seen.min()), float(seen.max()), values, _between(np.unique(seen.to_numpy(dtype="float64"))))


def _between(distinct: FloatArray) -> tuple[float, ...]:
    digits = next((d for d in range(MOST_DIGITS + 1) if (distinct.round(d) == distinct).all()), None)
    if digits is None:
        return ()
    middles = (distinct[:-1] + distinct[1:]) / 2
    short = middles[np.abs(middles.round(digits) - middles) < 10.0**-MOST_DIGITS / 4].round(digits)
    return tuple(spread(short.tolist(), MIDDLES))


def unknown_values(column: Column, known: Known) -> list[Value]:
    """Values of the column's kind that training has not seen, where the model does not forbid them."""
    if column.categories is not None or column.kind == "boolean":
        return []
    if column.kind == "text":
        return [text for text in UNKNOWN_TEXTS if text not in known.values]
    if column.kind == "integer":
        return [int(known.high) + 1]
    return [known.low + 0.37, known.high + 1.63]


def extreme_values(column: Column, known: Known) -> list[Value]:
    """Values far away on both sides, and zero."""
    if column.categories is not None or column.kind not in ("number", "integer"):
        return []
    away = SPANS_AWAY * (known.high - known.low or 1.0)
    if column.kind == "integer":
        return [int(known.low - away), 0, int(known.high + away), -(2**63), 2**63 - 1]
    return [known.low - away, 0.0, known.high + away, -LARGEST_NUMBER, LARGEST_NUMBER]


def probe_rows(columns: Sequence[Column], known: Mapping[str, Known], rows: Sequence[Row]) -> list[Row]:
    """All probes, in a fixed order: nulls and middles in some training `rows`, the others in a typical row."""
    typical = [column.example for column in columns]
    found = [*_null_rows(columns, [typical, *rows]), *_middle_rows(columns, known, [*rows, typical])]
    for make in (unknown_values, extreme_values):
        values = {i: make(column, known[column.name]) for i, column in enumerate(columns)}
        found += [_with(typical, {i: value}) for i, given in values.items() for value in given]
        for k in range(max(map(len, values.values()), default=0)):
            found.append(_with(typical, {i: given[k] for i, given in values.items() if k < len(given)}))
    return [row for row in found if all(v is not None or c.nullable for v, c in zip(row, columns, strict=True))]


def spread(items: Sequence[T], n: int) -> list[T]:
    """At most n of `items`, evenly spread, the first and last among them."""
    if len(items) <= n:
        return list(items)
    return [items[round(i * (len(items) - 1) / (n - 1))] for i in range(n)]


def _middle_rows(columns: Sequence[Column], known: Mapping[str, Known], rows: Sequence[Row]) -> Iterator[Row]:
    for i, column in enumerate(columns):
        if column.categories is None and column.kind in ("number", "integer"):
            for k, middle in enumerate(known[column.name].between):
                yield _with(rows[k % len(rows)], {i: int(middle) if column.kind == "integer" else middle})


def _null_rows(columns: Sequence[Column], rows: Sequence[Row]) -> Iterator[Row]:
    """Each of `rows` with each nullable column set to null, one at a time and all together."""
    nullable = [i for i, column in enumerate(columns) if column.nullable]
    for row in rows:
        for i in nullable:
            yield _with(row, {i: None})
        if len(nullable) > 1:
            yield _with(row, dict.fromkeys(nullable))


def _with(row: Row, changes: Mapping[int, Value]) -> Row:
    return [changes.get(i, value) for i, value in enumerate(row)]
