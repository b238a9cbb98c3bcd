"""How versions age: the loss of one that was trained some retrains ago, against one that is fresh, on the same rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from understudy.metrics import FloatArray, Labels
from understudy.replay import Past, Step


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


def staleness(
    past: Past, steps: Sequence[Step], loss: Callable[[FloatArray, Labels], FloatArray], *, moments: Sequence[float]
) -> tuple[Age, ...]:
    """The curve, from age 0 on.

    Args:
        moments: of each step, in days; empty where rows have no time.
    """
    trained = [(i, step.first, step.made) for i, step in enumerate(steps) if step.ended == "trained" and step.made]
    ends = [first for _, first, _ in trained[1:]] + [len(past.labels)]
    stretches = [np.arange(first, end) for (_, first, _), end in zip(trained, ends, strict=True)]
    ages: dict[int, list[tuple[float, float, int, float | None]]] = {}
    for now, rows in enumerate(stretches):
        said = [loss(made.newest.at(rows), past.labels[rows]) for _, _, made in trained[: now + 1]]
        for then, losses in enumerate(said):
            both = np.isfinite(losses) & np.isfinite(said[now])
            if both.any():
                i, j = trained[then][0], trained[now][0]
                days = moments[j] - moments[i] if len(moments) else None
                pair = (float(losses[both].sum()), float(said[now][both].sum()), int(both.sum()), days)
                ages.setdefault(now - then, []).append(pair)
    return tuple(_age(steps, found) for steps, found in sorted(ages.items()))


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
