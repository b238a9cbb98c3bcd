"""Where every microsecond goes: the functions of the path of a prediction one by one, and the path without a kernel.

    python -m bench.steps HOME MODEL

runs where a version of MODEL serves from HOME, and prints what it has measured as JSON. Times are those of the thread
that does the step, so what the other threads of an API do meanwhile is no part of them.
"""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httptools
import uvloop
from uvicorn import Config
from uvicorn.server import ServerState

from api.answered import Answered
from api.counts import Counts
from api.fast import Fast
from api.identity import Identities
from api.main import create_app, in_front
from api.recorder import Recorder
from bench.tumours import bodies
from bench.wrk import on_cores
from understudy.adapters.sqlite_records import SqliteRecords
from understudy.chunks import chunks
from understudy.records import Chunk, Layout
from understudy.settings import Settings

TOGETHER = 32
"""Connections, and rows of a shared call, as in the load that the page begins with."""
BATCHES, CALLS = 9, 40
"""The median of so many batches of so many calls counts."""
LATER = 200
"""Calls of the model that are recorded at once: a quarter of a second of full load."""

HEAD = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


@dataclass(frozen=True)
class Step:
    """One function of the path by itself."""

    what: str
    paid: str
    """How often."""
    us: float
    each_us: float
    """For one request, where 32 share a call."""


