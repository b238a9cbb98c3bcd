"""The log, read by somebody who does not trust it: every row is hashed and folded again.

It comes page by page from the API, which reads the same file with the same care, or from the file itself where the API
is down. A row is what SQLite holds of it: position, time, kind, schema, data, hash.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.adapters.api_client import ApiClient
from understudy.adapters.sqlite import storage_errors
from understudy.adapters.sqlite_log import AFTER, verified
from understudy.errors import LogTampered, NotFound
from understudy.events import Recorded
from understudy.fingerprint import canonical_json
from understudy.registry import fold
from understudy.state import Registry

PAGE = 1000

LogRow = tuple[int, Any, Any, int, Any, str]

Keep = Callable[[Recorded], bool]


def nothing(entry: Recorded) -> bool:
    return False


@dataclass(frozen=True)
class Audit:
    """How far a log follows from its beginning."""

    state: Registry = field(default_factory=Registry)
    """The fold of everything that follows, with position and hash of the last such event."""
    problem: str | None = None
    """What is wrong with the first event that does not follow; None where all do."""
    kept: Mapping[int, Recorded] = field(default_factory=dict)
    """The events that were to be kept, by position."""

    @property
    def broken_at(self) -> int | None:
        """Position of the first event that does not follow."""
        return None if self.problem is None else self.state.position + 1


def audit(pages: Iterable[Sequence[LogRow]], *, until: int | None = None, keep: Keep = nothing) -> Audit:
    """Check a log from its first event on.

    Args:
        until: the last position to look at; None: all there are.
        keep: says which events to return.

    Raises LogTampered where the API itself no longer reads the log, with its words.
    """
    done = Audit()
    for page in pages:
        rows = [row for row in page if until is None or row[0] <= until]
        done = extended(done, rows, keep)
        if done.problem is not None or len(rows) < len(page):
            break
    return done


def extended(done: Audit, rows: Sequence[LogRow], keep: Keep = nothing) -> Audit:
    """The audit that has also seen `rows`."""
    entries, problem = follow(rows, done.state)
    state, impossible = folded(entries, done.state)
    kept = {entry.position: entry for entry in entries if keep(entry)}
    return Audit(state, impossible or problem, {**done.kept, **kept})


def follow(rows: Sequence[LogRow], state: Registry) -> tuple[list[Recorded], str | None]:
    """The rows that follow `state`, and what is wrong with the first one that does not."""
    entries, time = list[Recorded](), state.time
    try:
        for entry in verified(list(rows), state.position, state.hash):
            if time is not None and entry.time < time:
                return entries, f"Event {entry.position} is dated before the one before it."
            entries.append(entry)
            time = entry.time
    except LogTampered as error:
        return entries, error.problem
    except ValueError:
        return entries, f"Event {state.position + len(entries) + 1} has no time that can be read."
    return entries, None


def folded(entries: Sequence[Recorded], state: Registry) -> tuple[Registry, str | None]:
    """The state after `entries`; or after those before the first one that is impossible, and why it is."""
    try:
        return fold(entries, state), None
    except LogTampered:
        pass  # one by one, to find which
    for entry in entries:
        try:
            state = fold([entry], state)
        except LogTampered as error:
            return state, error.problem
    raise AssertionError("what cannot be folded at once cannot be folded one by one")


def api_pages(client: ApiClient, *, after: int = 0) -> Iterator[list[LogRow]]:
    """The log as the API tells it."""
    while items := client.get("/events", after=after, limit=PAGE)["items"]:
        yield [row_of(item) for item in items]
        after = items[-1]["position"]


def row_of(item: Mapping[str, Any]) -> LogRow:
    """An item of `GET /events` as the row that its hash covers."""
    data = canonical_json(item["data"]).decode("utf-8", "surrogatepass")
    return item["position"], item["time"], item["kind"], item["schema"], data, item["hash"]


def file_pages(path: Path) -> Iterator[list[LogRow]]:
    """The log in a file, which is opened to be read and is never changed."""
    if not path.is_file():
        raise NotFound(f"There is no log at {path}.", remedy="Name its file: `--file var/events.db`.")
    with storage_errors(), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        after = 0
        while rows := db.execute(AFTER, (after, PAGE)).fetchall():
            yield rows
            after = rows[-1][0]
