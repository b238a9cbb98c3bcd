"""Between data frames and signatures.

Columns come in four kinds, each with one dtype: `number` float64, `integer` int64, `boolean` bool, `text` str. Both
the training frame and the frame of every request are cast to them, because pandas would otherwise choose by what
happens to be in a frame: a column of one null is `object`, and takes another path through an encoder than the same
null did in training.

Imports pandas: the API does so only where a scikit-learn model serves.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from understudy.errors import BadDefinition, DataRefused
from understudy.rows import LARGEST_NUMBER
from understudy.signature import RESERVED_NAMES, Column, ColumnKind, Task, Value

DTYPES: Mapping[ColumnKind, str] = {"number": "float64", "integer": "int64", "boolean": "bool", "text": "str"}


def feature_frame(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Take the columns `names` of a training frame, each cast to the dtype of its kind.

    Raises BadDefinition for names that a request cannot use and dtypes that no request can send; DataRefused for
    numbers that are larger than any request may send.
    """
    _check_names(frame, names)
    return pd.DataFrame({name: _cast(frame[name]) for name in names}, index=frame.index)


def learn_columns(features: pd.DataFrame) -> tuple[Column, ...]:
    """Describe the columns of a `feature_frame`: kinds, dtypes, and a typical value.

    What the fitted model does with nulls and unknown categories is not known yet: `nullable` is False, `categories`
    None.
    """
    return tuple(_learn(str(name), features[name]) for name in features.columns)


def request_frame(columns: Sequence[Column], rows: Sequence[Sequence[Value]]) -> pd.DataFrame:
    """Make the frame of a request: rows in signature order, already validated."""
    values = zip(*rows, strict=True)
    return pd.DataFrame(
        {column.name: _series(column.kind, list(given)) for column, given in zip(columns, values, strict=True)}
    )


def rows_of(features: pd.DataFrame) -> list[list[Value]]:
    """The rows of a `feature_frame` as a request would send them: plain values, None for null."""
    columns = [
        [None if null else value for value, null in zip(features[name].tolist(), features[name].isna(), strict=True)]
        for name in features
    ]
    return [list(row) for row in zip(*columns, strict=True)]


@dataclass(frozen=True)
class Target:
    """What is to be predicted, without nulls."""

    values: "np.ndarray[Any, Any]"
    """float64 for a regression; otherwise object (text), int64 or bool labels."""
    classes: tuple[Value, ...] | None
    """Distinct labels in sorted order; None for a regression."""


def target_of(column: pd.Series, *, task: Task) -> Target:
    """Read the target column of mature rows.

    Raises BadDefinition where it holds nulls, or values that do not fit the task.
    """
    if column.isna().any():
        raise BadDefinition(f"The target `{column.name}` holds nulls.", remedy="Train on mature rows only.")
    if task == "regression":
        return Target(_numbers(column), None)
    labels = _labels(column)
    return Target(labels, tuple(sorted(set(labels.tolist()))))


def _check_names(frame: pd.DataFrame, names: Sequence[str]) -> None:
    for name in names:
        if name == "" or type(name) is not str:
            raise BadDefinition(f"A column is named {name!r}.", remedy="Name every column with a text.")
        if name in RESERVED_NAMES:
            raise BadDefinition(
                f"No feature can be named `{name}`: a request uses that word for itself.",
                remedy="Rename the column in the source.",
            )
        if name not in frame.columns or not isinstance(frame[name], pd.Series):
            raise BadDefinition(
                f"The data hold no column `{name}`, or two.", remedy="Give each column one name in the source."
            )


def _cast(column: "pd.Series[Any]") -> "pd.Series[Any]":
    kind = _kind_of(column)
    if kind == "integer" and column.isna().any():
        kind = "number"
    if kind == "number" and column.abs().max() > LARGEST_NUMBER:
        raise DataRefused(
            f"The column `{column.name}` holds numbers beyond {LARGEST_NUMBER:g}, which no request can send.",
            remedy="Use another unit, or make such values null in the source.",
        )
    return column.astype(DTYPES[kind])  # type: ignore[call-overload, no-any-return]  # stubs list literal dtypes only


def _kind_of(column: "pd.Series[Any]") -> ColumnKind:
    dtype = column.dtype
    fits: list[tuple[ColumnKind, Callable[[], bool]]] = [
        (
            "boolean",
            lambda: (
                types.is_bool_dtype(dtype) and not column.isna().any() and not isinstance(dtype, pd.CategoricalDtype)
            ),
        ),
        ("integer", lambda: types.is_integer_dtype(dtype) and _fits_int64(column)),
        ("number", lambda: types.is_float_dtype(dtype)),
        ("text", lambda: _is_text(column)),
    ]
    for kind, holds in fits:
        if holds():
            return kind
    raise BadDefinition(
        f"The column `{column.name}` holds values of type {dtype}, which no request can send.",
        remedy="Make it numbers or text in the source, or list it in `drop`.",
    )


def _fits_int64(column: "pd.Series[Any]") -> bool:
    return column.dropna().empty or int(column.max()) < 2**63


def _is_text(column: "pd.Series[Any]") -> bool:
    if types.is_object_dtype(column.dtype):
        return all(isinstance(value, str) for value in column.dropna())
    return isinstance(column.dtype, pd.StringDtype)


def _learn(name: str, column: "pd.Series[Any]") -> Column:
    kind = _kind_of(column)
    return Column(name=name, kind=kind, dtype=DTYPES[kind], nullable=False, example=_typical(kind, column.dropna()))


def _typical(kind: ColumnKind, values: "pd.Series[Any]") -> Value:
    """Median of numbers, most frequent of the others; of equally frequent ones the smallest."""
    if values.empty:
        return None
    if kind == "number":
        return float(f"{values.median():.6g}")
    if kind == "integer":
        return int(values.quantile(0.5, interpolation="lower"))
    typical = values.mode().iloc[0]
    return bool(typical) if kind == "boolean" else str(typical)


def _series(kind: ColumnKind, given: list[Value]) -> Any:
    """One column of a request. Integers and booleans with a null become float64, as they would in pandas."""
    if kind == "text":
        return pd.Series(given, dtype="str")
    has_null = kind != "number" and None in given
    return np.array(given, dtype="float64" if has_null else DTYPES[kind])


def _numbers(column: "pd.Series[Any]") -> "np.ndarray[Any, Any]":
    if not types.is_numeric_dtype(column.dtype):
        raise BadDefinition(
            f"The target `{column.name}` of a regression holds {column.dtype}, not numbers.",
            remedy="Make it numbers in the source, or use a classifier.",
        )
    return column.to_numpy(dtype="float64")


def _labels(column: "pd.Series[Any]") -> "np.ndarray[Any, Any]":
    """Labels as bool, int64 or text; whole floats are integers that had nulls beside them."""
    dtype = column.dtype
    if types.is_bool_dtype(dtype):
        return column.to_numpy(dtype="bool")
    if types.is_integer_dtype(dtype):
        return column.to_numpy(dtype="int64")
    if types.is_float_dtype(dtype) and (column == column.round()).all():
        return column.to_numpy(dtype="int64")
    if _is_text(column):
        return np.array(column.tolist(), dtype=object)
    raise BadDefinition(
        f"The target `{column.name}` holds {dtype}, which cannot be class labels.",
        remedy="Make the labels text, whole numbers or booleans in the source.",
    )
