"""Clients that ask without pause on kept connections while versions are swapped, and check every answer.

Each process of clients runs one event loop on raw sockets. A connection keeps to one way of asking:

    single      one row
    batch       ten rows
    pipelined   two requests in one write, answered in that order
    plain       one row with a deadline, which goes the documented way and not the fast one
"""

import asyncio
import itertools
import json
import multiprocessing
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.sharedctypes import RawArray
from typing import Any

import uvloop

from bench.swap_tally import Tally, add, bucket_of

OF_EIGHT = ("single", "batch", "single", "pipelined", "single", "plain", "single", "pipelined")
"""How the connections are shared out among the kinds."""
BATCH = 10
WITHIN = 1e-5
"""Probabilities are told apart from here on: an answer may differ in its last digits by who shared its call."""

STATUS, LENGTH, VERSION = (
    re.compile(rb"HTTP/1\.1 (\d{3}) "),
    re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE),
    re.compile(rb"\r\nmodel-version: ([^\r]*)", re.IGNORECASE),
)

Board = Any
"""Shared numbers: promotions asked for, promotions answered, phase, stop; then requests answered by each process."""
ASKED, ANSWERED, PHASE, STOP, FIRST_COUNT = range(5)


def new_board(processes: int) -> Board:
    return RawArray("q", FIRST_COUNT + processes)


@dataclass(frozen=True)
class World:
    """What the clients know beforehand."""

    port: int
    route: str
    rows: Sequence[Sequence[float]]
    versions: Sequence[str]
    """Promotion k, counted from 0, is of `versions[k % len(versions)]`."""
    known: Mapping[str, Sequence[Sequence[float]]]
    """Version -> probabilities of each row."""


