"""Predictions on their way to the records: handed over on the request path, written by one thread.

What is handed over is written within half a second. `buffered`: nobody waits for that, and a killed process loses what
it had not written; a process that stops loses nothing. `durable`: whoever answers waits for `kept`, and all who wait at
the same time share one commit. While the disk does not answer, predictions wait here, up to a limit; beyond it the
newest are dropped. Whatever is lost leaves a gap in the records that says how much it was.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from api.retention import handed_over
from api.scribe import DEFAULT, Added, Definitions, Plan, Scribe, Seen
from understudy.adapters.handover import Handover
from understudy.errors import StorageUnavailable, UnderstudyError
from understudy.ports import Records
from understudy.settings import Settings

if TYPE_CHECKING:
    from api.answered import Answered
    from api.journal import Journal

log = logging.getLogger(__name__)

WRITE_EVERY_S = 0.25
REFUSE_FOR_S = 10.0
"""Where answers wait to be kept, none is given for so long after one was dropped: it may be anybody's."""
TELL_EVERY_S = 10.0
"""A disk that does not answer is told once in so many seconds."""

T = TypeVar("T")
Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class Recorder:
    """`add` never waits; it and `kept` are called on the event loop, everything else is done by the thread."""

    def __init__(
        self,
        records: Records,
        plan: Plan = DEFAULT,
        *,
        definition: Definitions = lambda model: {},
        seen: Seen = lambda calls, requests: None,
        folder: Path | None = None,
    ) -> None:
        """Make one; `start` begins to write.

        Args:
            seen: shown what was answered, on this thread.
            folder: where processes say how much they have handed over; None: what a kill loses is not counted.
        """
        self._records, self._plan, self._folder = records, plan, folder
        self._scribe = Scribe(records, plan, definition, seen)
        self._handover: Handover | None = None
        self._waiting: deque[Added] = deque()
        self._waiters: deque[Waiter] = deque()
        self._wake, self._stopping = threading.Event(), False
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._added = self._full = self._bytes_added = self._bytes_taken = 0
        self._refused_s = self._told_s = float("-inf")

    @property
    def durable(self) -> bool:
        """Whether an answer should wait for `kept`."""
        return self._plan.durable

    @property
    def written(self) -> int:
        """Requests on record, of this process."""
        return self._scribe.written

    @property
    def dropped(self) -> int:
        """Requests that were answered, and will not be on record."""
        return self._full + self._scribe.failed

    @property
    def waiting(self) -> int:
        """Requests that are not written yet."""
        return self._added - self.dropped - self._scribe.settled

    @property
    def lag_s(self) -> float:
        """Age of the oldest of them."""
        with suppress(IndexError):
            return time.monotonic() - (self._scribe.shelf.oldest_s or self._waiting[0][0])
        return 0.0

    @property
    def longest_s(self) -> float:
        """The longest that anything has waited until it was on record."""
        return self._scribe.longest_s

    def start(self, process: bytes) -> None:
        """`process`: the digits that its ids end with."""
        self._scribe.process = process.decode()
        try:
            if self._folder is not None:
                now_ms = time.time_ns() // 1_000_000
                self._handover = Handover(self._folder, self._scribe.process, now_ms=now_ms)
        except UnderstudyError as error:  # a full disk, say: no reason not to answer
            log.warning("%s What a kill would lose is not counted.", error, extra={"action": "records.uncounted"})
        self._thread.start()

    def add(self, call: "Answered") -> None:
        """Take a call; it must not be changed any more."""
        requests, size = len(call.latencies_s), size_of(call)
        if self._handover is not None:
            self._handover.add(requests, call.stamp)
        self._added += requests
        if self._bytes_added - self._bytes_taken + self._scribe.shelf.bytes > self._plan.most_waiting:
            self._drop(call, requests)
            return
        self._bytes_added += size
        self._waiting.append((time.monotonic(), size, call))

    async def kept(self) -> None:
        """Wait until everything that was added is on record. Raises StorageUnavailable or StorageFull."""
        if self._stopping or time.monotonic() - self._refused_s < REFUSE_FOR_S:
            raise not_kept()
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiters.append((loop, future))
        self._wake.set()
        await future

    def stop(self) -> None:
        """Write what is waiting, and end."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def _drop(self, call: "Answered", requests: int) -> None:
        self._refused_s = time.monotonic()
        self._full += requests
        self._scribe.shelf.lose("full", self._scribe.process, int(call.stamp, 16), requests)

    def _write(self) -> None:
        while not self._stopping:
            began_s = time.monotonic()
            if self._flush():
                self._wake.wait(max(0.0, began_s + WRITE_EVERY_S - time.monotonic()))
            else:  # whoever wakes it now has nothing to win
                time.sleep(WRITE_EVERY_S)
        self._flush()
        self._end()

    def _flush(self) -> bool:
        """Write what was added so far, and tell those who wait for it; False where it could not be written."""
        self._wake.clear()
        waiters = taken(self._waiters)  # before the calls: what they wait for was added before they came
        lost, problem = self.dropped, None
        calls = taken(self._waiting)
        try:
            self._scribe.take(calls)
            self._bytes_taken += sum(size for _, size, _ in calls)
            self._scribe.commit()
        except UnderstudyError as error:
            problem = error
            self._complain(error)
        if self.dropped != lost:
            self._refused_s = time.monotonic()
        tell(waiters, problem if self.dropped == lost else not_kept())
        return problem is None

    def _complain(self, error: UnderstudyError) -> None:
        if time.monotonic() - self._told_s < TELL_EVERY_S:
            return
        self._told_s = time.monotonic()
        told = {"action": "records_waiting", "waiting": self.waiting, "dropped": self.dropped}
        log.warning("%s Predictions wait to be recorded.", error, extra=told)

    def _end(self) -> None:
        tell(taken(self._waiters), not_kept())
        handover, self._handover = self._handover, None
        if handover is None:
            return
        well = self._scribe.accounted == handover.requests
        handover.close(well=well)
        if well:
            with suppress(UnderstudyError):  # it costs a row that nobody asks for
                self._records.leave(self._scribe.process)


def size_of(call: "Answered") -> int:
    """About how many bytes a call holds in memory."""
    if isinstance(call.rows, bytes):
        return 300 + len(call.rows) + 100 * call.n + getattr(call.output, "nbytes", 0)
    texts = sum(len(value) for row in call.rows for value in row if isinstance(value, str))
    outputs = 48 * call.n * len(call.served.signature.classes or ())
    return 300 + 48 * call.n * len(call.rows[0]) + texts + 100 * call.n + outputs


def taken(waiting: deque[T]) -> list[T]:
    """Take what is there now; others may go on appending."""
    return [waiting.popleft() for _ in range(len(waiting))]


def tell(waiters: Sequence[Waiter], problem: Exception | None) -> None:
    """Let those go on who wait, each on its event loop."""
    for loop, futures in groupby(waiters, key=lambda waiter: waiter[0]):
        with suppress(RuntimeError):  # its loop has ended
            loop.call_soon_threadsafe(settle, [future for _, future in futures], problem)


def settle(futures: "Sequence[asyncio.Future[None]]", problem: Exception | None) -> None:
    for future in futures:
        if future.done():
            continue
        if problem is None:
            future.set_result(None)
        else:
            future.set_exception(problem)


def not_kept() -> StorageUnavailable:
    return StorageUnavailable(
        "The answer could not be put on record, and here none is given without.",
        remedy="Try again; if it stays, check the volume of `var/`.",
    )


def recorder_of(settings: Settings, records: Records, journal: "Journal", seen: Seen) -> Recorder:
    """The recorder that the settings ask for; what is withheld is what the newest definition says."""

    def definition(model: str) -> Mapping[str, Any]:
        known = journal.state.models.get(model)
        return {} if known is None or known.definition is None else known.definition

    plan = Plan(
        durable=settings.records == "durable",
        share=settings.records_sample,
        withhold=frozenset(settings.records_withhold),
    )
    return Recorder(records, plan, definition=definition, seen=seen, folder=handed_over(settings))
