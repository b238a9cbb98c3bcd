"""How far the rows of one training lie from those of another: which rows came and went, and which columns moved.

The effect of a column is a share of rows, so that columns of every kind and unit can be put in one order. It is taken
twice: between all rows of the one and all rows of the other, which mostly are the same rows; and between all rows of
the first and those that only the second could see, where it has the interval of `understudy/shift.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from understudy import shift
from understudy.profile import QUANTILES, ColumnProfile, LabelProfile, Part
from understudy.shift import Shift

Identities = npt.NDArray[np.uint64]
"""Shape (n,): a number for each row, the same for equal rows."""
Columns = Mapping[str, npt.NDArray[Any]]
"""Each of shape (n,), in time order: floats with NaN for null, or texts with None."""


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
    new: Shift | None
    """Between all rows of the first and those that only the second could see; None: none, or they are gone."""
    nulls: tuple[float, float]
    typical: tuple[float | str | None, float | str | None]
    """Median of numbers, most frequent text."""

    @property
    def moved(self) -> bool | None:
        """Whether that is more than chance; None: nobody can tell."""
        return None if self.new is None else self.new.low > 0


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


def column_moves(then: Part, now: Part, new: Columns | None) -> tuple[ColumnMove, ...]:
    """Columns of the same kind that both have, those that moved farthest first.

    Args:
        then, now: the rows that each of the two has learnt from.
        new: those rows of `now` that `then` could not have seen.
    """
    names = [name for name in then.columns if name in now.columns and name not in other_kinds(then, now)]
    found = [_move(name, then, now, None if new is None else new.get(name), 2 * len(names)) for name in names]
    return tuple(sorted(found, key=lambda move: (not move.moved, -_newest(move), move.name)))


def other_kinds(then: Part, now: Part) -> tuple[str, ...]:
    """Columns that were of one kind, and are of another."""
    both = [name for name in then.columns if name in now.columns]
    return tuple(name for name in both if then.columns[name].kind != now.columns[name].kind)


def effect(then: ColumnProfile, now: ColumnProfile) -> float:
    """A share of rows: 0.0 the same, 1.0 nothing in common. Nulls count where they differ more than values do."""
    nulls = abs(now.null_share - then.null_share)
    if then.kind == "text":
        return max(nulls, variation(then.shares or {}, now.shares or {}))
    if then.quantiles is None or now.quantiles is None:
        return nulls
    return max(nulls, shift.kolmogorov(then.quantiles, np.asarray(now.quantiles)))


def variation(then: Mapping[str, float], now: Mapping[str, float]) -> float:
    """Total variation of two sets of shares; what neither lists, among the rarest texts, counts as one more text."""
    named = sum(abs(then.get(text, 0.0) - now.get(text, 0.0)) for text in {*then, *now})
    return (named + abs(sum(then.values()) - sum(now.values()))) / 2


def class_shares(label: LabelProfile) -> dict[str, float]:
    """Share of each class; empty for a regression."""
    counts = label.counts or {}
    total = sum(counts.values()) or 1
    return {name: count / total for name, count in counts.items()}


def _move(name: str, then: Part, now: Part, new: npt.NDArray[Any] | None, measures: int) -> ColumnMove:
    before, after = then.columns[name], now.columns[name]
    return ColumnMove(
        name=name,
        kind=before.kind,
        effect=effect(before, after),
        new=None if new is None else _shift(before, then.rows, new, measures),
        nulls=(before.null_share, after.null_share),
        typical=(_typical(before), _typical(after)),
    )


def _shift(then: ColumnProfile, rows: int, new: npt.NDArray[Any], measures: int) -> Shift:
    """Of the values, or of the nulls where these have moved more surely."""
    null = _is_null(new)
    nulls = shift.of_nulls(then.null_share, rows, null, measures=measures)
    values = _of_values(then, rows * (1 - then.null_share), new[~null], measures)
    return nulls if values is None else max(values, nulls, key=lambda one: (one.low, one.effect))


def _of_values(then: ColumnProfile, rows: float, values: npt.NDArray[Any], measures: int) -> Shift | None:
    if not len(values):
        return None
    if then.kind == "text":
        return shift.of_texts(then.shares or {}, rows, values, measures=measures)
    if then.quantiles is None:
        return None
    return shift.of_numbers(then.quantiles, rows, values.astype(np.float64), measures=measures)


def _is_null(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    if values.dtype == object:
        return np.array([value is None for value in values], dtype=np.bool_)
    return np.asarray(np.isnan(values), dtype=np.bool_)


def _newest(move: ColumnMove) -> float:
    return move.effect if move.new is None else move.new.effect


def _typical(column: ColumnProfile) -> float | str | None:
    shares, quantiles = column.shares, column.quantiles
    if shares is not None:
        return max(shares, key=lambda text: shares[text], default=None)
    return middle(quantiles)


def middle(quantiles: Sequence[float] | None) -> float | None:
    """The median."""
    return None if quantiles is None else quantiles[QUANTILES // 2]
