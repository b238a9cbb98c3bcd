"""Worlds in which the truth is known: how good each of two models is was decided before anything was drawn.

windows     a holdout of two models that are equal, or apart by so many per cent of loss; rows with or without memory
lives       rows on which a live comparison is made: both models are right on most, one of them alone on the others
sliced      a holdout of ten slices, in one of which the candidate may have lost accuracy
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.signal import lfilter

from understudy.metrics import FloatArray

Rng = np.random.Generator

ROWS = 700
MEMORY = 0.95
"""Correlation of neighbouring rows, where they have a memory."""
SPREAD, NOISE, SHARED = 1.5, 0.9, 0.5
"""Of the true score; of a model's error in it; correlation of the errors of both models."""

ACCURACY, APART = 0.85, 0.08
"""Of the model that served before; share of rows on which just one of two equal models is right."""
HELD = 350
"""Rows of the holdout that a live comparison takes its unit from."""

SLICES, SLICE_ROWS = 10, 300
LOSES, GAINS = 0.06, 0.34
"""Share of the champion's right rows that an equal candidate gets wrong, and of its wrong ones that it gets right."""


@dataclass(frozen=True)
class Window:
    """A holdout: labels 0 or 1, and both models' probabilities of 1; each of shape (n,)."""

    labels: FloatArray
    champion: FloatArray
    candidate: FloatArray


def sigmoid(score: FloatArray) -> FloatArray:
    return 1 / (1 + np.exp(-score))


def window(rng: Rng, worse: float = 0.0, *, memory: float = 0.0) -> Window:
    """One holdout, the candidate's expected Brier score (1 + worse) × the champion's."""
    truth = SPREAD * series(rng, memory)
    common = series(rng, memory)

    def answers(noise: float) -> FloatArray:
        error = SHARED**0.5 * common + (1 - SHARED) ** 0.5 * series(rng, memory)
        return sigmoid(truth + noise * error)

    labels = (rng.random(ROWS) < sigmoid(truth)).astype(np.float64)
    return Window(labels, answers(NOISE), answers(noise_for(worse)))


def series(rng: Rng, memory: float) -> FloatArray:
    """ROWS normal numbers of variance 1, each of which remembers the one before."""
    shocks = rng.normal(size=ROWS) * (1 - memory**2) ** 0.5
    shocks[0] /= (1 - memory**2) ** 0.5
    return np.asarray(lfilter([1.0], [1.0, -memory], shocks))


@cache
def noise_for(worse: float) -> float:
    """Spread of the error that makes a model so much worse."""
    if worse == 0:
        return NOISE
    return float(brentq(lambda noise: expected_brier(noise) / expected_brier(NOISE) - 1 - worse, 0.0, 5.0))


@cache
def expected_brier(noise: float) -> float:
    """Of a model whose score is the true one plus noise: the mean over a fine grid of both."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    truth = sigmoid(SPREAD * nodes)[:, None]
    said = sigmoid(SPREAD * nodes[:, None] + noise * nodes[None, :])
    loss = truth * (1 - said) ** 2 + (1 - truth) * said**2
    return float(weights @ loss @ weights / weights.sum() ** 2)


def lives(rng: Rng, rows: int, drop: float = 0.0, *, since: int = 0) -> FloatArray:
    """0/1 loss of the serving model − the other's, row by row; from row `since` on it is right `drop` less often."""
    u = rng.random(rows)
    alone_wrong = APART / 2 + np.where(np.arange(rows) >= since, drop, 0.0)
    return np.where(u < APART / 2, -1.0, np.where(u < APART / 2 + alone_wrong, 1.0, 0.0))


def seldom_worse(rng: Rng, rows: int) -> FloatArray:
    """Equal models, of which the other is a little better on nine rows of ten, and much worse on the tenth."""
    return np.where(rng.random(rows) < 0.1, -0.9, 0.1)


def remembering(rng: Rng, rows: int) -> FloatArray:
    """Equal models, where each row's difference remembers the one before by 0.9: longer than blocks can be."""
    shocks = rng.normal(size=rows + 100)
    return np.asarray(lfilter([1.0], [1.0, -0.9], shocks))[100:]


def sliced(rng: Rng, drop: float = 0.0) -> tuple[FloatArray, FloatArray, list[str]]:
    """0/1 losses of champion and candidate, and each row's slice; in slice 0 the latter is right `drop` less often."""
    rows = SLICES * SLICE_ROWS
    slices = rng.permutation(np.repeat(np.arange(SLICES), SLICE_ROWS))
    champion = rng.random(rows) < ACCURACY
    luck = rng.random(rows)
    candidate = np.where(champion, luck >= LOSES, luck < GAINS)
    candidate &= (slices != 0) | (rng.random(rows) >= drop / ACCURACY)
    wrong = (~champion).astype(np.float64), (~candidate).astype(np.float64)
    return *wrong, [str(number) for number in slices]
