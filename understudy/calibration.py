"""What a classifier's own scores say about its accuracy, where no label has come yet.

Theory. Where a score of 0.8 is right in 80 % of cases, the mean of max(p, 1 - p) is the accuracy to be expected.
Scores are rarely so honest: on the holdout, whose labels are known, the share of hits is fitted as a function of the
score that never falls (isotonic regression, by pooling adjacent violators), and the scores of today are read through
it. For two classes the score is the probability of the second one; for more it is the highest probability, and what is
fitted is whether its class was right. A regression has no such score, and nothing is estimated.

It supposes that the same score still means the same. A model that ages grows overconfident, so the estimate is
over-optimistic just when it matters: it may warn, and it never reassures.
"""

from dataclasses import dataclass

import numpy as np

from understudy.metrics import FloatArray, Labels


@dataclass(frozen=True, eq=False)
class Calibration:
    """A fitted function of the score that never falls."""

    scores: FloatArray
    """Shape (k,), ascending: first and last score of each level."""
    hits: FloatArray
    """Shape (k,): the level at each."""

    def __call__(self, scores: FloatArray) -> FloatArray:
        return np.interp(scores, self.scores, self.hits)


def isotonic(scores: FloatArray, outcomes: FloatArray) -> Calibration:
    """Fit `outcomes` (0 or 1) as a function of `scores` that never falls; both of shape (n,), n >= 1."""
    points, place, weights = np.unique(scores, return_inverse=True, return_counts=True)
    means = np.bincount(place, outcomes) / weights
    levels: list[tuple[float, float, int]] = []
    for mean, weight in zip(means.tolist(), weights.tolist(), strict=True):
        level, total, count = mean, float(weight), 1
        while levels and levels[-1][0] >= level:
            before, behind, many = levels.pop()
            level = (before * behind + level * total) / (behind + total)
            total, count = behind + total, many + count
        levels.append((level, total, count))
    ends = np.cumsum([count for *_, count in levels])
    starts = ends - [count for *_, count in levels]
    return Calibration(
        np.column_stack([points[starts], points[ends - 1]]).ravel(), np.repeat([level for level, *_ in levels], 2)
    )


def confidences(holdout: FloatArray, labels: Labels, recent: FloatArray) -> tuple[FloatArray, FloatArray]:
    """How likely each answer is to be right, on the holdout and on the recent rows.

    Args:
        holdout, recent: shape (m, classes) and (n, classes), probabilities, finite.
        labels: shape (m,), codes into the classes.
    """
    if holdout.shape[1] == 2:
        fitted = isotonic(holdout[:, 1], (labels == 1).astype(np.float64))
        likely = [fitted(side[:, 1]) for side in (holdout, recent)]
        return np.maximum(likely[0], 1 - likely[0]), np.maximum(likely[1], 1 - likely[1])
    fitted = isotonic(holdout.max(axis=1), (holdout.argmax(axis=1) == labels).astype(np.float64))
    return fitted(holdout.max(axis=1)), fitted(recent.max(axis=1))
