"""HTTP/1.1 as it comes in: how long a head may be, and what the rest of the server must know of a connection.

httptools sets no end to a head, and joins a header that comes in pieces anew with each piece: 100 MB of one header
would cost 200 MB and stop every other request for a minute. uvicorn sets no end to waiting either; `api/patience.py`
looks at every connection once a second instead, so nothing here reads a clock or sets a timer.

A subclass that answers requests itself keeps these true, whether or not it calls what it overrides here:

- `on_message_begin` sets `is_amid = True`; `on_message_complete` sets it to False and counts the request in `asked`;
- `on_headers_complete`, `on_body` and `on_message_complete` set `unread = 0`;
- `in_flight` is the number of requests that have come whole and that the subclass, not uvicorn, has yet to answer;
- where `is_leaving`, it leaves the request to uvicorn's way (`super()`), which closes the connection after the answer.

Keep-alive needs no timer of its own: a connection with nothing amid, in flight or unsent is closed when its time is up.
"""

import asyncio
import secrets
import sys
from collections.abc import Sized

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from api.crowd import Crowd
from api.errors import problem, retry_after_s

LONGEST_HEAD = 64 * 1024
"""Bytes between two pieces of progress: request line and headers, the line of a chunk, what follows the last chunk."""


class Flow(FlowControl):
    """Reads nothing while requests wait for their turn.

    uvicorn's own reads on whenever an application asks for a body, and takes in all that a client sends meanwhile.
    """

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if not self._waiting:
            super().resume_reading()


class Wire(HttpToolsProtocol):
    """Closes a connection that sends on and on without getting anywhere, and turns away whom there is no room for."""

    read = 0
    """Bytes that have come."""
    unread = 0
    """Bytes that have come since something was made of them."""
    is_amid = False
    """A request has begun to come, and has not come whole."""
    asked = 0
    """Requests that have come whole."""
    in_flight = 0
    """Of these, how many a subclass is answering in its own way."""
    is_leaving = False
    """The next answer is the last: the process is stopping, or there is no room."""
    _refusal: tuple[int, str, str, str] | None = None
    """What is to be said once all whole requests are answered."""
    _declined: bytes | None = None
    """The head of a request that asks for an upgrade, without that wish: it is read again, and then what follows."""
    _stopped = 0
    """Where in the last piece httptools has stopped: it leaves the rest to whoever takes the upgraded connection."""
    running: RequestResponseCycle | None = None
    """What uvicorn is answering, or has answered last; its `cycle` may be a later one that waits for it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.flow = Flow(transport, self.pipeline)
        if isinstance(self.server_state, Crowd) and not self.server_state.has_room():
            self._turn_away(self.server_state)

    def _turn_away(self, crowd: Crowd) -> None:
        """Answer nothing but health; beyond that, nothing at all."""
        if crowd.is_full():
            self.refuse(503, "crowded", "Too many connections are open.", "Come back later.")
        else:
            self.app, self.is_leaving = crowd.health_only(self.app), True

    def data_received(self, data: bytes) -> None:
        self.read += len(data)
        self.unread += len(data)
        super().data_received(data)
        while self._declined is not None:
            head, self._declined = self._declined, None
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            data = head + data[self._stopped :]
            super().data_received(data)
        if self.unread > LONGEST_HEAD and not self.transport.is_closing():
            self.send_400_response("The head of this request is too long.")

    def on_message_begin(self) -> None:
        self.is_amid = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.unread = 0
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._declined = self._without_upgrade()
            return
        super().on_headers_complete()
        self.headers = []  # what follows the last chunk is no header: the scope keeps the list that it has
        if self.is_leaving:
            self.cycle.keep_alive = False

    def _without_upgrade(self) -> bytes:
        """The head that has come, as of a client that is content with HTTP/1.1.

        Java's client offers HTTP/2 with the first request of every connection, and we may pass over that; httptools
        takes whatever comes after such a head, the body first of all, for something that it cannot read.
        """
        version = b"HTTP/" + self.parser.get_http_version().encode()
        lines = [name + b": " + value for name, value in self.headers if name.lower() != b"upgrade"]
        return b"\r\n".join([b" ".join([self.parser.get_method(), self.url, version]), *lines, b"", b""])

    def _unsupported_upgrade_warning(self) -> None:
        """uvicorn has caught httptools stopping."""
        stopped = sys.exception()
        if isinstance(stopped, httptools.HttpParserUpgrade):
            self._stopped = stopped.args[0]

    def on_body(self, body: bytes) -> None:
        self.unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._declined is not None:
            return
        self.unread, self.is_amid = 0, False
        self.asked += 1
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self.running = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.running is not None and not self.running.response_complete:
            self.running.disconnected = True  # uvicorn tells `cycle` alone, and the other writes to what is closed
            self.running.message_event.set()

    def is_answering(self) -> bool:
        """True where the next move is ours: a request is here, and its answer is not complete."""
        if self.in_flight:
            return True
        cycle = self.running
        if cycle is None or cycle.response_complete:
            return False
        return not cycle.more_body or self.flow.read_paused or cycle.waiting_for_100_continue

    def shutdown(self) -> None:
        """The process is stopping: answer what is here or on its way, and close then. Who is idle is closed soon."""
        self.is_leaving = True
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        self.refuse(400, "bad_request", msg, "Send a well-formed request; see /docs.")

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self.flow.resume_reading()
        if self._refusal is not None:
            self.refuse(*self._refusal)

    def refuse(self, status: int, code: str, detail: str, remedy: str) -> None:
        """Answer outside of any application, where the request has no answer yet, and close.

        Whole requests before it are answered first, or this would be taken for the answer to one of them.
        """
        if self.running is not None and not (self.running.response_complete or self.running.more_body):
            self._refusal = status, code, detail, remedy
            self.flow.pause_reading()
            return
        if not self._is_answered():
            identity = secrets.token_hex(8)
            later = {"Retry-After": str(retry_after_s())} if status == 503 else {}
            answer = problem({"path": "", "request_id": identity}, status, code, detail, remedy, later)
            more = {b"x-request-id": identity.encode(), b"x-content-type-options": b"nosniff", b"connection": b"close"}
            fields = [*self.server_state.default_headers, *answer.raw_headers, *more.items()]
            head = [STATUS_LINE[status], *(b"%b: %b\r\n" % field for field in fields), b"\r\n"]
            self.transport.write(b"".join([*head, bytes(answer.body)]))
        self.transport.close()

    def _is_answered(self) -> bool:
        """An answer to the request that is coming has gone out, or half of it."""
        cycle = self.running
        return cycle is not None and cycle.response_started and (cycle.more_body or not cycle.response_complete)
