"""A thread of its own for a version that the event loop must not wait for, with a queue that has an end.

Requests that wait while a call is under way share the next one. Whoever would wait for more than half of his deadline
is refused at once: a short queue answers most in time, a long one answers nobody. Whose deadline passes is told so,
and is not asked for any more. A call that outlasts the deadline of those who wait for it is given up where the model's
form allows it; where not, the lane answers nobody until it has come back.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock, Semaphore, Thread
from typing import TYPE_CHECKING, Any

from api.cost import FULL
from api.wording import part
from understudy.errors import DeadlinePassed, Overloaded, UnderstudyError
from understudy.rows import Row

if TYPE_CHECKING:
    from api.serving import Served

log = logging.getLogger(__name__)

MOST_WAITING = 2 * FULL
"""Requests; twice what one call takes."""

CALLS_AT_ONCE = max(2, os.cpu_count() or 1)
"""Over all lanes of a process: more would only wait for each other's processor."""

Taken = tuple[bytes | Sequence[Row], int]
"""Rows in the form that the model takes, and how many."""
Hung = Callable[["Served"], None]


@dataclass(slots=True, eq=False)
class Request:
    """One request on its way through a lane."""

    read: Callable[[], Taken]
    """Decodes the body; in the lane's thread, because it may be large."""
    future: "asyncio.Future[tuple[Taken, Any]]"
    estimate_s: float
    taken: Taken | None = None


class Lanes:
    """What the lanes of one process share."""

    def __init__(self, hung: Hung) -> None:
        self.calls = Semaphore(CALLS_AT_ONCE)
        self.hung = hung

    def of(self, served: "Served") -> "Lane":
        """The lane of a version; its thread begins with its first request and ends when the version has left."""
        if served.lane is None:
            served.lane = Lane(served, self)
        return served.lane


