"""Policies beside each other, on the rows that all of them have answered."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from understudy.compare import BLOCKS, block_means
from understudy.metrics import METRICS
from understudy.replay import Past, Served

T_90 = 1.3277
"""90th percentile of Student's t with 19 degrees of freedom: the interval leaves out 10 % on each side."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one policy. Losses are per row, over the rows that every policy has answered."""

    policy: str
    promotions: int
    kept: int
    """Dates at which the gates refused what was trained."""
    refused: int
    """Dates at which the data were refused, or training failed."""
    skipped: int
    """Dates with too few new rows."""
    rolled_back: int
    lifted: int
    """Switches by the live comparison: to the version before, or to one that the gates had refused."""
    unanswered: int
    """Later rows that got no answer."""
    loss: float
    metric: float
    against: float | None
    """Its loss against that of the policy in force, as a share: −0.02 is 2 % less; None: that one's is 0."""
    interval: tuple[float, float] | None
    """80 % interval of `against`, from 20 blocks; None for the policy in force, or with too few rows."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def beside(past: Past, served: Sequence[Served], metric: str) -> tuple[tuple[Result, ...], int]:
    """Results in the same order, and how many rows they are about. The first policy is the one in force.

    Args:
        metric: what is reported, by name.
    """
    answered = np.logical_and.reduce([np.isfinite(one.losses) for one in served])
    labels = past.labels[len(past.labels) - len(answered) :][answered]
    losses = [one.losses[answered] for one in served]
    results = []
    for one, mine in zip(served, losses, strict=True):
        against, interval = (0.0, None) if one is served[0] else _against(mine, losses[0])
        results.append(
            Result(
                policy=one.policy.name,
                promotions=one.count("promoted"),
                kept=one.count("kept"),
                refused=one.count("refused", "failed"),
                skipped=one.count("skipped"),
                rolled_back=one.count("rolled back"),
                lifted=one.count("lifted"),
                unanswered=int((~np.isfinite(one.losses)).sum()),
                loss=float(mine.mean()) if len(mine) else float("nan"),
                metric=METRICS[metric].of(one.outputs[answered], labels) if len(mine) else float("nan"),
                against=against,
                interval=interval,
            )
        )
    return tuple(results), int(answered.sum())


def _against(
    mine: "np.ndarray[Any, np.dtype[np.float64]]", base: "np.ndarray[Any, np.dtype[np.float64]]"
) -> tuple[float | None, tuple[float, float] | None]:
    level = float(base.mean()) if len(base) else 0.0
    if level <= 0:
        return None, None
    change = float((mine - base).mean()) / level
    if len(base) < 5 * BLOCKS:
        return change, None
    half = T_90 * float(block_means(mine - base).std(ddof=1)) / BLOCKS**0.5 / level
    return change, (change - half, change + half)
