"""How far the rows of one training lie from those of another: which rows came and went, and which columns moved.

Theory. The effect of a column is a share of rows, so that columns of every kind and unit can be put in one order:

    numbers    Kolmogorov's distance of the two distributions, read from their quantiles, to within 0.01
    texts      total variation of the shares
    nulls      the difference of their shares, where that is more

Beside it stands what chance alone would give in 5 % of cases, were both drawn from the same rows: Kolmogorov's bound
for numbers; for texts the expected distance plus what McDiarmid's inequality adds to it. Both are for rows that do not
depend on each other; those of a time series do, and move farther by chance. It bounds the newly added rows against the
old ones, which share no row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, pi, sqrt

import numpy as np
import numpy.typing as npt

from understudy.profile import QUANTILES, ColumnProfile, LabelProfile, Part

Identities = npt.NDArray[np.uint64]
"""Shape (n,): a number for each row, the same for equal rows."""

CHANCE = 0.05
"""How often chance alone goes beyond its bound."""
KOLMOGOROV = sqrt(-log(CHANCE / 2) / 2)
"""Of the limit distribution, at that level: 1.358."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """Rows of two snapshots, each counted as often as it occurs."""

    same: int
    changed: int
    """The same row by its identity, with other values: a label that has arrived, or a correction."""
    added: int
    removed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnMove:
    """One column of two trainings; what is a pair is (then, now)."""

    name: str
    kind: str
    effect: float
    """Between all rows of the one and all rows of the other."""
    new_effect: float | None
    """Between all rows of the first and those that only the second could see; None: there are no such rows."""
    chance: float
    """What chance alone stays below in 95 % of cases, for the newer of the two effects."""
    moved: bool
    """Whether it is beyond that."""
    nulls: tuple[float, float]
    typical: tuple[float | str | None, float | str | None]
    """Median of numbers, most frequent text."""


def overlap(then: Identities, now: Identities, then_whole: Identities, now_whole: Identities) -> Overlap:
    """Count the rows of two snapshots.

    Args:
        then, now: which row it is: by its key, or by all that is known from the beginning.
        then_whole, now_whole: of the same shapes: everything that the row says.
    """
    known, same = common(then, now), common(then_whole, now_whole)
    return Overlap(same=same, changed=known - same, added=len(now) - known, removed=len(then) - known)


def common(one: Identities, other: Identities) -> int:
    """How many rows two snapshots share, each as often as both have it."""
    first, times = np.unique(one, return_counts=True)
    second, again = np.unique(other, return_counts=True)
    _, here, there = np.intersect1d(first, second, assume_unique=True, return_indices=True)
    return int(np.minimum(times[here], again[there]).sum())


def column_moves(then: Part, now: Part, new: Part | None) -> tuple[ColumnMove, ...]:
    """Columns of the same kind that both have, those that moved farthest first.

    Args:
        then, now: the rows that each of the two has learnt from.
        new: those rows of `now` that `then` could not have seen.
    """
    names = [name for name, column in then.columns.items() if now.columns.get(name, column).kind == column.kind]
    found = [_move(name, then, now, new) for name in names if name in now.columns]
    return tuple(sorted(found, key=lambda move: (not move.moved, -_newest(move), move.name)))


def other_kinds(then: Part, now: Part) -> tuple[str, ...]:
    """Columns that were of one kind, and are of another."""
    both = [name for name in then.columns if name in now.columns]
    return tuple(name for name in both if then.columns[name].kind != now.columns[name].kind)


def effect(then: ColumnProfile, now: ColumnProfile) -> float:
    """A share of rows: 0.0 the same, 1.0 nothing in common."""
    nulls = abs(now.null_share - then.null_share)
    if then.kind == "text":
        return max(nulls, variation(then.shares or {}, now.shares or {}))
    return max(nulls, kolmogorov(then.quantiles, now.quantiles))


def kolmogorov(then: Sequence[float] | None, now: Sequence[float] | None) -> float:
    """Largest distance of two distribution functions, from their quantiles; 0.0 where one side has no values."""
    if then is None or now is None:
        return 0.0
    points = np.array([*then, *now])
    sides = [np.searchsorted(np.array(side), points, side="right") / QUANTILES for side in (then, now)]
    return float(np.abs(sides[0] - sides[1]).max())


def variation(then: dict[str, float], now: dict[str, float]) -> float:
    """Total variation of two sets of shares; what neither lists, among the rarest texts, counts as one more text."""
    named = sum(abs(then.get(text, 0.0) - now.get(text, 0.0)) for text in {*then, *now})
    return (named + abs(sum(then.values()) - sum(now.values()))) / 2


def class_shares(label: LabelProfile) -> dict[str, float]:
    """Share of each class; empty for a regression."""
    counts = label.counts or {}
    total = sum(counts.values()) or 1
    return {name: count / total for name, count in counts.items()}


def _move(name: str, then: Part, now: Part, new: Part | None) -> ColumnMove:
    before, after = then.columns[name], now.columns[name]
    newest = after if new is None else new.columns[name]
    rows = now.rows if new is None else new.rows
    apart = effect(before, newest)
    limit = _chance(before, newest, then.rows * (1 - before.null_share), rows * (1 - newest.null_share))
    return ColumnMove(
        name=name,
        kind=before.kind,
        effect=effect(before, after),
        new_effect=None if new is None else apart,
        chance=limit,
        moved=apart > limit,
        nulls=(before.null_share, after.null_share),
        typical=(_typical(before), _typical(after)),
    )


def _newest(move: ColumnMove) -> float:
    return move.effect if move.new_effect is None else move.new_effect


def _chance(then: ColumnProfile, now: ColumnProfile, n: float, m: float) -> float:
    """The bound for n values against m; 1.0 where one side has none."""
    if min(n, m) < 1:
        return 1.0
    scale = 1 / n + 1 / m
    if then.kind != "text":
        return min(1.0, KOLMOGOROV * sqrt(scale) + 1 / QUANTILES)
    first, second = then.shares or {}, now.shares or {}
    shares = [(first.get(text, 0.0) + second.get(text, 0.0)) / 2 for text in {*first, *second}]
    expected = sum(sqrt(2 / pi * share * (1 - share) * scale) for share in shares) / 2
    return min(1.0, expected + sqrt(-log(CHANCE) / 2 * scale))


def _typical(column: ColumnProfile) -> float | str | None:
    shares, quantiles = column.shares, column.quantiles
    if shares is not None:
        return max(shares, key=lambda text: shares[text], default=None)
    return None if quantiles is None else quantiles[QUANTILES // 2]