class Client(asyncio.Protocol):
    """One connection; it asks again as soon as it is answered."""

    def __init__(self, kind: str, world: World, board: Board, me: int, tally: Tally, start: int) -> None:
        self.kind, self._world, self._board, self._me, self._tally = kind, world, board, me, tally
        self._requests = itertools.islice(itertools.cycle(requests_of(kind, world)), start, None)
        self._seen: dict[tuple[bytes, tuple[int, ...]], str] = SEEN
        self._buffer = b""
        self._awaited: list[tuple[int, ...]] = []
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._ask()

    def _ask(self) -> None:
        count = 2 if self.kind == "pipelined" else 1
        asked = [next(self._requests) for _ in range(count)]
        self._awaited = [rows for _, rows in asked]
        self._before, self._phase = self._board[ANSWERED], self._board[PHASE]
        self._sent_s = time.perf_counter()
        self._transport.write(b"".join(request for request, _ in asked))

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        while self._awaited and self._take():
            pass
        if not self._awaited:
            if self._buffer:
                self._tally.wrong["more was answered than asked"] += 1
            if self._board[STOP]:
                self._transport.close()
            else:
                self._ask()

    def _take(self) -> bool:
        """Take one whole response from the buffer, where there is one."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self._buffer[:end]
        length = LENGTH.search(head)
        whole = end + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) < whole:
            return False
        body, self._buffer = self._buffer[end + 4 : whole], self._buffer[whole:]
        self._judge(head, body, self._awaited.pop(0))
        return True

    def _judge(self, head: bytes, body: bytes, rows: tuple[int, ...]) -> None:
        latency_s, tally = time.perf_counter() - self._sent_s, self._tally
        self._board[FIRST_COUNT + self._me] += 1
        tally.latencies[self._phase, self.kind, bucket_of(latency_s)] += 1
        status, version = STATUS.match(head), VERSION.search(head)
        if status is None or status[1] != b"200" or version is None:
            tally.failed[f"{head.splitlines()[0].decode()} {body[:200]!r}"] += 1
            return
        said = self._version_in(body, rows)
        if said != version[1].decode():
            tally.wrong[f"{self.kind}: header {version[1]!r}, {said}: {body[:300]!r}"] += 1
        elif said not in self._allowed():
            tally.outdated[f"version {said} after promotion {self._before} was answered"] += 1
        tally.rows += len(rows)

    def _allowed(self) -> set[str]:
        """Versions from the last promotion answered before the request was sent, to the last one asked for since."""
        versions, asked = self._world.versions, self._board[ASKED]
        return {versions[k % len(versions)] for k in range(max(self._before - 1, 0), asked)}

    def _version_in(self, body: bytes, rows: tuple[int, ...]) -> str:
        """The version whose answer to these rows this is, or what is wrong with it. What was seen is not read again."""
        cut = body.rfind(b'"prediction_id"')
        key = (body[:cut], rows)
        if (found := self._seen.get(key)) is None:
            found = self._read(body, rows)
            if cut > 0 and found in self._world.known:
                self._seen[key] = found
        return found

    def _read(self, body: bytes, rows: tuple[int, ...]) -> str:
        answer = json.loads(body)
        version = str(answer["version"])
        expected = [self._world.known[version][row] for row in rows] if version in self._world.known else []
        if len(answer["probabilities"]) != len(rows) or not all(map(alike, answer["probabilities"], expected)):
            return f"not the answers of version {version} to rows {rows}"
        return version

    def connection_lost(self, error: Exception | None) -> None:
        if self._awaited:
            self._tally.failed[f"connection lost with {len(self._awaited)} unanswered: {error!r}"] += len(self._awaited)
        self.ended.set_result(None)


SEEN: dict[tuple[bytes, tuple[int, ...]], str] = {}
"""Answers that were found right, without their ids, by the rows asked; of this process."""


def alike(one: Sequence[float], other: Sequence[float]) -> bool:
    return len(one) == len(other) and all(abs(a - b) <= WITHIN for a, b in zip(one, other, strict=True))


def requests_of(kind: str, world: World) -> list[tuple[bytes, tuple[int, ...]]]:
    """Whole requests, and the numbers of the rows in them."""
    count = len(world.rows)
    if kind == "batch":
        asked = [tuple((i + j) % count for j in range(BATCH)) for i in range(0, count, 3)]
    else:
        asked = [(i,) for i in range(count)]
    return [(request(kind, world, numbers), numbers) for numbers in asked]


def request(kind: str, world: World, numbers: Sequence[int]) -> bytes:
    rows = [world.rows[number] for number in numbers]
    body = json.dumps({"values": rows if kind == "batch" else rows[0]}).encode()
    more = "X-Request-Deadline-Ms: 60000\r\n" if kind == "plain" else ""
    head = (
        f"POST {world.route} HTTP/1.1\r\nHost: 127.0.0.1:{world.port}\r\nContent-Type: application/json\r\n{more}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def keep_asking(world: World, board: Board, me: int, first: int, connections: int, tally: Tally) -> None:
    """Hold so many connections until told to stop; one that ends before is a failure, and begun anew."""

    async def hold(number: int) -> None:
        kind = OF_EIGHT[number % len(OF_EIGHT)]
        while not board[STOP]:
            try:
                _, client = await asyncio.get_running_loop().create_connection(
                    lambda: Client(kind, world, board, me, tally, number), "127.0.0.1", world.port
                )
            except OSError as error:
                tally.failed[f"no connection: {error!r}"] += 1
                await asyncio.sleep(0.05)
                continue
            await client.ended

    await asyncio.gather(*(hold(first + i) for i in range(connections)))


def run_clients(world: World, board: Board, me: int, first: int, connections: int, result: Any) -> None:
    """What a process of clients does; its tally goes to `result`."""
    tally = Tally()
    uvloop.run(keep_asking(world, board, me, first, connections, tally))
    result.put(tally)


class Clients:
    """Processes of clients, started at once; `stop` returns what they have seen."""

    def __init__(self, world: World, *, connections: int, processes: int) -> None:
        self.board = new_board(processes)
        context = multiprocessing.get_context("spawn")
        self._results: Any = context.Queue()
        share = connections // processes
        self._processes = [
            context.Process(target=run_clients, args=(world, self.board, me, me * share, share, self._results))
            for me in range(processes)
        ]

    def start(self) -> None:
        for process in self._processes:
            process.start()

    @property
    def answered(self) -> int:
        return sum(self.board[FIRST_COUNT:])

    def give_up(self) -> None:
        """End them, whatever they have seen."""
        for process in self._processes:
            if process.is_alive():
                process.terminate()
                process.join()

    def stop(self) -> Tally:
        self.board[STOP] = 1
        whole = Tally()
        for tally in [self._results.get(timeout=60) for _ in self._processes]:
            add(whole, tally)
        for process in self._processes:
            process.join()
        return whole
