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
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from api.retention import handed_over
from api.shelf import Shelf
from understudy.adapters.handover import Handover
from understudy.chunks import chunks, narrowed
from understudy.errors import StorageUnavailable, UnderstudyError
from understudy.ports import Records
from understudy.records import Chunk, Layout, Progress, withheld
from understudy.settings import Settings

if TYPE_CHECKING:
    from api.answered import Answered
    from api.journal import Journal

log = logging.getLogger(__name__)

WRITE_EVERY_S = 0.25
MOST_WAITING = 64 * 2**20
"""Bytes of predictions that wait while the disk does not answer; beyond it the newest are dropped and counted."""
TURN_S = 0.0005
"""How long the writer's thread computes before it lets the event loop have the interpreter: whenever it does, it may
wait 5 ms until it is its turn again."""
LATE_TURN_S = 0.003
"""The same, once the oldest prediction has waited for twice as long as it should."""
REFUSE_FOR_S = 10.0
"""Where answers wait to be kept, none is given for so long after one was dropped: it may be anybody's."""

Definitions = Callable[[str], Mapping[str, Any]]
"""Model -> its definition, as the log holds it now."""
TELL_EVERY_S = 10.0
"""A disk that does not answer is told once in so many seconds."""
T = TypeVar("T")
Added = tuple[float, int, "Answered"]
"""When a call was added (s, monotonic), and its size in bytes."""
Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is recorded, and when."""

    durable: bool = False
    share: float = 1.0
    """Of the requests that are recorded."""
    withhold: Collection[str] = frozenset({"personal"})
    """Tags of the columns that are not."""
    most_waiting: int = MOST_WAITING


class Recorder:
    """`add` never waits; it and `kept` are called on the event loop, everything else is done by the thread."""

    def __init__(
        self,
        records: Records,
        plan: Plan = Plan(),
        *,
        definition: Definitions = lambda model: {},
        folder: Path | None = None,
    ) -> None:
        """`folder`: where processes say how much they have handed over; None: what a kill loses is not counted."""
        self._records, self._plan, self._definition, self._folder = records, plan, definition, folder
        self._process = ""
        self._handover: Handover | None = None
        self._waiting: deque[Added] = deque()
        self._waiters: deque[Waiter] = deque()
        self._wake, self._stopping = threading.Event(), False
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._shelf = Shelf()
        self._added = self._settled = self._accounted = self._bytes_added = self._bytes_taken = 0
        self._refused_s = self._told_s = float("-inf")
        self.written = 0
        """Requests on record, of this process."""
        self._full = self._failed = 0
        self.longest_s = 0.0
        """The longest that anything has waited until it was on record."""

    @property
    def durable(self) -> bool:
        """Whether an answer should wait for `kept`."""
        return self._plan.durable

    @property
    def dropped(self) -> int:
        """Requests that were answered, and will not be on record."""
        return self._full + self._failed

    @property
    def waiting(self) -> int:
        """Requests that are not written yet."""
        return self._added - self.dropped - self._settled

    @property
    def lag_s(self) -> float:
        """Age of the oldest of them."""
        with suppress(IndexError):
            return time.monotonic() - (self._shelf.oldest_s or self._waiting[0][0])
        return 0.0

    def start(self, process: bytes) -> None:
        """`process`: the digits that its ids end with."""
        self._process = process.decode()
        try:
            if self._folder is not None:
                self._handover = Handover(self._folder, self._process, now_ms=time.time_ns() // 1_000_000)
        except UnderstudyError as error:  # a full disk, say: no reason not to answer
            log.warning("%s What a kill would lose is not counted.", error, extra={"action": "records.uncounted"})
        self._thread.start()

    def add(self, call: "Answered") -> None:
        """Take a call; it must not be changed any more."""
        requests, size = len(call.latencies_s), size_of(call)
        if self._handover is not None:
            self._handover.add(requests, call.stamp)
        self._added += requests
        if self._bytes_added - self._bytes_taken + self._shelf.bytes > self._plan.most_waiting:
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
        self._shelf.lose("full", self._process, int(call.stamp, 16), requests)

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
        problem: Exception | None = None
        refused_s = self._refused_s
        try:
            self._take(taken(self._waiting))
            self._commit()
            if self._refused_s != refused_s:
                problem = not_kept()
        except UnderstudyError as error:
            problem = error
            self._complain(error)
        except Exception:
            problem, lost = not_kept(), self._shelf.requests
            log.exception("predictions could not be recorded", extra={"action": "bug", "lost": lost})
            self._give_up(self._shelf.newest_ms, lost)
            self._shelf.clear()
        tell(waiters, problem)
        return problem is None

    def _complain(self, error: UnderstudyError) -> None:
        if time.monotonic() - self._told_s < TELL_EVERY_S:
            return
        self._told_s = time.monotonic()
        told = {"action": "records_waiting", "waiting": self.waiting, "dropped": self.dropped}
        log.warning("%s Predictions wait to be recorded.", error, extra=told)

    def _give_up(self, ms: int, requests: int) -> None:
        """Note a gap: trying again would meet the same error that nobody foresaw."""
        self._refused_s = time.monotonic()
        self._failed += requests
        self._shelf.lose("failed", self._process, ms, requests)

    def _take(self, calls: "list[Added]") -> None:
        """Put calls into the form in which they are stored."""
        if not calls:
            return
        self._shelf.oldest_s = self._shelf.oldest_s or calls[0][0]
        by_version: dict[int, list[Answered]] = {}
        for _, _, call in calls:
            by_version.setdefault(id(call.served), []).append(call)
        try:
            for group in by_version.values():
                self._shape(group)
        finally:
            self._bytes_taken += sum(size for _, size, _ in calls)

    def _shape(self, calls: "Sequence[Answered]") -> None:
        """Put calls of one version into chunks, a little at a time: other threads want their turn."""
        served, requests, shaped = calls[0].served, sum(len(call.latencies_s) for call in calls), list[Chunk]()
        first_ms, last_ms, began_s = int(calls[0].stamp, 16), int(calls[-1].stamp, 16), time.monotonic()
        try:
            layout = Layout.of(served.runtime.signature, self._withheld(served.model))
            for chunk in chunks(
                calls,
                process=self._process,
                model=served.model,
                version=served.version,
                layout=layout,
                share=self._plan.share,
            ):
                shaped.append(chunk)
                began_s = give_way(began_s, TURN_S if self.lag_s < 2 * WRITE_EVERY_S else LATE_TURN_S)
        except Exception:
            log.exception("predictions could not be put into chunks", extra={"action": "bug", "lost": requests})
            self._give_up(first_ms, requests)
        else:
            self._shelf.put(shaped, requests, last_ms)

    def _withheld(self, model: str) -> frozenset[str]:
        return withheld(self._definition(model), self._plan.withhold)

    def _commit(self) -> None:
        """Write what is on the shelf. Raises what the records raise; then all of it stays there."""
        shelf = self._shelf
        with shelf.losses() as gaps:
            if shelf.requests or gaps:
                stored = [narrowed(chunk, self._withheld(chunk.model)) for chunk in shelf.chunks]
                accounted = self._accounted + shelf.requests + sum(gap.lost or 0 for gap in gaps)
                progress = Progress(self._process, accounted, max(shelf.newest_ms, *(g.until_ms for g in gaps), 0))
                self._records.append(stored, gaps=gaps, progress=progress)
                self._accounted = accounted
                self._settled += shelf.requests
                self.written += sum(chunk.requests for chunk in stored)
                shelf.clear()
        if shelf.oldest_s is not None:
            self.longest_s = max(self.longest_s, time.monotonic() - shelf.oldest_s)
            shelf.oldest_s = None

    def _end(self) -> None:
        tell(taken(self._waiters), not_kept())
        handover, self._handover = self._handover, None
        if handover is None:
            return
        well = self._accounted == handover.requests
        handover.close(well=well)
        if well:
            with suppress(UnderstudyError):  # it costs a row that nobody asks for
                self._records.leave(self._process)


def give_way(began_s: float, turn_s: float) -> float:
    """Let other threads run where this one has for long enough; return when its turn began."""
    if time.monotonic() - began_s < turn_s:
        return began_s
    time.sleep(0)
    return time.monotonic()


def size_of(call: "Answered") -> int:
    """About how many bytes a call holds in memory."""
    inputs = len(call.rows) if isinstance(call.rows, bytes) else 48 * call.n * len(call.rows[0])
    return 300 + inputs + 100 * call.n


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


def recorder_of(settings: Settings, records: Records, journal: "Journal") -> Recorder:
    """The recorder that the settings ask for; what is withheld is what the newest definition says."""

    def definition(model: str) -> Mapping[str, Any]:
        known = journal.state.models.get(model)
        return {} if known is None or known.definition is None else known.definition

    plan = Plan(
        durable=settings.records == "durable",
        share=settings.records_sample,
        withhold=frozenset(settings.records_withhold),
    )
    return Recorder(records, plan, definition=definition, folder=handed_over(settings))
