"""How long a connection is waited for. Time is told and not waited for: a look is given the seconds since the last."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from api.crowd import FOR_HEALTH, Crowd, room
from api.patience import PACE, PATIENCE_S, Patience
from api.wire import Wire

HEAD = b"POST /%b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
LONG = 8 * 2**20
KEEP_ALIVE_S = 5.0


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """`/echo` reads all and answers; `/early` answers before the body; `/long` sends much; `/never` takes its time."""
    if scope["path"] != "/early":
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] == "http.disconnect":
            return
    if scope["path"] == "/never":
        await receive()  # until the client has gone
        return
    body = b"x" * (LONG if scope["path"] == "/long" else 2)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


class Client:
    """A connection, and what has come over it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def heard(self) -> bytes:
        """Everything until the connection is closed."""
        try:
            return await asyncio.wait_for(self.reader.read(), 30)
        except ConnectionResetError:
            return b"reset"


class Served:
    """A server in this loop."""

    def __init__(self, crowd: Crowd, port: int) -> None:
        self.crowd, self.patience, self._port = crowd, Patience(keep_alive_s=KEEP_ALIVE_S), port
        self.clients: list[Client] = []

    async def client(self, said: bytes = b"") -> Client:
        """A connection that the server has taken and whose bytes it has read."""
        known = set(self.crowd.connections)
        client = await self.stranger(said)
        while not any(wire.read == len(said) for wire in set(self.wires()) - known):
            await asyncio.sleep(0.001)
        return client

    async def stranger(self, said: bytes = b"") -> Client:
        """One that may be turned away."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._port))
        self.clients.append(client := Client(*await asyncio.open_connection(sock=sock, limit=1024)))
        await client.say(said)
        return client

    def wires(self) -> list[Wire]:
        return [wire for wire in self.crowd.connections if isinstance(wire, Wire)]

    async def waits(self, seconds: float, meanwhile: Callable[[], Awaitable[None]] | None = None) -> None:
        """Let so much time pass, a look a second."""
        for _ in range(round(seconds)):
            if meanwhile is not None:
                await meanwhile()
            await asyncio.sleep(0.002)
            self.patience.look(self.wires(), 1.0)
        await asyncio.sleep(0.002)

    async def arrived(self, wire: Wire, count: int) -> None:
        while wire.read < count:
            await asyncio.sleep(0.001)


@asynccontextmanager
async def served(rooms: int = 100) -> AsyncIterator[Served]:
    crowd, loop = Crowd(), asyncio.get_running_loop()
    crowd.room = rooms
    config = uvicorn.Config(app, timeout_keep_alive=600, log_config=None, ws="none")
    server = await loop.create_server(lambda: Wire(config, crowd, {}, loop), "127.0.0.1", 0)
    found = Served(crowd, server.sockets[0].getsockname()[1])
    try:
        yield found
    finally:
        for client in found.clients:
            client.writer.transport.abort()
        server.close()
        await server.wait_closed()
        while crowd.connections or crowd.tasks:
            await asyncio.sleep(0.001)


@pytest.mark.fault(37)
@pytest.mark.parametrize(
    ("sent", "drip", "told"),
    [
        (b"", b"", b""),
        (b"POST /echo HTTP/1.1\r\nHost:", b"", b"HTTP/1.1 408"),
        (b"POST /echo HTTP/1.1\r\nHost:", b"x", b"HTTP/1.1 408"),
        (HEAD % (b"echo", 100) + b"{", b"", b"HTTP/1.1 408"),
        (HEAD % (b"echo", 100) + b"{", b"x", b"HTTP/1.1 408"),
        (HEAD % (b"early", 100) + b"{", b"x", b"HTTP/1.1 200"),
        (HEAD % (b"echo", 0), b"", b"HTTP/1.1 200"),
    ],
    ids=["silent", "half a head", "dripping head", "half a body", "dripping body", "after its answer", "kept"],
)
def test_who_keeps_us_waiting_is_let_go_after_ten_seconds_and_not_before(sent: bytes, drip: bytes, told: bytes) -> None:
    async def story() -> None:
        async with served() as server:
            client = await server.client(sent)
            kept = sent == HEAD % (b"echo", 0)

            await server.waits(KEEP_ALIVE_S if kept else PATIENCE_S, lambda: client.say(drip))
            assert len(server.wires()) == 1, "let go too early"
            await server.waits(2)
            heard = await client.heard()

            assert heard.startswith(told)
            assert heard.count(b"HTTP/1.1") == (1 if told else 0), "one request, one answer"
            assert b"408" not in told or b"request_timeout" in heard

    asyncio.run(story())


@pytest.mark.fault(37)
def test_who_does_not_read_his_answer_is_let_go_though_he_has_asked_for_more() -> None:
    async def story() -> None:
        async with served() as server:
            client = await server.client(3 * (HEAD % (b"long", 0)))
            while not server.wires()[0].transport.get_write_buffer_size():
                await asyncio.sleep(0.001)

            await server.waits(PATIENCE_S)
            assert len(server.wires()) == 1
            await server.waits(2)

            assert server.wires() == []
            assert len(await client.heard()) < LONG

    asyncio.run(story())


def test_a_large_body_may_take_as_long_as_it_needs_at_a_slow_pace() -> None:
    async def story() -> None:
        async with served() as server:
            client, size = await server.client(HEAD % (b"echo", 100 * PACE)), 100 * PACE
            (wire,) = server.wires()

            async def some() -> None:
                expected = wire.read + PACE
                await client.say(b"x" * PACE)
                await server.arrived(wire, expected)

            await server.waits(size // PACE, some)

            assert await client.reader.readline() == b"HTTP/1.1 200 OK\r\n"

    asyncio.run(story())


def test_what_is_being_answered_may_take_its_time_and_so_may_who_asks_again_and_again() -> None:
    async def story() -> None:
        async with served() as server:
            slow, busy = await server.client(HEAD % (b"never", 0)), await server.client(HEAD % (b"echo", 0))

            await server.waits(60, lambda: busy.say(HEAD % (b"echo", 0)))

            assert len(server.wires()) == 2
            assert not slow.reader.at_eof()

    asyncio.run(story())


def test_a_look_that_was_held_up_blames_nobody() -> None:
    async def story() -> None:
        async with served() as server:
            await server.client(b"POST ")
            server.patience.look(server.wires(), 1.0)

            server.patience.look(server.wires(), 600.0)

            assert len(server.wires()) == 1

    asyncio.run(story())


def test_who_is_idle_is_let_go_soon_when_the_process_stops_and_a_half_sent_request_is_answered() -> None:
    async def story() -> None:
        async with served() as server:
            idle, half = await server.client(HEAD % (b"echo", 0)), await server.client(HEAD % (b"echo", 4) + b"ab")
            server.patience.hurry()
            for wire in server.wires():
                wire.shutdown()

            await server.waits(3)
            await half.say(b"cd")

            assert (await idle.heard()).count(b"HTTP/1.1 200 OK") == 1
            assert b"connection: close" in await half.heard()

    asyncio.run(story())


@pytest.mark.fault(47)
def test_beyond_the_room_only_health_is_answered_and_beyond_that_nothing() -> None:
    async def story() -> None:
        async with served(rooms=2) as server:
            asks = b"GET /%b HTTP/1.1\r\nHost: localhost\r\n\r\n"
            kept = [await server.client(asks % b"x") for _ in range(2)]

            healthy, other = await server.stranger(asks % b"health"), await server.stranger(asks % b"x")
            assert b"200 OK" in await healthy.heard()
            refused = await other.heard()
            assert b"HTTP/1.1 503" in refused
            assert b"retry-after:" in refused
            for _ in range(FOR_HEALTH):
                await server.client()
            assert b"HTTP/1.1 503" in await (await server.stranger()).heard()

            assert [await client.reader.readline() for client in kept] == 2 * [b"HTTP/1.1 200 OK\r\n"]

    asyncio.run(story())


@pytest.mark.parametrize(("limit", "own", "expected"), [(64, 48, 4), (1024, 50, 942), (20_000, 50, 19_918)])
def test_room_ends_before_the_limit_of_files(limit: int, own: int, expected: int) -> None:
    assert room(limit, own) == expected


def test_without_a_limit_there_is_much_room() -> None:
    assert room(resource.RLIM_INFINITY, 50) > 1_000_000
