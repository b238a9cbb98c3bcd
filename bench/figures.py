"""What a run of the bench found, as plain JSON values, and the questions that the page asks of it.

taken       date, command, machine, load of others when it began
runs        one object for each run of the load; see `bench/rates.py`
endurance   see `bench/endurance.py`
workers     runs with one and with two workers, in the form of `runs`
footprint   see `bench/footprint.py`
steps       see `bench/steps.py`
switches    runs with one part of the path switched off, in the form of `runs`
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Figures = Mapping[str, Any]
Run = Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a figure is measured: which load."""

    model: str = "logistic"
    form: str = "record"
    connections: int = 32


def of(figures: Figures, server: str, place: Place, part: str = "runs") -> list[Run]:
    """The runs of one server in one place, round by round."""
    wanted = {"server": server, "model": place.model, "form": place.form, "connections": place.connections}
    found = [run for run in figures[part] if all(run[name] == value for name, value in wanted.items())]
    return sorted(found, key=lambda run: int(run["round"]))


def middle(runs: Sequence[Run], name: str) -> float | None:
    """Median of a figure over the rounds; None where nothing was measured."""
    return median(run[name] for run in runs) if runs else None


def to_floor(runs: Sequence[Run]) -> float | None:
    """Rate as a ratio to the floor's: in each round to the mean of the two runs around it, then the median."""
    return median(run["rate"] / mean(run["floor_rates"]) for run in runs) if runs else None


def cpu_to_floor(runs: Sequence[Run]) -> float | None:
    return median(run["cpu_us"] / mean(run["floor_cpu_us"]) for run in runs) if runs else None


def to_other(runs: Sequence[Run], others: Sequence[Run], name: str = "rate") -> float | None:
    """A figure as a ratio to another server's: of each round, then the median."""
    pairs = [(run[name], other[name]) for run, other in zip(runs, others, strict=False) if other[name]]
    return median(one / other for one, other in pairs) if pairs else None


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def floor(figures: Figures, connections: int) -> tuple[float, float] | None:
    """The floor itself: median rate and processor time in µs of all its runs with so many connections."""
    runs = [run for run in figures["runs"] if run["connections"] == connections]
    if not runs:
        return None
    rates, costs = ([value for run in runs for value in run[name]] for name in ("floor_rates", "floor_cpu_us"))
    return median(rates), median(costs)


def failed(figures: Figures) -> int:
    """Requests of all runs that got no answer, or another than was due."""
    parts = ("runs", "workers", "switches")
    return sum(int(run["failed"]) for part in parts for run in figures[part]) + int(figures["endurance"]["failed"])


def places(figures: Figures) -> Iterator[Place]:
    """Every load that was measured, in the order of the page."""
    seen = dict.fromkeys(Place(run["model"], run["form"], run["connections"]) for run in figures["runs"])
    forms = ("record", "values", "records", "arrow")
    yield from sorted(seen, key=lambda place: (forms.index(place.form), -place.connections, list(seen).index(place)))
