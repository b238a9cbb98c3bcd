"""Have two columns changed places?

Theory. Marginal distributions alone cannot tell: with the seasons, today's minimum temperature is distributed like last
snapshot's mean. So each pair (a, b) of columns is described by three things, and the description of the judged rows is
compared with that of the last accepted snapshot, once as it is and once with a and b exchanged:

    how each of the two is distributed           Kolmogorov's distance of the quantiles
    in how many rows a is smaller than b         a minimum is below a maximum in every season
    how each of the two goes with all the others mean difference of the rank correlations

The two are called swapped where the exchanged description is nearer by more than `MARGIN`, whichever part of the last
snapshot (all of it, or its newest rows) is taken for each of the two descriptions.
"""

from collections.abc import Sequence

import numpy as np

from understudy.metrics import FloatArray
from understudy.profile import ColumnProfile, Part

MARGIN = 0.3
"""Of 515 honest retrains on daily weather, hourly rentals and half-hourly electricity one came above this (at 0.33,
with 168 rows); of all exchanged pairs 92 – 96 % do, and the rest are nearly alike (dew point and minimum)."""
FEWEST_ROWS = 100
"""Below this, chance moves the distances by as much as the margin."""


def swapped(part: Part, references: Sequence[Part]) -> list[tuple[str, str, float]]:
    """Pairs that look exchanged, by how much; most certain first. Columns that both sides have are compared."""
    if part.rows < FEWEST_ROWS:
        return []
    found = [*_numbers(part, references), *_texts(part, references)]
    return sorted(found, key=lambda pair: -pair[2])


def _numbers(part: Part, references: Sequence[Part]) -> list[tuple[str, str, float]]:
    names = [name for name in part.numbers if all(_measured(side, name) for side in (part, *references))]
    if len(names) < 2:
        return []
    distances = [_distances(part, reference, names) for reference in references]
    own = np.min([one[0] for one in distances], axis=0)
    exchanged = np.min([one[1] for one in distances], axis=0)
    nearer = np.triu(own - exchanged, k=1)
    return [(names[a], names[b], float(nearer[a, b])) for a, b in np.argwhere(nearer > MARGIN)]


def _measured(part: Part, name: str) -> bool:
    column = part.columns.get(name)
    return name in part.numbers and column is not None and column.quantiles is not None


def _distances(part: Part, reference: Part, names: list[str]) -> tuple[FloatArray, FloatArray]:
    """For each pair of columns: distance as they are, and exchanged. Both of shape (columns, columns)."""
    apart = _kolmogorov(_quantiles(part, names), _quantiles(reference, names))
    below, below_then = _table(part.below, part, names), _table(reference.below, reference, names)
    order = np.maximum(abs(below - below_then), abs(below.T - below_then.T))
    order_exchanged = np.maximum(abs(below - below_then.T), abs(below.T - below_then))
    own, exchanged = _correlation_distances(part, reference, names)
    alone = np.diag(apart)
    return (
        (alone[:, None] + alone[None, :] + order) / 3 + own,
        (apart + apart.T + order_exchanged) / 3 + exchanged,
    )


def _quantiles(part: Part, names: list[str]) -> FloatArray:
    return np.array([part.columns[name].quantiles for name in names], dtype=np.float64)


def _kolmogorov(now: FloatArray, then: FloatArray) -> FloatArray:
    """Largest distance of the distribution functions of each column now and each one then; shape (columns, columns)."""
    size = now.shape[1]
    own_now = np.stack([np.searchsorted(row, row, side="right") for row in now])
    own_then = np.stack([np.searchsorted(row, row, side="right") for row in then])
    then_at_now = np.stack([np.searchsorted(row, now.ravel(), side="right").reshape(now.shape) for row in then])
    now_at_then = np.stack([np.searchsorted(row, then.ravel(), side="right").reshape(then.shape) for row in now])
    first = abs(own_now[:, None, :] - then_at_now.transpose(1, 0, 2)).max(axis=2)
    second = abs(now_at_then - own_then[None, :, :]).max(axis=2)
    apart: FloatArray = np.maximum(first, second) / size
    return apart


def _table(table: list[list[float]], part: Part, names: list[str], *, last: bool = False) -> FloatArray:
    places = [part.numbers.index(name) for name in names] + ([len(part.numbers)] if last else [])
    return np.array(table, dtype=np.float64)[np.ix_(places, places)]


def _correlation_distances(part: Part, reference: Part, names: list[str]) -> tuple[FloatArray, FloatArray]:
    """For each pair: mean difference of both columns' rank correlations with all others and the label.

    All sums over all columns first, then less the terms of the pair itself: its own correlation, and each with itself.
    """
    now = _table(part.correlations, part, names, last=True)
    then = _table(reference.correlations, reference, names, last=True)
    count = len(names)
    every = np.array([abs(row - then[:count]).sum(axis=1) for row in now[:count]])
    now, then = now[:count, :count], then[:count, :count]
    self_now, self_then = np.diag(now), np.diag(then)  # 1, or 0 for a column that does not vary
    alone = np.diag(every) - abs(self_now - self_then)
    own = alone[:, None] + alone[None, :] - 2 * abs(now - then)
    crossed = every - abs(self_now[:, None] - then) - abs(now - self_then[None, :])
    terms = 2 * (count - 1)
    return own / terms, (crossed + crossed.T) / terms


def _texts(part: Part, references: Sequence[Part]) -> list[tuple[str, str, float]]:
    names = [name for name, column in part.columns.items() if column.shares]
    names = [name for name in names if all(reference.columns.get(name) is not None for reference in references)]
    pairs = [(a, b) for place, a in enumerate(names) for b in names[place + 1 :]]
    found = [(a, b, _texts_nearer(part, references, a, b)) for a, b in pairs]
    return [pair for pair in found if pair[2] > MARGIN]


def _texts_nearer(part: Part, references: Sequence[Part], a: str, b: str) -> float:
    def distance(reference: Part, first: str, second: str) -> float:
        one = variation(part.columns[a], reference.columns[first])
        return (one + variation(part.columns[b], reference.columns[second])) / 2

    own = min(distance(reference, a, b) for reference in references)
    return own - min(distance(reference, b, a) for reference in references)


def variation(now: ColumnProfile, then: ColumnProfile) -> float:
    """Total variation between two text columns' shares: 0.0 the same, 1.0 no text in common."""
    a, b = now.shares or {}, then.shares or {}
    return sum(abs(a.get(text, 0.0) - b.get(text, 0.0)) for text in {*a, *b}) / 2
