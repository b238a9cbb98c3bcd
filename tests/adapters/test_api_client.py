import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from understudy.adapters.api_client import ApiClient, token_of
from understudy.errors import Forbidden, NotFound, StaleClaim, Unauthenticated, Unavailable
from understudy.settings import Settings

CUT: tuple[int, dict[str, object]] = (0, {})
PROBLEM = {"detail": "It is so.", "remedy": "Do this."}


class Scripted(ThreadingHTTPServer):
    """Gives the answers that it was told to give, one after the other, and remembers the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, dict[str, object]]] = []
        self.seen: list[tuple[str, str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Scripted

    def reply(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, self.headers.get("Authorization")))
        status, body = self.server.answers.pop(0)
        if status == 0:
            self.close_connection = True
            return
        data = b"" if status == 204 else json.dumps(body).encode()
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = reply  # noqa: N815 - the names that http.server looks for

    def log_message(self, format: str, *args: object) -> None:
        """The test's output is its assertions."""


@pytest.fixture
def server() -> Iterator[Scripted]:
    scripted = Scripted()
    thread = threading.Thread(target=scripted.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield scripted
    scripted.shutdown()
    thread.join()
    scripted.server_close()


@pytest.fixture
def client(server: Scripted) -> Iterator[ApiClient]:
    client = ApiClient(server.url, lambda: "one", retries=2)
    yield client
    client.close()


@pytest.mark.parametrize(("status", "error"), [(404, NotFound), (409, StaleClaim), (403, Forbidden)])
def test_a_failing_answer_is_raised_as_the_error_that_it_names(
    server: Scripted, client: ApiClient, status: int, error: type[Exception]
) -> None:
    code = {NotFound: "not_found", StaleClaim: "stale_claim", Forbidden: "forbidden"}[error]  # type: ignore[index]
    server.answers = [(status, {**PROBLEM, "code": code})]

    with pytest.raises(error, match=r"It is so\. Do this\."):
        client.get("/runs/rain-1")


@pytest.mark.fault(61)
def test_what_the_api_would_recognise_is_sent_again_after_a_cut(server: Scripted, client: ApiClient) -> None:
    server.answers = [CUT, (503, {}), (200, {"version": "2"})]

    answer = client.post("/model/promote", {}, headers={"Idempotency-Key": "rain-2"})

    assert answer == {"version": "2"}
    assert len(server.seen) == 3


def test_a_claim_is_not_sent_again_since_its_first_answer_may_have_been_a_run(
    server: Scripted, client: ApiClient
) -> None:
    server.answers = [CUT, (200, {})]

    with pytest.raises(Unavailable, match="does not answer"):
        client.post_once("/runs/claim", {})

    assert len(server.seen) == 1


def test_an_answer_without_content_is_none(server: Scripted, client: ApiClient) -> None:
    server.answers = [(204, {})]

    assert client.post_once("/runs/claim", {}) is None


@pytest.mark.fault(5)
def test_a_token_that_was_rotated_is_read_again(server: Scripted) -> None:
    tokens = iter(["old", "new"])
    client = ApiClient(server.url, lambda: next(tokens))
    server.answers = [(401, {**PROBLEM, "code": "unauthenticated"}), (200, {}), (200, {})]

    client.get("/models")
    client.get("/models")

    client.close()
    assert [token for _, _, token in server.seen] == ["Bearer old", "Bearer new", "Bearer new"]


def test_a_token_that_is_simply_wrong_is_said_to_be(server: Scripted, client: ApiClient) -> None:
    server.answers = [(401, {**PROBLEM, "code": "unauthenticated"})]

    with pytest.raises(Unauthenticated):
        client.get("/models")


def test_an_error_of_something_else_on_that_port_is_unavailable(server: Scripted, client: ApiClient) -> None:
    server.answers = [(500, {"oops": 1})]

    with pytest.raises(Unavailable, match="answered 500"):
        client.get("/models")


def test_nothing_on_that_port_says_what_to_start() -> None:
    client = ApiClient("http://127.0.0.1:9", lambda: None, retries=0)

    with pytest.raises(Unavailable, match="make run"):
        client.get("/health")

    client.close()


def test_a_token_comes_from_its_setting_or_from_the_file_that_the_api_makes(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    settings.secrets.mkdir()
    read = token_of("scheduler", settings)

    with pytest.raises(Unauthenticated, match="Start the API"):
        read()
    (settings.secrets / "scheduler.token").write_bytes(b"\xff" * 43)
    with pytest.raises(Unauthenticated, match="Start the API"):
        read()
    (settings.secrets / "scheduler.token").write_text("made-by-the-api\n")

    assert read() == "made-by-the-api"
    assert token_of("operator", Settings(home=tmp_path, operator_token="o" * 32))() == "o" * 32
