"""When two answers to the same rows count as the same.

A version is stored in up to two forms, and answers its golden rows again wherever it is loaded. All of these must say
what scikit-learn said when the version was trained: probabilities to 1e-5, a regression to 1e-5 of the larger of the
value and the target's standard deviation, and the same label unless the two top classes are within 2e-5 of each
other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.signature import Value

TOLERANCE = 1e-5
TIE = 2e-5


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says to n rows."""

    predictions: list[Any]
    """n labels as they stood in the training data, or n numbers."""
    probabilities: list[list[float]] | None
    """n × classes, in the order of `Signature.classes`; None for a regression."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far an answer is from the one expected."""

    worst: float
    """Largest difference of a probability, or of a number relative to its allowance's scale."""
    problem: str | None
    """What is wrong, as half a sentence; None: the answers agree."""


def compare(expected: Answer, given: Answer, *, classes: Sequence[Value] | None, scale: float) -> Difference:
    """Compare two answers to the same rows.

    Args:
        classes: labels in the order of the probabilities; None for a regression.
        scale: standard deviation of the target; a classification does not use it.
    """
    if classes is None:
        return _compare_numbers(np.asarray(expected.predictions, float), given, scale)
    probabilities = np.asarray(expected.probabilities, float)
    answered = np.asarray(given.probabilities, float)
    if answered.shape != probabilities.shape or len(given.predictions) != len(probabilities):
        return Difference(np.inf, "it answers with another shape")
    if not np.isfinite(answered).all():
        return Difference(np.inf, "it answers with numbers that are not finite")
    worst = float(np.abs(answered - probabilities).max(initial=0.0))
    if worst > TOLERANCE:
        return Difference(worst, f"a probability differs by {worst:.1e}")
    return Difference(worst, _label_problem(expected, given, probabilities))


def _compare_numbers(expected: "np.ndarray[Any, Any]", given: Answer, scale: float) -> Difference:
    answered = np.asarray(given.predictions, float)
    if answered.shape != expected.shape:
        return Difference(np.inf, "it answers with another shape")
    if not np.isfinite(answered).all():
        return Difference(np.inf, "it answers with numbers that are not finite")
    allowance = np.maximum(np.abs(expected), scale)
    apart = np.abs(answered - expected)
    worst = float(
        np.divide(apart, allowance, out=np.where(apart > 0, np.inf, 0.0), where=allowance > 0).max(initial=0.0)
    )
    return Difference(worst, f"a value differs by {worst:.1e} of its size" if worst > TOLERANCE else None)


def _label_problem(expected: Answer, given: Answer, probabilities: "np.ndarray[Any, Any]") -> str | None:
    top_two = np.sort(probabilities, axis=1)[:, -2:]
    decided = top_two[:, -1] - top_two[:, 0] > TIE
    pairs = zip(expected.predictions, given.predictions, decided, strict=True)
    wrong = sum(1 for before, now, matters in pairs if matters and (before != now or type(before) is not type(now)))
    return f"{wrong} of {len(probabilities)} labels differ" if wrong else None
