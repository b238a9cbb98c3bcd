"""Does the fast path fit the server that is installed? Tried at every start, before the first client comes.

`api/fast.py` stands on the inside of uvicorn's protocol class. So the same requests are sent to both classes over a
pair of sockets, in front of a model that gives back its input; where one answer differs, or nothing comes, the plain
path serves and the log says why.
"""

import asyncio
import logging
import re
import socket
from contextlib import suppress
from typing import Any

import numpy as np
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from api.admission import Room, Turnstile
from api.answered import Answered
from api.answering import Answering
from api.breaker import Breakers
from api.cost import Cost
from api.fast import Fast
from api.front import Front
from api.guard import Guard
from api.mark import Marks
from api.serving import Served
from api.wire import Wire
from understudy.adapters.runtime import Packer
from understudy.signature import Column, Signature

log = logging.getLogger(__name__)

WITHIN_S = 5.0
"""For all of it; it takes some 10 ms."""

HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
SIGNATURE = Signature(
    columns=(Column(name="x", kind="number", dtype="float64", nullable=False, example=0.0),),
    target="y",
    task="regression",
    classes=None,
)


def request(body: bytes, head: bytes = HEAD) -> bytes:
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


FAREWELL = b"GET /elsewhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
"""Ends every conversation: after its answer the server closes, and what it sent too much has come."""

#: What is sent, in the pieces in which it is sent.
CONVERSATIONS: list[list[bytes]] = [
    [request(b'{"x":1.5}')],
    [request(b'{"x":1}'), request(b'{"x":2}'), request(b'{"x":3}')],
    [request(b'{"x":1}') + request(b'{"values":[[2],[3]]}') + request(b'{"x":4}')],
    [request(b'{"x":1}') + request(b'{"x":"no"}') + request(b'{"x":3}')],
    [request(b'{"x":1}') + b"GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n" + request(b'{"x":3}')],
    [request(b'{"x":12345.5}')[i : i + 7] for i in range(0, 120, 7)],
    [request(b'{"x":1}', HEAD + b"Connection: close\r\n")],
    [request(b'{"x":1}', HEAD + b"Expect: 100-continue\r\n")],
    [HEAD + b'Transfer-Encoding: chunked\r\n\r\n3\r\n{"x\r\n4\r\n":1}\r\n0\r\n\r\n'],
    [request(b'{"x":1}', b"POST /predict HTTP/1.0\r\nHost: localhost\r\n")],
    [request(b'{"x":1}', b"POST /predict HTTP/1.1\r\nHost: elsewhere\r\n")],
    [request(b'{"x":1}') + b"\0\r\n\r\n"],
]

IDS = re.compile(rb'(?<=x-request-id: )\w+|(?<=prediction_id":")\w+|(?<=request_id": ")\w+|(?<=date: )[^\r]+')


class Mirror:
    """A model of one number that gives it back; it stands where a `Runtime` stands."""

    packer = Packer(1)
    signature = SIGNATURE

    def run(self, rows: "np.ndarray[Any, Any]", options: Any = None) -> "np.ndarray[Any, Any]":
        return rows * np.float32(1)


class Nobody:
    """Records and counts nothing, knows no token, and is always up to date."""

    durable = False

    def add(self, answered: Answered) -> None: ...

    def answered(self, call: Answered) -> None: ...

    def refused(self, model: str, code: str) -> None: ...

    async def kept(self) -> None: ...

    def is_current(self) -> bool:
        return True

    async def current(self, model: str) -> None: ...

    def is_open(self, right: str) -> bool:
        return True

    def role(self, route: str, authorization: str | None) -> None:
        return None


class Shelf:
    """One version, where a `ServingTable` would be."""

    def __init__(self, served: Served) -> None:
        self.doors = {b"/predict": served}


async def elsewhere(scope: Scope, receive: Receive, send: Send) -> None:
    """The application behind: whatever is not a prediction."""
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def front() -> Front:
    model: Any = Mirror()
    breaker = Breakers(Marks(None, "nobody")).of("mirror", "1")
    served = Served("mirror", "1", model, cost=Cost(0.0, 0.0), loop_limit_s=1.0, breaker=breaker)
    nobody: Any = Nobody()
    answering = Answering(lambda model: served, nobody, nobody, nobody, lambda served: None)
    guard = Guard(elsewhere, hosts=("localhost",), origins=())
    shelf: Any = Shelf(served)
    return Front(
        elsewhere,
        guard=guard,
        access=nobody,
        answering=answering,
        table=shelf,
        large_bodies=Turnstile("large bodies", Room(inside=1, waiting=1)),
        default_model="mirror",
    )


async def said(protocol: type[Wire], pieces: list[bytes]) -> tuple[bytes, int, int]:
    """What a server answers to a conversation, and what it believes to have been asked and not answered by then."""
    found, server = await talk(protocol, pieces)
    return IDS.sub(b"*", found), server.asked, server.in_flight


async def talk(protocol: type[Wire], pieces: list[bytes]) -> tuple[bytes, Wire]:
    """Everything that a server answers to a conversation and to a last request; and the server's side of it."""
    loop = asyncio.get_running_loop()
    config = configuration(protocol)
    config.load()
    state = ServerState()
    state.default_headers = [(b"date", b"today")]
    ours, theirs = socket.socketpair()
    made = protocol(config, state, {})
    with theirs:
        theirs.setblocking(False)
        await loop.connect_accepted_socket(lambda: made, ours)
        with suppress(BrokenPipeError, ConnectionResetError):
            for piece in [*pieces, FAREWELL]:
                await loop.sock_sendall(theirs, piece)
                await asyncio.sleep(0)
        found = b""
        with suppress(ConnectionResetError):
            while more := await loop.sock_recv(theirs, 65536):
                found += more
    return found, made


def configuration(protocol: type[Wire]) -> Config:
    return Config(front(), http=protocol, ws="none", lifespan="off", log_config=None, proxy_headers=False)


async def differences(fast: type[Wire] = Fast) -> str | None:
    """The first conversation in which the two classes differ; None where there is none."""
    for number, pieces in enumerate(CONVERSATIONS, start=1):
        if await said(Wire, pieces) != await said(fast, pieces):
            return f"it answers conversation {number} of {len(CONVERSATIONS)} differently"
    return None


def misfit(fast: type[Wire] = Fast, *, within_s: float = WITHIN_S) -> str | None:
    """Why the fast path cannot be used here; None where it can. Run where no event loop runs."""
    quiet = [logging.getLogger(name) for name in ("uvicorn.error", "api.errors")]
    levels = [one.level for one in quiet]
    for one in quiet:
        one.setLevel(logging.CRITICAL)
    try:
        with asyncio.Runner(loop_factory=configuration(Wire).get_loop_factory()) as runner:
            return runner.run(asyncio.wait_for(differences(fast), within_s))
    except Exception as error:  # noqa: BLE001 - whatever a newer server does to it is a reason
        return f"it raised {type(error).__name__}"
    finally:
        for one, level in zip(quiet, levels, strict=True):
            one.setLevel(level)
        with suppress(RuntimeError):
            asyncio.set_event_loop(None)


def protocol_class(against: str | None = None) -> type[Wire]:
    """The class that serves: the fast one where it fits and nothing is `against` it."""
    why = against or misfit()
    if why is None:
        return Fast
    level, which = (logging.INFO, "") if against else (logging.WARNING, "the fast one does not fit here: ")
    log.log(level, "the plain path serves: %s%s", which, why, extra={"action": "plain_path"})
    return Wire
