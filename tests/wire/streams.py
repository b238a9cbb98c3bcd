"""Many connections at once, each with rows of its own, good and bad: nobody gets another's answer.

A row is a number that the model gives back, with what its version adds; a bad one has a column whose name the refusal
repeats.
"""

import json
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.wire.exchange import TO_ECHO
from tests.wire.messages import post, x
from tests.wire.replies import HEARD_WITHIN_S, Ear, Reply, Unsound

DEPTHS = (1, 2, 3, 8)
"""Requests that one connection sends before it reads."""


@dataclass
class Line:
    """One connection."""

    number: int
    connection: socket.socket
    ear: Ear
    sent: int = 0
    waiting: list[int] = field(default_factory=list)

    def send(self, depth: int) -> None:
        self.waiting = [self.number * 10_000 + (self.sent + i) % 10_000 for i in range(depth)]
        self.sent += depth
        self.connection.sendall(b"".join(map(asked, self.waiting)))


def asked(row: int) -> bytes:
    """Every third is bad."""
    return post(json.dumps({f"z{row}": 1}).encode() if row % 3 == 2 else x(row), target=TO_ECHO)


def mistake(row: int, reply: Reply | None, adds: Mapping[str, float]) -> str:
    """What is wrong with the answer to a row; nothing where it is its own."""
    if reply is None:
        return f"no answer to {row}"
    told = json.loads(reply.body)
    if row % 3 == 2:
        return "" if reply.status == 422 and f"'z{row}'" in told["detail"] else f"{row}: {reply.status} {told}"
    version = (reply.header(b"model-version") or b"").decode()
    right = reply.status == 200 and told["version"] == version and told["predictions"] == [row + adds[version]]
    return "" if right else f"{row}: {reply.status} {told}, Model-Version {version}"


def talk(
    port: int, count: int, *, adds: Mapping[str, float], go_on: Callable[[int], bool]
) -> tuple[Counter[str], list[str]]:
    """Ask over `count` connections while `go_on(rounds)`; return the answers of each version, and mistakes.

    Args:
        adds: version -> what it adds to its number.
    """
    answers: Counter[str] = Counter()
    mistakes: list[str] = []
    with ExitStack() as opened:
        lines = []
        for number in range(count):
            address = ("127.0.0.1", port)
            connection = opened.enter_context(socket.create_connection(address, timeout=HEARD_WITHIN_S))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            lines.append(Line(number, connection, Ear(connection)))
        rounds = 0
        while go_on(rounds) and not mistakes:
            for line in lines:
                line.send(DEPTHS[(line.number + rounds) % len(DEPTHS)])
            for line in lines:
                mistakes += listen(line, answers, adds)
            rounds += 1
    return answers, mistakes


def listen(line: Line, answers: Counter[str], adds: Mapping[str, float]) -> Sequence[str]:
    found = []
    for row in line.waiting:
        try:
            reply = line.ear.reply()
        except (Unsound, TimeoutError) as error:
            return [f"{row}: {error}"]
        found.append(mistake(row, reply, adds))
        if reply is None:
            break
        answers[(reply.header(b"model-version") or b"refused").decode()] += 1
    return [what for what in found if what]
