"""The player notices every way in which a server may break the rule; the servers here are made to."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest

from tests.wire.exchange import Exchange, echo, gives, says
from tests.wire.player import play, wrong
from tests.wire.reading import Reading

ROW = b'{"predictions": [%d]}'
PROBLEM = b'{"detail": "no", "remedy": "%b"}'


def reply(status: int, body: bytes, *headers: bytes, kind: bytes = b"application/json") -> bytes:
    lines = [
        b"HTTP/1.1 %d X" % status,
        b"Content-Type: " + kind,
        b"Content-Length: %d" % len(body),
        *headers,
        b"",
        body,
    ]
    return b"\r\n".join(lines)


def row(value: int) -> bytes:
    return reply(200, ROW % value)


def problem(status: int, *headers: bytes, remedy: bytes = b"Send less.") -> bytes:
    return reply(status, PROBLEM % remedy, *headers, kind=b"application/problem+json")


HEALTH = reply(200, b'{"status": "ok"}', b"Connection: close")
TWO = Exchange("two", echo(1) + echo(2), (gives(1), gives(2)))
ONE = Exchange("one", echo(1), (gives(1),))
BAD = Exchange("bad", b"\0", (says(400),), kept=False)
CLOSE = b"Connection: close"


@contextmanager
def server(said: bytes) -> Iterator[int]:
    """Says the same to everybody, and nothing after that."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(said)

        thread = Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


def verdict(exchange: Exchange, said: bytes) -> str:
    with server(said) as port:
        return wrong(exchange, play(port, [exchange])[0])


@pytest.mark.parametrize(
    ("exchange", "said"),
    [
        (TWO, row(1) + row(2) + HEALTH),
        (ONE, b"HTTP/1.1 100 Continue\r\n\r\n" + row(1) + HEALTH),
        (BAD, problem(400, CLOSE)),
        (Exchange("half", echo(1)[:-1], (), unfinished=True), b""),
    ],
)
def test_what_is_owed_is_right(exchange: Exchange, said: bytes) -> None:
    assert verdict(exchange, said) == ""


@pytest.mark.parametrize(
    ("exchange", "said", "found"),
    [
        (TWO, row(2) + row(1) + HEALTH, "gave [2] for 1"),
        (TWO, row(1), "1 answers are missing"),
        (TWO, row(1) + row(1) + HEALTH, "answer 1: gave [1] for 2"),
        (ONE, row(1) + row(1) + HEALTH, "out of step"),
        (ONE, row(1) + HEALTH + row(1), "out of step"),
        (ONE, row(1), "closed after [200]"),
        (ONE, reply(500, b"{}") + HEALTH, "500 instead of {200}"),
        (ONE, row(1)[:-1], "ends after"),
        (ONE, row(1) + b"x" + HEALTH, "unsound"),
        (ONE, row(1).replace(b"\r\n", b"\n") + HEALTH, "unsound"),
        (ONE, row(1).replace(b"Content-Length: 20", b"Content-Length: 20\r\nContent-Length: 20"), "comes 2 times"),
        (ONE, row(1).replace(b"Content-Length: 20", b"X: y"), "whose end is not said once"),
        (ONE, b"HTTP/1.0" + row(1)[8:] + HEALTH, "no status line"),
        (BAD, problem(400, CLOSE) + row(666), "out of step"),
        (BAD, problem(400) + HEALTH, "answers on after [400]"),
        (BAD, problem(400, CLOSE, remedy=b""), "no problem with a remedy"),
        (BAD, problem(400, CLOSE, remedy=b"x" * 5000), "an error of"),
        (BAD, problem(400, CLOSE, remedy=b"Traceback (most recent call last)"), "a traceback"),
        (BAD, reply(400, b"no", CLOSE, kind=b"application/problem+json").replace(b"no", b"{}"), "no problem"),
    ],
)
def test_what_is_not_owed_is_noticed(exchange: Exchange, said: bytes, found: str) -> None:
    assert found in verdict(exchange, said)


def test_a_tunnel_is_read_as_what_is_no_http_and_an_upgrade_is_passed_over() -> None:
    tunnel = Reading(echo(1) + b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n" + echo(2))
    wish = Reading(echo(1, b"Connection: Upgrade", b"Upgrade: h2c") + echo(2))

    assert (len(tunnel.answered), tunnel.is_broken) == (1, True)
    assert ([one.body for one in wish.answered], wish.is_broken) == ([b'{"x": 1}', b'{"x": 2}'], False)
