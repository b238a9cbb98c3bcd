"""How far recent values lie from those of a training: one number a column, and an interval that noise stays within.

Theory. The effect is a distance of distributions that reads as a share of rows: where it is 0.12, at least 12 % of the
rows would have to be others for the two to be alike.

    numbers, booleans   Kolmogorov's distance. Of the training only 101 quantiles are kept, which hold its distribution
                        function between k/100 and (k+1)/100; the distance is that to the nearer bound, and so
                        never too large.
    texts               total variation of the shares; what the training does not list, being rare, is one more text
    nulls               the difference of their shares

The interval is that of Dvoretzky, Kiefer and Wolfowitz for numbers and nulls: sqrt(ln(2k/a) / 2 · (1/n + 1/m)) for n
values against m, at level a over k measures (Bonferroni). For texts McDiarmid's inequality gives the same term, and
the distance expected by chance alone, at most ½ Σ sqrt(p(1 − p)(1/n + 1/m)), is added: it does not vanish on average.

Rows in a row are alike, so n rows tell less than n independent ones. How much less is measured: the variance of the
means of 20 contiguous blocks, of the indicators "at most the j-th decile" or "this text", against what independent rows
would give. n is divided by that ratio, and m by the same. Where neighbouring block means are alike too, the ratio is
raised by what such an autoregression adds. What is slower than all the recent rows, a season say, cannot be told apart
from drift by them: see the threshold in `understudy/drift.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from understudy.metrics import FloatArray

LEVEL = 0.05
"""How often an interval may miss, over all measures of one look together."""
FEWEST = 200
"""Values that an effect is measured on: ten in each block."""
FEWEST_EFFECTIVE = 50
"""Fewer independent ones say nothing: how much they depend is itself not known well enough."""
BLOCKS = 20
LONGEST = 0.9
"""Autocorrelation of the block means that is taken into account at most."""
DECILES = np.linspace(0.1, 0.9, 9)
GRID = 100
"""Steps between the quantiles of a profile."""

Texts = npt.NDArray[Any]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shift:
    """An effect, a share of rows from 0 to 1, and its interval."""

    effect: float
    low: float
    high: float
    rows: int
    effective: float
    """How many independent rows would tell as much."""


def of_numbers(
    quantiles: Sequence[float], m: float, values: FloatArray, *, measures: int, older: FloatArray | None = None
) -> Shift:
    """Recent numbers against the quantiles of a training.

    Args:
        quantiles: shape (101,), as a profile keeps them.
        m: values that they were measured on.
        values: shape (n,), in time order, without NaN.
        measures: how many are made in this look.
        older: shape (k,), what came before them, of which only the dependence counts.
    """
    effective = _effective(values, older, lambda some: some[:, None] <= np.quantile(some, DECILES))
    effect = kolmogorov(quantiles, values)
    chance = deviation(len(values), effective, m, measures)
    return _shift(effect, chance, chance + 1 / GRID, len(values), effective)


def of_texts(
    shares: Mapping[str, float], m: float, texts: Texts, *, measures: int, older: Texts | None = None
) -> Shift:
    """Recent texts, shape (n,) and in time order, against the shares in a training of m of them."""
    names = np.array([*shares], dtype=object)

    def indicated(some: Texts) -> Flags:
        known = some[:, None] == names if len(names) else np.zeros((len(some), 0), dtype=bool)
        return np.column_stack([known, ~known.any(axis=1)])

    then = np.array([*shares.values(), max(0.0, 1 - sum(shares.values()))])
    now = indicated(texts).mean(axis=0)
    effective = _effective(texts, older, indicated)
    chance = deviation(len(texts), effective, m, measures)
    expected = 0.5 * float(np.sqrt(now * (1 - now)).sum()) * sqrt(_scale(len(texts), effective, m))
    return _shift(float(np.abs(then - now).sum() / 2), chance + expected, chance + expected, len(texts), effective)


def of_nulls(share: float, m: float, null: Flags, *, measures: int, older: Flags | None = None) -> Shift:
    """Recent nulls, shape (n,) and in time order, against their share in a training of m rows."""
    effective = _effective(null, older, lambda some: some[:, None])
    chance = deviation(len(null), effective, m, measures)
    return _shift(abs(float(null.mean()) - share), chance, chance, len(null), effective)


def of_samples(then: FloatArray, now: FloatArray, *, measures: int, older: FloatArray | None = None) -> Shift:
    """Two samples, each in time order and without NaN: of shape (m,) and (n,)."""
    points = np.concatenate([then, now])
    sides = [np.searchsorted(np.sort(side), points, side="right") / len(side) for side in (then, now)]
    deciles = np.quantile(points, DECILES)
    effective = _effective(now, older, lambda some: some[:, None] <= np.quantile(some, DECILES))
    m = effective_rows(then[:, None] <= deciles)
    chance = sqrt(log(2 * measures / LEVEL) / 2 * (1 / effective + 1 / m))
    return _shift(float(np.abs(sides[0] - sides[1]).max()), chance, chance, len(now), effective)


def kolmogorov(quantiles: Sequence[float], values: FloatArray) -> float:
    """Distance of the values to the nearest distribution that has these quantiles; off by 0.01 at most, and below."""
    steps, ordered = np.asarray(quantiles), np.sort(values)
    worst = 0.0
    for side in ("right", "left"):  # the distribution function itself, and just before each of its steps
        here = np.searchsorted(ordered, ordered, side=side) / len(ordered)
        reached = np.searchsorted(steps, ordered, side=side)
        least = np.maximum(reached - 1, 0) / (len(steps) - 1)
        most = np.where(reached == 0, 0, np.minimum(reached, len(steps) - 1)) / (len(steps) - 1)
        worst = max(worst, float(np.max(least - here)), float(np.max(here - most)))
    return worst


def _effective(recent: Any, older: Any, indicated: Callable[[Any], Flags]) -> float:
    """As `effective_rows`, and no more than the middle one of all stretches that are as long.

    In a short stretch the dependence is seen badly, and where it is underrated noise rings. One change within the older
    rows makes one or two stretches look slow, and not the middle one.
    """
    n = len(recent)
    own = effective_rows(indicated(recent))
    stretches = 0 if older is None else len(older) // n
    if stretches < 2:
        return own
    ends = [len(older) - n * place for place in range(stretches)]
    return min(own, float(np.median([own, *(effective_rows(indicated(older[end - n : end])) for end in ends)])))


def effective_rows(indicators: Flags) -> float:
    """How many independent rows tell as much as these, of shape (n, k), in time order; at most n."""
    n = len(indicators)
    length = n // BLOCKS
    if length < 2:
        return 1.0
    share = indicators.mean(axis=0)
    independent = float((share * (1 - share)).sum()) / length
    if independent == 0:
        return float(n)
    means = indicators[n - BLOCKS * length :].reshape(BLOCKS, length, -1).mean(axis=1)
    seen = float(means.var(axis=0, ddof=1).sum()) / independent
    return n / max(1.0, seen * _longer(means - means.mean(axis=0)))


def _longer(centred: FloatArray) -> float:
    """By how much block means, shape (blocks, k), say too little because they depend on each other as well."""
    total = float((centred**2).sum())
    lag = float((centred[1:] * centred[:-1]).sum()) / total if total else 0.0
    if lag <= 1 / sqrt(BLOCKS):
        return 1.0
    lag = min(lag + (1 + 4 * lag) / BLOCKS, LONGEST)  # an autocorrelation of so few is too low on average
    return (1 + lag) / (1 - lag)


def standard_error(values: FloatArray) -> float:
    """Of the mean of numbers that depend on each other, of shape (n,) with n >= 20, in time order."""
    length = len(values) // BLOCKS
    means = values[len(values) - BLOCKS * length :].reshape(BLOCKS, length).mean(axis=1)
    return float(means.std(ddof=1)) * sqrt(_longer((means - means.mean())[:, None]) / BLOCKS)


def deviation(n: int, effective: float, m: float, measures: int) -> float:
    """What chance stays below: half the width of the interval, of n rows against m that depend as much."""
    return sqrt(log(2 * measures / LEVEL) / 2 * _scale(n, effective, m))


def _scale(n: int, effective: float, m: float) -> float:
    return (1 / n + 1 / max(m, 1.0)) * n / effective


def _shift(effect: float, below: float, above: float, rows: int, effective: float) -> Shift:
    return Shift(
        effect=effect,
        low=max(0.0, effect - below) if effective >= FEWEST_EFFECTIVE else 0.0,
        high=min(1.0, effect + above),
        rows=rows,
        effective=round(effective, 1),
    )
