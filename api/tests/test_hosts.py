"""Host and Origin, byte by byte over real sockets: who asks is judged by the route and the token, never by a name."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path

import pytest

from api.tests import given
from api.tests.visitors import METHODS, WHO, WRONG, as_whom
from tests.services import Installation, installation

ANSWERED_WITHIN_S = 20

LISTED = [b"localhost", b"LOCALHOST", b"localhost:80", b"127.0.0.1", b"127.0.0.1:65535", b"api:0", b"Api:8000"]

#: Refused, whatever else is asked: what is no name of ours, and what another parser might read as one.
STRANGE = [
    *(b"evil.example", b"evil.example:8000", b"localhost.evil.example", b"evil.localhost", b"notlocalhost", b"0.0.0.0"),
    *(b"127.1", b"127.0.0.1.nip.io", b"2130706433", b"0x7f000001", b"[::1]", b"[::1]:8000", b"[::ffff:127.0.0.1]"),
    *(b"localhost.", b"localhost.:80", b"localhost:", b"localhost::80", b"localhost:80:80", b"localhost:x"),
    *(
        b"localhost:\xb2",
        b"localhost:-1",
        b"localhost:+80",
        b"localhost:8000000",
        b":80",
        b":",
        b".",
        b"*",
        b"%6cocalhost",
    ),
    *(b"localhost/health?", b"localhost/", b"localhost?", b"localhost#", b"x/health?", b"x#", b"/health", b"?", b"#"),
    *(b"localhost@evil.example", b"evil.example@localhost", b"user:80@localhost", b"localhost\\@evil.example"),
    *(b"localhost,evil.example", b"localhost evil.example", b"localhost;x", b"[localhost]", b"[]", b"[localhost"),
    *(
        b"http://localhost",
        b"//localhost",
        b"localhost\x80",
        b"l\xc3\xb6calhost",
        b"\xef\xbc\x8elocalhost",
        b"xn--localhost",
    ),
    *(
        b"",
        b"_",
        b"localhost" * 400,
        b"localhost:" + b"0" * 400,
        b"testserver",
        b"'localhost'",
        b'"localhost"',
        b"$(id)",
    ),
]

#: What is asked with each Host: a door that is open, one that reads, and three that need a role.
ASKED = [
    (b"GET", b"/health", 200),
    (b"GET", b"/models", 200),
    (b"GET", b"/models/rain/versions/1/artifact", 401),
    (b"POST", b"/model/demote", 401),
    (b"DELETE", b"/runs", 405),
    (b"GET", b"/nowhere", 404),
]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[given.Api]:
    """One for this file: nothing here changes anything."""
    with given.api(tmp_path_factory.mktemp("home")) as started:
        yield started


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("home")) as installed:
        installed.start_api()
        yield installed


def said(running: Installation, request: bytes) -> bytes:
    """All that comes back on a connection of its own."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=ANSWERED_WITHIN_S) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def status(running: Installation, method: bytes, target: bytes, *headers: bytes) -> int:
    lines = [method + b" " + target + b" HTTP/1.1", *headers, b"Connection: close", b"Content-Length: 0", b"", b""]
    answer = said(running, b"\r\n".join(lines))
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"Traceback" not in answer
    assert b"\r\nLocation" not in answer
    return int(answer.split()[1])


@pytest.mark.parametrize("host", LISTED)
def test_a_listed_host_changes_nothing_whatever_a_proxy_claims(running: Installation, host: bytes) -> None:
    claims = [b"X-Forwarded-Host: evil.example", b"X-Forwarded-For: 1.2.3.4", b"Forwarded: host=evil.example"]
    claims += [b"X-Forwarded-Proto: https", b"X-Original-URL: /health", b"X-Rewrite-URL: /health"]
    claims += [b"X-HTTP-Method-Override: GET", b"X-Forwarded-Prefix: /health", b"X-Forwarded-Path: /health"]
    for method, path, expected in ASKED:
        assert status(running, method, path, b"Host: " + host) == expected
        assert status(running, method, path, b"Host: " + host, *claims) == expected


@pytest.mark.parametrize("host", STRANGE)
def test_any_other_host_is_refused_everywhere_whatever_a_proxy_claims(running: Installation, host: bytes) -> None:
    operator = b"Authorization: " + running.token("operator")["Authorization"].encode()
    for method, path, _ in ASKED:
        assert status(running, method, path, b"Host: " + host) in (400, 403)
        forwarded = status(running, method, path, b"Host: " + host, b"X-Forwarded-Host: localhost", operator)
        assert forwarded in (400, 403)


def test_a_request_names_exactly_one_host(running: Installation) -> None:
    for method, path, _ in ASKED:
        assert status(running, method, path) in (400, 403)
        for second in (b"localhost", b"evil.example"):
            assert status(running, method, path, b"Host: localhost", b"Host: " + second) in (400, 403)
            assert status(running, method, path, b"Host: localhost", b"host:\t" + second) in (400, 403)
        assert status(running, method, path, b"Host: localhost\x00", b"X: y") in (400, 403)


@pytest.mark.parametrize("authority", [b"http://evil.example", b"http://localhost", b"http://a@b:1", b"ftp://x:70000"])
def test_what_an_absolute_target_names_decides_nothing(running: Installation, authority: bytes) -> None:
    for method, path, expected in ASKED:
        assert status(running, method, authority + path, b"Host: localhost") in (expected, 400)
        assert status(running, method, authority + path, b"Host: evil.example") in (400, 403)


