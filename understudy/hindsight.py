"""Policies beside each other, on the rows that all have answered of those that ever served anything."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from understudy.compare import BLOCKS, block_means
from understudy.metrics import METRICS, FloatArray
from understudy.replay import Past, Served

Mask = npt.NDArray[np.bool_]

T_90 = 1.3277
"""90th percentile of Student's t with 19 degrees of freedom: the interval leaves out 10 % on each side."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one policy. Losses are per row, over the rows that all have answered; None: it never served."""

    policy: str
    trained: int
    """Dates at which something was trained: judged, served without a judgement, or held back after a way back."""
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
    loss: float | None
    metric: float | None
    against: float | None
    """Its loss against that of the policy in force, as a share: −0.02 is 2 % less; None: that one's is 0, or none."""
    interval: tuple[float, float] | None
    """80 % interval of `against`, from 20 blocks; None for the policy in force, or with too few rows."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def beside(past: Past, served: Sequence[Served], metric: str) -> tuple[tuple[Result, ...], int]:
    """Results in the same order, and how many rows they are about. The first policy is the one in force.

    Args:
        metric: what is reported, by name.
    """
    active = [one for one in served if np.isfinite(one.losses).any()]
    answered = np.logical_and.reduce([np.isfinite(one.losses) for one in active]) if active else np.empty(0, np.bool_)
    base = served[0].losses[answered] if served[0] in active else None
    results = tuple(
        _result(past, one, answered if one in active else None, None if one is served[0] else base, metric)
        for one in served
    )
    return results, int(answered.sum())


def _result(past: Past, one: Served, answered: Mask | None, base: FloatArray | None, metric: str) -> Result:
    """`answered`: the rows that count; None: it never served. `base`: losses of the policy in force on them."""
    loss = value = against = interval = None
    if answered is not None and answered.any():
        labels, mine = past.labels[len(past.labels) - len(answered) :][answered], one.losses[answered]
        loss, value = float(mine.mean()), METRICS[metric].of(one.outputs[answered], labels)
        against, interval = (None, None) if base is None else _against(mine, base)
    return Result(
        policy=one.policy.name,
        trained=one.count("promoted", "kept", "held back"),
        promotions=one.count("promoted"),
        kept=one.count("kept"),
        refused=one.count("refused", "failed"),
        skipped=one.count("skipped"),
        rolled_back=one.count("rolled back"),
        lifted=one.count("lifted"),
        unanswered=int((~np.isfinite(one.losses)).sum()),
        loss=loss,
        metric=value,
        against=against,
        interval=interval,
    )


def _against(mine: FloatArray, base: FloatArray) -> tuple[float | None, tuple[float, float] | None]:
    level = float(base.mean())
    if level <= 0:
        return None, None
    change = float((mine - base).mean()) / level
    if len(base) < 5 * BLOCKS:
        return change, None
    half = T_90 * float(block_means(mine - base).std(ddof=1)) / BLOCKS**0.5 / level
    return change, (change - half, change + half)
