"""Two models compared while one of them serves: an e-process, which may be looked at after every row.

Theory. Per row, x = loss of the serving model − loss of the other one; above 0, the other would have been better. Play
a game against "the other is no better": start with a capital of 1 and stake the share λ of it on the next x, so that
capital becomes capital · (1 + λ · x). Whoever is right to say that x is not above 0 on average, given the past, expects
that no way of betting makes money, and by Ville's inequality the capital ever reaches 20 with a probability of at most
1/20, however often and whenever one looks. A sum that is split over several λ is such a game, too, and does nearly as
well as the best λ, which nobody knows beforehand.

Rows that follow each other resemble each other, and who bets on each of them counts the same luck often. So the game is
played on means of blocks in the order of the predictions. Their length is chosen on the holdout: the smallest power of
two for which neighbouring means are hardly correlated. The promise of 5 % is therefore nominal: dependence that is
longer than a block breaks it, and a world that moves makes "on average" a matter of the stretch of time.

The unit of x is taken from the holdout as well: two standard deviations of a block's mean, or the largest mean where
that is more. Nothing within it is cut off, and that matters. Where one model is a little better nearly always and much
worse seldom, cutting off what is far out takes the seldom away, and the game then finds a difference between equal
models in nearly every comparison. Beyond the unit, one block takes at most 95 % of a bet's capital and at most doubles
it, so that none decides alone: at least five are needed.

Nothing here is drawn by lot or kept: the same rows give the same numbers, and the first rows alone give the same
crossing. So the state of a comparison is its rows, and any process can take it up.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from understudy.metrics import FloatArray

BETS = (0.1, 0.2, 0.4, 0.8)
"""Shares of the capital that are staked, a quarter of it on each. Any difference worth a change of models in the time
between two retrains is within a factor of 1.5 of what one of them is best for; smaller ones only cost the others."""
MOST_LOST = 0.95
"""Of a bet's capital, by one block."""
MOST_WON = 1.0
ENOUGH = 20.0
"""The capital that decides: its inverse is the probability, at most, that an other model that is no better gets it."""
MIN_BLOCKS = 24
"""Blocks of the reference below which neither their length nor their spread can be told."""
CORRELATED = 0.1
"""Correlation of neighbouring blocks that is as good as none. It cannot be told from 0 below 1/√blocks anyway."""
SPREADS = 2.0
"""Standard deviations of a block's mean that are 1, unless the holdout has one further out."""
EQUAL = 1e-12
"""A difference of losses that is rounding, as in `compare`."""
LARGEST = 1e150
"""A difference beyond it has no square, so nobody can tell its spread."""
MOST = 1e300
"""Capital stops counting there: JSON has no infinity."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How far a comparison has come."""

    block: int | None
    """Rows in a block; None: this pair cannot be followed, and `reason` says why."""
    scale: float | None
    """The unit of a block's mean, in the loss's own unit."""
    rows: int
    """Live rows counted: those of whole blocks."""
    blocks: int
    capital: float
    """1 at the start; 0.05 of all comparisons of equal models ever see 20."""
    crossed: int | None
    """Live rows after which the capital was 20 for the first time; None: it has not been."""
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Standing":
        """Raises TypeError on anything else."""
        return cls(**data)


def follow(reference: FloatArray, live: FloatArray, *, extreme: float = 0.0) -> Standing:
    """Say how the comparison of a pair stands.

    Args:
        reference: shape (n,), loss of the serving model − loss of the other, on the rows of the holdout in time order.
        live: shape (m,), the same on the rows since the pair was formed, in the order of the predictions. A block
            with a row that is not finite counts as the worst of the holdout for the other model, since a comparison
            that misses its rows must not change who serves.
        extreme: the largest difference that one row can show, where the holdout has not shown what rare rows do: one
            of them, unseen there, must not pass for many.
    """
    reference, live = np.asarray(reference, dtype=np.float64), np.asarray(live, dtype=np.float64)
    why = _unfit(reference)
    if why is not None:
        return Standing(block=None, scale=None, rows=0, blocks=0, capital=1.0, crossed=None, reason=why)
    block = block_length(reference)
    scale = max(unit(means(reference, block)), extreme / block)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite becomes −1
        x = means(live, block) / scale
    running = capital(np.where(np.isfinite(x), x, -1.0))
    reached = np.flatnonzero(running >= ENOUGH)
    return Standing(
        block=block,
        scale=scale,
        rows=len(x) * block,
        blocks=len(x),
        capital=float(running[-1]) if len(running) else 1.0,
        crossed=(int(reached[0]) + 1) * block if len(reached) else None,
    )


def capital(x: FloatArray) -> FloatArray:
    """The capital after each block, shape (blocks,), for means of blocks in their unit."""
    gains = np.clip(np.outer(BETS, x), -MOST_LOST, MOST_WON)
    with np.errstate(over="ignore"):
        total: FloatArray = np.exp(np.cumsum(np.log1p(gains), axis=1)).mean(axis=0)
    return np.minimum(total, MOST)


def unit(blocks: FloatArray) -> float:
    """What counts as 1, from the means of the reference's blocks."""
    return max(SPREADS * float(blocks.std(ddof=1)), float(np.abs(blocks).max()))


def means(values: FloatArray, block: int) -> FloatArray:
    """Means of the whole blocks, shape (n // block,); the rows of the last one wait until it is whole."""
    whole = len(values) // block * block
    blocks: FloatArray = values[:whole].reshape(-1, block).mean(axis=1)
    return blocks


def block_length(reference: FloatArray) -> int:
    """The smallest power of two for which neighbouring means are hardly correlated, with MIN_BLOCKS of them left."""
    block = 1
    while len(reference) // (2 * block) >= MIN_BLOCKS and _are_correlated(means(reference, block)):
        block *= 2
    return block


def _are_correlated(values: FloatArray) -> bool:
    off = values - values.mean()
    spread = float(off @ off)
    return spread > 0 and float(off[1:] @ off[:-1]) / spread > max(CORRELATED, len(values) ** -0.5)


def _unfit(reference: FloatArray) -> str | None:
    if len(reference) < MIN_BLOCKS:
        return f"The holdout has {len(reference)} rows, and a comparison needs {MIN_BLOCKS} to find its unit."
    if not np.all(np.abs(reference) < LARGEST):
        return "One of the two models did not answer every row of the holdout with finite numbers."
    if means(reference, block_length(reference)).std(ddof=1) <= EQUAL:
        return "The losses of the two differ by the same on every row of the holdout, which gives a difference no unit."
    return None