@pytest.mark.parametrize(
    "target",
    [
        *(
            b"//evil.example/health",
            b"///health",
            b"/health/../model/demote",
            b"/health/..;/runs/claim",
            b"/./model/demote",
        ),
        *(
            b"/health?/../model/demote",
            b"/model/demote?x=/health",
            b"/model/demote;/health",
            b"/health%2f..%2fmodel%2fdemote",
        ),
        *(
            b"/%6dodel/demote",
            b"/model%2fdemote",
            b"/model/demote/",
            b"/MODEL/demote",
            b"/model//demote",
            b"*",
            b"/model\\demote",
        ),
        *(
            b"localhost:80",
            b"model/demote",
            b"/model/demote%00",
            b"/model/demote%20",
            b"/model/demote%0a",
            b"/\xff",
            b"/#/health",
        ),
    ],
)
def test_no_way_of_writing_a_path_gets_past_the_door(running: Installation, target: bytes) -> None:
    for role in ("client", "scheduler"):
        token = b"Authorization: " + running.token(role)["Authorization"].encode()
        assert status(running, b"POST", target, b"Host: localhost", token) in (400, 403, 404, 405)
        assert status(running, b"GET", target, b"Host: localhost", token) < 500


@pytest.mark.parametrize(
    "method", [m.encode() for m in METHODS] + [b"get", b"GETT", b"PROPFIND", b"PRI", b"\xff", b"G\tT"]
)
def test_a_method_is_known_or_refused(running: Installation, method: bytes) -> None:
    found = status(running, method, b"/health", b"Host: localhost")

    assert found == 200 if method == b"GET" else found in (400, 405)


def test_an_upgrade_is_not_taken_up(running: Installation) -> None:
    socket_of_the_web = [
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ]
    for headers in (socket_of_the_web, [b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"]):
        for host, path in product((b"localhost", b"evil.example"), (b"/health", b"/model/demote", b"/events")):
            lines = [b"GET " + path + b" HTTP/1.1", b"Host: " + host, b"Connection: Upgrade, close", *headers, b"", b""]
            answer = said(running, b"\r\n".join(lines))
            assert not answer.startswith(b"HTTP/1.1 101")


BEGUN = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"

#: What has no end, and is no body: how it begins, and what is sent on and on.
ENDLESS = {
    "a path": (b"GET /", b"x" * 2**16),
    "a header": (BEGUN + b"X-Long: ", b"x" * 2**16),
    "headers": (BEGUN, b"X-One: 1\r\n" * 1000),
    "the line of a chunk": (BEGUN + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 2**16),
    "what follows the last chunk": (BEGUN + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-One: 1\r\n" * 1000),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_what_is_no_body_ends_before_it_costs_anything(running: Installation, what: str) -> None:
    begun, more = ENDLESS[what]
    before = memory_mb(running)
    sent = 0
    address = ("127.0.0.1", running.port)
    with socket.create_connection(address, timeout=ANSWERED_WITHIN_S) as connection, suppress(OSError):  # it is closed
        connection.sendall(begun)
        while sent < 50 * 2**20:
            connection.sendall(more)
            sent += len(more)

    assert sent < 50 * 2**20
    assert memory_mb(running) - before <= 50
    assert running.get("/health").status_code == 200


def memory_mb(running: Installation) -> int:
    status = Path(f"/proc/{running.processes['api.main'].pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def test_many_ranges_are_not_read(running: Installation) -> None:
    """A whole file is sent once: nothing here answers with parts."""
    ranges = b"Range: bytes=" + b",".join(b"%d-%d" % (n, n + 1) for n in range(5000))

    assert status(running, b"GET", b"/docs/favicon-32x32.png", b"Host: localhost", ranges) == 200


#: Pages of others. What is ours is the same name and port, by http or https.
FOREIGN = [
    *("null", "", " ", "http://evil.example", "https://testserver.evil.example", "http://evil.example/testserver"),
    *(
        "http://testserver:8001",
        "http://testserver:80",
        "http://testserver.",
        "http://testserver/",
        "http://testserver#",
    ),
    *("http://x@testserver", "http://testserver@evil.example", "http://testserver, http://evil.example", "testserver"),
    *("//testserver", "ftp://testserver", "file://testserver", "chrome-extension://testserver", "http:testserver"),
    *("http://testserver\t", "http://http://testserver", "javascript://testserver", "http://[::1]", "*"),
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_page_of_another_origin_gets_nothing_by_any_method_and_token(api: given.Api, origin: str) -> None:
    paths = ("/model/demote", "/health", "/nowhere")
    answers = {
        (method, path, who): api.client.request(
            method, path, headers={**as_whom(api, who), "Origin": origin}
        ).status_code
        for method, path, who in product(METHODS, paths, WHO)
    }

    assert {knock: answer for knock, answer in answers.items() if answer != 403} == {}


@pytest.mark.parametrize(
    "origin", ["http://testserver", "https://testserver", "HTTP://TESTSERVER", "http://TestServer"]
)
def test_a_page_of_ours_gets_what_everybody_gets(api: given.Api, origin: str) -> None:
    for method, path, who in product(METHODS, ("/model/demote", "/predict", "/models"), WHO):
        plain = api.client.request(method, path, headers=as_whom(api, who)).status_code
        assert api.client.request(method, path, headers={**as_whom(api, who), "Origin": origin}).status_code == plain


def test_two_origins_are_as_foreign_as_the_worse_of_them(api: given.Api) -> None:
    for pair in (("http://testserver", "null"), ("null", "http://testserver")):
        headers = [("Origin", one) for one in pair]
        assert api.client.get("/health", headers=headers).status_code == 403


def test_a_wrong_token_is_refused_the_same_from_everywhere(api: given.Api) -> None:
    wrong = as_whom(api, WRONG)

    assert api.client.get("/models", headers=wrong).status_code == 401
    assert api.client.get("/models", headers={**wrong, "Origin": "http://testserver"}).status_code == 401
