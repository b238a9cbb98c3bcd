"""Everything the product asks of the world, as a table of contents.

    EventLog        facts, numbered and chained              SQLite; PostgreSQL later
    ArtifactStore   immutable bytes, named by their sha256   a folder; S3 later
    Records         predictions as they were answered        SQLite
    Labels          what turned out to be true of them       SQLite
    Pulse           who is alive, and what it serves         SQLite, not durable
    Source          rows to learn from                       Csv, Parquet, or any class of the user's

One contract suite per port (`tests/contract/`) runs on every adapter; passing it is what makes something an adapter.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from understudy.events import Event, Recorded

if TYPE_CHECKING:  # the core never needs pandas to decide something, nor numpy to name a model
    import pandas as pd

    from understudy.errors import UnderstudyError
    from understudy.label_quality import Sample
    from understudy.labels import Answered, Given, Labelled, Outcome, Place, Request
    from understudy.maturity import Cohort, Delay
    from understudy.records import Chunk, Gap, Keyed, Progress, Record
    from understudy.signature import Value


class EventLog(Protocol):
    """Append-only and totally ordered. Once position n is visible, nothing new appears at or before n."""

    def append(self, *events: Event, expect: int | None = None, now: datetime | None = None) -> list[Recorded]:
        """Store `events` all together or not at all, and durably; return them in their places.

        Their time is `now` (None: what the clock says), or that of the event before where that is later.

        Raises:
            ConcurrentAppend: `expect` is given and the log has moved past it. Read on, fold, decide again:
                only the decision can say that there is a conflict.
            StorageUnavailable, StorageFull: it is not stored for good. Where the last sync itself failed, all of it
                may be there nevertheless: read on before deciding again.
            LogTampered: the log's last row is not the one that this adapter saw last.
        """

    def read(self, *, after: int = 0, limit: int | None = None) -> Iterator[Recorded]:
        """Yield recorded events with position > `after`, oldest first, each checked against the hash before it.

        Cheap when nothing has been appended since the last call. Raises LogTampered at the first row that does not
        follow, and where the log has no event `after`.
        """

    def head(self) -> tuple[int, str]:
        """Position and hash of the last event; (0, GENESIS) for an empty log."""

    def close(self) -> None: ...


class ArtifactStore(Protocol):
    """Immutable blobs. What `get` returns has the digest that was asked for, or it raises."""

    def put(self, data: bytes) -> str:
        """Store `data` durably and return its sha256 in hex. Storing it again is a no-op.

        Raises StorageFull or StorageUnavailable; then no part of it is visible.
        """

    def get(self, digest: str) -> bytes:
        """Return the blob. Raises NotFound, DigestMismatch (changed on disk) or StorageUnavailable."""

    def has(self, digest: str) -> bool: ...

    def sweep(self) -> int:
        """Remove what writers that died left behind; return how many. Never touches a blob or a writer at work."""


class Records(Protocol):
    """Predictions. Not facts: they may be trimmed, and a crash may lose the newest half second, which leaves a gap."""

    def append(
        self,
        chunks: "Sequence[Chunk]",
        *,
        gaps: "Sequence[Gap]" = (),
        progress: "Progress | None" = None,
        keyed: "Sequence[Keyed]" = (),
    ) -> None:
        """Store all of it in one commit, durably, or raise StorageUnavailable or StorageFull and store nothing."""

    def get(self, identity: str) -> "Record":
        """The record of a request, `ID`, or of one of its rows, `ID/i`.

        Raises NotFound, with what can be known of the reason.
        """

    def count(self) -> int:
        """Requests on record."""

    def leave(self, process: str) -> None:
        """Forget how far a process has come: it has ended, and what it handed over is accounted for."""

    def mourn(self, process: str, *, handed: int | None, since_ms: int, until_ms: int) -> "Gap | None":
        """Record what a killed process had handed over and not written; None where that is nothing.

        A second time for the same process is a no-op. `handed`: requests since it started; None: it is not known.
        """

    def gaps(self) -> "list[Gap]":
        """Oldest first."""

    def trim(self, *, before: datetime, max_bytes: int, share: float = 1.0) -> int:
        """Drop records older than `before`, then the oldest until the data fit `max_bytes`; return how many.

        At most `share` of all chunks (one, at least) is dropped for its age: the clock may be wrong. In short
        transactions, so that whoever writes meanwhile waits for none of it for long.
        """

    def close(self) -> None: ...


class Labels(Protocol):
    """Labels of recorded predictions: facts, kept beside each other; the latest that is not late counts.

    One of `labels.MODEL_SOURCE` counts before all others.

    Everything raises StorageUnavailable where the file cannot be used, and StorageFull where it has no room left.
    """

    def find(self, asked: "Iterable[Request]") -> "dict[Request, Answered]":
        """What is on record of requests; those that are not are left out."""

    def by_key(self, model: str, keys: "Collection[str]") -> "dict[str, Place]":
        """The newest row that was asked for under each key; those that never were are left out."""

    def unlabelled(self, model: str, *, after: "Place | None", limit: int) -> "list[tuple[Place, str]]":
        """Rows that have a key and no label of the model's source, each with its key, in the order of places."""

    def add(self, given: "Sequence[Given]", *, now_ms: int) -> "list[Outcome | UnderstudyError]":
        """Store what is new, durably, in the given order; return what became of each. Two at once are no conflict."""

    def judged(
        self, model: str, *, after: "Place | None", until_ms: int, limit: int, hidden: "Collection[str]" = ()
    ) -> "tuple[list[Labelled], Place | None]":
        """Rows up to `until_ms` with the label that counts, in the order of places, and the last place looked at.

        Only rows that are still on record, without the columns `hidden`. Empty only where there are no more.
        """

    def recorded(
        self, model: str, *, after: "Place | None", until_ms: int, limit: int, hidden: "Collection[str]" = ()
    ) -> "list[Labelled]":
        """Every recorded row up to `until_ms`, with its latest label if it has one, in the order of places."""

    def closed_ms(self, model: str) -> int | None:
        """Until when predictions are closed; None: none is."""

    def close_until(self, model: str, ms: int, *, doubt: str | None = None) -> bool:
        """Close predictions up to then; what is closed stays closed.

        With a `doubt`, nothing is judged by what is closed now; True where that begins, and does not go on.
        """

    def sample(self, model: str, *, since_ms: int, until_ms: int, most: int) -> "tuple[Sample, list[Value]]":
        """Labels of rows after `since_ms` and up to `until_ms` that are not late, and `most` before of what is judged.

        The newest `most` of them; where they are fewer than `label_quality.FEWEST`, so many, whatever their rows.
        """

    def delays(self, model: str, *, since_ms: int, now_ms: int, most: int) -> "list[Delay]":
        """Of about `most` labels, the first of each source for a row; spread over the time since then."""

    def cohort(self, model: str, *, since_ms: int, until_ms: int) -> "Cohort":
        """How many requests there were after `since_ms` and up to `until_ms`, and how many have a label.

        By the time of their records: those that were written together with the first of them may count as labelled.
        """

    def trim(self) -> int:
        """Drop labels and keys of records that are gone; return how many."""

    def close(self) -> None: ...


