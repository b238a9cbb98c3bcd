"""Calls of a model as the records are given them, made by hand; and a recorder at work."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from api.recorder import Recorder
from api.scribe import Plan
from tests.given import NEW_YEAR
from understudy.adapters.sqlite import WAIT_S
from understudy.adapters.sqlite_records import SqliteRecords
from understudy.chunks import chunks
from understudy.parity import Answer
from understudy.records import EPOCH, Chunk, Identity, Layout
from understudy.signature import Column, ColumnKind, Signature

PROCESS = "abc123"


def signature(*kinds: ColumnKind, classes: tuple[Any, ...] | None = ("no", "yes")) -> Signature:
    """Columns `a`, `b` … of these kinds; two numbers by default."""
    columns = tuple(
        Column(name="abcdefgh"[i], kind=kind, dtype="float64", nullable=True, example=None)
        for i, kind in enumerate(kinds or ("number", "number"))
    )
    return Signature(columns=columns, target="y", task="regression" if classes is None else "binary", classes=classes)


@dataclass
class Call:
    """What `api.answered.Answered` holds of a call, without the version."""

    stamp: bytes
    first: int
    rows: Any
    n: int
    output: Any
    latencies_s: list[float]
    roles: Sequence[str | None] | None = None
    served: Any = field(default=None)


def ms_of(time: datetime) -> int:
    return round((time - EPOCH).total_seconds() * 1000)


def minute(number: int) -> int:
    """Milliseconds of `number` minutes after New Year."""
    return ms_of(NEW_YEAR + timedelta(minutes=number))


def call(
    number: int, values: Sequence[Sequence[float]] = ((1.5, 0.25),), *, ms: int | None = None, **changes: Any
) -> Call:
    """A call of one request a row, beginning with `number`, whose model says 0.75 `yes` to everything."""
    matrix = np.array(values, np.float32)
    n = len(matrix)
    made: dict[str, Any] = {
        "stamp": b"%011x" % (minute(number) if ms is None else ms),
        "first": number,
        "rows": matrix.tobytes(),
        "n": n,
        "output": np.full((n, 2), (0.25, 0.75), np.float32),
        "latencies_s": [0.00025] * n,
    }
    return Call(**{**made, **changes})


def batch(number: int, values: Sequence[Sequence[float]], **changes: Any) -> Call:
    """A call of one request that has all the rows."""
    return call(number, values, **{"latencies_s": [0.001], **changes})


def chunk(*calls: Call, **changes: Any) -> Chunk:
    """All calls as one chunk."""
    (made,) = in_chunks(*calls, **changes)
    return made


def in_chunks(
    *calls: Call, withheld: Sequence[str] = (), about: Signature | None = None, **changes: Any
) -> list[Chunk]:
    given: dict[str, Any] = {"process": PROCESS, "model": "rain", "version": "3"}
    return list(chunks(calls, layout=Layout.of(about or signature(), withheld), **{**given, **changes}))


def id_of(number: int, ms: int | None = None, process: str = PROCESS) -> str:
    return str(Identity(minute(number) if ms is None else ms, number, process))


SAID = Answer(["yes"], [[0.25, 0.75]])

NOW = minute(0)
SERVED = SimpleNamespace(model="rain", version="3", runtime=SimpleNamespace(signature=signature()))


def answered(number: int, rows: int = 1) -> Any:
    """A call as the event loop hands it over."""
    return call(number, [[number + i, 0] for i in range(rows)], ms=NOW, served=SERVED)


@contextmanager
def recording(folder: Path, wait_s: float = WAIT_S, **given: Any) -> Iterator[tuple[Recorder, SqliteRecords]]:
    """A recorder at work, on records of its own."""
    plan = {name: given.pop(name) for name in ("durable", "share", "most_waiting") if name in given}
    with closing(SqliteRecords(folder / "records.db", wait_s=wait_s)) as records:
        made = Recorder(records, Plan(**plan), folder=folder / "recorders", **given)
        made.start(PROCESS.encode())
        try:
            yield made, records
        finally:
            made.stop()
