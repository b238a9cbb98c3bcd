"""Prediction records in a SQLite file of their own."""

import json
import math
from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from operator import attrgetter
from pathlib import Path
from threading import Lock

from understudy.adapters import sqlite
from understudy.chunks import find
from understudy.errors import NotFound
from understudy.events import moment, timestamp
from understudy.parity import Answer
from understudy.records import EPOCH, NUMBERS, SPAN_MS, Chunk, Gap, Identity, Keyed, Layout, Progress, Record

KNOW_LAYOUT = "INSERT OR IGNORE INTO layouts (content) VALUES (?)"
LAYOUT = "SELECT number FROM layouts WHERE content = ?"
COLUMNS = ("process", "model", "version", "since_ms", "until_ms", "first", "last", "requests")
INSERT = """
INSERT INTO chunks (process, model, version, since_ms, until_ms, first, last, requests, layout, content)
VALUES """
VALUES = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
TOGETHER = 8
"""Chunks that one statement stores: a thread that comes back from SQLite waits for its turn among the others."""
INSERT_GAP = "INSERT OR IGNORE INTO gaps (process, since_ms, until_ms, lost, reason) VALUES (?, ?, ?, ?, ?)"
COME_SO_FAR = "INSERT OR REPLACE INTO writers (process, accounted, until_ms) VALUES (?, ?, ?)"
HOW_FAR = "SELECT accounted, until_ms FROM writers WHERE process = ?"
LEAVE = "DELETE FROM writers WHERE process = ?"
CANDIDATES = """
SELECT process, model, version, since_ms, until_ms, first, last, requests, layouts.content, chunks.content
FROM chunks JOIN layouts ON layouts.number = layout
WHERE process = :process AND until_ms BETWEEN :ms AND :ms + :span AND since_ms <= :ms
AND (:number BETWEEN first AND last OR :number + :numbers BETWEEN first AND last)
"""
KNOW_KEY = "INSERT OR IGNORE INTO keys (model, key, ms, process, number, row) VALUES (?, ?, ?, ?, ?, ?)"
GAPS = "SELECT process, since_ms, until_ms, lost, reason FROM gaps ORDER BY number"
GAP_OF = "SELECT reason FROM gaps WHERE process = ? AND ? BETWEEN since_ms AND until_ms ORDER BY number LIMIT 1"
MOST_GAPS = 10_000
TRIM_GAPS = "DELETE FROM gaps WHERE number <= (SELECT max(number) FROM gaps) - ?"
ENDS = "SELECT min(number), max(number) FROM chunks"
YOUNG = "SELECT min(number) FROM chunks WHERE number < ? AND until_ms >= ?"
REQUESTS_BELOW = "SELECT coalesce(sum(requests), 0) FROM chunks WHERE number < ?"
TRIM_BELOW = "DELETE FROM chunks WHERE number < ?"
AT_ONCE = 100
"""Chunks that one transaction drops: some ten megabytes at most."""

# Releases before these kept a row for each prediction.
OLD_ONE = "SELECT id, time, model, version, row_values, answer, latency_ms, role FROM predictions WHERE id = ?"
OLD_ENDS = "SELECT min(number), max(number) FROM predictions"
OLD_YOUNG = "SELECT min(number) FROM predictions WHERE number < ? AND time >= ?"
OLD_TRIM_BELOW = "DELETE FROM predictions WHERE number < ?"
OLD_AT_ONCE = 10_000


of = attrgetter(*COLUMNS)


