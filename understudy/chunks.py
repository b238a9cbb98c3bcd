"""Records as they are stored: in chunks, column by column, and not row by row.

A chunk holds the answered requests of one version, up to some hundreds, as the model saw them: its inputs are the
float32 bytes of all calls one after another, its outputs too. So a prediction costs its bytes and part of a
microsecond, and not a row of a table. What a model with texts saw, or one that ONNX cannot hold, stands there as
values.
"""

from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Protocol

import msgspec
import numpy as np

from understudy.decimals import shortest
from understudy.parity import Answer
from understudy.records import NUMBERS, SPAN_MS, Chunk, Identity, Layout, Record, is_sampled, no_such_row
from understudy.signature import ColumnKind, Value

MOST_REQUESTS = 500
MOST_BYTES = 2**18
"""Bytes of inputs in one chunk; a call that is larger is a chunk of its own."""


class Call(Protocol):
    """What is known of one call of a model; `api.answered.Answered` says it in full."""

    stamp: bytes
    first: int
    rows: Any  # float32 bytes, or tuples
    n: int
    output: Any  # a float32 array, or an Answer
    latencies_s: list[float]
    roles: Any  # a sequence of roles, or None


class Content(msgspec.Struct, array_like=True):
    """The columns of a chunk."""

    calls: list[tuple[int, int, int, int]]
    """Of each call: its time in ms, the number of its first request, requests, rows."""
    latencies: bytes
    """Seconds, a float32 for each request."""
    roles: str | list[str | None] | None
    """One for all, or one for each request."""
    rows: bytes | list[list[Value]]
    outputs: bytes | tuple[list[Any], list[list[float]] | None]
    """float32, row after row; or predictions and probabilities."""


#: Made once: msgspec crashes where two threads are the first to decode a type at the same time.
ENCODER, DECODER = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Content)


@dataclass(slots=True)
class _Some:
    """A call without the requests that are left out."""

    stamp: bytes
    first: int
    places: list[int]
    """Which of its requests are kept."""
    rows: Any
    n: int
    output: Any
    latencies_s: list[float]
    roles: Sequence[str | None] | None


class _Part:
    """The calls of a chunk, while it is filled."""

    def __init__(self) -> None:
        self.calls: list[Call | _Some] = []
        self._requests = self._bytes = self._since_ms = 0
        self._stamp = b""

    def add(self, call: Call | _Some) -> bool:
        """Take one more; False where it belongs into the next chunk."""
        if call.stamp != self._stamp:
            ms = int(call.stamp, 16)
            if not self.calls:
                self._since_ms = ms
            elif abs(ms - self._since_ms) > SPAN_MS // 2:
                return False
            self._stamp = call.stamp
        if self._requests >= MOST_REQUESTS or self._bytes >= MOST_BYTES:
            return False
        if self.calls and abs(call.first - self.calls[0].first) > NUMBERS // 2:
            return False
        self.calls.append(call)
        self._requests += len(call.latencies_s)
        self._bytes += len(call.rows) if type(call.rows) is bytes else 8 * call.n * len(call.rows[0])
        return True


def chunks(
    calls: Iterable[Call], *, process: str, model: str, version: str, layout: Layout, share: float = 1.0
) -> Iterator[Chunk]:
    """Join calls of one version, in the order in which they were answered.

    Args:
        share: of the requests that are kept.
    """
    parts: dict[tuple[bool, bool], _Part] = {}
    for call in calls:
        kept = call if share >= 1 else _sample(call, process, share)
        if kept is None:
            continue
        form = type(kept.rows) is bytes, type(kept.output) is Answer
        if form not in parts:
            parts[form] = _Part()
        if not parts[form].add(kept):
            yield _chunk(parts[form].calls, process, model, version, layout)
            parts[form] = _Part()
            parts[form].add(kept)
    for part in parts.values():
        yield _chunk(part.calls, process, model, version, layout)


def narrowed(chunk: Chunk, withheld: Collection[str]) -> Chunk:
    """The chunk without the columns that are to be withheld by now."""
    names = [name for name, _ in chunk.layout.columns]
    gone = [name for name in names if name in withheld and name not in chunk.layout.withheld]
    if not gone:
        return chunk
    left = [place for place, i in enumerate(chunk.layout.kept) if names[i] not in gone]
    content = DECODER.decode(chunk.content)
    n = sum(rows for *_, rows in content.calls)
    content.rows = _without(content.rows, n, len(chunk.layout.kept), left)
    layout = replace(chunk.layout, withheld=tuple(name for name in names if name in {*gone, *chunk.layout.withheld}))
    return replace(chunk, layout=layout, content=ENCODER.encode(content))


def find(chunk: Chunk, identity: Identity) -> Record | None:
    """The record of a request in a chunk of its process; None where it is not in this one.

    Of `ID/i` the one row, and no other is made: there may be 100,000. Raises NotFound where it has no such row.
    """
    content = DECODER.decode(chunk.content)
    request = row = 0
    for ms, first, requests, rows in content.calls:
        place = (identity.number - first) % NUMBERS
        if ms == identity.ms and place < requests:
            each = rows // requests
            one, n = (0, each) if identity.row is None else (identity.row, 1)
            if one >= each:
                raise no_such_row(each)
            return _record(chunk, content, identity, request + place, row + place * each + one, n)
        request, row = request + requests, row + rows
    return None


def _record(chunk: Chunk, content: Content, identity: Identity, request: int, row: int, n: int) -> Record:
    layout = chunk.layout
    return Record(
        id=str(identity),
        time=identity.time,
        model=chunk.model,
        version=chunk.version,
        columns=tuple(layout.columns[i][0] for i in layout.kept),
        withheld=layout.withheld,
        rows=rows_in(content.rows, layout, row, n),
        answer=answer_in(content, layout.classes, row, n),
        classes=layout.classes,
        latency_s=round(array("f", content.latencies)[request], 7),
        role=content.roles[request] if isinstance(content.roles, list) else content.roles,
    )


