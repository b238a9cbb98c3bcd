"""What an HTTP parser makes of bytes: the requests in them, and how they end. It says how many answers are owed."""

import json
from dataclasses import dataclass, field

import httptools
import numpy as np

from tests.wire.exchange import TO_ECHO, TO_SLOW, Exchange, Owed, says
from tests.wire.messages import head
from tests.wire.replies import Reply
from understudy.adapters.arrow_rows import MEDIA_TYPE

ARROW = MEDIA_TYPE.encode()


@dataclass
class Asked:
    """One request, as far as it has come."""

    method: bytes = b""
    target: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    has_head: bool = False
    is_whole: bool = False
    closes: bool = False


class Reading:
    """The requests that httptools, which is what the server reads with, finds in `sent`."""

    def __init__(self, sent: bytes) -> None:
        self.asked: list[Asked] = []
        self.is_broken = False
        """It ends in what is no HTTP."""
        self._read(sent)

    def _read(self, sent: bytes) -> None:
        """Read on after a wish for another protocol, as the server does, which passes over it."""
        while True:
            self._parser = httptools.HttpRequestParser(self)
            self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
            try:
                self._parser.feed_data(sent)
            except httptools.HttpParserUpgrade as stopped:
                one = self.asked.pop()
                if one.method == b"CONNECT":  # it names no path, so it is refused as no HTTP
                    self.is_broken = True
                    return
                sent = self._head_without_wish(one) + sent[stopped.args[0] :]
            except httptools.HttpParserError:
                self.is_broken = True
                return
            else:
                return

    def _head_without_wish(self, one: Asked) -> bytes:
        version = b"HTTP/" + self._parser.get_http_version().encode()
        lines = [name + b": " + value for name, value in one.headers if name != b"upgrade"]
        return head(b" ".join([one.method, one.target, version]), *lines)

    def on_message_begin(self) -> None:
        self.asked.append(Asked())

    def on_url(self, url: bytes) -> None:
        self.asked[-1].target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.asked[-1].has_head:
            self.asked[-1].headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        one = self.asked[-1]
        one.has_head, one.method = True, self._parser.get_method()
        one.closes = self._parser.get_http_version() == "1.0" or not self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self.asked[-1].body += body

    def on_message_complete(self) -> None:
        self.asked[-1].is_whole = True
        self.asked[-1].closes |= not self._parser.should_keep_alive()

    @property
    def answered(self) -> list[Asked]:
        """Whole requests, up to the one that ends the connection."""
        whole = [one for one in self.asked if one.is_whole]
        last = next((i for i, one in enumerate(whole) if one.closes), len(whole))
        return whole[: last + 1]

    @property
    def is_closed(self) -> bool:
        """A request has asked for the end, so nothing after it matters."""
        return any(one.closes for one in self.answered)

    @property
    def is_amid(self) -> bool:
        """A request has begun that has no end."""
        return bool(self.asked) and not self.asked[-1].is_whole

    @property
    def is_begun(self) -> bool:
        """So much has come of it that it may be refused."""
        return self.is_amid and self.asked[-1].has_head


ANY = frozenset(range(200, 500))


def exchange_of(name: str, sent: bytes, reading: Reading) -> Exchange:
    """Any bytes, and how many answers are owed for them, whatever these say."""
    owed = tuple(Owed(ANY, None, one.method == b"HEAD") for one in reading.answered)
    if reading.is_broken and not reading.is_closed:
        return Exchange(name, sent, (*owed, says(*range(400, 500))), kept=False)
    if reading.is_closed:
        return Exchange(name, sent, owed, kept=None)
    unfinished = reading.is_amid or not reading.asked
    return Exchange(name, sent, owed, kept=None, unfinished=unfinished, begun=reading.is_begun)


def another(one: Asked, reply: Reply) -> str:
    """How a reply shows that it is not the answer to this request; nothing where it does not."""
    target = one.target.partition(b"?")[0]
    if reply.status != 200 or not target.endswith((TO_ECHO, TO_SLOW)) or ARROW in dict(one.headers).values():
        return ""
    rows, given = rows_of(one.body), json.loads(reply.body)["predictions"]
    return "" if rows == given else f"{given[:5]} for {one.body[:80]!r}"


def rows_of(body: bytes) -> list[float]:
    """The numbers of a body that a model of one number has answered."""
    read = json.loads(body)
    rows = read["values"] if "values" in read else [row["x"] for row in read.get("records", [read])]
    return [float(np.float32(row[0] if isinstance(row, list) else row)) for row in rows]
