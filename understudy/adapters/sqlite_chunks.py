"""Chunks of the records, read many at a time: without their contents first, then those that are needed."""

import sqlite3
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from threading import Lock
from typing import Any

from understudy.adapters import sqlite
from understudy.adapters.sqlite_records import COLUMNS
from understudy.chunks import ENCODER, Content
from understudy.labels import Request
from understudy.recorded_rows import Numbered
from understudy.records import NUMBERS, SPAN_MS, Chunk, Layout

NEAR = """
SELECT chunks.number, process, model, version, since_ms, until_ms, first, last, requests, layouts.content
FROM chunks JOIN layouts ON layouts.number = layout
WHERE process = ? AND until_ms BETWEEN ? AND ? AND since_ms <= ?
"""
OF_MODEL = """
SELECT chunks.number, process, model, version, since_ms, until_ms, first, last, requests, layouts.content
FROM chunks JOIN layouts ON layouts.number = layout
WHERE model = ? AND (until_ms, chunks.number) > (?, ?) ORDER BY until_ms, chunks.number LIMIT ?
"""
CONTENT = "SELECT number, content FROM chunks WHERE number IN ({})"
CONTENTS_AT_ONCE = 32
AT_ONCE = 64

EMPTY = ENCODER.encode(Content([], b"", None, b"", b""))


@dataclass(frozen=True, slots=True)
class Known:
    """A chunk without its content."""

    number: int
    chunk: Chunk


class SqliteChunks:
    """Reads over a connection that its caller shares."""

    def __init__(self, db: sqlite3.Connection, lock: Lock) -> None:
        self._db, self._lock = db, lock
        self._layouts: dict[str, Layout] = {}

    def of_model(self, model: str, until_ms: int, number: int) -> list[Known]:
        """Up to `AT_ONCE` chunks of a model, by their ends, behind the one that ends then and has that number."""
        return self._known(OF_MODEL, (model, until_ms, number, AT_ONCE))

    def holding(self, asked: Collection[Request]) -> Iterator[tuple[Chunk, list[Numbered]]]:
        """The chunks that may hold some of these requests (process, ms, number), each with those that it may hold."""
        for process, group in groupby(sorted(asked), key=lambda one: one[0]):
            requests = [(ms, number) for _, ms, number in group]
            for first, last in runs(requests):
                low, high = requests[first][0], requests[last - 1][0]
                known = self._known(NEAR, (process, low, high + SPAN_MS, high))
                wanted = {one.number: among(requests, one.chunk, first, last) for one in known}
                held = [one for one in known if wanted[one.number]]
                for one, chunk in zip(held, self.filled(held), strict=True):
                    yield chunk, wanted[one.number]

    def _known(self, statement: str, given: tuple[Any, ...]) -> list[Known]:
        with self._lock, sqlite.storage_errors():
            rows = self._db.execute(statement, given).fetchall()
        return [self._one(*row) for row in rows]

    def _one(self, number: int, *row: Any) -> Known:
        about = dict(zip((*COLUMNS, "layout"), row, strict=True))
        return Known(number, Chunk(**{**about, "layout": self._layout(about["layout"])}, content=b""))

    def _layout(self, text: str) -> Layout:
        if text not in self._layouts:
            self._layouts[text] = Layout.from_text(text)
        return self._layouts[text]

    def filled(self, known: Sequence[Known]) -> Iterator[Chunk]:
        """With their contents, read some at a time: whoever writes waits for each statement."""
        for start in range(0, len(known), CONTENTS_AT_ONCE):
            some = known[start : start + CONTENTS_AT_ONCE]
            with self._lock, sqlite.storage_errors():
                statement = CONTENT.format(",".join("?" * len(some)))
                contents = dict(self._db.execute(statement, [one.number for one in some]).fetchall())
            for one in some:
                yield replace(one.chunk, content=contents.get(one.number, EMPTY))  # trimmed a moment ago


def runs(requests: Sequence[Numbered]) -> Iterator[tuple[int, int]]:
    """Bounds of stretches without a gap in time, of requests that are sorted."""
    start = 0
    for i in range(1, len(requests) + 1):
        if i == len(requests) or requests[i][0] - requests[i - 1][0] > SPAN_MS:
            yield start, i
            start = i


def among(requests: Sequence[Numbered], chunk: Chunk, start: int, end: int) -> list[Numbered]:
    """Those of requests[start:end] that a chunk may hold."""
    first = bisect_left(requests, (chunk.since_ms, -1), start, end)
    last = bisect_left(requests, (chunk.until_ms + 1, -1), start, end)
    return [
        one
        for one in requests[first:last]
        if chunk.first <= one[1] <= chunk.last or chunk.first <= one[1] + NUMBERS <= chunk.last
    ]
