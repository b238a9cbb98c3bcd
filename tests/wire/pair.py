"""Two APIs that differ in one thing: one takes its fast path, the other may not. What they hold is the same."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import requests

from tests.services import Installation
from tests.wire.exchange import Exchange
from tests.wire.models import serve
from tests.workers import wait_for

ROLES = ("client", "scheduler", "operator")


@dataclass(frozen=True)
class Pair:
    """The same installation twice."""

    fast: Installation
    plain: Installation

    @property
    def both(self) -> tuple[Installation, Installation]:
        return self.fast, self.plain

    def filled(self, exchange: Exchange) -> Exchange:
        """With the tokens that are named in it."""
        sent = exchange.sent
        for role in ROLES:
            sent = sent.replace(f"@{role}@".encode(), token(self.plain, role))
        return replace(exchange, sent=sent)


def token(installed: Installation, role: str) -> bytes:
    return installed.token(role)["Authorization"].removeprefix("Bearer ").encode()


def stocked(home: Path) -> Path:
    """A home in which every model of the corpus has been promoted."""
    home.mkdir()
    installed = Installation(home)
    try:
        installed.start_api()
        serve(installed)
    finally:
        installed.stop()
    return home


@contextmanager
def pair(stock: Path, *, name: str = "open", **settings: str) -> Iterator[Pair]:
    """Two running APIs on copies of a home."""
    made = {}
    for way, word in (("fast", "on"), ("plain", "off")):
        home = stock.parent / f"{name}-{way}"
        shutil.copytree(stock, home)
        made[way] = Installation(home, UNDERSTUDY_FAST_PATH=word, **settings)
    try:
        for installed in made.values():
            installed.start("api.main")
        for installed in made.values():
            wait_for(lambda: is_healthy(installed), "the API's health")  # noqa: B023 - called at once
        ways = {way: "the plain path serves" in installed.said("api.main") for way, installed in made.items()}
        assert ways == {"fast": False, "plain": True}, ways
        yield Pair(**made)
    finally:
        for installed in made.values():
            installed.stop()


def is_healthy(installed: Installation) -> bool:
    assert installed.processes["api.main"].poll() is None, installed.said("api.main")
    try:
        return requests.get(f"{installed.url}/health", timeout=5).ok
    except requests.ConnectionError:
        return False


def memory_mb(installed: Installation) -> int:
    """Resident memory of the process that answers."""
    status = Path(f"/proc/{installed.processes['api.main'].pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024
