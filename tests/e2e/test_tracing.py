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
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from api.tests import given
from tests.services import environment, free_port, installation

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
    """What a collector got from an API, a process with all that it has in front, that answered five predictions."""
    home = tmp_path_factory.mktemp("traced")
    with collector() as (url, posts):
        with installation(home, UNDERSTUDY_TRACES=url) as installed:
            installed.start_api()
            rain, client = f"{installed.url}/models/rain", requests.Session()
            scheduler, operator = installed.token("scheduler"), installed.token("operator")
            client.put(rain, json=given.definition(), headers=scheduler, timeout=60).raise_for_status()
            client.post(f"{rain}/versions", data=given.bundle(), headers=scheduler, timeout=60).raise_for_status()
            body = {"model_name": "rain", "model_version_id": "1", "override": "a test"}
            client.post(f"{installed.url}/model/promote", json=body, headers=operator, timeout=60).raise_for_status()

            def ask(route: str, body: object, **headers: str) -> int:
                headers = {**installed.token("client"), **headers}
                return client.post(f"{installed.url}{route}", json=body, headers=headers, timeout=60).status_code

            row = {"x": 0.123456, "y": 0.2}
            assert ask("/predict", row, traceparent=f"00-{CALLER}-b7ad6b7169203331-01") == 200
            assert ask("/models/rain/predict", row) == 200
            assert ask(f"/models/{SECRET}/predict", row) == 404
            assert ask(f"/predict?{SECRET}={SECRET}", {SECRET: SECRET}) == 422
            assert ask(f"/{SECRET}", row) == 404
            client.close()
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


def test_a_collector_that_is_not_there_costs_nobody_an_answer_nor_the_stop_its_end(tmp_path: Path) -> None:
    with given.api(tmp_path, traces=f"http://127.0.0.1:{free_port()}") as api:
        assert [api.client.get("/ready").status_code for _ in range(20)] == [200] * 20


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
