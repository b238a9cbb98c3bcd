"""One label in ten is turned round: what that does to the comparison of two models that were really trained."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from understudy.eprocess import follow
from understudy.metrics import FloatArray

STREAMS, ROWS, FLIPPED = 10, 2_000, 0.1
WEIGHTS = np.array([1.5, -1.0, 0.8, 0.5])

Fitted = Callable[[FloatArray], FloatArray]
"""Rows -> the probability of 1."""


def world(n: int, seed: int) -> tuple[FloatArray, FloatArray]:
    chance = np.random.default_rng(seed)
    rows = chance.normal(size=(n, 4))
    return rows, (chance.uniform(size=n) < 1 / (1 + np.exp(-rows @ WEIGHTS))).astype(np.float64)


def trained(n: int, seed: int, sees: tuple[int, ...] = (1, 1, 1, 1)) -> Fitted:
    rows, labels = world(n, seed)
    model = LogisticRegression().fit(rows * sees, labels)
    return lambda asked: np.asarray(model.predict_proba(asked * sees)[:, 1], np.float64)


def good(seed: int) -> Fitted:
    return trained(800, seed)


def hasty(seed: int) -> Fitted:
    return trained(40, seed + 5_000)


def blind(seed: int) -> Fitted:
    """Does not see a column that matters."""
    return trained(800, seed + 5_000, (1, 0, 1, 1))


def losses(serving: Fitted, other: Fitted, rows: FloatArray, labels: FloatArray) -> FloatArray:
    """Brier loss of the serving model − that of the other one."""
    found: FloatArray = 2 * (serving(rows) - labels) ** 2 - 2 * (other(rows) - labels) ** 2
    return found


def switches(serving: Callable[[int], Fitted], other: Callable[[int], Fitted], flipped: float) -> int:
    """In how many streams the other model takes over."""
    found = 0
    for seed in range(STREAMS):
        pair = serving(seed), other(seed)
        reference = losses(*pair, *world(700, 10_000 + seed))
        rows, labels = world(ROWS, 20_000 + seed)
        turned = np.random.default_rng(seed).uniform(size=ROWS) < flipped
        found += follow(reference, losses(*pair, rows, np.where(turned, 1 - labels, labels))).crossed is not None
    return found


@pytest.mark.fault(76)
@pytest.mark.parametrize("worse", [hasty, blind])
def test_a_worse_model_is_not_promoted_by_labels_of_which_one_in_ten_is_flipped(worse: Callable[[int], Fitted]) -> None:
    assert switches(good, worse, FLIPPED) == 0


@pytest.mark.fault(76)
def test_a_better_model_is_found_in_spite_of_them() -> None:
    assert switches(blind, good, 0.0) == STREAMS
    assert switches(blind, good, FLIPPED) >= STREAMS - 1


def test_flips_are_kind_to_a_model_that_is_less_sure_of_itself() -> None:
    """The limit that docs/decisions/0030-labels.md names: here, where all rows are easy, they turn it round."""
    chance = np.random.default_rng(0)
    truth = (chance.uniform(size=4_000) < 0.95).astype(np.float64)
    flipped = np.where(chance.uniform(size=4_000) < FLIPPED, 1 - truth, truth)

    def gain(labels: FloatArray) -> float:
        return float(np.mean(2 * (0.95 - labels) ** 2 - 2 * (0.8 - labels) ** 2))

    assert gain(truth) < 0 < gain(flipped)
