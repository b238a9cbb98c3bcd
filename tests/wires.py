"""Raw connections to a running API: requests as bytes, answers as they come, and what becomes of the connection."""

import json
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from selectors import EVENT_READ, DefaultSelector
from typing import Any, Protocol

import requests

from api.tests import given
from tests.services import Installation

WITHIN_S = 60.0
"""Ends a test that hangs; nothing is measured by it."""


class Listening(Protocol):
    """Whoever can be connected to."""

    @property
    def port(self) -> int: ...


def serve_rain(installed: Installation, *others: bytes) -> None:
    """Start the API; the first version of the model `rain` serves, and others of it are registered."""
    installed.start_api()
    serve(installed, "rain", given.bundle(), *others)


def serve(installed: Installation, model: str, *versions: bytes) -> None:
    """Define a model, register its versions, and promote the first."""
    scheduler = installed.token("scheduler")
    requests.put(f"{installed.url}/models/{model}", json=given.definition(model), headers=scheduler, timeout=60)
    for bundle in versions:
        requests.post(f"{installed.url}/models/{model}/versions", data=bundle, headers=scheduler, timeout=60)
    assert told(installed, promotion(installed, "1", model))[0] == 200


def promotion(installed: Installation, version: str, model: str = "rain") -> bytes:
    body = {"model_name": model, "model_version_id": version, "override": "a test"}
    return asked("POST", "/model/promote", body, **installed.token("operator"))


def asked(method: str, path: str, body: Any = None, **headers: str) -> bytes:
    """A request; a body is sent as JSON, an underscore in a header's name is a hyphen."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


def connected(server: Listening, said: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=WITHIN_S)
    connection.sendall(said)
    return connection


@contextmanager
def many(server: Listening, count: int, said: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many connections, all of which have said the same."""
    with ExitStack() as open_:
        yield [open_.enter_context(connected(server, said)) for _ in range(count)]


def told(server: Listening, said: bytes) -> tuple[int, bytes]:
    """The answer to one request on a connection of its own."""
    with connected(server, said) as connection:
        return answer(connection)


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status, and everything that has come with it, body included. Raises OSError where no whole answer comes."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += some(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    _, found, length = head.lower().partition(b"content-length: ")
    while found and len(body) < int(length.split(b"\r\n")[0]):
        body += some(connection)
    return int(head.split()[1]), head + b"\r\n\r\n" + body


def some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionResetError("closed before the answer was whole")
    return data


def closed(connections: Iterable[socket.socket]) -> int:
    """How many of them the other side closes; waits for all, up to `WITHIN_S`."""
    found, until_s = 0, time.monotonic() + WITHIN_S
    with DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, EVENT_READ, connection)
        while selector.get_map() and time.monotonic() < until_s:
            for key, _ in selector.select(0.1):
                data = b""
                with suppress(OSError):
                    data = key.data.recv(65536)
                if not data:
                    selector.unregister(key.data)
                    found += 1
    return found
