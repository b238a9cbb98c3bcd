"""The work function: a body of JSON in, the bytes of an answer out, whichever way the request came.

One decision is made for each request: who may hold up the event loop. A row for a cheap version joins the call that its
turn of the loop shares (`gather`), a cheap batch is answered at once, everything else goes through the version's lane.
Every call ends in one `Answered`, for the records and the counters.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from starlette.concurrency import run_in_threadpool

from api.answered import Answered
from api.gather import Asker, Gather, asking
from api.identity import Identities
from api.lane import Hung, Lanes, Taken
from api.serving import Served
from api.wording import Words, length
from understudy.errors import BadRow, DeadlinePassed, UnderstudyError
from understudy.row_keys import take_out
from understudy.rows import Row

Rows = Sequence[Row] | np.ndarray[Any, Any]
"""Tuples in signature order; or, where the version has a packer, its matrix of float32."""

SMALL = 256 * 1024
"""Bytes of a body that is decoded on the event loop: about a millisecond and a half."""
BYTES_OF_A_VALUE = 12
"""About so many; how many rows a large body holds is known when it is read."""
DEADLINE_S = 10.0
"""For requests that name none."""


class Recorder(Protocol):
    """What is told of every call."""

    @property
    def durable(self) -> bool:
        """Whether answers wait until they are on record."""

    def add(self, answered: Answered) -> None: ...

    async def kept(self) -> None:
        """Wait until everything added so far is on record. Raises StorageUnavailable."""


class Counts(Protocol):
    """Counters."""

    def answered(self, call: Answered) -> None: ...

    def refused(self, model: str, code: str) -> None: ...


class Currency(Protocol):
    """Who knows whether what is loaded may answer."""

    def is_current(self) -> bool: ...

    async def current(self, model: str) -> None: ...


class BatchAsker(Asker, Protocol):
    """Who may also ask for many rows."""

    def answered_many(self, body: bytes, identity: bytes, served: Served) -> None: ...


class Answering:
    """Answers for one process, on its event loop."""

    def __init__(
        self,
        find: Callable[[str], Served],
        worker: Currency,
        recorder: Recorder,
        counts: Counts,
        hung: Hung,
        key_of: Callable[[str], str | None] = lambda model: None,
    ) -> None:
        """`key_of`: the column by which a model's rows may be named."""
        self._key_of = key_of
        self.find, self._worker, self._recorder, self._counts = find, worker, recorder, counts
        self.identities, self.lanes = Identities(), Lanes(hung)

    def at_once(
        self, served: Served, body: bytes | bytearray, asker: BatchAsker, started_s: float, role: str | None
    ) -> bool:
        """Answer within this turn of the loop; False where that cannot be, or where the body may be wrong."""
        if (gather := served.gather) is None:
            if not served.is_quick(1):
                return self._shed(served, asker)
            gather = self.gather(served)
        if not self._worker.is_current():
            return False
        if (row := served.decoder.record(body)) is not None:
            gather.add(row, asker, started_s, role)
            return True
        try:
            rows = served.decoder.decode(bytes(body))
        except UnderstudyError:
            return False
        if len(rows) == 1:
            gather.add(rows[0], asker, started_s, role)
            return True
        return served.is_quick(len(rows)) and self._batch(served, rows, asker, started_s, role)

    def _shed(self, served: Served, asker: BatchAsker) -> bool:
        """Refuse what the lane would refuse, before anything is made for it: that is most of an overload."""
        if served.lane is None or (refusal := served.lane.refusal(served.share_s(1), DEADLINE_S)) is None:
            return False
        asker.failed(refusal, served)
        return True

    def _batch(self, served: Served, rows: list[Row], asker: BatchAsker, started_s: float, role: str | None) -> bool:
        self.gather(served).flush()  # the same client may have asked before
        taken = packed(served, rows)
        try:
            output = served.call(asking(taken[0], served))
        except UnderstudyError as error:
            asker.failed(error, served)
            return True
        identity = self._note(served, taken, output, started_s, role)
        asker.answered_many(served.wording.many(output, identity), identity, served)
        return True

    async def answer(
        self, model: str, body: bytes, role: str | None = None, deadline_s: float = DEADLINE_S
    ) -> tuple[bytes, bytes, Served]:
        """The answer to a body of JSON, its id, and which version gave it.

        Raises NotFound and NothingServes for a model, BadInput, BadRow and TooLarge for a body, Overloaded,
        DeadlinePassed, ModelFailed; StorageUnavailable where answers wait for the records.
        """
        started_s = time.perf_counter()
        try:
            if deadline_s <= 0 or not self._worker.is_current():
                await self._wait_for(model, deadline_s)
                deadline_s -= time.perf_counter() - started_s
            served = self.find(model)
            row = served.decoder.record(body) if len(body) <= SMALL else None
            if row is None or not served.is_quick(1):
                return await self._answer(served, body, started_s, role, deadline_s)
            waiting = Waiting()
            (served.gather or self.gather(served)).add(row, waiting, started_s, role)
            content, identity = await waiting.future
            if self._recorder.durable:
                await self._recorder.kept()
            return content, identity, served
        except UnderstudyError as error:
            self.refused(model, error)
            raise

    async def _answer(
        self, served: Served, body: bytes, started_s: float, role: str | None, deadline_s: float
    ) -> tuple[bytes, bytes, Served]:
        """What is no single record for a model that is quick, or is not sure to be right."""
        reading = Reading(served, body, self._key_of)
        if len(body) > SMALL:
            rows = max(1, len(body) // (BYTES_OF_A_VALUE * len(served.signature.columns)))
            found = await self._by_lane(served, lambda: packed(served, reading.rows()), rows, deadline_s)
        else:
            found = await self._called(served, reading.rows(), deadline_s)
        identity = self._note(served, *found, started_s, role, reading.keys)
        await self._kept()
        return await self._worded(served, found[1], identity), identity, served

    async def ask(
        self, served: Served, rows: Rows, *, started_s: float, role: str | None = None, deadline_s: float = DEADLINE_S
    ) -> tuple[Any, bytes]:
        """What a version says to rows that its decoder would let pass, and the id of that; raises as `answer` does.

        It is said as `Runtime.run` says it: to put much of it into Python's values takes longer than a loop may wait.

        Args:
            started_s: when the body was complete, by `time.perf_counter`.
        """
        with self._counted(served.model):
            taken, output = await self._called(served, rows, deadline_s)
            identity = self._note(served, taken, output, started_s, role)
            await self._kept()
        return output, identity

    async def serving(self, model: str, *, deadline_s: float = DEADLINE_S) -> Served:
        """The version that answers for a model now. Raises NotFound, NothingServes and DeadlinePassed."""
        if deadline_s <= 0 or not self._worker.is_current():
            await self._wait_for(model, deadline_s)
        return self.find(model)

    async def _wait_for(self, model: str, deadline_s: float) -> None:
        """Wait until what serves is not older than the log says."""
        if deadline_s <= 0:
            raise DeadlinePassed("The deadline had passed before the model was asked.", remedy=MORE_TIME)
        try:
            async with asyncio.timeout(deadline_s):
                await self._worker.current(model)
        except TimeoutError:
            raise DeadlinePassed(f"A newer version of {model} was still being loaded.", remedy=MORE_TIME) from None

    def gather(self, served: Served) -> Gather:
        gather = served.gather
        if gather is None:
            gather = served.gather = Gather(served, self.identities, self._done)
        return gather

    async def _called(self, served: Served, rows: Rows, deadline_s: float) -> tuple[Taken, Any]:
        if not served.is_quick(len(rows)):
            return await self._by_lane(served, lambda: packed(served, rows), len(rows), deadline_s)
        taken = packed(served, rows)
        with served.request():
            return taken, served.call(asking(taken[0], served))

    async def _by_lane(
        self, served: Served, read: Callable[[], Taken], rows: int, deadline_s: float
    ) -> tuple[Taken, Any]:
        with served.request():
            lane = self.lanes.of(served)
            return await lane.ask(read, estimate_s=served.share_s(rows), deadline_s=deadline_s)

    async def _worded(self, served: Served, output: Any, identity: bytes) -> bytes:
        """The answer to many rows; what is long is written beside the event loop."""
        if served.is_short(length(output)):
            return served.wording.many(output, identity)
        return await run_in_threadpool(served.wording.many, output, identity)

    def _note(
        self,
        served: Served,
        taken: Taken,
        output: Any,
        started_s: float,
        role: str | None,
        keys: Sequence[str | None] | None = None,
    ) -> bytes:
        """Give the request its id, and its call to the records."""
        stamp, first = self.identities.take(1)
        latency_s = time.perf_counter() - started_s
        rows, n = taken
        roles = None if role is None else [role]
        self._done(Answered(served, first, stamp, rows, n, output, [latency_s], roles, keys))
        return self.identities.of(stamp, first)

    @contextmanager
    def _counted(self, model: str) -> Iterator[None]:
        """Count what is refused."""
        try:
            yield
        except UnderstudyError as error:
            self.refused(model, error)
            raise

    def refused(self, model: str, error: UnderstudyError) -> None:
        self._counts.refused(model, error.code)

    def _done(self, answered: Answered) -> None:
        self._recorder.add(answered)
        self._counts.answered(answered)

    async def _kept(self) -> None:
        if self._recorder.durable:
            await self._recorder.kept()


class Reading:
    """A body that is read once, maybe in a thread."""

    def __init__(self, served: Served, body: bytes, key_of: Callable[[str], str | None]) -> None:
        self._served, self._body, self._key_of = served, body, key_of
        self.keys: Sequence[str | None] | None = None
        """Of its rows, once they are read, where they are named by keys."""

    def rows(self) -> list[Row]:
        """Raises what `RowDecoder.decode` raises. Keys are looked for where the body is not right without them."""
        decode = self._served.decoder.decode
        try:
            return decode(self._body)
        except BadRow:
            column = self._key_of(self._served.model)
            found = None if column is None else take_out(self._body, column)
            if found is None:
                raise
        rest, keys = found
        rows = decode(rest)
        self.keys = keys
        return rows


class Waiting:
    """A coroutine that waits for its answer."""

    __slots__ = ("future",)

    def __init__(self) -> None:
        self.future: asyncio.Future[tuple[bytes, bytes]] = asyncio.get_running_loop().create_future()

    def answered(self, words: Words, identity: bytes, served: Served) -> None:
        if not self.future.done():
            self.future.set_result((served.wording.one(words, identity), identity))

    def failed(self, error: UnderstudyError, served: Served) -> None:
        if not self.future.done():
            self.future.set_exception(error)


def packed(served: Served, rows: Rows) -> Taken:
    """Rows as the model takes them and the records keep them."""
    if isinstance(rows, np.ndarray):
        return rows.tobytes(), len(rows)
    packer = served.runtime.packer
    return (rows if packer is None else packer.pack(rows)), len(rows)


MORE_TIME = "Allow more time with X-Request-Deadline-Ms."
