"""Conversations over one connection: who asks what after what, how its body comes, and who may.

Nothing here is badly written; that is in `tests/wire/grammar.py`.
"""

from collections.abc import Iterator

from tests.wire.exchange import TO_ECHO, TO_SLOW, Exchange, Owed, echo, gives, one, refused, says
from tests.wire.messages import HOST, JSON, chunked, head, post, request, x


def conversations() -> Iterator[Exchange]:
    for part in (pipelines, bodies, expectations, ends, deadlines, origins):
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


def deadlines() -> Iterator[Exchange]:
    """To any deadline: it is kept, ignored or refused. What has none left is a 504."""
    kept = Owed(frozenset({200, 400, 422}), 7)
    out_of_time = Owed(frozenset({422, 504}))
    yield one("a deadline that has passed", echo(7, b"X-Request-Deadline-Ms: 0") + echo(8), out_of_time, gives(8))
    for limit in (
        b"60000",
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
        yield one(f"a deadline of {limit!r}", echo(7, b"X-Request-Deadline-Ms: " + limit) + echo(8), kept, gives(8))
    yield one(
        "two deadlines",
        echo(7, b"X-Request-Deadline-Ms: 60000", b"X-Request-Deadline-Ms: 50000") + echo(8),
        kept,
        gives(8),
    )


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
