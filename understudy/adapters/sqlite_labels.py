"""Labels in the file of the records, over a connection of its own."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

from understudy.adapters import sqlite
from understudy.adapters.sqlite_chunks import AT_ONCE, SqliteChunks
from understudy.errors import UnderstudyError
from understudy.label_quality import FEWEST, Sample
from understudy.labels import Answered, Fact, Given, Labelled, Outcome, Place, Request, read, weigh
from understudy.maturity import Cohort, Delay
from understudy.recorded_rows import calls_in, places, spans
from understudy.recorded_rows import read as rows_of
from understudy.records import SPAN_MS, Chunk, moment_of
from understudy.signature import Value

FACTS = """
SELECT asked.key, source, label, late FROM json_each(?) AS asked CROSS JOIN labels
WHERE model = json_extract(asked.value, '$[0]') AND ms = json_extract(asked.value, '$[1]')
AND process = json_extract(asked.value, '$[2]') AND number = json_extract(asked.value, '$[3]')
AND row = json_extract(asked.value, '$[4]') ORDER BY arrival
"""
INSERT = """
INSERT INTO labels (model, ms, process, number, row, source, label, arrived_ms, late)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
STORED_AT_ONCE = 2_000
"""Labels that one transaction stores: the recorder waits for it."""

COUNTING = """
SELECT ms, process, number, row, label, arrived_ms, source, max((source = 'source') << 62 | arrival) FROM labels
WHERE model = :model AND late = 0 AND ms <= :until
AND (ms, process, number, row) > (:ms, :process, :number, :row)
AND NOT EXISTS (SELECT 1 FROM doubts WHERE doubts.model = :model AND ms > since_ms AND ms <= until_ms)
GROUP BY ms, process, number, row ORDER BY ms, process, number, row LIMIT :limit
"""
"""Which label counts is said by `labels.counting`: the last, and that of the model's source is beyond all others."""
LATEST = """
SELECT ms, process, number, row, label, arrived_ms, source, max((source = 'source') << 62 | arrival) FROM labels
WHERE model = ? AND (ms, process, number, row) BETWEEN (?, ?, ?, ?) AND (?, ?, ?, ?)
GROUP BY ms, process, number, row
"""
CLOSED = "SELECT closed_ms FROM closings WHERE model = ?"
CLOSE = """
INSERT INTO closings (model, closed_ms) VALUES (?, ?)
ON CONFLICT (model) DO UPDATE SET closed_ms = excluded.closed_ms
"""
DOUBTED_UNTIL = "SELECT since_ms FROM doubts WHERE model = ? AND until_ms = ?"
DOUBT = """
INSERT INTO doubts (model, since_ms, until_ms, reason) VALUES (?, ?, ?, ?)
ON CONFLICT (model, since_ms) DO UPDATE SET until_ms = excluded.until_ms
"""
NEWEST = """
SELECT ms, process, number, row, label FROM labels
WHERE model = :model AND late = 0 AND ms <= :until
AND NOT (:judged AND EXISTS (SELECT 1 FROM doubts WHERE doubts.model = :model AND ms > since_ms AND ms <= until_ms))
ORDER BY ms DESC, process DESC, number DESC, row DESC, (source = 'source') << 62 | arrival DESC LIMIT :most
"""
FIRST_MS = "SELECT min(ms) FROM labels WHERE model = ?"
DELAYS = """
SELECT source, ms, min(arrived_ms), late FROM (
    SELECT ms, process, number, row, source, arrived_ms, late FROM labels
    WHERE model = ? AND ms BETWEEN ? AND ? ORDER BY ms, process, number, row LIMIT ?
) GROUP BY ms, process, number, row, source
"""
REQUESTS_IN = """
SELECT coalesce(sum(requests), 0), min(since_ms) FROM chunks WHERE model = ? AND until_ms > ? AND until_ms <= ?
"""
LABELLED_IN = """
SELECT count(DISTINCT process || '/' || ms || '/' || number), coalesce(sum(ms > :since), 0) FROM (
    SELECT DISTINCT ms, process, number, row FROM labels WHERE model = :model AND ms > :first AND ms <= :until
)
"""
"""Requests are counted where their chunk ends: their labels are looked for from where it begins."""
BY_KEY = """
SELECT ms, process, number, row FROM keys WHERE model = ? AND key = ?
ORDER BY ms DESC, process DESC, number DESC, row DESC LIMIT 1
"""
UNLABELLED = """
SELECT ms, process, number, row, key FROM keys
WHERE model = :model AND (ms, process, number, row) > (:ms, :process, :number, :row)
AND NOT EXISTS (
    SELECT 1 FROM labels WHERE labels.model = keys.model AND labels.ms = keys.ms
    AND labels.process = keys.process AND labels.number = keys.number AND labels.row = keys.row
    AND labels.source = 'source'
) ORDER BY ms, process, number, row LIMIT :limit
"""
OLDEST = "SELECT since_ms FROM chunks ORDER BY number LIMIT 1"
MODELS = "SELECT DISTINCT model FROM {table}"
TRIM = """
DELETE FROM {table} WHERE (model, ms, process, number, row) IN
(SELECT model, ms, process, number, row FROM {table} WHERE model = ? AND ms < ? ORDER BY ms LIMIT ?)
"""
TRIMMED_AT_ONCE = 2_000
ALL = 2**62
DISORDER_MS = 3_600_000
"""A chunk may have waited for a disk that did not answer, and stand behind younger ones."""