class SqliteRecords:
    """`ports.Records` on one SQLite file."""

    def __init__(self, path: Path, *, wait_s: float = sqlite.WAIT_S) -> None:
        """`wait_s`: how long a statement waits for another process's lock."""
        self._db, self._lock = sqlite.connect(path, "records", wait_s=wait_s), Lock()

    def append(
        self,
        chunks: Sequence[Chunk],
        *,
        gaps: Sequence[Gap] = (),
        progress: Progress | None = None,
        keyed: Sequence[Keyed] = (),
    ) -> None:
        if not chunks and not gaps and progress is None and not keyed:
            return
        with self._lock, sqlite.writing(self._db):
            known = {layout: self._number(layout.to_text()) for layout in {chunk.layout for chunk in chunks}}
            for start in range(0, len(chunks), TOGETHER):
                some = chunks[start : start + TOGETHER]
                rows = [(*of(chunk), known[chunk.layout], chunk.content) for chunk in some]
                self._db.execute(INSERT + ", ".join([VALUES] * len(rows)), list(chain.from_iterable(rows)))
            if keyed:
                self._db.executemany(KNOW_KEY, map(key_row, keyed))
            for gap in gaps:
                self._keep(gap)
            if progress is not None:
                self._db.execute(COME_SO_FAR, (progress.process, progress.accounted, progress.until_ms))

    def _number(self, layout: str) -> int:
        self._db.execute(KNOW_LAYOUT, (layout,))
        return int(self._db.execute(LAYOUT, (layout,)).fetchone()[0])

    def get(self, identity: str) -> Record:
        asked = Identity.parse(identity)
        id, _, row = identity.partition("/")
        found = self._old(id) if asked is None else self._find(asked)
        if found is None:
            raise NotFound("No prediction with that id is on record.", remedy=self._why(asked))
        if asked is not None or not row:
            return found
        return found.row(int(row)) if row.isdecimal() else found.row(len(found.rows))

    def _find(self, asked: Identity) -> Record | None:
        wanted = {"process": asked.process, "ms": asked.ms, "span": SPAN_MS, "number": asked.number, "numbers": NUMBERS}
        with self._lock, sqlite.storage_errors():
            rows = self._db.execute(CANDIDATES, wanted).fetchall()
        for row in rows:
            *columns, layout, content = row
            about = dict(zip(COLUMNS, columns, strict=True))
            found = find(Chunk(**about, layout=Layout.from_text(layout), content=content), asked)
            if found is not None:
                return found
        return None

    def _why(self, asked: Identity | None) -> str:
        """What can be known of why there is no record."""
        if asked is None:
            return "Use the `prediction_id` of an answer."
        with self._lock, sqlite.storage_errors():
            gap = self._db.execute(GAP_OF, (asked.process, asked.ms)).fetchone()
        if gap is not None:
            return f"It was lost: {WHY_LOST[gap[0]]}."
        return "It is there half a second after its answer, unless it was not sampled, or trimmed for its age or size."

    def _old(self, id: str) -> Record | None:
        with self._lock, sqlite.storage_errors():
            row = self._db.execute(OLD_ONE, (id,)).fetchone()
        return None if row is None else _old_record(*row)

    def count(self) -> int:
        with self._lock, sqlite.storage_errors():
            (old,) = self._db.execute("SELECT count(*) FROM predictions").fetchone()
            (requests,) = self._db.execute("SELECT coalesce(sum(requests), 0) FROM chunks").fetchone()
        return int(old + requests)

    def leave(self, process: str) -> None:
        with self._lock, sqlite.writing(self._db):
            self._db.execute(LEAVE, (process,))

    def mourn(self, process: str, *, handed: int | None, since_ms: int, until_ms: int) -> Gap | None:
        with self._lock, sqlite.writing(self._db):
            accounted, written_ms = self._db.execute(HOW_FAR, (process,)).fetchone() or (0, since_ms)
            lost = None if handed is None else handed - accounted
            if lost is not None and lost <= 0:
                return None
            gap = Gap(process, written_ms, max(until_ms, written_ms), lost, "killed")
            return gap if self._keep(gap) else None

    def _keep(self, gap: Gap) -> bool:
        """Store a gap; False where it is there already."""
        row = gap.process, gap.since_ms, gap.until_ms, gap.lost, gap.reason
        new = self._db.execute(INSERT_GAP, row).rowcount == 1
        self._db.execute(TRIM_GAPS, (MOST_GAPS,))
        return new

    def gaps(self) -> list[Gap]:
        with self._lock, sqlite.storage_errors():
            return [Gap(*row) for row in self._db.execute(GAPS)]

    def trim(self, *, before: datetime, max_bytes: int, share: float = 1.0) -> int:
        return self._trim_old(before, share) + self._trim_to(max_bytes)

    def _trim_old(self, before: datetime, share: float) -> int:
        """Drop what is old from the front; what is not old keeps what stands behind it."""
        gone = 0
        before_ms = int((before - EPOCH).total_seconds() * 1000)
        for ends, young, below, bound in (
            (OLD_ENDS, OLD_YOUNG, self._drop_old_below, timestamp(before)),
            (ENDS, YOUNG, self._drop_below, before_ms),
        ):
            with self._lock, sqlite.storage_errors():
                first, last = self._db.execute(ends).fetchone()
                if first is None:
                    continue
                end = first + max(1, math.ceil(share * (last - first + 1)))
                (stays,) = self._db.execute(young, (end, bound)).fetchone()
            gone += below(first, end if stays is None else stays)
        return gone

    def _trim_to(self, max_bytes: int) -> int:
        """Drop the oldest, a little at a time, until the pages in use fit."""
        gone = 0
        while True:
            with self._lock, sqlite.storage_errors():
                if self._bytes_in_use() <= max_bytes:
                    return gone
                old, _ = self._db.execute(OLD_ENDS).fetchone()
                first, last = self._db.execute(ENDS).fetchone()
            if old is not None:
                gone += self._drop_old_below(old, old + OLD_AT_ONCE)
            elif first is not None:
                gone += self._drop_below(first, first + max(1, min(AT_ONCE, (last - first) // 10)))
            else:
                return gone

    def _drop_below(self, first: int, end: int) -> int:
        """Drop chunks before `end` in short transactions; return how many requests they held."""
        gone = 0
        for bound in (*range(first + AT_ONCE, end, AT_ONCE), end):
            with self._lock, sqlite.writing(self._db):
                gone += int(self._db.execute(REQUESTS_BELOW, (bound,)).fetchone()[0])
                self._db.execute(TRIM_BELOW, (bound,))
        return gone

    def _drop_old_below(self, first: int, end: int) -> int:
        gone = 0
        for bound in (*range(first + OLD_AT_ONCE, end, OLD_AT_ONCE), end):
            with self._lock, sqlite.writing(self._db):
                gone += self._db.execute(OLD_TRIM_BELOW, (bound,)).rowcount
        return gone

    def _bytes_in_use(self) -> int:
        pages, free, size = (
            int(self._db.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def close(self) -> None:
        with self._lock:
            self._db.close()


def key_row(one: Keyed) -> tuple[str, str, int, str, int, int]:
    return one.model, one.key, one.request.ms, one.request.process, one.request.number, one.row


WHY_LOST = {
    "killed": "its process was killed before it could write it",
    "full": "the disk did not answer, and too much waited already",
    "failed": "it could not be written, which the log tells",
}


def _old_record(
    id: str, time: str, model: str, version: str, rows: bytes, answer: bytes, latency_ms: float, role: str
) -> Record:
    """What earlier releases kept: rows as JSON without the names of their columns, and the body that was sent."""
    values, said = json.loads(rows), json.loads(answer)
    classes = said["classes"]
    return Record(
        id=id,
        time=moment(time),
        model=model,
        version=version,
        columns=tuple(str(i) for i in range(len(values[0]))),
        withheld=(),
        rows=values,
        answer=Answer(said["predictions"], said["probabilities"]),
        classes=None if classes is None else tuple(classes),
        latency_s=latency_ms / 1e3,
        role=None if role == "open" else role,
    )