ScoredRow = tuple[str, float | None, float | None]
"""Id of a predicted row, and the losses of the champion and of the other version; None: no finite one."""


class Scores(Protocol):
    """What a pair of versions lost on labelled predictions. Not facts; a decision keeps its rows in the store."""

    def cursor(self, model: str, pair: int) -> str | None:
        """Up to where labelled predictions have been scored for a pair; None: not begun."""

    def add(self, model: str, pair: int, *, after: str | None, until: str, rows: Sequence[ScoredRow]) -> None:
        """Append rows in the order of their predictions, and move the cursor; those of earlier pairs are dropped.

        Raises Conflict where the cursor is not at `after`, or a later pair has begun; then nothing is stored.
        """

    def read(self, model: str, pair: int, *, since: int = 0) -> list[ScoredRow]:
        """Rows in the order of the predictions, but for the first `since`."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Beat:
    """The newest sign of life of one process or claim."""

    counter: int
    state: Mapping[str, Any]


class Pulse(Protocol):
    """Signs of life: overwritten, not durable. A counter that moves is alive; clocks are never compared."""

    def beat(self, who: str, state: Mapping[str, Any]) -> None:
        """Raise the counter of `who` by one and replace its state."""

    def read(self) -> Mapping[str, Beat]: ...

    def forget(self, who: Iterable[str]) -> None:
        """Drop those; unknown names are a no-op."""

    def forget_unmoved(self, beats: Mapping[str, Beat]) -> None:
        """Drop those whose counter is still the one that was read: who has come back meanwhile stays."""

    def close(self) -> None: ...


class Source(Protocol):
    """Where a model's rows come from. Any class with this method will do; nothing is registered."""

    def get_dataframe(self, as_of: datetime | None) -> "pd.DataFrame":
        """All rows that had arrived by `as_of` (aware, UTC); None: all there are.

        Later calls may add rows, never change them.
        """
