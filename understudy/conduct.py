"""How a champion conducts itself while it serves, beside the limits that its owner set; no labels are needed.

    error_share     of its requests, those that failed
    invalid_share   of its answers, those that were not finite (the runtime refuses them), or outside of `outputs`
    latency_ms      the median of what requests of one row took, from the whole body until the answer was made
    class_sd        the share of a predicted class, in standard deviations from what it was on the holdout

A limit is a contract, as a floor is: a point estimate, and no test. Against chance there are a least number of
requests, of bad ones, and of seconds in which there were any. The median, since a busy machine, a full disk or a
neighbour shows in the slowest answers first, and none of these is the version's doing; a version that is slow is slow
in every answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from understudy.failures import FAILURES
from understudy.metrics import FloatArray
from understudy.policy import Limits
from understudy.signature import Value

REQUESTS, BAD = 100, FAILURES
"""Fewer requests than this say nothing, nor do fewer bad ones among them."""
SECONDS, LONG_SECONDS = 3, 10
"""In which there were requests. The longer one for what other things than the version may do to it for a moment."""
OLDEST_S = 600.0
"""What is older is not looked at; a model that is asked less often than this has its breaker."""
ROWS, MOST_ROWS = 200, 1000
"""Rows below which a share of a class says nothing, as of a slice; and beyond which more of them make it no surer: rows
of a few seconds are alike, and a class may be some points more frequent at noon."""
BLOCKS = 20


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one process saw a version do in about a second."""

    at_s: float
    """By a monotonic clock."""
    answered: int = 0
    """Requests."""
    failed: int = 0
    not_finite: int = 0
    """Of those that failed."""
    rows: int = 0
    """Of the answers, so many rows were looked at."""
    outside: int = 0
    """Of these rows, those outside of `outputs`."""
    latencies_s: tuple[float, ...] = ()
    """Of some requests of one row."""
    classes: tuple[int, ...] = ()
    """How many of `rows` were predicted to be of each class."""

    @property
    def requests(self) -> int:
        return self.answered + self.failed


@dataclass(frozen=True, eq=False)
class Expected:
    """What a version predicted on its holdout."""

    labels: tuple[Value, ...]
    shares: FloatArray
    """Of each class."""
    rows: int
    spread: FloatArray
    """How much wider the shares of blocks scatter than those of independent rows would: a factor of the variance."""

    def sd(self, rows: int) -> FloatArray:
        """Standard deviation of the difference to a share among so many rows; it is as unsure of its own."""
        variance = self.shares * (1 - self.shares) * self.spread
        found: FloatArray = np.sqrt(variance * (1 / min(rows, MOST_ROWS) + 1 / self.rows))
        return found


def expected(outputs: FloatArray, labels: Sequence[Value]) -> Expected | None:
    """From probabilities on a holdout in time order, shape (n, classes); None where they are too few."""
    found = outputs[np.isfinite(outputs).all(axis=1)]
    n, size = len(found), len(found) // BLOCKS
    if n < ROWS:
        return None
    is_class = found.argmax(axis=1)[:, None] == np.arange(len(labels))
    shares = (is_class.sum(axis=0) + 1) / (n + len(labels))  # a class that was never predicted is not impossible
    blocks = is_class[: size * BLOCKS].reshape(BLOCKS, size, -1).mean(axis=1)
    spread = blocks.var(axis=0, ddof=1) * size / (shares * (1 - shares))
    return Expected(tuple(labels), shares, n, np.maximum(1.0, spread))


def complaint(limits: Limits, looks: Sequence[Look], known: Expected | None, now_s: float) -> str | None:
    """What is said against a version, as half a sentence; None where nothing is.

    Args:
        looks: oldest first.
        known: None: the classes are not judged.
    """
    recent = [look for look in looks if now_s - look.at_s <= OLDEST_S]
    return (
        failing(limits, recent)
        or not_finite(limits, recent)
        or outside(limits, recent)
        or slow(limits, recent)
        or unlike(limits, recent, known)
    )


def failing(limits: Limits, looks: Sequence[Look]) -> str | None:
    seen = newest(looks, SECONDS, REQUESTS, lambda look: look.requests)
    bad, n = sum(look.failed for look in seen), sum(look.requests for look in seen)
    return (
        f"{bad} of its last {n} requests failed{may(limits.error_share)}" if above(limits.error_share, bad, n) else None
    )


def not_finite(limits: Limits, looks: Sequence[Look]) -> str | None:
    seen = newest(looks, SECONDS, REQUESTS, lambda look: look.requests)
    bad, n = sum(look.not_finite for look in seen), sum(look.requests for look in seen)
    if not above(limits.invalid_share, bad, n):
        return None
    return f"{bad} of its last {n} answers were not finite{may(limits.invalid_share)}"


def outside(limits: Limits, looks: Sequence[Look]) -> str | None:
    seen = newest(looks, SECONDS, REQUESTS, lambda look: look.rows)
    bad, n = sum(look.outside for look in seen), sum(look.rows for look in seen)
    if limits.outputs is None or not above(limits.invalid_share, bad, n):
        return None
    low, high = limits.outputs
    return f"{bad} of {n} answers were outside of {low:g} to {high:g}{may(limits.invalid_share)}"


def slow(limits: Limits, looks: Sequence[Look]) -> str | None:
    seen = newest(looks, LONG_SECONDS, REQUESTS, lambda look: len(look.latencies_s))
    if limits.latency_ms is None or not seen:
        return None
    taken_ms = 1e3 * float(np.median([*chain.from_iterable(look.latencies_s for look in seen)]))
    if taken_ms <= limits.latency_ms:
        return None
    return f"the median of its answers took {taken_ms:.3g} ms, where {limits.latency_ms:g} ms are allowed"


def unlike(limits: Limits, looks: Sequence[Look], known: Expected | None) -> str | None:
    """Whether a class is predicted far more or less often than on the holdout."""
    seen = newest(looks, LONG_SECONDS, ROWS, lambda look: sum(look.classes))
    if limits.class_sd is None or known is None or not seen:
        return None
    counts = np.sum([look.classes for look in seen if look.classes], axis=0)
    n = int(counts.sum())
    away = (counts / n - known.shares) / known.sd(n)
    worst = int(np.abs(away).argmax())
    if len(counts) != len(known.shares) or abs(away[worst]) <= limits.class_sd:
        return None
    return (
        f"it answers {str(known.labels[worst])[:40]!a} to {100 * counts[worst] / n:.0f} % of {n} rows, and to "
        f"{100 * known.shares[worst]:.0f} % on the holdout: {abs(away[worst]):.1f} standard deviations, where "
        f"{limits.class_sd:g} are allowed"
    )


def newest(looks: Sequence[Look], seconds: int, least: int, of: Callable[[Look], int]) -> Sequence[Look]:
    """The newest looks that hold at least so many of something, in at least so many seconds; none where they do not."""
    found = held = 0
    for place in range(len(looks) - 1, -1, -1):
        here = of(looks[place])
        found, held = found + (here > 0), held + here
        if found >= seconds and held >= least:
            return looks[place:]
    return ()


def above(limit: float | None, bad: int, n: int) -> bool:
    return limit is not None and bad >= BAD and bad > limit * n


def may(limit: float | None) -> str:
    return f", and at most {100 * limit:.3g} % may" if limit else ""
