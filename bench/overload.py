"""More than the API can answer: what it still answers, how soon the rest is refused, and whether its health is seen.

    .venv/bin/python -m bench.overload

The server has one core and the load another. First a model that costs about 5 ms a call: its peak, found with clients
who wait for their answers; then five times as many requests arrive, at times that no answer changes (Poisson). Then a
cheap model on the fast path, with the connections of its peak and with five times as many. Then 2,000 slow connections
beside good traffic. Health is asked every 20 ms on a connection of its own throughout.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import uvloop
from onnx import helper

from api.tests import given
from bench.servers import Server, api
from bench.slow_clients import KINDS, slow_connections
from bench.wrk import Load, NoLoad, check_wrk, on_cores
from tests import bundles
from tests.wires import asked

SERVER, LOAD = [0], [1]
SIDE, PRODUCTS = 300, 4
"""Of the matrices that the dear model multiplies, and how many."""
PROBE_EVERY_S = 0.02
TIMES = 5
MOST_CONNECTIONS = 1000
CALM_WITHIN = 1.5
"""Times the latency before: then all is as it was."""


def dear() -> bytes:
    """An ONNX form that answers its number, and multiplies matrices meanwhile: milliseconds a call, for a row or 64."""
    node = helper.make_node
    side = helper.make_tensor("side", onnx.TensorProto.INT64, [2], [SIDE, SIDE])
    nodes = [
        node("ReduceMean", ["numbers"], ["mean"]),
        node("Mul", ["mean", "zero"], ["none"]),
        node("ConstantOfShape", ["side"], ["zeros"]),
        node("Add", ["zeros", "none"], ["m0"]),
        *(node("MatMul", [f"m{i}", "m0"], [f"m{i + 1}"]) for i in range(PRODUCTS)),
        node("ReduceMean", [f"m{PRODUCTS}"], ["nothing"]),
        node("Add", ["numbers", "nothing"], ["out"]),
    ]
    return bundles.onnx_of(nodes, constants=[side, bundles.number(0.0, "zero")])


@dataclass
class Seen:
    """Latencies in seconds by status; 0 is no answer."""

    seconds: dict[int, list[float]] = field(default_factory=dict)

    def add(self, status: int, seconds: float) -> None:
        self.seconds.setdefault(status, []).append(seconds)

    def good(self) -> list[float]:
        return self.seconds.get(200, [])

    def refused(self) -> list[float]:
        return self.seconds.get(503, []) + self.seconds.get(429, [])

    def total(self) -> int:
        return sum(map(len, self.seconds.values()))

    def failed(self) -> int:
        return sum(len(found) for status, found in self.seconds.items() if status not in (200, 429, 503))


class Connection(asyncio.Protocol):
    """Sends one request at a time."""

    def __init__(self) -> None:
        self._data = b""
        self._answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # that is what comes
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if found and len(body) >= int(length) and not self._answer.done():
            self._answer.set_result(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._answer.done():
            self._answer.set_result(0)

    async def ask(self, said: bytes) -> int:
        """The status of the answer; 0 where none came."""
        if self.transport.is_closing():
            return 0
        self._data, self._answer = b"", asyncio.get_running_loop().create_future()
        self.transport.write(said)
        return await self._answer


class Clients:
    """Connections to one server, used again when they are free."""

    def __init__(self, port: int, said: bytes) -> None:
        self._port, self._said, self._free, self.open = port, said, list[Connection](), 0

    async def ask(self, seen: Seen) -> None:
        began_s = time.perf_counter()
        connection = self._free.pop() if self._free else await self._new()
        status = await connection.ask(self._said)
        seen.add(status, time.perf_counter() - began_s)
        if status and not connection.transport.is_closing():
            self._free.append(connection)

    async def _new(self) -> Connection:
        self.open += 1
        _, made = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", self._port)
        return made

    def close(self) -> None:
        for connection in self._free:
            connection.transport.abort()


async def closed_loop(clients: Clients, count: int, seconds: float) -> Seen:
    """So many clients who wait for each answer."""
    seen, until_s = Seen(), time.perf_counter() + seconds

    async def one() -> None:
        while time.perf_counter() < until_s:
            await clients.ask(seen)

    await asyncio.gather(*(one() for _ in range(count)))
    return seen


async def open_loop(clients: Clients, rate: float, seconds: float) -> Seen:
    """Requests at times that no answer changes; at most `MOST_CONNECTIONS` of them wait."""
    seen, tasks, chance = Seen(), set[asyncio.Task[None]](), random.Random(1)
    began_s = next_s = time.perf_counter()
    while next_s < began_s + seconds:
        if (wait_s := next_s - time.perf_counter()) > 0:
            await asyncio.sleep(wait_s)
        if len(tasks) < MOST_CONNECTIONS:
            tasks.add(task := asyncio.create_task(clients.ask(seen)))
            task.add_done_callback(tasks.discard)
        next_s += chance.expovariate(rate)
    await asyncio.gather(*tasks)
    return seen


async def probed(port: int, meanwhile: Callable[[], Awaitable[Seen]]) -> tuple[Seen, Seen]:
    """What `meanwhile` saw, and what a prober of the health did."""
    probe, health = Clients(port, asked("GET", "/health")), Seen()

    async def go_on() -> None:
        while True:
            await probe.ask(health)
            await asyncio.sleep(PROBE_EVERY_S)

    probing = asyncio.create_task(go_on())
    try:
        return await meanwhile(), health
    finally:
        probing.cancel()
        probe.close()


async def recovery_s(clients: Clients, normal_s: float) -> float:
    """Seconds until ten answers in a row are good and as quick as before the overload."""
    began_s = time.perf_counter()
    while time.perf_counter() < began_s + 60:
        seen = Seen()
        for _ in range(10):
            await clients.ask(seen)
        if len(seen.good()) == 10 and quantile(seen.good(), 0.5) <= CALM_WITHIN * normal_s:
            break
    return time.perf_counter() - began_s


def quantile(seconds: Sequence[float], share: float) -> float:
    return sorted(seconds)[int(share * (len(seconds) - 1))] if seconds else float("nan")


def ms(seconds: Sequence[float]) -> str:
    return f"p50 {1e3 * quantile(seconds, 0.5):.1f} ms, p99 {1e3 * quantile(seconds, 0.99):.1f} ms"


async def of_a_dear_model(port: int, seconds: float) -> None:
    clients = Clients(port, asked("POST", "/models/dear/predict", {"values": [0.5]}))
    alone = await closed_loop(clients, 1, seconds / 4)
    peaks = {
        count: len((await closed_loop(clients, count, seconds / 2)).good()) / (seconds / 2) for count in (2, 8, 32)
    }
    count, peak = max(peaks.items(), key=lambda item: item[1])
    print(f"a model of {1e3 * quantile(alone.good(), 0.5):.1f} ms: peak {peak:.0f}/s with {count} clients")
    seen, health = await probed(port, lambda: open_loop(clients, TIMES * peak, seconds))
    after_s = await recovery_s(clients, quantile(alone.good(), 0.5))
    goodput = len(seen.good()) / seconds
    print(f"  {TIMES} × as many, {seconds:.0f} s: goodput {goodput / peak:.2f} of the peak; answers {ms(seen.good())}")
    print(f"  offered {seen.total() / seconds:.0f}/s; refusals {len(seen.refused())}, {ms(seen.refused())}")
    print(f"  failures {seen.failed()}")
    print(f"  health {ms(health.good())}, {health.failed() + len(health.refused())} not answered")
    print(f"  as before after {after_s:.2f} s")
    clients.close()


async def of_connections(port: int, folder: Path, seconds: float) -> None:
    load = Load.of(folder, "/models/rain/predict", "application/json", [b'{"values": [0.1, 0.2]}'])

    async def run(connections: int) -> tuple[float, int, Seen]:
        outcome, health = None, Seen()

        async def drive() -> Seen:
            nonlocal outcome
            outcome = await asyncio.to_thread(load.run, port, connections=connections, seconds=seconds, cores=LOAD)
            return health

        _, health = await probed(port, drive)
        assert outcome is not None
        return outcome.rate, outcome.refused + outcome.broken, health

    peaks = {connections: (await run(connections))[0] for connections in (16, 32, 64)}
    count, peak = max(peaks.items(), key=lambda item: item[1])
    rate, failed, health = await run(TIMES * count)
    print(f"the fast path: peak {peak:.0f}/s with {count} connections")
    print(f"  {TIMES * count} connections: goodput {rate / peak:.2f} of the peak; failures {failed}")
    print(f"  health {ms(health.good())}, {health.failed() + len(health.refused())} not answered")


def of_slow_connections(installed: Server, count: int) -> None:
    found = slow_connections(installed, count, path="/models/rain/predict")
    print(f"{count} slow connections: {found.closed} closed; told {dict(found.told)}")
    print("  stayed at most: " + ", ".join(f"{name} {found.longest_s[name]:.1f} s" for name in KINDS))
    print(f"  good traffic: {len(found.good.seconds)} requests, failed {found.good.failed}, {ms(found.good.seconds)}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=8, help="of each run of load")
    options.add_argument("--slow", type=int, default=2000, help="slow connections")
    given_ = options.parse_args()
    try:
        check_wrk()
    except NoLoad as error:
        raise SystemExit(str(error)) from None
    models = {"rain": given.bundle(), "dear": bundles.by_hand({"model.onnx": dear()}, model="dear")}
    with ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory()))
        server = open_.enter_context(api(folder, models, name="api", cores=SERVER))
        open_.enter_context(on_cores(LOAD))
        uvloop.run(of_a_dear_model(server.port, given_.seconds))
        uvloop.run(of_connections(server.port, folder / "load", given_.seconds))
        of_slow_connections(server, given_.slow)


if __name__ == "__main__":
    main()
