"""HTTP/1.1 written in ways that parsers disagree about, each with the answers that are owed, in their order.

Rows are numbers that the model `echo` gives back, so that an answer shows whose it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.wire.messages import HOST, JSON, chunk, chunked, head, post, request, x
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


def echo(value: object, *headers: bytes, **more: bytes) -> bytes:
    return post(x(value), *headers, **{"target": TO_ECHO, **more})


def one(name: str, sent: bytes, *owed: Owed, **more: bool | None) -> Exchange:
    return Exchange(name, sent, owed, **more)  # type: ignore[arg-type]  # names and values fit one by one


def refused(name: str, sent: bytes) -> Exchange:
    """Not HTTP, or HTTP that two readers would read differently: one 400, and the end."""
    return Exchange(name, sent, REFUSED, kept=False)


def exchanges() -> Iterator[Exchange]:
    for part in (
        pipelines,
        bodies,
        expectations,
        ends,
        versions,
        targets,
        methods,
        hosts,
        headers,
        lengths,
        smuggled,
        origins,
    ):
        yield from part()


def pipelines() -> Iterator[Exchange]:
    """Several requests before the first answer: answered in order, whatever each of them needs."""
    many = [echo(i) for i in range(70)]
    health, nowhere = request(b"GET", b"/health"), request(b"GET", b"/nowhere")
    slow, bad = echo(900, target=TO_SLOW), post(b'{"z": 1}', target=TO_ECHO)
    rain = post(b'{"x": 0.25, "y": 0.5}')
    yield one("two", echo(1) + echo(2), gives(1), gives(2))
    yield one("seventy", b"".join(many), *map(gives, range(70)))
    yield one("a bad row between", echo(1) + bad + echo(2), gives(1), says(422), gives(2))
    yield one("bad rows around", bad + echo(1) + bad, says(422), gives(1), says(422))
    yield one(
        "nothing that is JSON between", echo(1) + post(b"{", target=TO_ECHO) + echo(2), gives(1), says(422), gives(2)
    )
    yield one("two models", rain + echo(2) + rain + echo(3), says(200), gives(2), says(200), gives(3))
    yield one("a slow one first", slow + echo(1) + echo(2), gives(900), gives(1), gives(2))
    yield one("a slow one between", echo(1) + slow + echo(2), gives(1), gives(900), gives(2))
    yield one("slow ones", slow + echo(901, target=TO_SLOW), gives(900), gives(901))
    yield one("another route first", health + echo(1), says(200), gives(1))
    yield one("another route between", echo(1) + health + echo(2) + nowhere, gives(1), says(200), gives(2), says(404))
    yield one(
        "a head between",
        echo(1) + request(b"HEAD", b"/health") + echo(2),
        gives(1),
        says(200, 405, bodiless=True),
        gives(2),
    )
    yield one(
        "a model that is none",
        echo(1) + echo(5, target=b"/models/none/predict") + echo(2),
        gives(1),
        says(404),
        gives(2),
    )
    yield one(
        "a batch between",
        echo(1) + post(b'{"values": [[5], [6]]}', target=TO_ECHO) + echo(2),
        gives(1),
        says(200),
        gives(2),
    )
    yield one("a chunked one between", echo(1) + chunked(x(5), target=TO_ECHO) + echo(2), gives(1), gives(5), gives(2))
    yield one(
        "another form between", echo(1) + echo(5, b"Content-Encoding: gzip") + echo(2), gives(1), says(415), gives(2)
    )
    yield one(
        "one that closes between", echo(1) + echo(2, b"Connection: close") + echo(3), gives(1), gives(2), kept=False
    )
    yield one(
        "a slow one that closes", slow.replace(JSON, JSON + b"\r\nConnection: close") + echo(1), gives(900), kept=False
    )
    nothing = head(b"POST " + TO_ECHO + b" HTTP/1.1", HOST, JSON, b"Content-Length: 0")
    yield one("one without a body between", echo(1) + nothing + echo(2), gives(1), says(422), gives(2))
    yield one(
        "one that closes, without a body",
        echo(1) + nothing.replace(JSON, b"Connection: close"),
        gives(1),
        says(422),
        kept=False,
    )
    yield one("line ends between", echo(1) + b"\r\n\r\n" + echo(2), gives(1), gives(2))
    yield one("what is no HTTP after two", echo(1) + echo(2) + b"\0\r\n", gives(1), gives(2), says(400), kept=False)
    yield one(
        "what is no HTTP after a slow one", echo(1) + slow + b"\0\r\n", gives(1), gives(900), says(400), kept=False
    )
    yield one("what is no HTTP after another route", health + b"\0\r\n", says(200), says(400), kept=False)
    yield one("what is no HTTP after the end", echo(1, b"Connection: close") + b"\0\r\n", gives(1), kept=False)
    yield one("100 bad rows", bad * 100, *[says(422)] * 100)


def bodies() -> Iterator[Exchange]:
    """A body with a length, and one in chunks."""
    body = x(7)
    yield one("one chunk", chunked(body, target=TO_ECHO), gives(7))
    yield one("a chunk for each byte", chunked(*(body[i : i + 1] for i in range(len(body))), target=TO_ECHO), gives(7))
    yield one("chunks with extensions", chunked(body[:3], body[3:], target=TO_ECHO, extension=b';a="b;c"'), gives(7))
    yield one("a trailer", chunked(body, target=TO_ECHO, trailer=b"X-Sum: 1\r\n"), gives(7))
    yield one(
        "a trailer that names a length",
        chunked(body, target=TO_ECHO, trailer=b"Content-Length: 3\r\n") + echo(8),
        Owed(frozenset({200, 400}), 7),
        gives(8),
        kept=None,
    )
    for line in (
        b"Host: evil.example",
        b"Authorization: Bearer x",
        b"Origin: http://evil.example",
        b"Content-Encoding: gzip",
        b"Content-Type: text/plain; charset=utf-16",
        b"X-Request-Deadline-Ms: 0",
        b"Expect: 100-continue",
    ):
        for written in (line, line.lower()):
            sent = chunked(body, target=TO_ECHO, trailer=written + b"\r\n") + echo(8)
            yield one(f"a trailer is no header: {written!r}", sent, gives(7), gives(8))
    yield one("no chunk but the last", chunked(target=TO_ECHO), says(422))
    yield one("chunks of spaces", chunked(b" " * 5000, body, b" " * 5000, target=TO_ECHO), gives(7))
    yield one(
        "the size of a chunk with zeros before it",
        chunked(target=TO_ECHO).replace(b"\r\n0\r\n", b"\r\n0008\r\n" + body + b"\r\n000\r\n"),
        gives(7),
    )
    yield one("no length", head(b"POST " + TO_ECHO + b" HTTP/1.1", HOST, JSON), says(422))
    yield one(
        "a length of nothing", head(b"POST " + TO_ECHO + b" HTTP/1.1", HOST, JSON, b"Content-Length: 0"), says(422)
    )
    yield one("a body with a GET", request(b"GET", b"/health", body=body) + echo(8), says(200), gives(8))
    yield one("coding in capitals", chunked(body, target=TO_ECHO).replace(b": chunked", b": CHUNKED"), gives(7))
    yield one("a longer body in two parts", echo("1" + " " * 70_000), gives(1))
    for size in (b"g", b"-1", b"+8", b"0x8", b"8 8", b"", b"8_0", b"fffffffffffffffff"):
        yield refused(
            f"the size of a chunk is {size!r}",
            chunked(target=TO_ECHO).replace(b"\r\n0\r\n", b"\r\n" + size + b"\r\n" + body + b"\r\n0\r\n"),
        )
    yield refused("a chunk longer than it says", chunked(target=TO_ECHO)[:-5] + b"3\r\n" + body + b"\r\n0\r\n\r\n")
    yield one("a chunk shorter than it says", chunked(target=TO_ECHO)[:-5] + b"ff\r\n" + body, unfinished=True)


def expectations() -> Iterator[Exchange]:
    """Who asks whether to send a body hears yes, at the latest with the answer."""
    yield one("expects to go on", echo(7, b"Expect: 100-continue"), gives(7))
    yield one("expects to go on, in capitals", echo(7, b"EXPECT: 100-CONTINUE"), gives(7))
    yield one(
        "expects it twice", echo(7, b"Expect: 100-continue") + echo(8, b"Expect: 100-continue"), gives(7), gives(8)
    )
    yield one("expects it in chunks", chunked(x(7), target=TO_ECHO, headers=[b"Expect: 100-continue"]), gives(7))
    yield one(
        "expects it without a body",
        request(b"POST", TO_ECHO, JSON, b"Expect: 100-continue") + echo(8),
        says(422),
        gives(8),
    )
    yield one("expects something else", echo(7, b"Expect: a miracle"), Owed(frozenset({200, 417}), 7))
    yield one(
        "expects it where there is nothing",
        echo(7, b"Expect: 100-continue", target=b"/nowhere") + echo(8),
        says(404),
        gives(8),
    )
    yield one(
        "expects it with a bad row", post(b"{}", b"Expect: 100-continue", target=TO_ECHO) + echo(8), says(422), gives(8)
    )


def ends() -> Iterator[Exchange]:
    """What a client says about the connection."""
    for word in (b"close", b"Close", b"close, x", b"x, close", b"keep-alive, close"):
        yield one(f"connection: {word!r}", echo(7, b"Connection: " + word), gives(7), kept=None)
    for word in (b"keep-alive", b"Keep-Alive", b"x", b"TE"):
        yield one(f"connection: {word!r}", echo(7, b"Connection: " + word) + echo(8), gives(7), gives(8))
    socket = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13")
    http2 = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
    for name, wish in (("a socket", socket), ("HTTP/2", http2)):
        yield one(f"upgrade to {name}", echo(7, *wish) + echo(8), gives(7), gives(8))
        yield one(f"upgrade to {name} between", echo(6) + echo(7, *wish) + echo(8), gives(6), gives(7), gives(8))
        yield one(
            f"upgrade to {name} without a body", request(b"GET", b"/health", *wish) + echo(8), says(200), gives(8)
        )
        sent = chunked(x(7), target=TO_ECHO, headers=wish, trailer=b"Host: x\r\n") + echo(8)
        yield one(f"upgrade to {name} in chunks", sent, gives(7), gives(8))
        yield one(f"upgrade to {name}, again and again", echo(7, *wish) * 40, *[gives(7)] * 40)
        yield one(f"upgrade to {name} and half a body", echo(7, *wish)[:-3], unfinished=True)
    yield one("upgrade without a connection", echo(7, b"Upgrade: h2c") + echo(8), gives(7), gives(8))
    yield one("half a head", echo(7)[:30], unfinished=True)
    yield one("a head and half a body", echo(7)[:-3], unfinished=True)
    yield one("a request and half another", echo(7) + echo(8)[:-3], gives(7), unfinished=True)
    yield one("nothing", b"", unfinished=True)
    yield one("a line end", b"\r\n", unfinished=True)


def versions() -> Iterator[Exchange]:
    yield one("HTTP/1.0", echo(7, version=b"HTTP/1.0"), gives(7), kept=False)
    yield one("HTTP/1.0, to be kept", echo(7, b"Connection: keep-alive", version=b"HTTP/1.0"), gives(7), kept=None)
    yield one("HTTP/1.0 and another", echo(7, version=b"HTTP/1.0") + echo(8), gives(7), kept=False)
    yield one("HTTP/1.0 without a host", echo(7, version=b"HTTP/1.0", host=b""), says(400, 403), kept=False)
    for version in (
        b"HTTP/1.2",
        b"HTTP/3",
        b"HTTP/1",
        b"HTTP/11",
        b"http/1.1",
        b"HTTP/1.1 x",
        b"HTTPS/1.1",
        b"HTTP/-1.1",
        b"ICE/1.0",
    ):
        yield refused(f"the version {version!r}", echo(7, version=version))
    for version in (b" HTTP/0.9", b" HTTP/2.0", b""):  # llhttp reads these alike, and nobody else is between
        yield one(f"the version {version!r}, read leniently", echo(7).replace(b" HTTP/1.1", version), EITHER, kept=None)
    yield refused("what HTTP/2 begins with", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    yield refused("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)))
    yield refused("no HTTP", b"\x00\x01\x02")
    yield refused("an answer", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def targets() -> Iterator[Exchange]:
    """Ways to write where a request goes."""
    for query in (b"?", b"?a=1", b"?a=%zz&b[]=1;c", b"?" + b"q" * 5000, b"?/predict"):
        yield one(f"with {query[:20]!r}", echo(7, target=TO_ECHO + query) + echo(8), gives(7), gives(8))
    yield one("a query that is no ASCII", echo(7, target=TO_ECHO + b"?x=\xff"), EITHER, kept=None)
    yield one("absolute", echo(7, target=b"http://localhost" + TO_ECHO) + echo(8), gives(7), gives(8))
    yield one("absolute, of another", echo(7, target=b"http://evil.example:99" + TO_ECHO) + echo(8), gives(7), gives(8))
    yield one("a fragment", echo(7, target=TO_ECHO + b"#x"), EITHER, kept=None)
    yield one("escaped letters", echo(7, target=TO_ECHO.replace(b"echo", b"ech%6f")), gives(7))
    yield one("an escaped slash", echo(7, target=TO_ECHO.replace(b"o/", b"o%2f")), Owed(frozenset({200, 404}), 7))
    for path in (
        b"/predict/",
        b"//predict",
        b"/predict//",
        b"/Predict",
        b"/predict;x",
        b"/./predict",
        b"/x/../predict",
        b"/predict%00",
        b"/predict%0d%0aX: y",
        b"/predict%20",
        b"/%2e/predict",
        b"/models//predict",
        b"/models/%2e%2e/predict",
        b"/models/a/b/predict",
        b"/predict\xff",
    ):
        yield one(f"the path {path!r}", echo(7, target=path) + echo(8), says(400, 404, 405, 422), gives(8), kept=None)
    yield one(
        "a name as long as it may be",
        echo(7, target=b"/models/" + b"m" * 5000 + b"/predict") + echo(8),
        says(404, 422),
        gives(8),
    )
    for path in (
        b"predict",
        b"localhost:80",
        b"?x",
        b"\\predict",
        b"/pre dict",
        b"/predict\t",
        b"",
        b"http:/predict",
        b"://",
        b"http://[::1/predict",
        b"http://localhost:x/predict",
    ):
        yield one(f"the target {path!r}", echo(7, target=path), says(400, 404, 405), kept=None)
    yield one("all of it", request(b"OPTIONS", b"*"), says(400, 404, 405), kept=None)
    yield one("a tunnel", request(b"CONNECT", b"localhost:80"), says(400, 404, 405), kept=None)


def methods() -> Iterator[Exchange]:
    for method in (b"GET", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE"):
        yield one(f"{method.decode()} where rows are posted", request(method, TO_ECHO) + echo(8), says(405), gives(8))
    yield one("HEAD where rows are posted", request(b"HEAD", TO_ECHO) + echo(8), says(405, bodiless=True), gives(8))
    yield one("a method of others", request(b"PROPFIND", TO_ECHO) + echo(8), says(400, 405), gives(8), kept=None)
    for method in (
        b"post",
        b"Post",
        b"POSTT",
        b"POS",
        b"P\xd6ST",
        b"P\0ST",
        b"BREW",
        b"",
        b"POST\t",
        b'"POST"',
    ):
        yield refused(f"the method {method!r}", request(method, TO_ECHO, JSON, body=x(7)))


def hosts() -> Iterator[Exchange]:
    """Exactly one, and one of ours."""
    yield one("no host", echo(7, host=b"") + echo(8), says(400, 403), gives(8), kept=None)
    bare = head(b"POST " + TO_ECHO + b" HTTP/1.1", b"Content-Length: 8") + x(7)
    yield one("no header but a length", bare + echo(8), says(400, 403), gives(8), kept=None)
    yield one("no header but a length, afterwards", echo(8) + bare, gives(8), says(400, 403), kept=None)
    yield one("an empty host", echo(7, host=b"Host:") + echo(8), says(400, 403), gives(8), kept=None)
    yield one("two hosts", echo(7, HOST) + echo(8), says(400, 403), gives(8), kept=None)
    yield one("two hosts, one foreign", echo(7, b"Host: evil.example") + echo(8), says(400, 403), gives(8), kept=None)
    for name in (
        b"evil.example",
        b"localhost.evil.example",
        b"localhost, evil.example",
        b"localhost/x",
        b"localhost#",
        b"user@localhost",
        b"localhost:",
        b"localhost:x",
        b"loc\xe4lhost",
        b"[::1]",
    ):
        yield one(f"the host {name!r}", echo(7, host=b"Host: " + name) + echo(8), says(403), gives(8), kept=None)
    for name in (b"LOCALHOST", b"localhost:8000", b"127.0.0.1", b"\tlocalhost"):
        yield one(f"the host {name!r}", echo(7, host=b"Host: " + name) + echo(8), gives(7), gives(8))
    yield one("a space after the host", echo(7, host=b"Host: localhost "), Owed(frozenset({200, 403}), 7))
    yield one("the host last", post(x(7), b"X: y", HOST, target=TO_ECHO, host=b"A: b"), gives(7))


def headers() -> Iterator[Exchange]:
    """Names, values and what stands around them."""
    yield one(
        "names in small letters",
        echo(7, host=b"host: localhost").replace(b"Content-", b"content-") + echo(8),
        gives(7),
        gives(8),
    )
    yield one(
        "names in capitals",
        echo(7, host=b"HOST: localhost").replace(b"Content-", b"CONTENT-") + echo(8),
        gives(7),
        gives(8),
    )
    yield one(
        "no space after the colon",
        echo(7, host=b"Host:localhost").replace(b"Length: ", b"Length:") + echo(8),
        gives(7),
        gives(8),
    )
    yield one(
        "spaces around the value",
        echo(7).replace(b"Content-Length: 8", b"Content-Length: \t 8 \t ") + echo(8),
        gives(7),
        gives(8),
    )
    yield one("an empty value", echo(7, b"X-Empty:") + echo(8), gives(7), gives(8))
    yield one("Latin letters", echo(7, b"X-Name: Gen\xe8ve") + echo(8), gives(7), gives(8))
    yield one("a name of all signs", echo(7, b"!#$%&'*+-.^_`|~09: x") + echo(8), gives(7), gives(8))
    yield one("a hundred headers", echo(7, *(b"X-%d: y" % i for i in range(100))) + echo(8), gives(7), gives(8))
    yield one("a long header", echo(7, b"X-Long: " + b"y" * 30_000) + echo(8), gives(7), gives(8))
    yield refused(
        "a head that is too long", head(b"POST " + TO_ECHO + b" HTTP/1.1", HOST, b"X-Long: " + b"y" * 150_000)[:-2]
    )
    yield refused("a path that is too long", b"POST /" + b"y" * 150_000)
    bad = {
        "a space before the colon": b"X-Name : y",
        "a space within the name": b"X Name: y",
        "no colon": b"X-Name",
        "no name": b": y",
        "a NUL in the name": b"X\0Y: y",
        "a NUL in the value": b"X-Name: y\0z",
        "a control sign in the value": b"X-Name: y\x01z",
        "a letter beyond ASCII in the name": b"X-N\xe4me: y",
        "a quoted name": b'"X": y',
        "a carriage return alone in the value": b"X-Name: y\rz",
        "a carriage return alone before a header": b"X-Name: y\rTransfer-Encoding: chunked",
    }
    for name, line in bad.items():
        yield refused(name, echo(7, line))
    yield one("a folded header", echo(7, b"X-Name: y\r\n z") + echo(8), says(200, 400), kept=None)
    yield one(
        "a folded length",
        echo(7).replace(b"Content-Length: ", b"Content-Length:\r\n ") + echo(8),
        says(200, 400),
        kept=None,
    )
    yield one("a space before the first header", echo(7).replace(b"\r\nHost", b"\r\n Host"), says(400, 403), kept=None)
    yield one("line feeds alone", echo(7).replace(b"\r\n", b"\n"), says(400), kept=False)
    yield one("a line feed alone after the first line", echo(7).replace(b"1.1\r\n", b"1.1\n"), says(400), kept=False)
    yield one(
        "a line feed alone within the head", echo(7, b"X: y").replace(b"X: y\r\n", b"X: y\n"), says(400), kept=False
    )
    yield one(
        "a line feed alone at the end of the head", echo(7).replace(b"\r\n\r\n", b"\r\n\n"), says(400), kept=False
    )
    out_of_time = Owed(frozenset({422, 504}))
    yield one("a deadline that has passed", echo(7, b"X-Request-Deadline-Ms: 0") + echo(8), out_of_time, gives(8))
    for limit in (
        b"1000",
        b"-1",
        b"1.5",
        b"1e3",
        b"abc",
        b"",
        b"99999999999999999999",
        b"NaN",
        b"inf",
        b"0x10",
        b"1_000",
        b"\xb2",
        b"1, 2",
    ):
        yield one(f"a deadline of {limit!r}", echo(7, b"X-Request-Deadline-Ms: " + limit) + echo(8), DEADLINE, gives(8))
    yield one(
        "two deadlines",
        echo(7, b"X-Request-Deadline-Ms: 1000", b"X-Request-Deadline-Ms: 2000") + echo(8),
        DEADLINE,
        gives(8),
    )


EITHER = Owed(frozenset({200, 400}), 7)
"""Readers may differ, as long as nobody is answered twice."""

DEADLINE = Owed(frozenset({200, 400, 422}), 7)
"""To any deadline: it is kept, ignored or refused. (What has none left is a 504, and stands elsewhere.)"""


def lengths() -> Iterator[Exchange]:
    """What is said of the length of a body."""
    begun = [b"POST " + TO_ECHO + b" HTTP/1.1", HOST, JSON]
    same = head(*begun, b"Content-Length: 8", b"Content-Length: 8") + x(7)
    yield refused("a length twice", same)
    yield refused("two lengths", head(*begun, b"Content-Length: 8", b"Content-Length: 9") + x(7))
    yield refused("lengths in a list", head(*begun, b"Content-Length: 8, 8") + x(7))
    for length in (b"-8", b"+8", b"0x8", b"8.0", b"eight", b"8 8", b"", b"\xb2", b"8\0", b"99999999999999999999999"):
        yield refused(f"a length of {length!r}", head(*begun, b"Content-Length: " + length) + x(7))
    yield one(
        "a length with a zero before it", head(*begun, b"Content-Length: 008") + x(7) + echo(8), gives(7), gives(8)
    )
    yield one("a length that is too long", head(*begun, b"Content-Length: 9") + x(7), unfinished=True)
    yield one(
        "a length that is too short",
        head(*begun, b"Content-Length: 7") + x(7) + echo(8),
        says(422),
        says(400),
        kept=False,
    )
    yield one("a length of 100 MB", head(*begun, b"Content-Length: 104857600"), says(413), unfinished=True)
    yield one(
        "a length of 2**63", head(*begun, b"Content-Length: 9223372036854775808"), says(400, 413), unfinished=True
    )


def smuggled() -> Iterator[Exchange]:
    """Two requests to one reader and one to another: nobody may get an answer to the second."""
    hidden = echo(666)
    both = [b"POST " + TO_ECHO + b" HTTP/1.1", HOST, JSON]
    length = b"Content-Length: %d"
    chunks = chunk(x(7)) + b"0\r\n\r\n"
    yield refused(
        "a length, then chunks", head(*both, length % 5, b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + hidden
    )
    yield refused(
        "chunks, then a length",
        head(*both, b"Transfer-Encoding: chunked", length % (5 + len(hidden))) + b"0\r\n\r\n" + hidden,
    )
    yield refused(
        "chunks and the right length", head(*both, b"Transfer-Encoding: chunked", length % len(chunks)) + chunks
    )
    for coding in (
        b"x",
        b"chunked, x",
        b"chunked, identity",
        b"identity, chunked, identity",
        b"\x0bchunked",
        b"chunkedx",
        b"xchunked",
        b"chunked,",
        b'"chunked"',
        b"gzip",
    ):
        yield refused(f"the coding {coding!r}", head(*both, b"Transfer-Encoding: " + coding) + chunks + hidden)
        yield refused(
            f"a length and the coding {coding!r}",
            head(*both, length % 5, b"Transfer-Encoding: " + coding) + b"0\r\n\r\n" + hidden,
        )
    yield refused(
        "a space before the colon of the coding",
        head(*both, length % 5, b"Transfer-Encoding : chunked") + b"0\r\n\r\n" + hidden,
    )
    yield refused("a folded coding", head(*both, length % 5, b"Transfer-Encoding:\r\n chunked") + b"0\r\n\r\n" + hidden)
    yield refused(
        "a coding after a carriage return",
        head(*both, length % 5, b"X: y\rTransfer-Encoding: chunked") + b"0\r\n\r\n" + hidden,
    )
    yield refused(
        "a coding after a line feed",
        head(*both, length % 5, b"X: y\nTransfer-Encoding: chunked") + b"0\r\n\r\n" + hidden,
    )
    yield refused("two codings", head(*both, b"Transfer-Encoding: chunked", b"Transfer-Encoding: x") + chunks + hidden)
    yield one(
        "chunks twice",
        head(*both, b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked") + chunks + echo(8),
        says(200, 400),
        kept=None,
    )
    yield one(
        "chunks in HTTP/1.0",
        head(both[0].replace(b"1.1", b"1.0"), *both[1:], b"Transfer-Encoding: chunked") + chunks + hidden,
        says(200, 400),
        kept=False,
    )
    yield refused(
        "a chunk that ends in a line feed",
        head(*both, b"Transfer-Encoding: chunked") + chunks.replace(b"}\r\n", b"}\n") + hidden,
    )
    yield refused(
        "the line of a chunk that ends in a line feed",
        head(*both, b"Transfer-Encoding: chunked") + chunks.replace(b"8\r\n", b"8\n") + hidden,
    )
    yield refused(
        "an extension with a line feed",
        head(*both, b"Transfer-Encoding: chunked") + chunks.replace(b"8\r\n", b"8;a\nb\r\n") + hidden,
    )
    yield one("a request in a body", post(hidden, target=TO_ECHO) + echo(8), says(422), gives(8))
    yield one("a request in the body of a GET", request(b"GET", b"/health", body=hidden) + echo(8), says(200), gives(8))


def origins() -> Iterator[Exchange]:
    """Pages and tokens."""
    wrong, basic = b"Authorization: Bearer " + b"n" * 43, b"Authorization: Basic dXNlcjpwYXNz"
    yield one("a foreign page", echo(7, b"Origin: http://evil.example") + echo(8), says(403), gives(8))
    yield one("a page of ours", echo(7, b"Origin: http://localhost") + echo(8), gives(7), gives(8))
    yield one("two pages", echo(7, b"Origin: http://localhost", b"Origin: null") + echo(8), says(403), gives(8))
    for closed in (False, True):
        where = "where it is closed" if closed else "where it is open"
        without = says(401) if closed else gives(8)
        for header in (
            wrong,
            basic,
            b"Authorization:",
            b"Authorization: Bearer",
            b"Authorization: \xff",
            b"Authorization: Bearer " + b"n" * 20_000,
        ):
            yield one(f"{header[:30]!r} {where}", echo(7, header) + echo(8), says(401), without, closed=closed)
        yield one(
            f"two tokens {where}",
            echo(7, wrong, b"Authorization: Bearer @client@") + echo(8),
            says(200, 400, 401),
            without,
            closed=closed,
        )
        for scheme in (b"Bearer", b"bearer"):
            yield one(
                f"{scheme.decode()} and a token {where}",
                echo(7, b"Authorization: " + scheme + b" @client@") + echo(8),
                gives(7),
                without,
                closed=closed,
            )
        for role in (b"scheduler", b"operator"):
            yield one(
                f"the {role.decode()} {where}",
                echo(7, b"Authorization: Bearer @" + role + b"@"),
                gives(7),
                closed=closed,
            )
        yield one(f"no token {where}", echo(7) + echo(8), says(401) if closed else gives(7), without, closed=closed)
        yield one(
            f"no token, and a row that is bad {where}",
            post(b"{}", target=TO_ECHO),
            says(401 if closed else 422),
            closed=closed,
        )
        yield one(
            f"no token, and no model {where}",
            echo(7, target=b"/models/none/predict"),
            says(401 if closed else 404),
            closed=closed,
        )
        yield one(
            f"no token, and a hundred megabytes {where}",
            head(b"POST " + TO_ECHO + b" HTTP/1.1", HOST, b"Content-Length: 104857600"),
            says(401, 413),
            unfinished=True,
            closed=closed,
        )
