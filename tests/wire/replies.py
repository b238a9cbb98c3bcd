"""What a server says on a socket, read by the letter: one reply after another, and nothing that is no reply."""

import re
import socket
from dataclasses import dataclass

HEARD_WITHIN_S = 30.0
"""Ends a test that hangs; nothing is measured by it."""

STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) ([\x20-\x7e]*)")
HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e])?)?")
LONGEST_HEAD = 16 * 1024


class Unsound(Exception):
    """The server's bytes are no replies, or more or less than they say."""


@dataclass(frozen=True)
class Reply:
    """One reply as it came: the bytes of its head, and its body."""

    head: bytes
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    """Names in lower case."""
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """The only value of a header. Raises Unsound where there are several."""
        values = [value for known, value in self.headers if known == name]
        if len(values) > 1:
            raise Unsound(f"{name!r} comes {len(values)} times")
        return values[0] if values else None

    @property
    def closes(self) -> bool:
        return (self.header(b"connection") or b"").lower() == b"close"


#: What is new in every reply: its time, and the ids of request and prediction.
PASSING = (
    (re.compile(rb"(?im)^(date: )[^\r\n]+"), rb"\1DATE"),
    (re.compile(rb"(?im)^(x-request-id: )[0-9a-z-]+"), rb"\1ID"),
    (re.compile(rb'("(?:prediction|request)_id": ?")[0-9a-z-]+(")'), rb"\1ID\2"),
)


def masked(reply: Reply) -> bytes:
    """All bytes of a reply without what differs between any two."""
    whole = reply.head + reply.body
    for passing, instead in PASSING:
        whole = passing.sub(instead, whole)
    return whole


class Ear:
    """Hears one connection; the other end has said all when `reply` returns None."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._waiting = connection, b""
        self._connection.settimeout(HEARD_WITHIN_S)
        self.ended = False

    def reply(self, *, bodiless: bool = False) -> Reply | None:
        """The next reply, `100 Continue` and its like among them; None where the connection has ended.

        Args:
            bodiless: the request was a HEAD.

        Raises Unsound where the bytes are none, or end in the middle of one; TimeoutError after `HEARD_WITHIN_S`.
        """
        head = self._head()
        if head is None:
            return None
        lines = head[:-4].split(b"\r\n")
        found = STATUS_LINE.fullmatch(lines[0])
        if found is None:
            raise Unsound(f"no status line: {lines[0][:100]!r}")
        status, headers = int(found[1]), tuple(map(header, lines[1:]))
        bare = Reply(head, status, headers, b"")
        empty = bodiless or status < 200 or status in (204, 304)
        return bare if empty else Reply(head, status, headers, self._body(bare))

    def _head(self) -> bytes | None:
        while b"\r\n\r\n" not in self._waiting:
            if len(self._waiting) > LONGEST_HEAD:
                raise Unsound("a head without an end")
            if not self._more():
                if self._waiting:
                    raise Unsound(f"ends in the middle of a head: {self._waiting[:100]!r}")
                return None
        head, _, self._waiting = self._waiting.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def _body(self, reply: Reply) -> bytes:
        length, coding = reply.header(b"content-length"), reply.header(b"transfer-encoding")
        if (length is None) == (coding is None):
            raise Unsound(f"a body whose end is not said once: {reply.head!r}")
        if length is not None:
            return self._exactly(int(length))
        body = b""
        while size := int(self._line(), 16):
            body += self._exactly(size)
            if self._exactly(2) != b"\r\n":
                raise Unsound("a chunk that is longer than it says")
        if self._line():
            raise Unsound("something follows the last chunk")
        return body

    def _line(self) -> bytes:
        while b"\r\n" not in self._waiting:
            if not self._more():
                raise Unsound("ends in the middle of a chunk")
        line, _, self._waiting = self._waiting.partition(b"\r\n")
        return line

    def _exactly(self, size: int) -> bytes:
        while len(self._waiting) < size:
            if not self._more():
                raise Unsound(f"ends after {len(self._waiting)} of {size} bytes")
        body, self._waiting = self._waiting[:size], self._waiting[size:]
        return body

    def _more(self) -> bool:
        try:
            part = b"" if self.ended else self._connection.recv(65536)
        except ConnectionError:  # a server may close while it is still being sent to
            part = b""
        self._waiting += part
        self.ended = not part
        return bool(part)


def header(line: bytes) -> tuple[bytes, bytes]:
    found = HEADER.fullmatch(line)
    if found is None:
        raise Unsound(f"no header: {line[:100]!r}")
    return found[1].lower(), found[2] or b""
