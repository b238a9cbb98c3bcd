"""How many requests a second each server answers, and what one costs it, in rounds that alternate.

Machines change their speed from minute to minute, so a figure says little by itself. Every run stands between two runs
of the floor, and only ratios within a round are compared; of these, the page shows the median over all rounds.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench import floor
from bench.servers import Server
from bench.tumours import BATCH, MEDIA, Fitted, bodies
from bench.wrk import Load, Outcome

CLOSE = 1e-4
"""Largest difference of a probability from scikit-learn's: float32 and its roundings."""


@dataclass(frozen=True)
class Point:
    """What is measured once in every round."""

    server: str
    model: str
    form: str
    """What a body holds: `record` (one row), or 100 rows as `values`, `records` or `arrow`."""
    connections: int


@dataclass(frozen=True)
class Run:
    """One run of the load against one server, between two of the floor."""

    round: int
    point: Point
    rate: float
    """Answers a second."""
    cpu_us: float
    """Processor time of the server's processes for one answer."""
    p50_ms: float
    p99_ms: float
    floor_rates: tuple[float, float]
    """Of the floor, before and after."""
    floor_cpu_us: tuple[float, float]
    failed: int
    """Requests that were refused or got no answer."""


@dataclass(frozen=True)
class Bench:
    """Everything that a run needs: who answers, what is sent, and what scikit-learn says to it."""

    servers: Mapping[str, Server]
    models: Mapping[str, Fitted]
    folder: Path
    client_cores: Collection[int]
    seconds: float
    loads: dict[tuple[str, str, str], Load] = field(default_factory=dict)

    def path(self, server: str, model: str) -> str:
        """The default model's short path where there is one; the floor and F1 know no models."""
        first = model == next(iter(self.models))
        return (
            "/predict" if server in ("floor", "empty") or (first and server != "usual") else f"/models/{model}/predict"
        )

    def load(self, server: str, model: str, form: str) -> Load:
        key = self.path(server, model), form, server
        if key not in self.loads:
            folder = self.folder / f"load-{len(self.loads)}"
            self.loads[key] = Load.of(folder, key[0], MEDIA[form], bodies(form))
        return self.loads[key]

    def send(self, point: Point, seconds: float | None = None) -> tuple[Outcome, float]:
        """Load one server; return what the load saw, and the server's processor time for one answer in µs."""
        server, load = self.servers[point.server], self.load(point.server, point.model, point.form)
        began_s = server.cpu_s()
        seen = load.run(
            server.port,
            connections=point.connections,
            seconds=seconds or self.seconds,
            cores=self.client_cores,
        )
        ended_s = server.rest() if server.home else server.cpu_s()
        return seen, (ended_s - began_s) / max(1, seen.answered) * 1e6

    def check(self, point: Point) -> None:
        """Raises WrongAnswer where a server does not say what scikit-learn says."""
        server, path = self.servers[point.server], self.path(point.server, point.model)
        for at, body in list(enumerate(bodies(point.form)))[:3]:
            status, said = server.ask(path, body, MEDIA[point.form])
            if status != 200 or not is_right(said, point, at, self.models):
                raise WrongAnswer(f"{point} was answered with {status}: {said[:300]!r}")


class WrongAnswer(Exception):
    """A server that answers wrongly is not worth measuring."""


def is_right(said: bytes, point: Point, at: int, models: Mapping[str, Fitted]) -> bool:
    """Whether this is the answer to the body number `at` of a form."""
    if point.server == "floor":
        return said == floor.ANSWER
    if point.server == "empty":
        return bool(json.loads(said) == {"predictions": [0]})
    rows = slice(at, at + 1) if point.form == "record" else slice(10 * at, 10 * at + BATCH)
    expected, found = models[point.model].probabilities[rows], np.array(json.loads(said)["probabilities"])
    return found.shape == expected.shape and bool(np.allclose(found, expected, rtol=0, atol=CLOSE))


def rounds(bench: Bench, points: Sequence[Point], count: int) -> Iterator[Run]:
    """Measure every point once a round; every other round goes backwards, so that no point always follows another."""
    for number in range(count):
        for connections in sorted({point.connections for point in points}):
            chosen = [point for point in points if point.connections == connections]
            yield from alternating(bench, chosen[:: -1 if number % 2 else 1], number)


def alternating(bench: Bench, points: Sequence[Point], number: int) -> Iterator[Run]:
    """The points of one round with the floor before, between and after; all with as many connections."""
    probe = Point("floor", next(iter(bench.models)), "record", points[0].connections)
    bench.check(probe)
    before, before_us = bench.send(probe)
    for point in points:
        bench.check(point)
        seen, cpu_us = bench.send(point)
        bench.check(point)
        after, after_us = bench.send(probe)
        yield Run(
            round=number,
            point=point,
            rate=round(seen.rate, 1),
            cpu_us=round(cpu_us, 2),
            p50_ms=seen.p50_ms,
            p99_ms=seen.p99_ms,
            floor_rates=(round(before.rate, 1), round(after.rate, 1)),
            floor_cpu_us=(round(before_us, 2), round(after_us, 2)),
            failed=seen.refused + seen.broken + before.refused + after.refused,
        )
        before, before_us = after, after_us


def points_of(models: Collection[str], forms: Collection[str] = ("values", "records", "arrow")) -> list[Point]:
    """What the page shows: one row on few and on many connections for every server, and batches for ours."""
    first = next(iter(models))
    one_row = [("empty", first), *((server, model) for server in ("usual", "plain", "fast") for model in models)]
    lone = [("empty", first), ("usual", first), ("plain", first), *(("fast", model) for model in models)]
    return [
        *(Point(server, model, "record", 32) for server, model in one_row),
        *(Point("fast", model, form, 32) for form in forms for model in models),
        *(Point("plain", first, form, 32) for form in forms),
        *(Point(server, model, "record", 1) for server, model in lone),
    ]


def to_json(run: Run) -> dict[str, Any]:
    """A run as one flat object."""
    plain = asdict(run)
    return {**plain.pop("point"), **plain}
