"""What is kept of an answered prediction, what may be missing, and what is left out on purpose.

`understudy/chunks.py` says in which form: some hundreds of records at a time. Requests are left out by a share of their
ids, columns by the tags of the definition.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal

from understudy.errors import NotFound
from understudy.parity import Answer
from understudy.signature import ColumnKind, Signature, Value

SPAN_MS = 1_000
"""Longest time between the first and the last request of a chunk, so that an id is looked for in few of them."""
NUMBERS = 2**32
"""Numbers of requests begin again after so many."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_ID = re.compile(r"([0-9a-f]{11})([0-9a-f]{8})([0-9a-f]{6})(?:/([0-9]{1,9}))?")

Reason = Literal["killed", "full", "failed"]


@dataclass(frozen=True, slots=True)
class Identity:
    """The id of one request, taken apart; `api/identity.py` makes them."""

    ms: int
    number: int
    process: str
    row: int | None = None
    """Of `ID/i`."""

    @classmethod
    def parse(cls, text: str) -> "Identity | None":
        """None where it is no id of a prediction."""
        found = _ID.fullmatch(text)
        if found is None:
            return None
        row = None if found[4] is None else int(found[4])
        return cls(int(found[1], 16), int(found[2], 16), found[3], row)

    def __str__(self) -> str:
        return f"{self.ms:011x}{self.number:08x}{self.process}"

    @property
    def time(self) -> datetime:
        return moment_of(self.ms)


def moment_of(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)


@dataclass(frozen=True)
class Layout:
    """What the values of a chunk mean."""

    columns: tuple[tuple[str, ColumnKind], ...]
    """All of the signature, in its order."""
    withheld: tuple[str, ...]
    """Names of those that are not stored."""
    classes: tuple[Value, ...] | None

    @classmethod
    def of(cls, signature: Signature, withheld: Collection[str] = ()) -> "Layout":
        columns = tuple((column.name, column.kind) for column in signature.columns)
        return cls(columns, tuple(name for name, _ in columns if name in withheld), signature.classes)

    @cached_property
    def kept(self) -> list[int]:
        """Places of the columns that are stored."""
        return [i for i, (name, _) in enumerate(self.columns) if name not in self.withheld]

    def to_text(self) -> str:
        """The same for layouts that are the same."""
        classes = None if self.classes is None else list(self.classes)
        content = {"columns": self.columns, "withheld": self.withheld, "classes": classes}
        return json.dumps(content, separators=(",", ":"), ensure_ascii=True)

    @classmethod
    def from_text(cls, text: str) -> "Layout":
        content = json.loads(text)
        classes = content["classes"]
        return cls(
            tuple((name, kind) for name, kind in content["columns"]),
            tuple(content["withheld"]),
            None if classes is None else tuple(classes),
        )


@dataclass(frozen=True, slots=True)
class Chunk:
    """Requests that one version answered in one process within `SPAN_MS`."""

    process: str
    model: str
    version: str
    since_ms: int
    until_ms: int
    first: int
    """The smallest number of a request in it, and the greatest; others may lie between."""
    last: int
    requests: int
    layout: Layout
    content: bytes


@dataclass(frozen=True, slots=True)
class Keyed:
    """A row that its request named by a key."""

    model: str
    key: str
    """As `row_keys.text_of` writes it."""
    request: Identity
    row: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Requests of one process that were answered and are not on record."""

    process: str
    since_ms: int
    until_ms: int
    lost: int | None
    """How many; None where nobody can know."""
    reason: Reason
    """`killed`: the process was, before it could write them. `full`: too much waited for the disk already. `failed`:
    they could not be put into this form."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a process has come with its requests, counted since it started."""

    process: str
    accounted: int
    """Requests that are written, left out on purpose, or in a gap."""
    until_ms: int
    """Time of the newest of them."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One answered request, read back."""

    id: str
    time: datetime
    model: str
    version: str
    columns: tuple[str, ...]
    """Those that are stored, in the order of the signature."""
    withheld: tuple[str, ...]
    rows: list[list[Value]]
    """As the model saw them; where it saw float32, the shortest decimals that are the same float32."""
    answer: Answer
    classes: tuple[Value, ...] | None
    latency_s: float
    role: str | None
    """None: it came without a token."""

    def row(self, number: int) -> "Record":
        """The record of one row, `ID/number`. Raises NotFound where it has no such row."""
        if number >= len(self.rows):
            raise no_such_row(len(self.rows))
        rows, answer = [self.rows[number]], self.answer
        probabilities = None if answer.probabilities is None else [answer.probabilities[number]]
        return replace(self, rows=rows, answer=Answer([answer.predictions[number]], probabilities))

    def without(self, names: Collection[str]) -> "Record":
        """The record without the columns that are to be withheld by now, though they are stored."""
        gone = [name for name in self.columns if name in names]
        if not gone:
            return self
        left = [i for i, name in enumerate(self.columns) if name not in names]
        return replace(
            self,
            columns=tuple(self.columns[i] for i in left),
            withheld=(*self.withheld, *gone),
            rows=[[row[i] for i in left] for row in self.rows],
        )


def no_such_row(rows: int) -> NotFound:
    return NotFound("This prediction has no such row.", remedy=f"It has {rows}; the first of them is `ID/0`.")


def is_sampled(identity: bytes, share: float) -> bool:
    """Whether a request is among the `share` that is kept: the same for everybody who asks."""
    return share >= 1 or int.from_bytes(hashlib.blake2b(identity, digest_size=4).digest()) < share * 2**32


def withheld(definition: Mapping[str, Any], tags: Collection[str]) -> frozenset[str]:
    """Columns that carry one of `tags`, by a definition as `ModelDefined` holds it."""
    return frozenset(column for column, marks in definition.get("tags", {}).items() if not set(marks).isdisjoint(tags))
