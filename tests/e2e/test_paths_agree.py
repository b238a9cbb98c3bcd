"""One corpus against both paths: the fast one and the plain one answer alike, byte by byte but for ids and dates."""

import json
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.services import Installation
from tests.wire.bodies import Body, bodies
from tests.wire.exchange import TO_ECHO, Exchange, says
from tests.wire.fuzzing import STAGES, Campaign, tried
from tests.wire.grammar import exchanges
from tests.wire.messages import HOST, JSON, chunk, head, pieces, post, request, x
from tests.wire.models import ECHO, echo_and, promote, register
from tests.wire.pair import Pair, memory_mb, pair, stocked, token
from tests.wire.player import LARGEST_ERROR, Heard, play, wrong
from tests.wire.replies import HEARD_WITHIN_S, Ear, Reply
from tests.wire.streams import talk

GROWTH_MB = 50
MANY = 200_000
PADDING = b"X-Padding: " + b"x" * 300
CONNECTIONS = 32


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stocked(tmp_path_factory.mktemp("wire") / "stock")


@pytest.fixture(scope="module")
def open_pair(stock: Path) -> Iterator[Pair]:
    with pair(stock) as started:
        yield started


@pytest.fixture(scope="module")
def closed_pair(stock: Path) -> Iterator[Pair]:
    with pair(stock, name="closed", UNDERSTUDY_OPEN="read") as started:
        yield started


def exchange_of(body: Body) -> Exchange:
    """One body as a request of its own."""
    sent = request(b"POST", f"/models/{body.model}/predict".encode(), *body.headers, body=body.content)
    return Exchange(body.name, sent, (says(*body.owed),), kept=None)


def from_our_page(exchange: Exchange) -> Exchange:
    """The same from a browser, which the function in front leaves to the documented route."""
    first, rest = exchange.sent.split(b"\r\n", 1)
    return replace(exchange, sent=first + b"\r\nOrigin: http://localhost\r\n" + rest)


def found_wrong(both: Pair, asked: list[Exchange], cut: int | None = None) -> dict[str, Any]:
    """Exchange -> what is wrong with the answers of either path, or how they differ."""
    asked = [both.filled(exchange) for exchange in asked]
    fast, plain = (play(installed.port, asked, cut=cut) for installed in both.both)
    found: dict[str, Any] = {}
    for exchange, left, right in zip(asked, fast, plain, strict=True):
        if what := wrong(exchange, left) or wrong(exchange, right) or difference(left, right):
            found[exchange.name] = what
    return found


def difference(left: Heard, right: Heard) -> Any:
    return None if left.masked() == right.masked() else (left.masked(), right.masked())


@pytest.mark.fault(38)
@pytest.mark.parametrize("cut", [None, 7])
def test_http_in_every_way_of_writing_is_answered_alike_and_once(open_pair: Pair, cut: int | None) -> None:
    asked = [exchange for exchange in exchanges() if not exchange.closed]

    assert len(asked) > 250
    assert found_wrong(open_pair, [one for one in asked if cut is None or len(one.sent) < 3000], cut) == {}


@pytest.mark.fault(38)
def test_where_a_token_is_needed_both_paths_need_it(closed_pair: Pair) -> None:
    asked = [exchange for exchange in exchanges() if exchange.closed]

    assert len(asked) > 10
    assert found_wrong(closed_pair, asked) == {}


@pytest.mark.parametrize(
    "row", [pytest.param(row, marks=pytest.mark.fault(row)) for row in (30, 31, 32, 33, 34, 35, 36)]
)
def test_bad_bodies_are_answered_alike(open_pair: Pair, row: int) -> None:
    asked = [exchange_of(body) for body in bodies() if body.row == row]

    assert found_wrong(open_pair, asked) == {}
    in_front, documented = (
        play(open_pair.plain.port, some) for some in (asked, [from_our_page(exchange) for exchange in asked])
    )
    for exchange, left, right in zip(asked, in_front, documented, strict=True):
        assert said(left) == said(right), exchange.name


def said(heard: Heard) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """What is to be the same wherever a request is answered: all but the order of headers."""
    head, _, body = heard.masked()[0].partition(b"\r\n\r\n")
    return heard.replies[0].status, body, sorted(line.partition(b": ")[::2] for line in head.split(b"\r\n"))


#: What is tried, and how many connections of it; the long form stands in `test_fuzz.py`.
SHORTLY = {"rows": 96, "bytes": 384, "schema of predictions": 36}


@pytest.mark.parametrize("what", SHORTLY)
def test_what_nobody_has_thought_of_is_answered_alike(open_pair: Pair, what: str) -> None:
    campaign = Campaign(open_pair)

    tried(STAGES[what](open_pair), SHORTLY[what], campaign)

    assert campaign.tally.requests > SHORTLY[what]
    assert campaign.tally.largest_error <= LARGEST_ERROR


@pytest.mark.fault(35)
def test_a_body_without_an_end_costs_no_memory(open_pair: Pair) -> None:
    begun = [b"POST " + TO_ECHO + b" HTTP/1.1", HOST, JSON]
    announced = head(*begun, b"Content-Length: 104857600")
    endless = head(*begun, b"Transfer-Encoding: chunked")
    for installed in open_pair.both:
        before = memory_mb(installed)
        for sent, more in ((announced, b" " * 2**20), (endless, chunk(b" " * 2**20))):
            assert refusal(installed, sent, more) == 413
        assert memory_mb(installed) - before <= GROWTH_MB


def refusal(installed: Installation, begun: bytes, more: bytes) -> int:
    """The status of the answer to a body that is sent for as long as anybody reads it, at most 100 MB."""
    with socket.create_connection(("127.0.0.1", installed.port)) as connection:
        with suppress(ConnectionError, TimeoutError):
            connection.sendall(begun)
            connection.settimeout(5)
            for _ in range(100):
                connection.sendall(more)
        reply = Ear(connection).reply()
        assert reply is not None
        return reply.status


