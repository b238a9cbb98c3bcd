"""Rows of recorded predictions, many at a time: a chunk is decoded once, whatever is asked of it."""

from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from understudy.chunks import DECODER, answer_in, rows_in
from understudy.labels import Labelled, Place
from understudy.records import NUMBERS, Chunk

Calls = list[tuple[int, int, int, int]]
"""Of each call in a chunk: its time in ms, the number of its first request, requests, rows."""
Numbered = tuple[int, int]
"""Time in ms and number of a request."""
Span = tuple[int, int]
"""Its first row in the chunk, and how many it has."""


class _Index(msgspec.Struct, array_like=True):
    """The part of a chunk that says which requests are in it; the rest is skipped."""

    calls: Calls


_INDEX = msgspec.msgpack.Decoder(_Index)


def calls_in(content: bytes) -> Calls:
    return _INDEX.decode(content).calls


def spans(calls: Calls, asked: Iterable[Numbered]) -> dict[Numbered, Span]:
    """Where the rows of those requests are that are in a chunk."""
    by_ms: dict[int, list[tuple[int, int, int, int]]] = {}
    row = 0
    for ms, first, requests, rows in calls:
        by_ms.setdefault(ms, []).append((first, requests, row, rows // requests))
        row += rows
    found = {}
    for ms, number in asked:
        for first, requests, base, each in by_ms.get(ms, ()):
            if (place := (number - first) % NUMBERS) < requests:
                found[ms, number] = base + place * each, each
    return found


def places(process: str, calls: Calls) -> Iterator[Place]:
    """Of every row of a chunk, in the order in which they are stored."""
    for ms, first, requests, rows in calls:
        each = rows // requests
        for request in range(requests):
            number = (first + request) % NUMBERS
            for row in range(each):
                yield Place(ms, process, number, row)


def read(chunk: Chunk, wanted: Sequence[tuple[Place, int]], hidden: Collection[str] = ()) -> list[Labelled]:
    """Rows by their number in the chunk, without labels.

    Args:
        hidden: columns that are to be withheld by now, though they are stored.
    """
    content = DECODER.decode(chunk.content)
    first = min(row for _, row in wanted)
    n = max(row for _, row in wanted) + 1 - first
    rows = rows_in(content.rows, chunk.layout, first, n)
    said = answer_in(content, chunk.layout.classes, first, n)
    names = [chunk.layout.columns[i][0] for i in chunk.layout.kept]
    left = [i for i, name in enumerate(names) if name not in hidden]
    columns = tuple(names[i] for i in left)
    withheld = (*chunk.layout.withheld, *(name for name in names if name in hidden))
    return [
        Labelled(
            place=place,
            version=chunk.version,
            columns=columns,
            withheld=withheld,
            values=[rows[row - first][i] for i in left],
            prediction=said.predictions[row - first],
            probabilities=None if said.probabilities is None else said.probabilities[row - first],
        )
        for place, row in wanted
    ]
