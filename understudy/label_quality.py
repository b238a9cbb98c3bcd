"""Whether labels may be judged by: what comes from outside may be wrong, by mistake or on purpose.

Two signs are looked at before a cohort is judged. Labels that are disputed: one source says one thing and another says
something else, or the same source changes what it said. And labels that are distributed quite otherwise than those of
the holdout, and otherwise too than those that were judged last: the world moves, but seldom so far in one step.

What fails is not judged by; nothing is thrown away. The limits are wide, since a world that moves is what labels are
there to show: they stop a source that says the same of every row, a second source that contradicts the first, a column
that was mixed up with one of other values.

They do not stop two classes that were swapped, unless one was rare, below a fifth say: shares of 0.3 and 0.7 are not
far enough apart, and those of a half are the same. Nor are labels asked whether they agree with what was predicted:
where a world has turned over they do not, and that a model is wrong is what they are there to say. Swapped labels meet
the live comparison as such a world. Labels that are wrong at random, one in ten say, show no sign either. They cost two
models alike, so that a comparison takes longer; but noise like that is kind to the model that is less sure of itself,
and between two models that differ in little else than that it can decide.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from understudy.signature import Value

FEWEST = 50
"""Labels of which a share says something."""
DISPUTED = 0.05
"""Share of the rows, beyond chance, that may have been given two labels."""
MOVED = 0.4
"""Distance between two distributions, beyond chance, from which they are another world: for classes half the sum of
the differences of their shares, for numbers the greatest difference of the shares below a value."""


@dataclass(frozen=True)
class Sample:
    """Labels of rows that are about to be judged; where those are fewer than FEWEST, some before them too."""

    labels: Sequence[Value]
    """One a row: the one that counts."""
    disputed: int
    """Rows that have been given another one too."""


def doubt(sample: Sample, references: Sequence[Sequence[Value]], *, numbers: bool) -> str | None:
    """Why nothing should be judged by these labels; None: there is no reason.

    Args:
        references: labels of the holdout, and those that were judged last; what has too few says nothing.
        numbers: they are those of a regression.
    """
    n = len(sample.labels)
    if n < FEWEST:
        return None
    if (sample.disputed - 2 * math.sqrt(sample.disputed)) / n > DISPUTED:
        return f"{sample.disputed} of {n} rows were given two different labels"
    known = [reference for reference in references if len(reference) >= FEWEST]
    distance = distance_of_numbers if numbers else distance_of_classes
    moved = [distance(sample.labels, reference) for reference in known]
    if moved and min(moved) > MOVED:
        return (
            f"the labels of {n} rows are distributed quite otherwise than those of the holdout: "
            f"by {moved[0]:.2f}, where {MOVED:g} is the limit"
        )
    return None


def distance_of_classes(some: Sequence[Value], others: Sequence[Value]) -> float:
    """Half the sum of the differences of the classes' shares, less what chance explains (two standard errors)."""
    a, b, n, m = Counter(some), Counter(others), len(some), len(others)
    pooled = [(a[label] + b[label]) / (n + m) for label in a | b]
    apart = sum(abs(a[label] / n - b[label] / m) for label in a | b) / 2
    chance = sum(math.sqrt(p * (1 - p) * (1 / n + 1 / m)) for p in pooled)
    return max(0.0, apart - chance)


def distance_of_numbers(some: Sequence[Value], others: Sequence[Value]) -> float:
    """The greatest difference of the shares below a value, less what chance explains (the 5 % of Smirnov)."""
    a, b = np.sort(np.array(some, np.float64)), np.sort(np.array(others, np.float64))
    at = np.concatenate([a, b])
    apart = np.abs(np.searchsorted(a, at, side="right") / len(a) - np.searchsorted(b, at, side="right") / len(b)).max()
    return max(0.0, float(apart) - 1.36 * math.sqrt(1 / len(a) + 1 / len(b)))
