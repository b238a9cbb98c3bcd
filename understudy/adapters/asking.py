"""What a fitted estimator can be asked: its signature, learnt by trying, and its answers to known and to odd rows."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from understudy.adapters import frames, probes
from understudy.adapters.frames import Target
from understudy.adapters.probes import Known, Row, spread
from understudy.adapters.runtime import SklearnModel
from understudy.errors import BadDefinition
from understudy.parity import Answer
from understudy.rows import LARGEST_NUMBER
from understudy.signature import Column, Signature, Task, Value

ROWS_WITH_NULLS = 10
"""Training rows that are asked again with nulls in them."""


@dataclass(frozen=True)
class Asked:
    """Rows, and what scikit-learn answered to them."""

    rows: list[Row]
    answer: Answer

    def __add__(self, other: "Asked") -> "Asked":
        return Asked(self.rows + other.rows, _joined(self.answer, other.answer))

    def some(self, n: int) -> "Asked":
        """At most n of the rows, evenly spread."""
        places = spread(range(len(self.rows)), n)
        predictions, probabilities = self.answer.predictions, self.answer.probabilities
        chosen = Answer(
            [predictions[i] for i in places], None if probabilities is None else [probabilities[i] for i in places]
        )
        return Asked([self.rows[i] for i in places], chosen)


def learn_signature(model: Any, *, task: Task, target: str, features: pd.DataFrame, labels: Target) -> Signature:
    """Describe a fitted estimator.

    Raises BadDefinition where it cannot serve: without probabilities, or raising on every number that it has not seen.
    """
    if task != "regression" and not hasattr(model, "predict_proba"):
        raise BadDefinition(
            f"{type(model).__name__} gives no probabilities, so it cannot be compared with another version.",
            remedy="Wrap it: CalibratedClassifierCV(estimator).",
        )
    classes = None if task == "regression" else tuple(np.asarray(model.classes_).tolist())
    if classes is not None and classes != labels.classes:
        raise BadDefinition("The model knows other classes than its training rows.", remedy="Leave labels as they are.")
    signature = Signature(columns=frames.learn_columns(features), target=target, task=task, classes=classes)
    original, known = SklearnModel(model, signature), probes.known_of(signature.columns, features)
    rows = _some_rows(features, 2 * ROWS_WITH_NULLS)
    tried = tuple(_tried(original, column, i, rows, known[column.name]) for i, column in enumerate(signature.columns))
    return dataclasses.replace(signature, columns=tried)


def ask_holdout(model: Any, signature: Signature, holdout: pd.DataFrame) -> Asked:
    """Ask about the rows of a `feature_frame` that a request could send."""
    rows = [row for row in frames.rows_of(holdout) if _fits(signature, row)]
    return _ask(SklearnModel(model, signature), rows)


def ask_probes(model: Any, signature: Signature, features: pd.DataFrame, known: Mapping[str, Known]) -> Asked:
    """Ask about rows that training did not hold; those that the estimator cannot answer are left out."""
    rows = probes.probe_rows(signature.columns, known, _some_rows(features, ROWS_WITH_NULLS))
    return _ask(SklearnModel(model, signature), rows)


def _tried(original: SklearnModel, column: Column, i: int, rows: list[Row], known: Known) -> Column:
    """Find out where the model answers a null, and where it knows only the categories that it has seen."""
    nullable = _answers(original, [_replaced(row, i, None) for row in rows])
    unknown = probes.unknown_values(column, known)
    closed = unknown and not _answers(original, [_replaced(row, i, value) for row in rows for value in unknown])
    return dataclasses.replace(column, nullable=nullable, categories=_categories(column, known) if closed else None)


def _categories(column: Column, known: Known) -> tuple[str | int, ...]:
    if column.kind == "number":
        raise BadDefinition(
            f"The model raises on numbers in `{column.name}` that it has not seen.",
            remedy='Let it ignore them, as OneHotEncoder(handle_unknown="ignore") does.',
        )
    return tuple(sorted(known.values))  # type: ignore[arg-type]  # all of them texts, or all of them integers


def _ask(original: SklearnModel, rows: list[Row]) -> Asked:
    """Ask about all rows at once; where that raises, one by one, without those that the model cannot answer."""
    if rows and not _answers(original, rows):
        rows = [row for row in rows if _answers(original, [row])]
    return Asked(rows, original(rows) if rows else Answer([], None if original.classes is None else []))


def _answers(original: SklearnModel, rows: list[Row]) -> bool:
    try:
        original(rows)
    except Exception:  # noqa: BLE001 - that it raises, whatever it raises, is the answer
        return False
    return True


def _some_rows(features: pd.DataFrame, n: int) -> list[Row]:
    return frames.rows_of(features.iloc[spread(range(len(features)), n)])


def _replaced(row: Row, i: int, value: Value) -> Row:
    return [*row[:i], value, *row[i + 1 :]]


def _joined(one: Answer, other: Answer) -> Answer:
    probabilities = None
    if one.probabilities is not None and other.probabilities is not None:
        probabilities = one.probabilities + other.probabilities
    return Answer(one.predictions + other.predictions, probabilities)


def _fits(signature: Signature, row: Row) -> bool:
    return all(_fits_column(column, value) for column, value in zip(signature.columns, row, strict=True))


def _fits_column(column: Column, value: Value) -> bool:
    if value is None:
        return column.nullable
    if column.categories is not None:
        return value in column.categories
    return column.kind != "number" or abs(float(value)) <= LARGEST_NUMBER
