"""Traces as a collector gets them: which route, how it ended, which version answered; and nothing that was sent."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from api.tests import given
from tests.services import environment, free_port

SECRET = "canary5f3a"
CALLER = "0af7651916cd43dd8448eb211c80319c"


class Collector(BaseHTTPRequestHandler):
    """Takes what is posted, and keeps it."""

    posts: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        self.posts.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """An OTLP/HTTP receiver: its URL, and path and body of what it has got."""
    posts: list[tuple[str, bytes]] = []
    handler = type("Handler", (Collector,), {"posts": posts})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", posts
        finally:
            server.shutdown()
            thread.join()


def spans(posts: list[tuple[str, bytes]]) -> list[Span]:
    found = [ExportTraceServiceRequest.FromString(body) for _, body in posts]
    return [span for post in found for one in post.resource_spans for scope in one.scope_spans for span in scope.spans]


def said(span: Span) -> dict[str, Any]:
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes}


@pytest.fixture(scope="module")
def posts(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, bytes]]:
    """What a collector got from an API that answered five requests."""
    with collector() as (url, posts):
        with given.api(tmp_path_factory.mktemp("traced"), traces=url) as api:
            api.serve(given.bundle())
            headers = {**api.token("client"), "traceparent": f"00-{CALLER}-b7ad6b7169203331-01"}
            row = {"x": 0.123456, "y": 0.2}
            assert api.client.post("/predict", json=row, headers=headers).status_code == 200
            assert api.client.post("/models/rain/predict", json=row).status_code == 200
            assert api.client.post(f"/models/{SECRET}/predict", json=row).status_code == 404
            assert api.client.post(f"/predict?{SECRET}={SECRET}", json={SECRET: SECRET}).status_code == 422
            assert api.client.get(f"/{SECRET}").status_code == 404
        return posts


def test_a_span_names_the_route_its_outcome_and_the_version_that_answered(posts: list[tuple[str, bytes]]) -> None:
    found = [said(span) for span in spans(posts) if span.name in ("POST /predict", "POST /models/{model}/predict")]

    outcomes = [
        tuple(
            one.get(key)
            for key in ("http.route", "http.response.status_code", "understudy.model", "understudy.version")
        )
        for one in found
    ]
    assert outcomes == [
        ("/predict", 200, "rain", "1"),
        ("/models/{model}/predict", 200, "rain", "1"),
        ("/models/{model}/predict", 404, None, None),
        ("/predict", 422, None, None),
    ]
    assert {path for path, _ in posts} == {"/v1/traces"}


def test_a_span_continues_the_trace_of_its_caller(posts: list[tuple[str, bytes]]) -> None:
    first = next(span for span in spans(posts) if span.name == "POST /predict")

    assert first.trace_id.hex() == CALLER


def test_nothing_that_was_sent_is_in_a_span(posts: list[tuple[str, bytes]]) -> None:
    keys = {key for span in spans(posts) for key in said(span)}

    assert keys == {
        "http.request.method", "http.response.status_code", "http.route", "network.protocol.version",
        "understudy.model", "understudy.version", "url.scheme",
    }  # fmt: skip
    everything = b"".join(body for _, body in posts)
    assert not [word for word in (SECRET, "0.123456", "Bearer") if word.encode() in everything]


def test_a_collector_that_is_not_there_costs_nobody_an_answer(tmp_path: Path) -> None:
    with given.api(tmp_path, traces=f"http://127.0.0.1:{free_port()}") as api:
        api.serve(given.bundle())

        assert api.client.post("/predict", json={"x": 0.1, "y": 0.2}).status_code == 200


def test_traces_without_their_library_end_the_start_with_the_line_that_installs_it(tmp_path: Path) -> None:
    without = "import sys; sys.modules['opentelemetry.sdk'] = None; from api.main import main; sys.exit(main())"
    setting = {"UNDERSTUDY_TRACES": "http://127.0.0.1:4318"}

    ended = subprocess.run(
        [sys.executable, "-c", without],
        env=environment(tmp_path, free_port(), **setting),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 2
    assert ended.stderr == (
        "understudy api: UNDERSTUDY_TRACES needs a library that is not installed. "
        "pip install 'understudy[otel]', or set UNDERSTUDY_TRACES=off.\n"
    )
