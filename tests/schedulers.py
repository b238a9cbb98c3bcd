"""Several schedulers of one installation, each a process with a way of its own to the API."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from tests.services import Installation

SERVICE = "scheduled_task.scheduler_service"
LONGEST_S = 120.0


def eventually(
    holds: Callable[[], object], why: Callable[[], object] = lambda: "", *, within_s: float = LONGEST_S
) -> None:
    """Wait until something holds; generous, since it only ends a hang."""
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, why()
        time.sleep(0.05)


def events(installed: Installation, *, after: int = 0) -> list[dict[str, Any]]:
    """Everything in the log past a position."""
    items: list[dict[str, Any]] = installed.get(f"/events?after={after}&limit=1000").json()["items"]
    return items + events(installed, after=items[-1]["position"]) if items else []


class Scheduler:
    """One process; its children have sessions of their own and are not stopped with it."""

    def __init__(self, installed: Installation, name: str, *, url: str | None = None, module: str = SERVICE) -> None:
        self._installed, self.name, self._module = installed, name, module
        self._environment = installed.environment | ({} if url is None else {"UNDERSTUDY_API_URL": url})
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        with (self._installed.home / f"{self.name}.out").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self._module],
                env=self._environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._installed.processes[self.name] = self.process
        return self.process

    def pause(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def wake(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def said(self) -> str:
        return self._installed.said(self.name)

    def children(self) -> list[int]:
        """Processes that any of its threads has started."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1] != "Z"
    except FileNotFoundError:
        return False


class Gate(ThreadingHTTPServer):
    """A way to the API on which some requests have set out and not arrived, until the gate is opened."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, target: str, holds: Callable[[str, bytes], str | None]) -> None:
        """`holds`: path and body of a request → a name for it where it is held; None where it may pass."""
        super().__init__(("127.0.0.1", 0), Passing)
        self.target, self.holds = target, holds
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.opened = threading.Event()
        self.waiting: set[str] = set()
        self.answers: dict[str, tuple[int, Any]] = {}
        """Name of a held request → status and code that the API answered once it had arrived."""


class Passing(BaseHTTPRequestHandler):
    server: Gate
    protocol_version = "HTTP/1.1"

    def reply(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = self.server.holds(self.path, body) if not self.server.opened.is_set() else None
        if name is not None:
            self.server.waiting.add(name)
            self.server.opened.wait()
        headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
        answer = requests.request(self.command, self.server.target + self.path, data=body, headers=headers, timeout=60)
        if name is not None:
            self.server.answers[name] = (answer.status_code, answer.json().get("code"))
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
        if answer.status_code != 204:
            self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = do_PUT = reply  # noqa: N815 - the names that http.server looks for

    def log_message(self, format: str, *args: object) -> None:
        """The test's output is its assertions."""


@contextmanager
def gate(target: str, holds: Callable[[str, bytes], str | None]) -> Iterator[Gate]:
    running = Gate(target, holds)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield running
    finally:
        running.opened.set()
        running.shutdown()
        thread.join()
        running.server_close()
