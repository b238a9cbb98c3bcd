"""How well one column alone orders the label: AUC from 0.5 to 1, or |rank correlation|; None where too few rows tell.

A column that does so (almost) perfectly is usually known only after the label is.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from understudy.metrics import FloatArray, ordering, ranks
from understudy.signature import Task

Target = npt.NDArray[Any]
"""Shape (n,): booleans for one class against the rest, or the numbers of a regression."""

FEWEST = 10
"""Rows of a class, and of the rest, that an AUC needs."""
MOST_CLASSES = 20
"""Most frequent classes that a column is tried on."""


def targets_of(label: npt.NDArray[Any], task: Task) -> list[Target]:
    """What a column may order: the numbers of a regression; of a classification, each class against the rest.

    `label`: shape (n,), numbers of a regression or class names as text.
    """
    if task == "regression":
        return [label]
    classes, counts = np.unique(label, return_counts=True)
    top = classes[np.argsort(-counts, kind="stable")[:MOST_CLASSES]]
    return [label == one for one in (top[:1] if len(classes) == 2 else top)]


def of_numbers(values: FloatArray, targets: list[Target]) -> float | None:
    """The strongest over all targets; `values` has shape (n,), NaN is null.

    Nulls are tried as the lowest value, as the highest, and left out: a null alone may tell the label.
    """
    null = np.isnan(values)
    tries = [(np.where(null, -np.inf, values), targets)]
    if null.any():
        tries.append((np.where(null, np.inf, values), targets))
        tries.append((values[~null], [target[~null] for target in targets]))
    found = [_ordered(ranks(column), target) for column, aims in tries for target in aims]
    return max((abs(one) for one in found if one is not None), default=None)


def _ordered(ranked: FloatArray, target: Target) -> float | None:
    """AUC, mirrored to 0.5 … 1, or the rank correlation; None where there are too few rows."""
    if target.dtype == bool:
        fewest = min(int(target.sum()), int((~target).sum()))
        return 0.5 + abs(ordering(ranked, target) - 0.5) if fewest >= FEWEST else None
    return correlation(ranked, ranks(target)) if len(target) >= 2 * FEWEST else None


def of_texts(texts: npt.NDArray[Any], targets: list[Target]) -> float | None:
    """The strongest over all targets; `texts` has shape (n,), None is null.

    Each text stands for the mean label of the other rows with it, so that a name per row tells nothing.
    Without its own row a text that tells nothing orders the label backwards: only the forward direction counts.
    """
    _, place, counts = np.unique(texts.astype(str), return_inverse=True, return_counts=True)
    others = counts[place] - 1
    found = []
    for target in targets:
        aim = target.astype(np.float64)
        mean = (np.bincount(place, weights=aim)[place] - aim) / np.maximum(others, 1)
        ranked = ranks(np.where(others > 0, mean, aim.mean()))
        found.append(_forward(ranked, target))
    return max((one for one in found if one is not None), default=None)


def _forward(ranked: FloatArray, target: Target) -> float | None:
    one = _ordered(ranked, target)
    if one is None or target.dtype == bool:
        return one if one is None or ordering(ranked, target) > 0.5 else 0.5
    return max(0.0, one)


def correlation(a: FloatArray, b: FloatArray) -> float:
    """Pearson's; 0.0 where one of the two does not vary."""
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt(np.sum(a * a) * np.sum(b * b)))
    return float(np.sum(a * b)) / scale if scale else 0.0