class SqliteLabels:
    """`ports.Labels` on the SQLite file of `SqliteRecords`."""

    def __init__(self, path: Path, *, wait_s: float = sqlite.WAIT_S) -> None:
        """`wait_s`: how long a statement waits for another process's lock."""
        self._db, self._lock = sqlite.connect(path, "records", wait_s=wait_s), Lock()
        self._chunks = SqliteChunks(self._db, self._lock)

    def find(self, asked: Iterable[Request]) -> dict[Request, Answered]:
        found: dict[Request, Answered] = {}
        for chunk, requests in self._chunks.holding(set(asked)):
            each = dict[int, Answered]()
            for (ms, number), (_, rows) in spans(calls_in(chunk.content), requests).items():
                if rows not in each:
                    each[rows] = Answered(chunk.model, chunk.version, rows, chunk.layout.classes)
                found[chunk.process, ms, number] = each[rows]
        return found

    def by_key(self, model: str, keys: Collection[str]) -> dict[str, Place]:
        found = {}
        with self._lock, sqlite.storage_errors():
            for key in keys:
                row = self._db.execute(BY_KEY, (model, key)).fetchone()
                if row is not None:
                    found[key] = Place(*row)
        return found

    def unlabelled(self, model: str, *, after: Place | None, limit: int) -> list[tuple[Place, str]]:
        with self._lock, sqlite.storage_errors():
            rows = self._db.execute(UNLABELLED, {"model": model, "limit": limit, **beyond(after)}).fetchall()
        return [(Place(*row[:4]), row[4]) for row in rows]

    def add(self, given: Sequence[Given], *, now_ms: int) -> list[Outcome | UnderstudyError]:
        outcomes: list[Outcome | UnderstudyError] = []
        for start in range(0, len(given), STORED_AT_ONCE):
            some = given[start : start + STORED_AT_ONCE]
            with self._lock, sqlite.writing(self._db):
                outcomes += self._added(some, now_ms)
        return outcomes

    def _added(self, given: Sequence[Given], now_ms: int) -> list[Outcome | UnderstudyError]:
        closed = {model: self._closed(model) for model in {one.model for one in given}}
        facts = self._facts(given)
        outcomes: list[Outcome | UnderstudyError] = []
        new = []
        for one in given:
            known = facts.setdefault((one.model, one.place), [])
            try:
                outcome = weigh(known, one, closed[one.model])
            except UnderstudyError as refusal:
                outcomes.append(refusal)
                continue
            if outcome != "known":
                known.append(Fact(one.source, one.label, outcome == "late"))
                new.append((*where(one.model, one.place), one.source, one.label, now_ms, outcome == "late"))
            outcomes.append(outcome)
        self._db.executemany(INSERT, new)
        return outcomes

    def _facts(self, given: Sequence[Given]) -> dict[tuple[str, Place], list[Fact]]:
        rows = list({(one.model, one.place) for one in given})
        found: dict[tuple[str, Place], list[Fact]] = {}
        asked = json.dumps([where(model, place) for model, place in rows])
        for key, source, label, late in self._db.execute(FACTS, (asked,)):
            found.setdefault(rows[key], []).append(Fact(source, label, bool(late)))
        return found

    def judged(
        self, model: str, *, after: Place | None, until_ms: int, limit: int, hidden: Collection[str] = ()
    ) -> tuple[list[Labelled], Place | None]:
        while True:
            asked = {"model": model, "until": until_ms, "limit": limit, **beyond(after)}
            with self._lock, sqlite.storage_errors():
                rows = self._db.execute(COUNTING, asked).fetchall()
            if not rows:
                return [], after
            labels = told(rows)
            after = Place(*rows[-1][:4])
            if found := self._joined(labels, hidden):
                return found, after

    def _joined(self, labels: Mapping[Place, tuple[str, int, str]], hidden: Collection[str]) -> list[Labelled]:
        """The records of labelled rows, in order; those that are trimmed by now are left out."""
        by_request: dict[Request, list[Place]] = {}
        for place in labels:
            by_request.setdefault((place.process, place.ms, place.number), []).append(place)
        found: list[Labelled] = []
        for chunk, requests in self._chunks.holding(by_request):
            wanted = [
                (place, first + place.row)
                for (ms, number), (first, rows) in spans(calls_in(chunk.content), requests).items()
                for place in by_request[chunk.process, ms, number]
                if place.row < rows
            ]
            if wanted:
                found += rows_of(chunk, wanted, hidden)
        return sorted((with_label(one, labels[one.place]) for one in found), key=lambda one: one.place)

    def recorded(
        self, model: str, *, after: Place | None, until_ms: int, limit: int, hidden: Collection[str] = ()
    ) -> list[Labelled]:
        start, found = after or FIRST, list[tuple[Place, int, Chunk]]()
        at, ready = (start.ms - 1, 2**62), list[tuple[Place, int, Chunk]]()
        more = True
        while more and len(ready) < limit:
            known = self._chunks.of_model(model, *at)
            for chunk in self._chunks.filled(known):
                rows = enumerate(places(chunk.process, calls_in(chunk.content)))
                found += [(place, row, chunk) for row, place in rows if place > start and place.ms <= until_ms]
            more = len(known) == AT_ONCE and known[-1].chunk.since_ms <= until_ms
            if known:
                at = known[-1].chunk.until_ms, known[-1].number
            ready = [one for one in found if not more or one[0].ms < at[0] - SPAN_MS]
        ready = sorted(ready, key=lambda one: one[0])[:limit]
        return self._with_latest(model, read_all(ready, hidden))

    def _with_latest(self, model: str, rows: list[Labelled]) -> list[Labelled]:
        if not rows:
            return rows
        ends = (*where(model, rows[0].place), *where(model, rows[-1].place)[1:])
        with self._lock, sqlite.storage_errors():
            labels = told(self._db.execute(LATEST, ends).fetchall())
        return [with_label(one, labels.get(one.place)) for one in rows]

    def closed_ms(self, model: str) -> int | None:
        with self._lock, sqlite.storage_errors():
            row = self._db.execute(CLOSED, (model,)).fetchone()
        return None if row is None else int(row[0])

    def close_until(self, model: str, ms: int, *, doubt: str | None = None) -> bool:
        with self._lock, sqlite.writing(self._db):
            before = self._closed(model)
            if ms <= before:
                return False
            self._db.execute(CLOSE, (model, ms))
            if doubt is None:
                return False
            going_on = self._db.execute(DOUBTED_UNTIL, (model, before)).fetchone()
            self._db.execute(DOUBT, (model, before if going_on is None else going_on[0], ms, doubt))
            return going_on is None

    def sample(self, model: str, *, since_ms: int, until_ms: int, most: int) -> tuple[Sample, list[Value]]:
        found = self._newest(model, until_ms, most, judged=False)
        newest = {place: facts for i, (place, facts) in enumerate(found.items()) if i < FEWEST or place.ms > since_ms}
        labels = {place: read(facts[0]) for place, facts in newest.items()}
        disputed = sum(len(set(facts)) > 1 for facts in newest.values())
        first_ms = min((place.ms for place in labels), default=0)
        before = self._newest(model, first_ms - 1, most, judged=True)
        return Sample(list(labels.values()), disputed), [read(facts[0]) for facts in before.values()]

    def _newest(self, model: str, until_ms: int, most: int, *, judged: bool) -> dict[Place, list[str]]:
        """Labels of the newest rows up to then, of each first the one that counts."""
        given = {"model": model, "until": until_ms, "most": most, "judged": judged}
        found: dict[Place, list[str]] = {}
        with self._lock, sqlite.storage_errors():
            for *place, label in self._db.execute(NEWEST, given):
                found.setdefault(Place(*place), []).append(label)
        return found

    def _closed(self, model: str) -> int:
        row = self._db.execute(CLOSED, (model,)).fetchone()
        return -1 if row is None else int(row[0])

    def delays(self, model: str, *, since_ms: int, now_ms: int, most: int) -> list[Delay]:
        with self._lock, sqlite.storage_errors():
            (first,) = self._db.execute(FIRST_MS, (model,)).fetchone()
            if first is None:
                return []
            since_ms = max(since_ms, first)
            width = max(1, -(-(now_ms + 1 - since_ms) // PLACES))
            found: list[Delay] = []
            for start in range(since_ms, now_ms + 1, width):
                rows = self._db.execute(DELAYS, (model, start, start + width - 1, max(1, most // PLACES)))
                found += [Delay(source, ms, arrived_ms, bool(late)) for source, ms, arrived_ms, late in rows]
        return found

    def cohort(self, model: str, *, since_ms: int, until_ms: int) -> Cohort:
        with self._lock, sqlite.storage_errors():
            requests, first_ms = self._db.execute(REQUESTS_IN, (model, since_ms, until_ms)).fetchone()
            first_ms = since_ms if first_ms is None else min(since_ms, first_ms - 1)
            asked = {"model": model, "since": since_ms, "first": first_ms, "until": until_ms}
            labelled, rows = self._db.execute(LABELLED_IN, asked).fetchone()
        return Cohort(since_ms, until_ms, requests, labelled, rows)

    def trim(self) -> int:
        with self._lock, sqlite.storage_errors():
            oldest = self._db.execute(OLDEST).fetchone()
        before_ms = ALL if oldest is None else int(oldest[0]) - DISORDER_MS
        return sum(self._trimmed(table, before_ms) for table in ("labels", "keys"))

    def _trimmed(self, table: str, before_ms: int) -> int:
        with self._lock, sqlite.storage_errors():
            models = [model for (model,) in self._db.execute(MODELS.format(table=table)).fetchall()]
        gone = 0
        for model in models:
            dropped = TRIMMED_AT_ONCE
            while dropped >= TRIMMED_AT_ONCE:
                with self._lock, sqlite.writing(self._db):
                    dropped = self._db.execute(TRIM.format(table=table), (model, before_ms, TRIMMED_AT_ONCE)).rowcount
                gone += dropped
        return gone

    def close(self) -> None:
        with self._lock:
            self._db.close()


FIRST = Place(-1, "", 0, 0)
"""Before every place."""
PLACES = 50
"""Stretches of time from each of which some delays are taken: labels often come in batches."""

Told = tuple[str, int, str]
"""A label, when it arrived, and who told it."""


def where(model: str, place: Place) -> tuple[str, int, str, int, int]:
    return model, place.ms, place.process, place.number, place.row


def beyond(after: Place | None) -> dict[str, int | str]:
    """The parameters of a statement that goes on behind a place."""
    start = after or FIRST
    return {"ms": start.ms, "process": start.process, "number": start.number, "row": start.row}


def told(rows: Iterable[tuple[Any, ...]]) -> dict[Place, Told]:
    return {Place(*row[:4]): (row[4], row[5], row[6]) for row in rows}


def with_label(one: Labelled, told: Told | None) -> Labelled:
    if told is None:
        return one
    label, arrived_ms, source = told
    return replace(one, label=read(label), labelled_at=moment_of(arrived_ms), source=source)


def read_all(rows: Sequence[tuple[Place, int, Chunk]], hidden: Collection[str]) -> list[Labelled]:
    """Rows of several chunks, in order."""
    by_chunk: dict[int, list[tuple[Place, int, Chunk]]] = {}
    for one in rows:
        by_chunk.setdefault(id(one[2]), []).append(one)
    found = [
        made
        for some in by_chunk.values()
        for made in rows_of(some[0][2], [(place, row) for place, row, _ in some], hidden)
    ]
    return sorted(found, key=lambda one: one.place)
