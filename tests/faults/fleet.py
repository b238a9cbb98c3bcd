"""The processes of one installation: workers of the API, schedulers and what they train with, found by /proc.

What was killed is started again, and how long it took until predictions were answered is measured.
"""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.services import Installation

LONGEST_S = 120.0
"""Ends a hang."""
API, SCHEDULER = "api.main", "scheduled_task.scheduler_service"


class Fleet:
    """`workers` processes of the API and `schedulers` schedulers on one home."""

    def __init__(self, installed: Installation, *, workers: int, schedulers: int) -> None:
        self.installed, self.workers = installed, workers
        self.schedulers = [f"scheduler-{number + 1}" for number in range(schedulers)]

    def start_schedulers(self, url: str) -> None:
        """`url`: where they are to find the API."""
        for name in self.schedulers:
            self.installed.start(SCHEDULER, name=name, UNDERSTUDY_API_URL=url)

    @property
    def api(self) -> subprocess.Popen[bytes]:
        return self.installed.processes[API]

    def answering(self) -> list[int]:
        """The processes that answer for the API."""
        if self.workers == 1:
            return [] if self.api.poll() is not None else [self.api.pid]
        return [pid for pid in children(self.api.pid) if "spawn_main" in command(pid)]

    def training(self) -> list[int]:
        """The processes that train."""
        pids = [pid for name in self.schedulers for pid in children(self.installed.processes[name].pid)]
        return [pid for pid in pids if "scheduled_task.train" in command(pid)]

    def whose(self, port: int) -> int | None:
        """The process that holds the other end of a connection from `port`."""
        inode = inode_of(self.installed.port, port)
        return next((pid for pid in self.answering() if inode in sockets(pid)), None) if inode else None

    def restart_api(self) -> None:
        """Start the API again once what is left of it has gone."""
        self.api.wait()
        until_s = time.monotonic() + LONGEST_S
        while time.monotonic() < until_s:
            process = self.installed.start(API)
            while process.poll() is None:
                if self.answers() is not None:
                    return
                time.sleep(0.02)
            time.sleep(0.1)  # the port was not free yet
        raise AssertionError("the API does not start again: " + self.installed.said(API)[-2000:])

    def restart_scheduler(self, name: str, url: str) -> None:
        self.installed.processes[name].wait()
        self.installed.start(SCHEDULER, name=name, UNDERSTUDY_API_URL=url)

    def answers(self, timeout_s: float = 1.0) -> tuple[str, float] | None:
        """Version and answer to x = 0, on a new connection; None where there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.installed.port, timeout=timeout_s)
        try:
            connection.request("POST", "/predict", b'{"x": 0}', {"Content-Type": "application/json"})
            response = connection.getresponse()
            body = json.loads(response.read())
            return (body["version"], body["predictions"][0]) if response.status == 200 else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()

    def serving(self) -> dict[int, str]:
        """Worker -> version of `rain` that it serves, once each of them has been heard."""
        found: dict[int, str] = {}
        until_s = time.monotonic() + LONGEST_S
        while time.monotonic() < until_s:
            connection = http.client.HTTPConnection("127.0.0.1", self.installed.port, timeout=5)
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError), contextlib.closing(connection):
                connection.request("GET", "/ready")
                models = json.loads(connection.getresponse().read())["models"]
                worker = self.whose(connection.sock.getsockname()[1]) if connection.sock else None
                if worker is not None:
                    found[worker] = models.get("rain", "nothing")
            found = {pid: version for pid, version in found.items() if pid in self.answering()}
            if len(found) == self.workers:
                return found
            time.sleep(0.01)
        raise AssertionError(f"only {len(found)} of {self.workers} workers answer")


def until(true: Callable[[], object], what: str, *, within_s: float = LONGEST_S) -> None:
    """Wait; raise AssertionError where it takes too long."""
    until_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < until_s, f"waited {within_s:g} s for {what}"
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    """Of all threads of a process."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in path.read_text().split()]
    return sorted(found)


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def sockets(pid: int) -> Iterator[str]:
    """Inodes of the sockets that a process has open."""
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                yield str(entry.readlink()).removeprefix("socket:[").removesuffix("]")


def inode_of(local: int, remote: int) -> str | None:
    """The socket of the end at port `local` of a connection between two ports of this machine."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if (port_of(fields[1]), port_of(fields[2])) == (local, remote) and fields[9] != "0":
            return fields[9]
    return None


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def send(number: signal.Signals, *pids: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
