"""The fast path: a protocol class that answers plain predictions in the turn of the event loop in which they arrive.

A server's usual way costs a task, a request cycle, two dozen objects and two writes for each request. A prediction
needs none of these: when its body is complete, its row joins the call that the turn shares (`api/gather.py`), and head
and body of the answer leave in one write. That is all this class does. Whatever is not plain — another route, an
unusual header, a row that may be wrong, a dear model, a request behind one that is still being answered — is handed
over to the usual way as if this class had not been there, and reaches the same work function by it.

It builds on what uvicorn's class does inside. `api/fit.py` tries at every start whether both still answer alike.
"""

import random
import time
from collections.abc import Mapping
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from api.cost import FULL
from api.errors import answer_any
from api.familiar import MOST_DIGITS, Familiar, familiar
from api.front import JSON, marked_response
from api.gather import Gather
from api.guard import CAREFUL, new_request_id
from api.serving import Head, Refusals, Served
from api.wire import Wire
from api.wording import END, Words
from understudy.errors import Overloaded, UnderstudyError

NO_MATTER = frozenset(
    b"accept accept-encoding accept-language cache-control dnt forwarded pragma referer traceparent tracestate "
    b"user-agent via x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-real-ip "
    b"x-request-id".split()
)
"""Headers that change nothing about a prediction."""

LONGEST_FAMILIAR = 4096
"""Bytes of a head that each connection may keep."""

LENGTH = frozenset({b"Content-Length", b"content-length"})

SPREAD = 4
"""Refusals that are written at once: `Retry-After` is not the same in all."""
NO_REFUSALS: Refusals = None, []

Headers = list[tuple[bytes, bytes]]

NO_REQUESTS: Headers = [(b"", b"")]
"""Headers that no request has; an empty list would be those of a request that names no host."""


class Doors(Protocol):
    @property
    def doors(self) -> Mapping[bytes, Served]:
        """Target -> the version that answers there on the event loop."""


class Desk(Protocol):
    """Where predictions are answered; `api/front.py` has one."""

    @property
    def table(self) -> Doors: ...

    @property
    def is_open(self) -> bool:
        """Whether nobody needs a token to predict."""

    def is_known(self, host: bytes) -> bool: ...

    def role_of(self, authorization: bytes | None) -> str | None:
        """Raises Unauthenticated or Forbidden."""

    def at_once(
        self, served: Served, body: bytes | bytearray, asker: "Fast", started_s: float, role: str | None
    ) -> bool:
        """Ask now: the answer comes within this turn of the loop. False where the usual way has to be gone."""

    def refused(self, model: str, error: UnderstudyError) -> None:
        """Count a failure."""


