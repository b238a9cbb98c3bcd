"""What the figures should be, as a table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bench.figures import Figures, Place, cpu_to_floor, failed, of, to_floor, to_other

Measured = Callable[[Figures], float | None]


@dataclass(frozen=True)
class Goal:
    """One figure and its limit."""

    what: str
    sense: Literal["≥", "≤"]
    limit: Callable[[Figures], float]
    measured: Measured
    digits: int = 2

    def met(self, figures: Figures) -> bool | None:
        """None where nothing was measured."""
        found, limit = self.measured(figures), self.limit(figures)
        if found is None:
            return None
        return found >= limit if self.sense == "≥" else found <= limit


def at_least(limit: float, what: str, measured: Measured, digits: int = 2) -> Goal:
    return Goal(what, "≥", lambda _: limit, measured, digits)


def at_most(limit: float, what: str, measured: Measured, digits: int = 2) -> Goal:
    return Goal(what, "≤", lambda _: limit, measured, digits)


def ratio(server: str, model: str = "logistic", form: str = "record", connections: int = 32) -> Measured:
    return lambda figures: to_floor(of(figures, server, Place(model, form, connections)))


def against(server: str, other: str, model: str = "logistic") -> Measured:
    place = Place(model)
    return lambda figures: to_other(of(figures, server, place), of(figures, other, place))


def cost(model: str) -> Measured:
    return lambda figures: cpu_to_floor(of(figures, "fast", Place(model)))


def workers(figures: Figures) -> float | None:
    """Each of two workers, on a core of its own, has as many connections as the one."""
    one, two = (
        of(figures, server, Place(connections=connections), "workers")
        for server, connections in (("one worker", 32), ("two workers, two cores", 64))
    )
    return to_other(two, one, "cpu_us")


def missing(figures: Figures) -> float:
    """Answers that are not on record: by the API's own count, or by the load's where it has none."""
    found = figures["endurance"]
    return float(max(0, (found["answered"] or found["seen"]) - found["recorded"]))


def growth(figures: Figures) -> float:
    settled, last, _ = figures["endurance"]["resident_mb"]
    return 100 * (float(last) / float(settled) - 1)


GOALS = (
    at_least(1.3, "one row, 32 connections, logistic: ratio to F0", ratio("fast")),
    at_least(1.3, "the same, forest of 100", ratio("fast", "forest")),
    at_least(1.25, "the same, boosting", ratio("fast", "boosting")),
    at_most(0.8, "processor time for one answer, logistic: ratio to F0's", cost("logistic")),
    at_most(0.8, "the same, forest of 100", cost("forest")),
    at_most(0.8, "the same, boosting", cost("boosting")),
    at_least(6, "one row, 32 connections, logistic: ratio to F1", against("fast", "empty"), 1),
    at_least(0.7, "one row, 1 connection, logistic: ratio to F0", ratio("fast", connections=1)),
    at_least(0.13, "100 rows as `values`, 32 connections, logistic: ratio to F0", ratio("fast", form="values"), 3),
    at_least(0.10, "100 rows as `records`, 32 connections, logistic: ratio to F0", ratio("fast", form="records"), 3),
    at_least(0.5, "the plain path, one row, 32 connections, logistic: ratio to F0", ratio("plain")),
    at_least(2.5, "the plain path, one row, 32 connections, logistic: ratio to F1", against("plain", "empty"), 1),
    at_least(40, "one row, 32 connections, logistic: ratio to the usual way", against("fast", "usual"), 0),
    at_least(150, "the same, forest of 100", against("fast", "usual", "forest"), 0),
    at_least(40, "the same, boosting", against("fast", "usual", "boosting"), 0),
    at_most(0, "requests that failed, over all runs", lambda figures: float(failed(figures)), 0),
    at_most(0, "answers at full load that are not on record", missing, 0),
    at_most(0.5, "largest lag of the records at full load, seconds", lambda f: f["endurance"]["largest_lag_s"]),
    at_most(5, "growth of memory at full load, per cent", growth, 1),
    at_most(1.2, "processor time for one answer, two workers: ratio to one worker's", workers),
    at_most(150, "memory of an API process with ONNX models only, MB", lambda f: f["footprint"]["resident_mb"], 1),
    at_most(0, "of scikit-learn, skops and pandas: how many it has imported", lambda f: imported(f), 0),
    Goal(
        "memory of each further model, MB; the limit is 1.5 × its ONNX size + 1 MB",
        "≤",
        lambda f: 1.5 * float(f["footprint"]["further_onnx_mb"]) + 1,
        lambda f: float(f["footprint"]["further_mb"]),
    ),
    at_most(2.5, "from the start of the process to its first answer, seconds", lambda f: starts(f)),
)


def imported(figures: Figures) -> float:
    found = {*figures["footprint"]["heavy"], *figures["footprint"]["shared"]}
    return float(len(found & {"sklearn", "skops", "pandas"}))


def starts(figures: Figures) -> float:
    found = sorted(figures["footprint"]["cold_s"])
    return float(found[len(found) // 2])
