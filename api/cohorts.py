"""Which predictions are closed, so that they may be judged: looked at when somebody asks for them."""

import time
from dataclasses import dataclass

from understudy.maturity import Curve, closed_ms, learn, parts, ripe_ms
from understudy.ports import Labels

MOST_DELAYS = 5_000
LOOK_BACK_MS = 30 * 24 * 3_600_000
LEVEL_FROM = 4
"""The usual share of labels is that of a stretch so many times as long as what may be closed."""


@dataclass(frozen=True)
class Standing:
    """How far a model's predictions are closed, and what is known of the delay of its labels."""

    closed_ms: int | None
    curve: Curve | None


def looked_at(labels: Labels, model: str) -> Standing:
    """Close what is mature by now. Raises StorageUnavailable."""
    now_ms = time.time_ns() // 1_000_000
    seen = labels.delays(model, since_ms=now_ms - LOOK_BACK_MS, now_ms=now_ms, most=MOST_DELAYS)
    curve = learn(seen, now_ms=now_ms)
    before, ripe = labels.closed_ms(model), ripe_ms(curve, now_ms=now_ms)
    if curve is None or ripe is None:
        return Standing(before, curve)
    since_ms = min(at for at, _ in seen) - 1 if before is None else before
    if ripe <= since_ms:
        return Standing(before, curve)
    cohorts = [labels.cohort(model, since_ms=start, until_ms=end) for start, end in parts(since_ms, ripe)]
    level = 0.0 if before is None else level_of(labels, model, before, LEVEL_FROM * (ripe - since_ms))
    if (until := closed_ms(cohorts, curve, level=level, now_ms=now_ms)) is None:
        return Standing(before, curve)
    labels.close_until(model, until)
    return Standing(labels.closed_ms(model), curve)


def level_of(labels: Labels, model: str, until_ms: int, length_ms: int) -> float:
    """Share of requests that have a label, in the end of what is closed."""
    usual = labels.cohort(model, since_ms=until_ms - length_ms, until_ms=until_ms)
    return min(1.0, usual.labelled / usual.requests) if usual.requests else 0.0