class Fast(Wire):
    """uvicorn's HTTP/1.1 with a way of its own for predictions."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._desk: Desk = self.app  # the process's `Front`
        self._table, self._is_open = self._desk.table, self._desk.is_open
        self._taken = False
        """The request that is being read is a plain prediction so far."""
        self._body: bytes | bytearray = b""
        self._length: tuple[bytes, bytes] | None = None
        """The header that is different with every body."""
        self._plain: Headers = NO_REQUESTS
        """The headers that were found plain last: most clients send the same again."""
        self._plain_authorization: bytes | None = None
        """Who asks by these."""
        self._authorization: bytes | None = None
        """Who asks by the request that is answered now."""
        self._says_connection = False
        self._familiar: Familiar | None = None
        """The head of the request that was answered last."""
        self._piece: bytes | None = None
        """What came last, where it began with a request and no other has come in it."""
        self._until = 0
        """How many requests may have come at the end of a piece: the loop looks at others before it answers more."""
        self._gather: Gather | None = None
        """Where requests of this connection wait for the end of this turn."""

    def data_received(self, data: bytes) -> None:
        if not self.is_amid:
            if self._familiar is not None and (body := self._familiar.body_in(data)) is not None and self._is_idle():
                self.url, self._authorization, self._body = self._familiar.target, self._familiar.authorization, body
                if self._is_asked():
                    self._unset_keepalive_if_required()
                    self.read += len(data)
                    self.asked += 1
                    return
            self._piece = data
        self._until = self.asked + FULL
        super().data_received(data)
        self._piece = None

    def _is_idle(self) -> bool:
        """Nothing of the usual way is under way, and the connection is to stay."""
        cycle: RequestResponseCycle | None = self.cycle
        return (cycle is None or cycle.response_complete) and not self.is_leaving and not self.transport.is_closing()

    def on_message_begin(self) -> None:
        self.url, self.headers, self._length, self._taken, self.is_amid = b"", [], None, False, True

    def on_header(self, name: bytes, value: bytes) -> None:
        if name in LENGTH:
            self._length = name, value
        else:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        if (
            self.url in self._table.doors
            and self.asked < self._until
            and self.parser.get_method() == b"POST"
            and (cycle is None or cycle.response_complete)
            and self._length is not None
            and len(self._length[1]) <= MOST_DIGITS
            and (self.headers == self._plain or self._are_plain())
            and self.parser.should_keep_alive()
            and not (self._says_connection and self.parser.get_http_version() != "1.1")
        ):
            self.unread, self._taken, self._body = 0, True, b""
            self._authorization = self._plain_authorization
        else:
            self._body = b""  # that of the request before
            self._usual_way()

    def _are_plain(self) -> bool:
        """Whether the headers say nothing but which host, which form, and who asks.

        A connection that is kept without a header that says so is one of HTTP/1.1.
        """
        hosts = forms = 0
        self._plain = NO_REQUESTS
        self._plain_authorization, self._says_connection = None, False
        for name, value in self.headers:
            name = name.lower()
            if name == b"host" and self._desk.is_known(value):
                hosts += 1
            elif name == b"content-type" and value == JSON[1]:
                forms += 1
            elif name == b"authorization" and self._plain_authorization is None:
                self._plain_authorization = value
            elif name == b"connection" and value.lower() == b"keep-alive":
                self._says_connection = True
            elif name not in NO_MATTER:
                return False
        if hosts == 1 and forms <= 1:
            self._plain = self.headers
            return True
        return False

    def on_body(self, body: bytes) -> None:
        if not self._taken:
            super().on_body(body)
        elif not self._body:
            self.unread, self._body = 0, body
        else:
            self.unread = 0
            self._body = bytearray(self._body) if isinstance(self._body, bytes) else self._body
            self._body += body

    def on_message_complete(self) -> None:
        if self._taken:
            if self._is_asked():
                self.unread, self._taken, self.is_amid = 0, False, False
                self.asked += 1
                self._learn()
                return
            self._usual_way()
        super().on_message_complete()

    def _learn(self) -> None:
        """Keep in mind what the first request of a piece looked like, where it was all that came."""
        piece, self._piece = self._piece, None
        if piece is not None and self._length is not None and len(piece) - len(self._body) <= LONGEST_FAMILIAR:
            self._familiar = familiar(piece, bytes(self._body), self._length, self.url, self._authorization)

    def _is_asked(self) -> bool:
        """Ask for an answer at once; False where only the usual way has one."""
        started_s = time.perf_counter()
        served = self._table.doors.get(self.url)
        if served is None or self.is_leaving:
            return False
        if self._gather is not None and self._gather is not served.gather:
            self._gather.flush()  # answers leave in the order of the requests
        role = None
        if not self._is_open or self._authorization is not None:
            try:
                role = self._desk.role_of(self._authorization)
            except UnderstudyError:
                return False
        self.in_flight += 1
        if not self._desk.at_once(served, self._body, self, started_s, role):
            self.in_flight -= 1
            return False
        if self.in_flight:
            self._gather = served.gather
        return True

    def _usual_way(self) -> None:
        """Begin with this request as uvicorn does, with what has come of it so far.

        What waits in a gather is answered before: its end of turn was asked for before the task that begins here.
        """
        url, headers, body, self._taken, self._body = self.url, self.headers, self._body, False, b""
        if self._length is not None:
            headers = [*headers, self._length]
        super().on_message_begin()
        self.url = url
        for name, value in headers:
            super().on_header(name, value)
        super().on_headers_complete()
        if body:
            super().on_body(bytes(body))

    def answered(self, words: Words, identity: bytes, served: Served) -> None:
        """Send the answer to the oldest request that waits: one row of a call."""
        wording = served.wording
        length = b"%d" % (wording.rest + len(words[0]) + len(words[1]))
        self._send(served, length, identity, (words[0], words[1], wording.tail, identity, END))

    def answered_many(self, body: bytes, identity: bytes, served: Served) -> None:
        self._send(served, b"%d" % len(body), identity, (body,))

    def _send(self, served: Served, length: bytes, identity: bytes, body: tuple[bytes, ...]) -> None:
        self._gather = None
        self.in_flight -= 1
        state = self.server_state
        state.total_requests += 1
        if not self.transport.is_closing():
            head = (
                served.head if served.head_for is state.default_headers else write_head(served, state.default_headers)
            )
            self.transport.write(b"".join((head[0], length, head[1], identity, head[2], *body)))

    def failed(self, error: UnderstudyError, served: Served) -> None:
        """Send the same answer that the usual way sends."""
        self._gather = None
        self.in_flight -= 1
        self.server_state.total_requests += 1
        self._desk.refused(served.model, error)
        if self.transport.is_closing():
            return
        identity = new_request_id()
        if isinstance(error, Overloaded):
            self.transport.write(identity.encode().join(self._pieces(error, served)))
        else:
            self.transport.write(self._in_full(error, identity))

    def _in_full(self, error: UnderstudyError, identity: str) -> bytes:
        scope = {"type": "http", "path": self.url.decode("latin-1"), "request_id": identity}
        response = marked_response(answer_any(scope, error), identity)
        lines = [b"%b: %b\r\n" % header for header in [*self.server_state.default_headers, *response.raw_headers]]
        return STATUS_LINE[response.status_code] + b"".join(lines) + b"\r\n" + bytes(response.body)

    def _pieces(self, error: Overloaded, served: Served) -> list[bytes]:
        """A refusal without its id, one of a few that are written anew each second: thousands go out in one."""
        default, (written_for, few) = self.server_state.default_headers, served.refusals.get(error.problem, NO_REFUSALS)
        if written_for is not default:
            identity = new_request_id()
            few = [self._in_full(error, identity).split(identity.encode()) for _ in range(SPREAD)]
            served.refusals[error.problem] = default, few
        return random.choice(few)

    def refuse(self, status: int, code: str, detail: str, remedy: str) -> None:
        if self._gather is not None:
            self._gather.flush()
        super().refuse(status, code, detail, remedy)

    def pause_writing(self) -> None:
        """Whoever does not read his answers sends no more questions."""
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self.flow.resume_reading()


def write_head(served: Served, default_headers: Headers) -> Head:
    """Everything up to the body, without its length and the id; uvicorn has a new date every second."""
    before = [*default_headers, served.named]
    lines = [b"%b: %b\r\n" % header for header in before]
    careful = [b"\r\n%b: %b" % header for header in CAREFUL]
    served.head = (
        b"".join([STATUS_LINE[200], *lines, b"content-length: "]),
        b"\r\n%b: %b\r\nx-request-id: " % JSON,
        b"".join([*careful, b"\r\n\r\n"]),
    )
    served.head_for = default_headers
    return served.head