def rows_in(stored: bytes | list[list[Value]], layout: Layout, row: int, n: int) -> list[list[Value]]:
    """`n` rows from `row` on, each with the columns that are kept."""
    if not isinstance(stored, bytes):
        return stored[row : row + n]
    width, kinds = len(layout.kept), [layout.columns[i][1] for i in layout.kept]
    if not kinds:
        return [[] for _ in range(n)]
    seen = np.frombuffer(stored, "<f4", n * width, row * width * 4).reshape(n, width)
    columns = [_values(seen[:, i], kind) for i, kind in enumerate(kinds)]
    return [list(values) for values in zip(*columns, strict=True)]


def _values(seen: np.ndarray[Any, Any], kind: ColumnKind) -> list[Value]:
    """A column of float32 as a client would have written it."""
    if kind == "boolean":
        return [None if value != value else bool(value) for value in seen.tolist()]
    if kind == "integer":
        return [None if value != value else int(value) for value in seen.tolist()]
    return [None if value != value else value for value in shortest(seen).tolist()]


def answer_in(content: Content, classes: tuple[Value, ...] | None, row: int, n: int) -> Answer:
    """What was said to them."""
    if not isinstance(content.outputs, bytes):
        predictions, probabilities = content.outputs
        return Answer(predictions[row : row + n], None if probabilities is None else probabilities[row : row + n])
    total = sum(rows for *_, rows in content.calls)
    said = np.frombuffer(content.outputs, "<f4").reshape(total, -1)[row : row + n]
    if classes is None:
        return Answer(said.ravel().tolist(), None)
    return Answer([classes[i] for i in said.argmax(axis=1).tolist()], said.tolist())


def _sample(call: Call, process: str, share: float) -> Call | _Some | None:
    """The call with the requests of it that are sampled; None: not one."""
    requests = len(call.latencies_s)
    ids = (b"%b%08x%b" % (call.stamp, (call.first + i) % NUMBERS, process.encode()) for i in range(requests))
    places = [i for i, identity in enumerate(ids) if is_sampled(identity, share)]
    if len(places) in (0, requests):
        return call if places else None
    return _Some(
        call.stamp,
        call.first,
        places,
        _picked_rows(call.rows, call.n, places),
        len(places),
        _picked_output(call.output, places),
        [call.latencies_s[i] for i in places],
        None if call.roles is None else [call.roles[i] for i in places],
    )


def _picked_rows(rows: Any, n: int, places: list[int]) -> Any:
    if not isinstance(rows, bytes):
        return [rows[i] for i in places]
    width = len(rows) // n
    return b"".join([rows[i * width : (i + 1) * width] for i in places])


def _picked_output(output: Any, places: list[int]) -> Any:
    if not isinstance(output, Answer):
        return output[places]
    probabilities = output.probabilities
    return Answer(
        [output.predictions[i] for i in places],
        None if probabilities is None else [probabilities[i] for i in places],
    )


def _chunk(part: list[Call | _Some], process: str, model: str, version: str, layout: Layout) -> Chunk:
    calls = _calls(part)
    latencies = array("f", chain.from_iterable([call.latencies_s for call in part]))
    content = Content(
        calls, latencies.tobytes(), _joined_roles(part), _joined_rows(part, layout), _joined_outputs(part)
    )
    return Chunk(
        process,
        model,
        version,
        min(calls)[0],
        max(calls)[0],
        min(first for _, first, _, _ in calls),
        max(first + requests - 1 for _, first, requests, _ in calls),
        len(latencies),
        layout,
        ENCODER.encode(content),
    )


def _calls(part: list[Call | _Some]) -> list[tuple[int, int, int, int]]:
    """Time, first number, requests and rows of each call; each request of a sampled one is a call here."""
    times = {stamp: int(stamp, 16) for stamp in {call.stamp for call in part}}
    found = list[tuple[int, int, int, int]]()
    for call in part:
        if type(call) is _Some:
            found += [(times[call.stamp], call.first + i, 1, 1) for i in call.places]
        else:
            found.append((times[call.stamp], call.first, len(call.latencies_s), call.n))
    return found


def _joined_roles(part: list[Call | _Some]) -> str | list[str | None] | None:
    if all(call.roles is None for call in part):
        return None
    roles: list[str | None] = []
    for call in part:
        roles.extend([None] * len(call.latencies_s) if call.roles is None else call.roles)
    return roles[0] if len(set(roles)) == 1 else roles


def _joined_rows(part: list[Call | _Some], layout: Layout) -> Any:
    n, width = sum(p.n for p in part), len(layout.columns)
    if isinstance(part[0].rows, bytes):
        return _without(b"".join([p.rows for p in part]), n, width, layout.kept)
    return _without([row for p in part for row in p.rows], n, width, layout.kept)


def _without(rows: Any, n: int, width: int, kept: list[int]) -> Any:
    """Rows of `width` columns with those alone that are kept."""
    if len(kept) == width:
        return rows
    if isinstance(rows, bytes):
        return np.frombuffer(rows, "<f4").reshape(n, width)[:, kept].tobytes()
    return [[row[i] for i in kept] for row in rows]


def _joined_outputs(part: list[Call | _Some]) -> Any:
    if not isinstance(part[0].output, Answer):
        return np.concatenate([p.output for p in part]).astype("<f4", copy=False).tobytes()
    predictions = [value for p in part for value in p.output.predictions]
    if part[0].output.probabilities is None:
        return predictions, None
    return predictions, [values for p in part for values in p.output.probabilities]
