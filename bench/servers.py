"""The servers that are compared, each a process on the server's core; and what the system knows of a process."""

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from bench.wrk import on_cores
from tests.services import Installation, free_port, installation
from understudy import Promotion, Schedule
from understudy.settings import Settings

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
START_S = 60.0
QUIET_S = 0.3
"""A server that used no processor for so long has finished what a run of load left behind, its records for example."""


@dataclass(frozen=True)
class Server:
    """A running server: where it answers, and its processes."""

    name: str
    port: int
    pid: int
    home: Path | None = None
    """Of an API."""

    def pids(self) -> list[int]:
        """The process and all below it."""
        found = [self.pid]
        for pid in found:
            try:
                found += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
            except FileNotFoundError:
                continue
        return found

    def cpu_s(self) -> float:
        """Processor seconds of all processes so far, in the kernel and outside."""
        return sum(cpu_s_of(pid) for pid in self.pids())

    def rest(self, most_s: float = 10.0) -> float:
        """Wait until nothing is left to do, so that the next run does not pay for it; return `cpu_s`."""
        until, last, since = time.monotonic() + most_s, self.cpu_s(), time.monotonic()
        while (now := time.monotonic()) < until and now - since < QUIET_S:
            time.sleep(0.05)
            if (used := self.cpu_s()) > last + TICK_S:  # one tick is the pulse of an idle API
                last, since = used, time.monotonic()
        return self.cpu_s()

    def ask(self, path: str, body: bytes, media: str = "application/json") -> tuple[int, bytes]:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", path, body, {"Content-Type": media})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def cpu_s_of(pid: int) -> float:
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(after_name[11]) + int(after_name[12])) * TICK_S  # utime and stime


def resident_mb(pid: int) -> float:
    """Memory of a process that is in RAM, in MB of a million bytes."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS")) / 1e6


@contextmanager
def other(module: str, *arguments: str, name: str, cores: Collection[int]) -> Iterator[Server]:
    """Run one of the servers that are not ours: `bench.floor`, `bench.empty` or `bench.usual`."""
    port = free_port()
    with on_cores(cores):
        process = subprocess.Popen([sys.executable, "-m", module, str(port), *arguments], start_new_session=True)
    try:
        server = Server(name, port, process.pid)
        wait_until_open(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(15)


def wait_until_open(server: Server, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"{server.name} ended with {process.returncode}")
        try:
            server.ask("/", b"")
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{server.name} did not begin to answer")


@contextmanager
def api(
    home: Path, models: Mapping[str, bytes], *, name: str, cores: Collection[int], **settings: str
) -> Iterator[Server]:
    """Run our API on an empty folder, and let it serve a first version of each model; the first one is the default."""
    with installation(home, **chosen(next(iter(models)), **settings)) as installed:
        with on_cores(cores):
            process = installed.start_api()
        if not {"fast_path", "records"} & settings.keys() and "the plain path serves" in installed.said("api.main"):
            raise RuntimeError("the fast path does not serve: " + installed.said("api.main")[:2000])
        for model, data in models.items():
            promote(installed, model, data)
        yield Server(name, installed.port, process.pid, home)


def chosen(default_model: str, **settings: str) -> dict[str, str]:
    """Settings as environment variables; one that this release does not have is left out."""
    known = {name: value for name, value in settings.items() if name in Settings.model_fields}
    return {f"UNDERSTUDY_{name.upper()}": value for name, value in {**known, "default_model": default_model}.items()}


def promote(installed: Installation, model: str, data: bytes) -> None:
    """Define a model, register a bundle and put it on, as the scheduler and the operator would."""
    scheduler, operator = installed.token("scheduler"), installed.token("operator")
    check(requests.put(f"{installed.url}/models/{model}", json=definition(model), headers=scheduler, timeout=60))
    versions = f"{installed.url}/models/{model}/versions"
    version = check(requests.post(versions, data=data, headers=scheduler, timeout=60))["version"]
    order = {"model_name": model, "model_version_id": version, "override": "it is to be measured"}
    check(requests.post(f"{installed.url}/model/promote", json=order, headers=operator, timeout=60))


def check(answer: requests.Response) -> dict[str, Any]:
    if not answer.ok:
        raise RuntimeError(f"{answer.request.method} {answer.url}: {answer.status_code} {answer.text[:500]}")
    read: dict[str, Any] = answer.json()
    return read


def definition(model: str) -> dict[str, Any]:
    return {
        "definition": {
            "name": model,
            "description": "made to be measured",
            "target": "benign",
            "schedule": Schedule.every(minutes=60).to_json(),
            "promotion": Promotion(mode="propose").to_json(),
            "ranges": {},
        },
        "source": {f"{model}.py": "# made to be measured"},
    }
