"""More than the API can answer: what it still answers, how soon the rest is refused, and whether its health is seen.

    .venv/bin/python -m bench.overload

The server has one core and the load another. First a model that costs some tenths of a second a call, which 64 requests
share: its peak, found with clients who wait for their answers; then five times as many requests arrive, at times that
no answer changes (Poisson). The same with one of about 5 ms a call, without goals: its peak is so high that refusing
five times as many would take more than the one core, so what is seen there is how the rest shrinks. Then a cheap model
on the fast path, with the connections of its peak and with five times as many. Then 200 promotions within a second
beside predictions, and 2,000 slow connections beside good traffic. Health is asked every 20 ms on a connection of its
own under load. Ends with code 1 where a goal is missed.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import requests
import uvloop
from onnx import helper
from sklearn.linear_model import LogisticRegression

from api.tests import given
from bench.servers import Server, api
from bench.slow_clients import KINDS, slow_connections
from bench.wrk import Load, NoLoad, check_wrk, on_cores
from tests import bundles
from tests.wires import asked

SERVER, LOAD = [0], [1]
SIDE, PRODUCTS = 300, 4
"""Of the matrices that the dear model multiplies, and how many."""
DEARER = 160
"""Products of one whose overload a core can refuse beside its calls: a refusal costs about 50 µs."""
PROBE_EVERY_S = 0.02
TIMES = 5
MOST_CONNECTIONS = 1000
CALM_WITHIN = 1.5
"""Times the latency before: then all is as it was."""
HERD, WITHIN_S = 200, 1.0
"""Promotions, and within how many seconds they are asked for."""

GOODPUT, REFUSED_MS, HEALTH_MS, HERD_TIMES, CLOSED_S = 0.9, 50.0, 100.0, 1.5, 15.0
"""The goals: of the peak, at least; at most each of: p99 of refusals and of health, p99 of predictions beside the herd
as a multiple of before, and how long a slow connection stays."""


@dataclass(frozen=True)
class Figure:
    """What was measured, and its goal."""

    what: str
    value: float
    goal: float
    is_least: bool = False
    """Whether it must reach the goal; else it must not exceed it."""

    @property
    def is_met(self) -> bool:
        """A figure that nothing was measured for, NaN, meets nothing."""
        return self.value >= self.goal if self.is_least else self.value <= self.goal

    def __str__(self) -> str:
        words = f"{self.value:.2f}, {'at least' if self.is_least else 'at most'} {self.goal:g}"
        return f"{'met   ' if self.is_met else 'MISSED'} {self.what}: {words}"


def dear(products: int = PRODUCTS) -> bytes:
    """An ONNX form that answers its number, and multiplies matrices meanwhile: milliseconds a call, for a row or 64."""
    node = helper.make_node
    side = helper.make_tensor("side", onnx.TensorProto.INT64, [2], [SIDE, SIDE])
    nodes = [
        node("ReduceMean", ["numbers"], ["mean"]),
        node("Mul", ["mean", "zero"], ["none"]),
        node("ConstantOfShape", ["side"], ["zeros"]),
        node("Add", ["zeros", "none"], ["m0"]),
        *(node("MatMul", [f"m{i}", "m0"], [f"m{i + 1}"]) for i in range(products)),
        node("ReduceMean", [f"m{products}"], ["nothing"]),
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


def health_figures(during: str, health: Seen) -> list[Figure]:
    return [
        Figure(f"health during {during}, p99 in ms", 1e3 * quantile(health.good(), 0.99), HEALTH_MS),
        Figure(f"health during {during}, not answered", health.failed() + len(health.refused()), 0),
    ]


async def of_a_dear_model(port: int, model: str, seconds: float) -> list[Figure]:
    clients = Clients(port, asked("POST", f"/models/{model}/predict", {"values": [0.5]}))
    alone = await closed_loop(clients, 1, seconds / 4)
    peaks = {
        count: len((await closed_loop(clients, count, seconds / 2)).good()) / (seconds / 2) for count in (8, 32, 128)
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
    return [
        Figure("goodput of the dear model, of its peak", goodput / peak, GOODPUT, is_least=True),
        Figure("refusals of the dear model, p99 in ms", 1e3 * quantile(seen.refused(), 0.99), REFUSED_MS),
        Figure("failures of the dear model", seen.failed(), 0),
        *health_figures("that", health),
    ]


async def of_connections(port: int, folder: Path, seconds: float) -> list[Figure]:
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
    return [
        Figure("goodput of the fast path, of its peak", rate / peak, GOODPUT, is_least=True),
        Figure("failures of the fast path", failed, 0),
        *health_figures("many connections", health),
    ]


async def of_a_herd(server: Server, orders: Sequence[bytes], seconds: float) -> list[Figure]:
    """Many promotions beside predictions."""
    clients = Clients(server.port, asked("POST", "/models/rain/predict", {"values": [0.1, 0.2]}))
    before = await closed_loop(clients, 2, seconds / 2)
    herd, chance, during = Seen(), random.Random(1), Seen()

    async def order(said: bytes) -> None:
        await asyncio.sleep(chance.random() * WITHIN_S)
        await Clients(server.port, said).ask(herd)

    orders_ = asyncio.gather(*(order(orders[number % len(orders)]) for number in range(HERD)))
    while not orders_.done():
        found = await closed_loop(clients, 2, 0.1)
        for status, some in found.seconds.items():
            during.seconds.setdefault(status, []).extend(some)
    clients.close()
    counts = {status: len(some) for status, some in herd.seconds.items()}
    print(f"{HERD} promotions within {WITHIN_S:g} s: {counts}")
    print(f"  predictions before {ms(before.good())}; meanwhile {ms(during.good())}")
    slower = quantile(during.good(), 0.99) / quantile(before.good(), 0.99)
    return [
        Figure("predictions beside the herd, p99 as a multiple of before", slower, HERD_TIMES),
        Figure("predictions beside the herd, failures", during.total() - len(during.good()), 0),
        Figure("promotions of the herd that were carried out", counts.get(200, 0), 1, is_least=True),
        Figure(
            "promotions of the herd without an answer", HERD - sum(counts.get(code, 0) for code in (200, 409, 429)), 0
        ),
    ]


def herd_orders(server: Server) -> list[bytes]:
    """Requests for the two versions of a model, the second of which is registered here."""
    assert server.home is not None
    token = {"Authorization": f"Bearer {(server.home / 'var' / 'operator.token').read_text().strip()}"}
    other = given.bundle(LogisticRegression(C=0.01))
    versions = f"http://127.0.0.1:{server.port}/models/rain/versions"
    requests.post(versions, data=other, headers=token, timeout=120).raise_for_status()
    orders = [{"model_name": "rain", "model_version_id": version, "override": "a herd"} for version in ("2", "1")]
    for body in orders:
        answer = requests.post(f"http://127.0.0.1:{server.port}/model/promote", json=body, headers=token, timeout=120)
        answer.raise_for_status()  # and has been tried
    return [asked("POST", "/model/promote", body, **token) for body in orders]


def of_slow_connections(installed: Server, count: int) -> list[Figure]:
    found = slow_connections(installed, count, path="/models/rain/predict")
    print(f"{count} slow connections: {found.closed} closed; told {dict(found.told)}")
    print("  stayed at most: " + ", ".join(f"{name} {found.longest_s[name]:.1f} s" for name in KINDS))
    print(f"  good traffic: {len(found.good.seconds)} requests, failed {found.good.failed}, {ms(found.good.seconds)}")
    return [
        Figure("slow connections that were not closed", count - found.closed, 0),
        Figure("slow connections stayed, s", max(found.longest_s.values()), CLOSED_S),
        Figure("good traffic beside them, failures", len(found.good.failed), 0),
    ]


def dear_models() -> dict[str, bytes]:
    costs = {"dear": PRODUCTS, "dearer": DEARER}
    return {name: bundles.by_hand({"model.onnx": dear(products)}, model=name) for name, products in costs.items()}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=8, help="of each run of load")
    options.add_argument("--slow", type=int, default=2000, help="slow connections")
    given_ = options.parse_args()
    try:
        check_wrk()
    except NoLoad as error:
        raise SystemExit(str(error)) from None
    models = {"rain": given.bundle(), **dear_models()}
    with ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory()))
        server = open_.enter_context(api(folder, models, name="api", cores=SERVER))
        open_.enter_context(on_cores(LOAD))
        uvloop.run(of_a_dear_model(server.port, "dear", given_.seconds))
        figures = [
            *uvloop.run(of_a_dear_model(server.port, "dearer", given_.seconds)),
            *uvloop.run(of_connections(server.port, folder / "load", given_.seconds)),
            *uvloop.run(of_a_herd(server, herd_orders(server), given_.seconds)),
            *of_slow_connections(server, given_.slow),
        ]
    print(*figures, sep="\n")
    sys.exit(0 if all(figure.is_met for figure in figures) else 1)


if __name__ == "__main__":
    main()
