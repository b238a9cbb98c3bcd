"""Answers that nobody should get: made of honest ones by as much harm as a sabotage needs.

Outputs have shape (n, classes), probabilities in class order, or (n,) for a regression; labels are codes into the
classes (-1: none of them), or numbers. Harm 0 leaves the answers as they are. More harm never helps a row: a
probability moves from the true class to the others, a number away from its label.
"""

from collections.abc import Callable, Iterator

import numpy as np

from understudy.metrics import FloatArray, Labels

WORST = 100.0
"""Harm of a regression that leaves every other far behind."""


def harmed(outputs: FloatArray, labels: Labels, harm: float) -> FloatArray:
    """Answers that are worse in every row; harm 1: certainly wrong, or wrong by all the range of the labels."""
    if outputs.ndim == 1:
        away = np.where(outputs >= labels, 1.0, -1.0)
        return np.asarray(outputs + harm * away * (np.ptp(labels) or 1.0))
    return np.asarray((1 - harm) * outputs + harm * _wrong(outputs.shape[1], labels))


def worst(outputs: FloatArray, labels: Labels) -> FloatArray:
    """What any model beats."""
    return harmed(outputs, labels, WORST if outputs.ndim == 1 else 1.0)


def _wrong(classes: int, labels: Labels) -> FloatArray:
    """All probability on the classes that are not the true one."""
    wrong = np.full((len(labels), classes), 1 / (classes - 1))
    known = np.flatnonzero(labels >= 0)
    wrong[known, labels[known].astype(np.int64)] = 0.0
    wrong[labels < 0] = 1 / classes
    return wrong


def constant(outputs: FloatArray, labels: Labels) -> FloatArray:
    """One answer to every row, the best there is: the classes' shares among these rows, or their median."""
    if outputs.ndim == 1:
        return np.full(len(labels), float(np.median(labels)))
    shares = np.array([float(np.mean(labels == code)) for code in range(outputs.shape[1])])
    return np.tile(shares / shares.sum(), (len(labels), 1))


def silent(outputs: FloatArray) -> FloatArray:
    """No finite number for every tenth row."""
    out = outputs.copy()
    out[::10] = np.nan
    return out


def impossible(outputs: FloatArray, far: float) -> FloatArray:
    """Probabilities that add up to more than 1; or one number beyond `far`."""
    if outputs.ndim == 1:
        out = outputs.copy()
        out[0] = far
        return out
    return outputs * 1.01


def least_harm(outputs: FloatArray, labels: Labels, enough: Callable[[FloatArray], bool]) -> FloatArray | None:
    """The answers with the least harm that is enough; None where none is."""
    return next((out for harm in _more_and_more() if enough(out := harmed(outputs, labels, harm))), None)


def _more_and_more() -> Iterator[float]:
    harm = 0.002
    while harm < 0.95:
        yield harm
        harm *= 1.2
