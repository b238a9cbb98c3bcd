"""What a call of a model costs, measured when it is loaded: it decides who may keep the event loop waiting.

A call on the event loop makes everybody wait: other models, health, metrics. A call elsewhere costs a hand-over between
threads, some 100 µs. So cheap models answer on the loop, where requests of one tick share a call, and dear ones do not.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice

from understudy.adapters.runtime import Runtime
from understudy.errors import ModelFailed

FULL = 64
"""Rows in the largest call that requests of one row share."""
ROUNDS = 3
DEAR_S = 0.02
"""A call that took so long is not repeated."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of a call: so much for one row, so much for each further one."""

    one_s: float
    further_s: float

    def of(self, rows: int) -> float:
        return self.one_s + (rows - 1) * self.further_s


def measured(runtime: Runtime) -> Cost:
    """Time calls with golden rows, and take the least of each size: what else the machine does is no part of it."""
    golden = runtime.golden.rows
    if not golden:
        return Cost(float("inf"), 0.0)
    few, many = golden[:1], list(islice(cycle(golden), FULL))
    one_s, full_s = (least(lambda rows=rows: runtime.predict(rows)) for rows in (few, many))  # type: ignore[misc]
    return Cost(one_s, max(0.0, full_s - one_s) / (FULL - 1))


def least(call: Callable[[], object]) -> float:
    found = float("inf")
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        try:
            call()
        except ModelFailed:  # its trial has passed; what it does now is for whoever asks it
            return float("inf")
        found = min(found, time.perf_counter() - began_s)
        if found > DEAR_S:
            break
    return found
