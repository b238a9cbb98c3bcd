"""Connections that keep a server waiting, in every way there is, and good traffic beside them."""

import socket
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import cycle, islice
from select import POLLERR, POLLHUP, POLLIN, POLLRDHUP, poll
from threading import Event

from tests.wires import Listening, answer, asked, connected, told

HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = HEAD + b'Content-Length: 100\r\n\r\n{"values"'
LARGE = asked("GET", "/docs/swagger-ui-bundle.js")


@dataclass(frozen=True)
class Kind:
    """What is said at first, and what each second."""

    first: bytes = b""
    drip: bytes = b""
    reads: bool = True


KINDS: Mapping[str, Kind] = {
    "silent": Kind(),
    "half a head": Kind(HEAD),
    "dripping head": Kind(HEAD, b"X-A: b\r\n"),
    "half a body": Kind(BODY),
    "dripping body": Kind(BODY, b" "),
    "not reading": Kind(4 * LARGE, reads=False),
}
GIVEN_UP_S = 60.0
KEPT_S = 4.0
"""After so long without use a client takes a new connection: the server closes idle ones after 5 s."""


@dataclass
class Good:
    """What good traffic met: one prediction every 5 ms on a kept connection, one in ten on a new one."""

    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """How; empty where all is well."""


@dataclass(frozen=True)
class Found:
    """What became of the slow ones."""

    closed: int
    longest_s: Mapping[str, float]
    """Kind -> how long the last of them stayed."""
    told: Counter[str]
    """The first line of what was answered before the end."""
    good: Good


def slow_connections(server: Listening, count: int, *, path: str = "/predict") -> Found:
    """Open so many, of all kinds in turn, and wait until the server has closed them."""
    good, stop, began_s = Good(), Event(), time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        going_on = pool.submit(good_traffic, server, path, good, stop)
        try:
            with Watch(server) as watch:
                for name in islice(cycle(KINDS), count):
                    watch.open(name)
                while watch.slow and time.monotonic() < began_s + GIVEN_UP_S:
                    watch.look(50)
        finally:
            stop.set()
        going_on.result()
    return Found(count - len(watch.slow), watch.longest_s, watch.told, good)


class Watch:
    """Slow connections that are open, and what became of the others."""

    def __init__(self, server: Listening) -> None:
        self.slow: dict[int, Slow] = {}
        """By the number of their file."""
        self.longest_s: dict[str, float] = dict.fromkeys(KINDS, 0.0)
        self.told: Counter[str] = Counter()
        self._server, self._ends, self._next_drip_s = server, poll(), 0.0

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *error: object) -> None:
        for slow in self.slow.values():
            slow.connection.close()

    def open(self, name: str) -> None:
        kind = KINDS[name]
        connection = opened(self._server, kind)
        self.slow[connection.fileno()] = Slow(name, connection, time.monotonic())
        self._ends.register(connection, (POLLIN if kind.reads else 0) | POLLRDHUP | POLLHUP | POLLERR)
        self.look(0)

    def look(self, wait_ms: int) -> None:
        """See who was let go, and let the others drip once a second."""
        for number, _ in self._ends.poll(wait_ms):
            slow = self.slow[number]
            if (line := slow.last_words()) is not None:
                self.told[line] += 1
                self.longest_s[slow.name] = max(self.longest_s[slow.name], time.monotonic() - slow.began_s)
                self._ends.unregister(number)
                self.slow.pop(number).connection.close()
        if time.monotonic() > self._next_drip_s:
            self._next_drip_s = time.monotonic() + 1.0
            for slow in self.slow.values():
                slow.drip()


@dataclass(frozen=True)
class Slow:
    """One of them."""

    name: str
    connection: socket.socket
    began_s: float

    def drip(self) -> None:
        if KINDS[self.name].drip:
            with suppress(OSError):
                self.connection.send(KINDS[self.name].drip)

    def last_words(self) -> str | None:
        """The first line that the server had sent, once it has closed; None as long as it has not."""
        if not KINDS[self.name].reads:
            return "(not read)"
        try:
            said = self.connection.recv(65536)
        except BlockingIOError:
            return None
        except OSError:
            return "(reset)"
        return said.partition(b"\r\n")[0].decode("latin-1") or "(nothing)"


def opened(server: Listening, kind: Kind) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096 if not kind.reads else 65536)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(kind.first)
    connection.setblocking(False)
    return connection


def good_traffic(server: Listening, path: str, good: Good, stop: Event) -> None:
    said, number, used_s = asked("POST", path, {"values": [0.1, 0.2]}), 0, time.perf_counter()
    with ExitStack() as open_:
        kept = open_.enter_context(connected(server))
        while not stop.wait(0.005):
            began_s, number = time.perf_counter(), number + 1
            try:
                if number % 10 == 0:
                    status, _ = told(server, said)
                else:
                    if began_s - used_s > KEPT_S:
                        kept = open_.enter_context(connected(server))
                    kept.sendall(said)
                    status, _ = answer(kept)
                    used_s = time.perf_counter()
                if status != 200:
                    good.failed.append(str(status))
            except OSError as error:
                good.failed.append(repr(error))
                kept = open_.enter_context(connected(server))
            good.seconds.append(time.perf_counter() - began_s)
