"""The two services as processes of their own, each on a folder and a port that nobody else uses."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

START_S = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(home: Path, port: int, **more: str) -> dict[str, str]:
    """What both services of one installation are given; nothing of ours leaks in from outside."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("UNDERSTUDY_")}
    return {
        **inherited,
        "UNDERSTUDY_HOME": str(home),
        "UNDERSTUDY_API_PORT": str(port),
        "UNDERSTUDY_API_URL": f"http://127.0.0.1:{port}",
        "UNDERSTUDY_SELFTEST": "off",  # seconds of each test that starts a scheduler; those that test it say so
        **more,
    }


class Installation:
    """A home folder, a port, and the processes that run on them."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home, self.port = home, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = environment(home, self.port, **settings)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, module: str, *, name: str | None = None, **settings: str) -> subprocess.Popen[bytes]:
        """Start `api.main` or `scheduled_task.scheduler_service`; what it prints goes to a file beside its logs.

        Args:
            name: tells it from another process of the same module.
            settings: environment variables of this process alone.
        """
        name = name or module
        output = (self.home / f"{name}.out").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            env={**self.environment, **settings},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        output.close()
        self.processes[name] = process
        return process

    def start_api(self) -> subprocess.Popen[bytes]:
        """Start the API and wait until it is healthy."""
        process = self.start("api.main")
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            assert process.poll() is None, self.said("api.main")
            try:
                if requests.get(f"{self.url}/health", timeout=1).status_code == 200:
                    return process
            except requests.ConnectionError:
                time.sleep(0.05)
        raise AssertionError("the API did not become healthy: " + self.said("api.main"))

    def token(self, role: str) -> Mapping[str, str]:
        folder = "secrets" if role == "scheduler" else "var"
        return {"Authorization": f"Bearer {(self.home / folder / f'{role}.token').read_text().strip()}"}

    def get(self, route: str, **options: Any) -> requests.Response:
        return requests.get(f"{self.url}{route}", timeout=30, **options)

    def post(self, route: str, **options: Any) -> requests.Response:
        return requests.post(f"{self.url}{route}", timeout=30, **options)

    def said(self, module: str) -> str:
        """What a process has printed."""
        return (self.home / f"{module}.out").read_text()

    def kill(self, module: str) -> None:
        """End a process as a power cut would."""
        self.processes[module].kill()
        self.processes[module].wait()

    def stop(self) -> None:
        """Ask every process to end, and make it."""
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def installation(home: Path, **settings: str) -> Iterator[Installation]:
    installed = Installation(home, **settings)
    try:
        yield installed
    finally:
        installed.stop()
