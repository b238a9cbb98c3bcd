"""Metrics by name: what is reported, and what an owner can set a floor on.

    binary       accuracy auc brier log_loss
    multiclass   accuracy brier log_loss
    regression   mae rmse r2

Whether a candidate is better is not decided here: that is the paired comparison of per-row losses in `compare.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from understudy.signature import Task

FloatArray = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64] | FloatArray
"""Codes into the classes, -1 for a label that is none of them; or the numbers of a regression."""

#: Smallest probability that `log_loss` counts with, so that one certain and wrong row is no infinity.
SMALLEST = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Metric:
    """One way to say how good answers are."""

    tasks: frozenset[Task]
    higher_is_better: bool
    of: Callable[[FloatArray, Labels], float]


def accuracy(outputs: FloatArray, labels: Labels) -> float:
    return float(np.mean(outputs.argmax(axis=1) == labels))


def auc(outputs: FloatArray, labels: Labels) -> float:
    """Probability that a row of the second class scores above one of the first; 0.5 where only one class occurs."""
    return ordering(ranks(outputs[:, 1]), labels == 1)


def brier(outputs: FloatArray, labels: Labels) -> float:
    return float(np.mean(brier_per_row(outputs, labels)))


def log_loss(outputs: FloatArray, labels: Labels) -> float:
    return float(np.mean(log_loss_per_row(outputs, labels, smallest=SMALLEST)))


def mae(outputs: FloatArray, labels: Labels) -> float:
    return float(np.mean(np.abs(outputs - labels)))


def rmse(outputs: FloatArray, labels: Labels) -> float:
    return float(np.sqrt(np.mean((outputs - labels) ** 2)))


def r2(outputs: FloatArray, labels: Labels) -> float:
    """Share of the labels' variance that is explained; 0.0 where the labels do not vary."""
    spread = float(np.sum((labels - labels.mean()) ** 2))
    return 1.0 - float(np.sum((outputs - labels) ** 2)) / spread if spread else 0.0


CLASSIFICATION: frozenset[Task] = frozenset({"binary", "multiclass"})
BINARY: frozenset[Task] = frozenset({"binary"})
REGRESSION: frozenset[Task] = frozenset({"regression"})

METRICS: Mapping[str, Metric] = {
    "accuracy": Metric(CLASSIFICATION, True, accuracy),
    "auc": Metric(BINARY, True, auc),
    "brier": Metric(CLASSIFICATION, False, brier),
    "log_loss": Metric(CLASSIFICATION, False, log_loss),
    "mae": Metric(REGRESSION, False, mae),
    "rmse": Metric(REGRESSION, False, rmse),
    "r2": Metric(REGRESSION, True, r2),
}


def metrics_for(task: Task) -> tuple[str, ...]:
    return tuple(name for name, metric in METRICS.items() if task in metric.tasks)


def default_metric(task: Task) -> str:
    return "mae" if task == "regression" else "log_loss"


def measure(task: Task, outputs: FloatArray, labels: Labels) -> dict[str, float]:
    """Every metric of the task.

    Args:
        outputs: shape (n, classes), probabilities in class order; or (n,) for a regression. Finite.
        labels: shape (n,).
    """
    return {name: METRICS[name].of(outputs, labels) for name in metrics_for(task)}


def brier_per_row(outputs: FloatArray, labels: Labels) -> FloatArray:
    """Squared distance between the probabilities and what happened; halved for two classes, as is the custom there.

    A label that is none of the classes counts as one that was given no probability at all.
    Source: G. Brier, Verification of forecasts expressed in terms of probability (1950).
    """
    true = probability_of_label(outputs, labels)
    distance: FloatArray = np.sum(outputs**2, axis=1) - true**2 + (1.0 - true) ** 2
    return distance / 2 if outputs.shape[1] == 2 else distance


def log_loss_per_row(outputs: FloatArray, labels: Labels, *, smallest: float) -> FloatArray:
    """Minus the logarithm of the label's probability, which is taken to be at least `smallest`."""
    return -np.log(np.clip(probability_of_label(outputs, labels), smallest, 1.0))


def probability_of_label(outputs: FloatArray, labels: Labels) -> FloatArray:
    """What each row's own label was given, shape (n,); 0.0 for a label that is none of the classes."""
    codes = np.asarray(labels, dtype=np.int64)
    given: FloatArray = np.take_along_axis(outputs, np.maximum(codes, 0)[:, None], axis=1)[:, 0]
    return np.where(codes >= 0, given, 0.0)


def ranks(values: FloatArray) -> FloatArray:
    """Ranks from 1, ties sharing their mean; shape (n,), no NaN."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last: FloatArray = np.cumsum(counts).astype(np.float64)
    ranked: FloatArray = (last - (counts - 1) / 2)[place]
    return ranked


def ordering(ranked: FloatArray, positive: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve, from ranks; 0.5 where only one of the two sides occurs.

    Source: the statistic of Mann and Whitney (1947).
    """
    count = int(positive.sum())
    rest = len(positive) - count
    if not count or not rest:
        return 0.5
    return (float(ranked[positive].sum()) - count * (count + 1) / 2) / (count * rest)
