"""HTTP/1.1 written in ways that parsers disagree about, each with the answers that are owed."""

from collections.abc import Iterator

from tests.wire.conversations import conversations
from tests.wire.exchange import EITHER, TO_ECHO, Exchange, Owed, echo, gives, one, refused, says
from tests.wire.messages import HOST, JSON, chunk, head, post, request, x


def exchanges() -> Iterator[Exchange]:
    """The corpus: conversations, and what is badly written."""
    for part in (conversations, versions, targets, methods, hosts, headers, lengths, smuggled):
        yield from part()


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