def measure(home: Path, model: str, cores: Collection[int]) -> list[dict[str, Any]]:
    """The steps, in a process of their own on these cores."""
    with on_cores(cores):
        done = subprocess.run(
            [sys.executable, "-m", "bench.steps", str(home), model], capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def seconds_of(call: Callable[[], object], times: int = CALLS) -> float:
    """What one call takes."""
    found = []
    for _ in range(BATCHES):
        began_s = time.thread_time()
        for _ in range(times):
            call()
        found.append((time.thread_time() - began_s) / times)
    return median(found)


def each(what: str, call: Callable[[], object], requests: int, paid: str = "each request") -> Step:
    """A step that every request pays; `call` does it for so many."""
    us = seconds_of(call) / requests * 1e6
    return Step(what, paid, round(us, 3), round(us, 3))


def shared(what: str, call: Callable[[], object], rows: int) -> Step:
    """A step that is paid once for a call of the model."""
    us = seconds_of(call) * 1e6
    return Step(what, f"each call of {rows} row{'s' if rows > 1 else ''}", round(us, 3), round(us / rows, 3))


async def steps(home: Path, model: str) -> list[Step]:
    app = create_app(Settings(home=home, default_model=model, allowed_hosts=("127.0.0.1",)))
    service = app.state.service
    await service.start()
    try:
        served = service.serving(model)
        return [
            *parsing(),
            *asking(served),
            *telling(served),
            *noting(served),
            *kernel(),
            *await whole(in_front(app)),
            *later(served, home),
        ]
    finally:
        service.stop()


class Nothing:
    """Callbacks of a parser that do nothing."""


def requests() -> list[bytes]:
    return [HEAD % len(body) + body for body in bodies("record")]


def parsing() -> Iterator[Step]:
    sent = requests()
    parser = httptools.HttpRequestParser(Nothing())

    def parsed() -> None:
        for one in sent:
            parser.feed_data(one)

    yield each("parse HTTP (httptools, telling nobody)", parsed, len(sent))


def asking(served: Any) -> Iterator[Step]:
    """From a body to what the model says."""
    sent, packer = bodies("record"), served.runtime.packer
    rows, buffer = [served.decoder.record(body) for body in sent], bytearray(64 * packer.stride)
    matrix = packer.matrix(buffer)
    yield each("decode and check the JSON of a row", lambda: [served.decoder.record(body) for body in sent], len(sent))
    yield each("pack it as float32", lambda: [packer.into(buffer, i, row) for i, row in enumerate(rows)], len(rows))
    for n in (1, 8, TOGETHER):
        yield shared("ask the model", lambda n=n: served.call(matrix[:n]), n)  # type: ignore[misc]


def telling(served: Any) -> Iterator[Step]:
    """From what the model says to the bytes of an answer."""
    output, wording = said(served), served.wording
    words, identity = [*wording.each(output)], b"0" * 25
    yield shared("write all its numbers as JSON", lambda: [*wording.each(output)], TOGETHER)
    yield each("write the answer around them", lambda: [wording.one(one, identity) for one in words], len(words))


def said(served: Any) -> Any:
    packer = served.runtime.packer
    rows = [served.decoder.record(body) for body in bodies("record")[:TOGETHER]]
    return served.call(packer.matrix(packer.pack(rows)))


def call_of(served: Any, identities: Identities) -> Answered:
    """A call as it is told to the records and the counters."""
    stamp, first = identities.take(TOGETHER)
    rows = bytes(TOGETHER * served.runtime.packer.stride)
    return Answered(served, first, stamp, rows, TOGETHER, said(served), [0.001] * TOGETHER, None)


def noting(served: Any) -> Iterator[Step]:
    """What is left behind for the records and the counters, on the event loop."""
    identities, counts, nobody = Identities(), Counts(list), Recorder(None)  # type: ignore[arg-type]  # never started
    call = call_of(served, identities)
    yield shared("take ids", lambda: identities.take(TOGETHER), TOGETHER)
    yield shared("hand the call to the records", lambda: nobody.add(call), TOGETHER)
    yield shared("hand the call to the counters", lambda: counts.answered(call), TOGETHER)


def kernel() -> Iterator[Step]:
    """A request received and an answer sent over the loopback, where nobody sleeps on the other side."""
    sent, answer = requests()[0], bytes(500)
    with connected() as (near, far):

        def received(count: int = CALLS) -> float:
            for _ in range(count):
                far.send(sent)
            began_s = time.thread_time()
            for _ in range(count):
                near.recv(len(sent))
            return (time.thread_time() - began_s) / count

        def answered(count: int = CALLS) -> float:
            began_s = time.thread_time()
            for _ in range(count):
                near.send(answer)
            spent_s = time.thread_time() - began_s
            left = count * len(answer)
            while left:
                left -= len(far.recv(left))
            return spent_s / count

        for what, take in (("receive a request (kernel)", received), ("send an answer (kernel)", answered)):
            us = round(median(take() for _ in range(BATCHES)) * 1e6, 3)
            yield Step(what, "each request", us, us)


@contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as far:
        near, _ = server.accept()
        with near:
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield near, far


class Sink(asyncio.Transport):
    """A transport that takes answers and sends nothing."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.answers = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert data[:15] == b"HTTP/1.1 200 OK"
        self.answers += 1

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def whole(front: Any) -> list[Step]:
    """The fast path from the bytes of a request to the bytes of its answer, with so many connections a turn."""
    config = Config(front, http=Fast, ws="none", lifespan="off", log_config=None, proxy_headers=False)
    config.load()
    state = ServerState()
    state.default_headers = [(b"date", b"Sat, 21 Nov 2026 12:00:00 GMT")]
    sinks, protocols = [Sink() for _ in range(TOGETHER)], [Fast(config, state, {}) for _ in range(TOGETHER)]
    for protocol, sink in zip(protocols, sinks, strict=True):
        protocol.connection_made(sink)
    found = []
    for n in (1, 8, TOGETHER):
        us = round(await turn_s(protocols[:n]) / n * 1e6, 3)
        connections = f"{n} connection{'s' if n > 1 else ''}"
        found.append(Step(f"all of it in memory, {connections} a turn", "each request", us, us))
    assert sum(sink.answers for sink in sinks) == BATCHES * CALLS * (1 + 8 + TOGETHER)
    for protocol in protocols:
        protocol.connection_lost(None)
    return found


async def turn_s(protocols: list[Fast]) -> float:
    """What a turn of the event loop takes in which each of these connections has a request."""
    sent, taken = requests(), []
    for _ in range(BATCHES):
        began_s = time.thread_time()
        for i in range(CALLS):
            for k, protocol in enumerate(protocols):
                protocol.data_received(sent[(i + k) % len(sent)])
            await asyncio.sleep(0)
        taken.append((time.thread_time() - began_s) / CALLS)
    return median(taken)


def later(served: Any, home: Path) -> Iterator[Step]:
    """What threads do afterwards, on the same core."""
    identities, paid = Identities(), "each request, in a thread"
    calls = [call_of(served, identities) for _ in range(LATER)]
    n, layout = LATER * TOGETHER, Layout.of(served.signature)
    counts, records = Counts(lambda: [served.model]), SqliteRecords(home / "steps.db")

    def joined() -> list[Chunk]:
        return [*chunks(calls, process="0" * 6, model=served.model, version="1", layout=layout)]

    def folded() -> None:
        for call in calls:
            counts.answered(call)
        counts.fold()

    made = joined()
    try:
        for what, call in (
            ("join calls to chunks of records", joined),
            ("commit them", lambda: records.append(made)),
            ("fold the counters", folded),
        ):
            us = round(seconds_of(call, 3) / n * 1e6, 3)
            yield Step(what, paid, us, us)
    finally:
        records.close()


if __name__ == "__main__":
    print(json.dumps([asdict(step) for step in uvloop.run(steps(Path(sys.argv[1]), sys.argv[2]))]))
