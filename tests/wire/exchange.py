"""What a client says on one connection, and the answers that are owed for it, in their order.

Rows are numbers that the model `echo` gives back, so that an answer shows whose it is.
"""

from dataclasses import dataclass

from tests.wire.messages import post, x
from tests.wire.models import ECHO, SLOW

TO_ECHO, TO_SLOW = (f"/models/{model}/predict".encode() for model in (ECHO, SLOW))


@dataclass(frozen=True)
class Owed:
    """One answer."""

    statuses: frozenset[int]
    prediction: float | None = None
    """What a 200 must give back."""
    bodiless: bool = False
    """To a HEAD."""


@dataclass(frozen=True)
class Exchange:
    """Bytes that a client sends on one connection, and the answers that are owed for them."""

    name: str
    sent: bytes
    owed: tuple[Owed, ...]
    kept: bool | None = True
    """Whether the connection takes another request afterwards: False where the server must close it, None where it may.
    Where a request is unfinished, there is nothing to be had but an end."""
    unfinished: bool = False
    begun: bool = False
    """What is unfinished may be refused all the same."""
    closed: bool = False
    """For an installation that opens nothing without a token."""


def gives(value: float) -> Owed:
    return Owed(frozenset({200}), value)


def says(*statuses: int, bodiless: bool = False) -> Owed:
    return Owed(frozenset(statuses), None, bodiless)


REFUSED = (says(400),)
EITHER = Owed(frozenset({200, 400}), 7)
"""Readers may differ, as long as nobody is answered twice."""


def echo(value: object, *headers: bytes, **more: bytes) -> bytes:
    return post(x(value), *headers, **{"target": TO_ECHO, **more})


def one(name: str, sent: bytes, *owed: Owed, **more: bool | None) -> Exchange:
    return Exchange(name, sent, owed, **more)  # type: ignore[arg-type]  # names and values fit one by one


def refused(name: str, sent: bytes) -> Exchange:
    """Not HTTP, or HTTP that two readers would read differently: one 400, and the end."""
    return Exchange(name, sent, REFUSED, kept=False)