class Lane:
    """`ask` is called on the event loop."""

    def __init__(self, served: "Served", lanes: Lanes) -> None:
        self._served, self._lanes = served, lanes
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Request | None] = SimpleQueue()
        self.waiting = 0
        """Requests that are not answered yet."""
        self._waiting_s = 0.0
        self._stuck = False
        self._calling: Sequence[Request] = ()
        """Whose rows are in the call under way."""
        self._options: Any = None
        self._lock = Lock()
        Thread(target=self._work, name=f"lane {served.model}", daemon=True).start()

    async def ask(self, read: Callable[[], Taken], *, estimate_s: float, deadline_s: float) -> tuple[Taken, Any]:
        """What was asked, and what the model says to it: (n, classes) or (n, 1), or an Answer.

        Args:
            estimate_s: what its call costs, or its share of a call.
            deadline_s: seconds from now.

        Raises Overloaded at once, DeadlinePassed at the deadline, what `read` raises, ModelFailed.
        """
        self._admit(estimate_s, deadline_s)
        request = Request(read, self._loop.create_future(), estimate_s)
        self.waiting += 1
        self._waiting_s += estimate_s
        self._queue.put(request)
        try:
            async with asyncio.timeout(deadline_s):
                return await request.future
        except TimeoutError:
            self._give_up(request)
            raise DeadlinePassed(
                f"{self._served.model} did not answer within {round(deadline_s, 3):g} s.",
                remedy="Ask for fewer rows at a time, or allow more with X-Request-Deadline-Ms.",
            ) from None
        finally:
            self.waiting -= 1
            self._waiting_s = self._waiting_s - estimate_s if self.waiting else 0.0  # floats do not come back to it

    def _admit(self, estimate_s: float, deadline_s: float) -> None:
        if (refusal := self.refusal(estimate_s, deadline_s)) is not None:
            raise refusal

    def refusal(self, estimate_s: float, deadline_s: float) -> Overloaded | None:
        """Why a request would not be let in now; None where it would."""
        if self._stuck:
            return Overloaded(f"{self._served.model} has not come back from a call.", remedy=LATER)
        if self.waiting >= MOST_WAITING or self._waiting_s + estimate_s > max(deadline_s / 2, estimate_s):
            return Overloaded(f"More is asked of {self._served.model} than it can answer in time.", remedy=LATER)
        return None

    def _give_up(self, request: Request) -> None:
        """End the call that `request` is in, or let go of it, where nobody waits for it any more.

        Others may then have its place among the calls.
        """
        with self._lock:
            if request not in self._calling or not all(one.future.done() for one in self._calling):
                return
            if self._options is not None:
                self._options.terminate = True
            elif not self._stuck:
                self._stuck = True
                self._lanes.calls.release()
        log.error(
            "a call of %s took too long and was given up",
            self._served.model,
            extra={"action": "call_given_up", "model": self._served.model, "version": self._served.version},
        )
        self._lanes.hung(self._served)

    def close(self) -> None:
        """End the thread, once the version answers nobody any more."""
        self._queue.put(None)

    def _work(self) -> None:
        held: list[Request] = []
        while (first := held.pop() if held else self._queue.get()) is not None:
            try:
                held += self._served_together(first)
            except Exception:
                log.exception("a lane met a bug; whoever waits is told at his deadline", extra={"action": "bug"})
            del first  # with its body; the next request may be long in coming

    def _served_together(self, first: Request) -> list[Request]:
        """Call the model for a request, and those that wait with it; give back who has to wait for the next call."""
        held, requests = self._together(first)
        if requests:
            self._call(requests)
        return [] if held is None else [held]

    def _together(self, first: Request) -> tuple[Request | None, list[Request]]:
        """Requests for one call, and the one that did not fit any more."""
        together: list[Request] = []
        rows = 0
        request: Request | None = first
        while request is not None:
            if self._has_rows(request):
                assert request.taken is not None
                if together and rows + request.taken[1] > FULL:
                    return request, together
                together.append(request)
                rows += request.taken[1]
            try:
                request = self._queue.get_nowait()
            except Empty:
                return None, together
        self._queue.put(None)  # the end was asked for: answer these first
        return None, together

    def _has_rows(self, request: Request) -> bool:
        """False where nobody waits for it any more, or its body is wrong."""
        if request.taken is None and not request.future.done():
            try:
                request.taken = request.read()
            except UnderstudyError as error:
                self._tell([request], error)
        return request.taken is not None and not request.future.done()

    def _call(self, requests: list[Request]) -> None:
        self._lanes.calls.acquire()
        try:
            options = self._served.runtime.interruptible()
            with self._lock:  # to wait for a place may have taken long
                requests = [request for request in requests if not request.future.done()]
                self._calling, self._options = requests, options
            if not requests:
                return
            result: Any = self._served.call(self._joined(requests), options, shared=len(requests) > 1)
        except UnderstudyError as error:
            result = error
        finally:
            self._leave_call()
        if isinstance(result, UnderstudyError) and len(requests) > 1:
            for request in requests:
                self._call([request])
        else:
            self._tell(requests, result)

    def _leave_call(self) -> None:
        with self._lock:
            self._calling, self._options = (), None
            if not self._stuck:
                self._lanes.calls.release()
            self._stuck = False

    def _joined(self, requests: list[Request]) -> Any:
        """The rows of all requests, as the model takes them."""
        parts = [request.taken[0] for request in requests if request.taken is not None]
        packer = self._served.runtime.packer
        if packer is not None:
            return packer.matrix(b"".join(part for part in parts if isinstance(part, bytes)))
        return [row for part in parts for row in part]

    def _tell(self, requests: list[Request], result: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(share, requests, result)
        except RuntimeError:  # the loop has ended, and everybody who waited with it
            log.debug("nobody waits for an answer of %s any more", self._served.model)


def share(requests: list[Request], result: Any) -> None:
    """Give every request its part of the result."""
    begin = 0
    for request in requests:
        n = request.taken[1] if request.taken else 0
        if not request.future.done():
            if isinstance(result, UnderstudyError):
                request.future.set_exception(result)
            else:
                assert request.taken is not None
                request.future.set_result((request.taken, part(result, begin, begin + n)))
        begin += n


LATER = "Ask again after the time that Retry-After says."
