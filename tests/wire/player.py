"""Plays exchanges to a running API, and says what is wrong with what it answered.

The rule: an answer for each request, in order, each its own; never two for one; after a refusal that closes, nothing.
"""

import json
import socket
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import zip_longest

from tests.wire.exchange import Exchange, Owed
from tests.wire.messages import pieces, request
from tests.wire.replies import HEARD_WITHIN_S, Ear, Reply, Unsound, masked

LARGEST_ERROR = 4096
AT_ONCE = 64
"""Connections on which exchanges are played at once, a piece on each in turn: so pieces arrive one by one."""

LAST = request(b"GET", b"/health", b"Connection: close")
"""Sent when all has been heard: a connection that answers it, and then ends, had nothing else to say."""

ON, CLOSED, SILENT, OUT_OF_STEP = "answers on", "closed", "silent", "out of step"


@dataclass(frozen=True)
class Heard:
    """What came back on a connection, and how it ended."""

    replies: tuple[Reply, ...]
    end: str

    def masked(self) -> tuple[bytes, ...]:
        """To be compared with what another API says to the same."""
        return (*map(masked, self.replies), self.end.encode())


def play(port: int, exchanges: Iterable[Exchange], *, cut: int | None = None) -> list[Heard]:
    """What is heard on a connection for each exchange, whose bytes are sent whole or cut every `cut`."""
    heard: list[Heard] = []
    for some in parts(list(exchanges)):
        with ExitStack() as opened:
            connections = [
                opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=HEARD_WITHIN_S))
                for _ in some
            ]
            for connection in connections:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            send_in_turns(connections, [list(pieces(exchange.sent, cut)) for exchange in some])
            heard += map(hear, connections, some)
    return heard


def parts(exchanges: Sequence[Exchange]) -> Iterable[Sequence[Exchange]]:
    return (exchanges[i : i + AT_ONCE] for i in range(0, len(exchanges), AT_ONCE))


def send_in_turns(connections: Sequence[socket.socket], sent: Sequence[Sequence[bytes]]) -> None:
    for turn in zip_longest(*sent):
        for connection, piece in zip(connections, turn, strict=True):
            if piece:
                with suppress(ConnectionError):  # whoever has refused has closed
                    connection.sendall(piece)


def hear(connection: socket.socket, exchange: Exchange) -> Heard:
    """All that is owed, and whatever else comes."""
    replies: list[Reply] = []
    try:
        end = listen(Ear(connection), connection, exchange, replies)
    except Unsound as error:
        end = f"unsound: {error}"
    except TimeoutError:
        end = SILENT
    return Heard(tuple(replies), end)


def listen(ear: Ear, connection: socket.socket, exchange: Exchange, replies: list[Reply]) -> str:
    for owed in exchange.owed:
        reply = final(ear, owed)
        if reply is None:
            return CLOSED
        replies.append(reply)
        if reply.closes:
            break
    with suppress(OSError):  # it may have gone already
        if exchange.unfinished:
            connection.shutdown(socket.SHUT_WR)
        elif not (replies and replies[-1].closes):
            connection.sendall(LAST)
    last = final(ear)
    if last is not None and exchange.begun:
        replies.append(last)
        last = final(ear)
    if last is None:
        return CLOSED
    is_health = last.status == 200 and last.closes and b'"status"' in last.body
    return ON if is_health and final(ear) is None else OUT_OF_STEP


def final(ear: Ear, owed: Owed | None = None) -> Reply | None:
    """The next reply that is no `100 Continue`."""
    while (reply := ear.reply(bodiless=owed is not None and owed.bodiless)) is not None and reply.status == 100:
        pass
    return reply


def wrong(exchange: Exchange, heard: Heard) -> str:
    """What is wrong with what was heard; nothing where it is what is owed."""
    for number, (owed, reply) in enumerate(zip(exchange.owed, heard.replies, strict=False)):
        if what := mismatch(owed, reply) or misshapen(reply):
            return f"answer {number}: {what}"
    missing = len(exchange.owed) - len(heard.replies)
    refused = bool(heard.replies) and heard.replies[-1].closes and exchange.kept is None
    if missing and not refused:
        return f"{missing} answers are missing; {heard.end}"
    expected = {True: {ON}, False: {CLOSED}, None: {ON, CLOSED}}[False if exchange.unfinished else exchange.kept]
    return "" if heard.end in expected else f"{heard.end} after {[reply.status for reply in heard.replies]}"


def mismatch(owed: Owed, reply: Reply) -> str:
    if reply.status not in owed.statuses:
        return f"{reply.status} instead of {set(owed.statuses)}: {reply.body[:200]!r}"
    if reply.status == 200 and owed.prediction is not None:
        given = json.loads(reply.body)["predictions"]
        return "" if given == [owed.prediction] else f"gave {given} for {owed.prediction}"
    return ""


def flaw(reply: Reply) -> str:
    """What no answer may be, whatever was asked."""
    return f"{reply.status}: {reply.body[:200]!r}" if reply.status >= 500 else misshapen(reply)


def misshapen(reply: Reply) -> str:
    """What is wrong with the form of an error."""
    if reply.status < 400 or (not reply.body and reply.header(b"content-length") != b"0"):
        return ""
    if len(reply.body) > LARGEST_ERROR:
        return f"an error of {len(reply.body)} bytes"
    if reply.header(b"content-type") != b"application/problem+json" or not json.loads(reply.body).get("remedy"):
        return f"no problem with a remedy: {reply.status} {reply.body[:200]!r}"
    return "" if b"Traceback" not in reply.body else f"a traceback: {reply.body[:200]!r}"
