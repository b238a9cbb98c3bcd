"""How versions age: the loss of one that was trained some retrains ago, against one that is fresh, on the same rows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from understudy.metrics import FloatArray
from understudy.replay import Past, RowLoss, Step


@dataclass(frozen=True, kw_only=True)
class Age:
    """All versions of one age."""

    steps: int
    """Retrains since it was trained; 0: fresh."""
    days: float | None
    """Median time since then, at the beginning of the rows; None where rows have no time."""
    change: float
    """Its loss against that of the fresh versions on the same rows, as a share: 0.03 is 3 % more."""
    error: float | None
    """Standard error of `change` over the dates; None: there are fewer than 3."""
    dates: int
    rows: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def staleness(past: Past, steps: Sequence[Step], loss: RowLoss, *, days: Sequence[float] | None) -> tuple[Age, ...]:
    """The curve, from age 0 on; empty where nothing was trained.

    Args:
        days: when each step was, in days; None where rows have no time.
    """
    made = [(i, step.first, step.made) for i, step in enumerate(steps) if step.ended == "trained" and step.made]
    if not made:
        return ()
    n, ends = len(past.labels), [*(first for _, first, _ in made[1:]), len(past.labels)]
    losses = [_losses(past, loss, version.newest.at(np.arange(first, n)), first) for _, first, version in made]
    fresh = np.concatenate([mine[: end - (n - len(mine))] for mine, end in zip(losses, ends, strict=True)])
    ages: dict[int, list[tuple[float, float, int, float | None]]] = {}
    for then, mine in enumerate(losses):
        begins = [first for _, first, _ in made[then:]]
        for age, sums in enumerate(_sums(mine, fresh[len(fresh) - len(mine) :], begins, n)):
            at = None if days is None else days[made[then + age][0]] - days[made[then][0]]
            if sums[2]:
                ages.setdefault(age, []).append((*sums, at))
    return tuple(_age(steps, found) for steps, found in sorted(ages.items()))


def _losses(past: Past, loss: RowLoss, outputs: FloatArray, first: int) -> FloatArray:
    return loss(outputs, past.labels[first:])


def _sums(mine: FloatArray, fresh: FloatArray, begins: Sequence[int], n: int) -> list[tuple[float, float, int]]:
    """Of each stretch, both sums over the rows that both have answered, and how many these are."""
    both = np.isfinite(mine) & np.isfinite(fresh)
    edges = np.array([*begins, n]) - (n - len(mine))
    ours, theirs, rows = (
        np.diff(np.concatenate([[0.0], np.cumsum(np.where(both, values, 0.0))])[edges])
        for values in (mine, fresh, np.ones(len(mine)))
    )
    return list(zip(ours.tolist(), theirs.tolist(), rows.astype(int).tolist(), strict=True))


def _age(steps: int, found: Sequence[tuple[float, float, int, float | None]]) -> Age:
    old, fresh = (np.array([one[side] for one in found]) for side in (0, 1))
    total = float(fresh.sum())
    change = float(old.sum()) / total - 1 if total else 0.0
    days = [one[3] for one in found if one[3] is not None]
    return Age(
        steps=steps,
        days=median(days) if days else None,
        change=change,
        error=_error(old - (1 + change) * fresh, total) if len(found) > 2 and total else None,
        dates=len(found),
        rows=sum(one[2] for one in found),
    )


def _error(residuals: FloatArray, total: float) -> float:
    """Of a ratio of sums over dates."""
    n = len(residuals)
    return float(np.sqrt(n / (n - 1) * np.sum(residuals**2))) / total
