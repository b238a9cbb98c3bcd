"""The network of a campaign does to its connections what it is told to."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.faults.cuts import Proxy, proxy


class Counting(ThreadingHTTPServer):
    """Answers everything, and counts."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = 0


class Handler(BaseHTTPRequestHandler):
    server: Counting
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        """The test's output is its assertions."""


@pytest.fixture
def server() -> Iterator[Counting]:
    running = Counting()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def network(server: Counting) -> Iterator[Proxy]:
    with proxy(server.server_port) as running:
        yield running


@pytest.fixture
def connection(network: Proxy) -> Iterator[http.client.HTTPConnection]:
    with closing(http.client.HTTPConnection("127.0.0.1", network.port, timeout=30)) as connection:
        yield connection


def ask(connection: http.client.HTTPConnection) -> bytes:
    connection.request("GET", "/")
    return connection.getresponse().read()


def test_a_whole_network_changes_nothing(connection: http.client.HTTPConnection, server: Counting) -> None:
    assert [ask(connection) for _ in range(3)] == [b"ok"] * 3
    assert server.asked == 3


def test_a_dropped_answer_is_that_of_a_request_that_was_done(
    connection: http.client.HTTPConnection, network: Proxy, server: Counting
) -> None:
    ask(connection)
    network.cut("drop")

    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        ask(connection)

    assert server.asked == 2


def test_a_reset_ends_open_connections_and_lets_new_ones_through(
    connection: http.client.HTTPConnection, network: Proxy
) -> None:
    ask(connection)
    network.cut("reset")

    with pytest.raises(ConnectionError):
        [ask(connection) for _ in range(100)]  # the first may have been on its way already

    connection.close()
    assert ask(connection) == b"ok"


def test_a_stalled_request_is_answered_once_the_network_flows_again(
    connection: http.client.HTTPConnection, network: Proxy, server: Counting
) -> None:
    ask(connection)
    network.cut("stall")
    heard: list[bytes] = []
    asking = threading.Thread(target=lambda: heard.append(ask(connection)))
    asking.start()

    asking.join(0.3)
    assert heard == []
    network.cut(None)

    asking.join(30)
    assert heard == [b"ok"]