def test_rows_that_share_a_call_are_answered_as_each_alone(open_pair: Pair) -> None:
    """The same label, and probabilities to 1e-6: a product of matrices may be added up in another order."""
    rows = [json.dumps({"x": n / 64, "y": n / 90}).encode() for n in range(64)]
    together = Exchange("together", b"".join(map(post, rows)), (says(200),) * len(rows))
    alone = [Exchange("alone", post(row), (says(200),)) for row in rows]
    for installed in open_pair.both:
        shared = [told(reply) for reply in play(installed.port, [together])[0].replies]
        single = [told(heard.replies[0]) for heard in play(open_pair.plain.port, alone)]

        assert len(shared) == len(rows)
        assert {label for label, _ in single} == {0, 1}
        for (label, probability), (own, closely) in zip(shared, single, strict=True):
            assert label == own
            assert probability == pytest.approx(closely, abs=1e-6)


def told(reply: Reply) -> tuple[int, float]:
    """A label, and the probability of the second class."""
    answer = json.loads(reply.body)
    return answer["predictions"][0], answer["probabilities"][0][1]


def test_each_of_many_connections_gets_its_own_answers_over_swaps(open_pair: Pair) -> None:
    """Every third row is bad, requests are pipelined, and another version takes over in between."""
    for installed in open_pair.both:
        version = register(installed, ECHO, echo_and(0.5))
        adds = {"1": 0.0, version: 0.5}
        swaps = threading.Thread(target=swap, args=(installed, [version, "1"] * 3))
        swaps.start()
        try:
            answers, mistakes = talk(
                installed.port,
                CONNECTIONS,
                adds=adds,
                go_on=lambda _: swaps.is_alive(),  # noqa: B023 - in this turn
            )
        finally:
            swaps.join()

        assert mistakes == []
        assert all(answers[one] > 100 for one in (*adds, "refused")), answers


def swap(installed: Installation, versions: list[str]) -> None:
    for version in versions:
        promote(installed, ECHO, version)


@pytest.mark.fault(35)
def test_who_asks_on_and_on_and_does_not_read_is_not_read_either(open_pair: Pair) -> None:
    """What he has asked is answered in order once he does read."""
    for installed in open_pair.both:
        before = memory_mb(installed)
        with socket.create_connection(("127.0.0.1", installed.port), timeout=HEARD_WITHIN_S) as connection:
            assert ask_on_and_on(connection) < MANY
            assert memory_mb(installed) - before <= GROWTH_MB
            ear = Ear(connection)
            for number in range(1000):
                reply = ear.reply()
                assert reply is not None
                assert f"[{float(number)}]".encode() in reply.body


def ask_on_and_on(connection: socket.socket) -> int:
    """Send rows until nobody takes them; return how many."""
    asked, left = 0, b""
    while asked < MANY:
        if not left:
            left = b"".join(post(x(asked + n), PADDING, target=TO_ECHO) for n in range(100))
            asked += 100
        if not select.select([], [connection], [], 0.5)[1]:
            break
        left = left[connection.send(left, socket.MSG_DONTWAIT) :]
    return asked


def test_whose_token_it_is_does_not_depend_on_who_asked_before(closed_pair: Pair) -> None:
    """As behind a proxy, which sends what many ask over one connection: in one piece, or as it comes."""
    right = token(closed_pair.plain, "client")
    known = post(x(7), b"Authorization: Bearer " + right, target=TO_ECHO)
    unknown = post(x(7), b"Authorization: Bearer " + b"n" * len(right), target=TO_ECHO)
    nobody = post(x(7), target=TO_ECHO)
    for installed, size in product(closed_pair.both, (None, 60)):
        with socket.create_connection(("127.0.0.1", installed.port), timeout=HEARD_WITHIN_S) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ear = Ear(connection)
            asked = [(known, 200), (unknown, 401)] * 3 + [(known, 200), (nobody, 401)] * 3
            for sent, expected in asked:
                for piece in pieces(sent, size if expected == 401 else None):
                    connection.sendall(piece)
                    time.sleep(0.002)  # so that pieces are read one by one, mostly
                reply = ear.reply()
                assert reply is not None
                assert reply.status == expected, f"cut every {size}: {sent!r}"


def test_a_client_that_goes_in_the_middle_harms_nobody(open_pair: Pair) -> None:
    """By a reset or an end, in every part of a request, and with answers that it never reads."""
    whole = b"".join(request(b"POST", TO_ECHO, JSON, body=b'{"x": %d}' % n) for n in (1, 2, 3))
    good = Exchange("afterwards", request(b"POST", TO_ECHO, JSON, body=b'{"x": 5}'), (says(200),))
    for installed in open_pair.both:
        for cut in range(1, len(whole), 9):
            with socket.create_connection(("127.0.0.1", installed.port)) as connection:
                connection.sendall(whole[:cut])
                if cut % 2:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert wrong(good, play(installed.port, [good])[0]) == ""


def test_the_comparison_notices_another_answer(open_pair: Pair) -> None:
    """A version that differs in its last digit, on one side alone, is enough."""
    one = Exchange("one", request(b"POST", TO_ECHO, JSON, body=b'{"x": 3}'), (says(200),))
    before = found_wrong(open_pair, [one])
    version = register(open_pair.fast, ECHO, echo_and(2**-20))
    promote(open_pair.fast, ECHO, version)
    try:
        assert before == {}
        assert "one" in found_wrong(open_pair, [one])
    finally:
        promote(open_pair.fast, ECHO, "1")
