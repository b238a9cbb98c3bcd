"""A proxy in front of the API that does on one route what networks do."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

import requests

Fault = Literal["refuse", "error", "cut", "silence"]
"""Close without a word; answer 500; do it and lose the answer; do it and answer never."""


class Proxy(ThreadingHTTPServer):
    """Forwards to `target`; requests to `route` meet the faults first, one each."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, target: str, route: str, faults: list[Fault]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.target, self.route, self.faults = target, route, faults
        self.seen: list[str] = []
        self.closing = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Proxy

    def reply(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.fault()
        if fault == "refuse":
            self.close_connection = True
            return
        if fault == "error":
            self.send(500, b"Internal Server Error")
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        answer = requests.request(self.command, self.server.target + self.path, data=body, headers=headers, timeout=60)
        if fault is not None:
            if fault == "silence":
                self.server.closing.wait()
            self.close_connection = True
            return
        self.send(answer.status_code, answer.content)

    def fault(self) -> Fault | None:
        if self.path != self.server.route:
            return None
        self.server.seen.append(self.path)
        return self.server.faults.pop(0) if self.server.faults else None

    def send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = reply  # noqa: N815 - the names that http.server looks for

    def log_message(self, format: str, *args: object) -> None:
        """The test's output is its assertions."""


@contextmanager
def proxy(target: str, route: str, faults: list[Fault]) -> Iterator[Proxy]:
    running = Proxy(target, route, faults)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield running
    finally:
        running.closing.set()
        running.shutdown()
        thread.join()
        running.server_close()
