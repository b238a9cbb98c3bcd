"""Requests as bytes: what a client of ours would send, and what no client should."""

from collections.abc import Iterable, Sequence

HOST = b"Host: localhost"
JSON = b"Content-Type: application/json"


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([*lines, b"", b""])


def request(
    method: bytes, target: bytes, *headers: bytes, body: bytes = b"", host: bytes = HOST, version: bytes = b"HTTP/1.1"
) -> bytes:
    """A request whose body has a length."""
    line = b" ".join([method, target, version])
    length = [b"Content-Length: %d" % len(body)] if body else []
    return head(line, *([host] if host else []), *headers, *length) + body


def post(body: bytes, *headers: bytes, target: bytes = b"/predict", **more: bytes) -> bytes:
    return request(b"POST", target, JSON, *headers, body=body, **more)


def x(value: object, name: str = "x") -> bytes:
    """The body of one row for a model of one number."""
    return f'{{"{name}": {value}}}'.encode()


def chunked(
    *parts: bytes,
    target: bytes = b"/predict",
    headers: Sequence[bytes] = (),
    extension: bytes = b"",
    trailer: bytes = b"",
) -> bytes:
    """A request whose body comes in chunks."""
    begun = head(b"POST " + target + b" HTTP/1.1", HOST, JSON, b"Transfer-Encoding: chunked", *headers)
    return begun + b"".join(chunk(part, extension) for part in parts) + b"0" + extension + b"\r\n" + trailer + b"\r\n"


def chunk(part: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(part), extension, part)


def pieces(data: bytes, size: int | None) -> Iterable[bytes]:
    """The same bytes, cut every `size`."""
    return [data] if size is None else [data[i : i + size] for i in range(0, len(data), size)]
