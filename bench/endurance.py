"""A long run at full load: whether every answer is on record, how far the records lag behind, whether memory grows."""

import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from threading import Event, Thread
from typing import Any

import requests

from bench.rates import Bench, Point
from bench.servers import Server, resident_mb
from understudy.adapters.sqlite_records import SqliteRecords
from understudy.settings import Settings

LOOK_EVERY_S = 0.37
"""No multiple of a quarter of a second, after which records are written: looks fall on every part of that turn."""
SETTLED = 0.2
"""Share of the run after which memory should no longer grow: buffers and caches are full by then."""


@dataclass(frozen=True)
class Look:
    """One look at the API while it is loaded, through its own metrics and the system's table of processes."""

    at_s: float
    resident_mb: float
    lag_s: float | None
    """Age of the oldest answer that is not on record; None where the metrics do not say."""


@dataclass(frozen=True)
class Endurance:
    """What a long run came to."""

    seconds: float
    rate: float
    cpu_us: float
    failed: int
    seen: int
    """Answers that the load has seen; the last ones may have come too late for it."""
    answered: int | None
    """Answers that the API counts; None where its metrics do not say."""
    recorded: int
    """Answers on record."""
    largest_lag_s: float | None
    resident_mb: tuple[float, float, float]
    """After a fifth of the run, at its end, and the most."""
    looks: list[Look]


def endure(bench: Bench, point: Point, seconds: float) -> Endurance:
    """Load an API that has answered nothing yet, and compare what is said by the load, the metrics and the records."""
    server, looks, stop = bench.servers[point.server], list[Look](), Event()
    watch = Thread(target=watched, args=(server, looks, stop))
    watch.start()
    try:
        seen, cpu_us = bench.send(point, seconds)
    finally:
        stop.set()
        watch.join()
    lags = [look.lag_s for look in looks if look.lag_s is not None]
    settled = next((look for look in looks if look.at_s >= SETTLED * seconds), looks[-1])
    return Endurance(
        seconds=round(seen.seconds, 1),
        rate=round(seen.rate, 1),
        cpu_us=round(cpu_us, 2),
        failed=seen.refused + seen.broken,
        seen=seen.answered,
        answered=answered(metrics_of(server)),
        recorded=recorded(server),
        largest_lag_s=max(lags, default=None),
        resident_mb=(settled.resident_mb, looks[-1].resident_mb, max(look.resident_mb for look in looks)),
        looks=looks,
    )


def watched(server: Server, looks: list[Look], stop: Event) -> None:
    began_s = time.monotonic()
    while not stop.wait(LOOK_EVERY_S):
        lag_s = lag(metrics_of(server))
        looks.append(Look(round(time.monotonic() - began_s, 1), round(resident_mb(server.pid), 1), lag_s))
    looks.append(Look(round(time.monotonic() - began_s, 1), round(resident_mb(server.pid), 1), None))


def metrics_of(server: Server) -> str:
    """What `/metrics` says; nothing where this release has none."""
    said = requests.get(f"http://127.0.0.1:{server.port}/metrics", timeout=30)
    return said.text if said.ok else ""


def answered(metrics: str) -> int | None:
    lines = (re.fullmatch(r"understudy_requests_total\{(.*)\} (\S+)", line) for line in metrics.splitlines())
    found = [float(line.group(2)) for line in lines if line and 'code="ok"' in line.group(1)]
    return round(sum(found)) if found else None


def lag(metrics: str) -> float | None:
    found = [
        float(line.rsplit(" ", 1)[1])
        for line in metrics.splitlines()
        if line.startswith("understudy_record_lag_seconds")
    ]
    return max(found, default=None)


def recorded(server: Server) -> int:
    """How many answers are on record."""
    assert server.home is not None
    records = SqliteRecords(Settings(home=server.home).records_file)
    try:
        return records.count()
    finally:
        records.close()


def to_json(endurance: Endurance) -> Mapping[str, Any]:
    plain = asdict(endurance)
    return {**plain, "looks": [list(look.values()) for look in plain["looks"]]}
