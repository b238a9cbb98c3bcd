"""Streams of Arrow for tests, whole and mutated; as a program, it reads many mutated ones and tells how each ended.

A stream that makes Arrow crash takes its process along, so a test starts this one for it.
"""

import io
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow

from understudy.adapters import arrow_rows
from understudy.errors import UnderstudyError
from understudy.rows import RowDecoder
from understudy.signature import Column, Signature

MIXED = Signature(
    columns=(
        Column(name="temp", kind="number", dtype="float64", nullable=True, example=61.5),
        Column(name="visits", kind="integer", dtype="int64", nullable=False, example=2),
        Column(name="member", kind="boolean", dtype="bool", nullable=False, example=True),
        Column(name="city", kind="text", dtype="str", nullable=True, example="Bern"),
        Column(name="plan", kind="text", dtype="str", nullable=False, example="a", categories=("a", "b")),
    ),
    target="stays",
    task="binary",
    classes=(False, True),
)
NUMBERS = Signature(
    columns=(
        Column(name="temp", kind="number", dtype="float64", nullable=True, example=61.5),
        Column(name="visits", kind="integer", dtype="int64", nullable=False, example=2, categories=(1, 2, 3)),
        Column(name="member", kind="boolean", dtype="bool", nullable=False, example=True),
    ),
    target="spend",
    task="regression",
    classes=None,
)


def table(signature: Signature = MIXED, *, rows: int = 4, dictionaries: bool = False) -> pyarrow.Table:
    """Rows that fit the signature."""
    made = {
        "temp": pyarrow.array([0.5, None, -3.25, 1e15][:rows], pyarrow.float64()),
        "visits": pyarrow.array([1, 2, 3, 1][:rows], pyarrow.int64()),
        "member": pyarrow.array([True, False, True, True][:rows]),
        "city": pyarrow.array(["Bern", None, "Genève", "Bern"][:rows]),
        "plan": pyarrow.array(["a", "b", "a", "b"][:rows]),
    }
    if dictionaries:
        made |= {name: made[name].dictionary_encode() for name in ("city", "plan")}
    return pyarrow.table({name: made[name] for name in signature.names})


def stream(data: pyarrow.Table, *, compression: str | None = None, rows_a_batch: int | None = None) -> bytes:
    sink = io.BytesIO()
    options = pyarrow.ipc.IpcWriteOptions(compression=compression)
    with pyarrow.ipc.new_stream(sink, data.schema, options=options) as writer:
        writer.write_table(data, max_chunksize=rows_a_batch)
    return sink.getvalue()


def mutated(seed: int, count: int) -> Iterator[bytes]:
    """Streams with some of their bytes turned, moved, doubled, cut off or set to what lengths like least."""
    chance = random.Random(seed)
    views = table().set_column(3, "city", table()["city"].cast(pyarrow.string_view()))
    bases = [
        stream(table()),
        stream(table(dictionaries=True)),
        stream(table(), rows_a_batch=1),
        stream(views),
        stream(table(NUMBERS)),
        stream(table(), compression="lz4"),
        stream(pyarrow.table({"temp": pyarrow.array([[1.0], None])})),
    ]
    for _ in range(count):
        body = bytearray(chance.choice(bases))
        for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
            mutate(body, chance)
        yield bytes(body)


def mutate(body: bytearray, chance: random.Random) -> None:
    place = chance.randrange(max(1, len(body)))
    way = chance.randrange(6)
    if way == 0:
        body[place : place + 1] = bytes([chance.randrange(256)])
    elif way == 1:
        body[place : place + 1] = bytes([(body[place] if body else 0) ^ 1 << chance.randrange(8)])
    elif way == 2:
        size = chance.choice((2, 4, 8))
        ends = (0, 1, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1, chance.randrange(2**16))
        aligned = place - place % size
        body[aligned : aligned + size] = chance.choice(ends).to_bytes(size, "little")
    elif way == 3:
        del body[place : place + chance.choice((1, 4, 8, 64))]
    elif way == 4:
        body[place:place] = body[place : place + chance.choice((4, 8, 64, 256))]
    else:
        del body[place:]


def read(body: bytes, signature: Signature) -> str:
    """How reading ended: `rows`, or the name of an error of ours."""
    try:
        if signature is NUMBERS:
            arrow_rows.matrix_of(body, signature)
        else:
            arrow_rows.rows_of(body, DECODERS[signature], signature)
    except UnderstudyError as error:
        return type(error).__name__
    return "rows"


DECODERS = {signature: RowDecoder(signature) for signature in (MIXED, NUMBERS)}


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


if __name__ == "__main__":
    seed, count = map(int, sys.argv[1:])
    before, ends = resident_mib(), Counter[str]()
    for body in mutated(seed, count):
        ends.update(read(body, signature) for signature in (MIXED, NUMBERS))
    print(dict(ends), round(resident_mib() - before))  # noqa: T201 - what the test reads
