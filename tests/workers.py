"""Workers of a running API, as a test sees and hurts them: who answers a connection, who lives, who is ready."""

import http.client
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.services import Installation

WITHIN_S = 60.0


def workers(installed: Installation) -> list[int]:
    """Process ids of the children that answer; of the only process where there is one."""
    parent = installed.processes["api.main"].pid
    children = [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return [pid for pid in children if b"spawn_main" in command(pid)] or [parent]


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def wait_for(true: Callable[[], Any], what: str) -> Any:
    """Return the first true answer. The time-out is there to end a test that hangs, and not to measure."""
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        if found := true():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited in vain for {what}")


def signs(installed: Installation) -> list[dict[str, Any]]:
    """What the living workers say of themselves, as one of them knows it."""
    answer = requests.get(f"{installed.url}/ready", timeout=30)
    found: list[dict[str, Any]] = answer.json()["workers"]
    return found


def wait_until_all_answer(installed: Installation, count: int) -> None:
    """Until so many workers live and answer, and nobody remembers a dead one."""

    def complete() -> bool:
        found = signs(installed)
        names = {sign["worker"].split("/")[1] for sign in found}
        return names == {str(pid) for pid in workers(installed)} and len(names) == count and is_calm(found)

    wait_for(complete, f"{count} workers")


def is_calm(found: list[dict[str, Any]]) -> bool:
    return not any(sign["starting"] for sign in found)


@contextmanager
def paused(*pids: int) -> Iterator[None]:
    """Stop processes in the order given, none while it holds a lock that others need; then let them go on."""
    for pid in pids:
        wait_for(lambda pid=pid: stopped(pid), f"a moment to stop {pid}")  # type: ignore[misc]
    try:
        yield
    finally:
        for pid in reversed(pids):
            resume(pid)


def stopped(pid: int) -> bool:
    """Stop a process; False where that was in the middle of reading or writing a database, and it goes on."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: state_of(pid) in "Tt", "its sleep")
    held = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    if any(line[1] == "POSIX" and line[4] == str(pid) for line in held):
        resume(pid)
        return False
    return True


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def resume(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return  # its parent has replaced it meanwhile


def connection_to(installed: Installation, pid: int) -> http.client.HTTPConnection:
    """A new connection that this process has taken: all others sleep meanwhile."""
    connection = http.client.HTTPConnection("127.0.0.1", installed.port, timeout=60)
    parent = installed.processes["api.main"].pid
    with paused(*{parent, *workers(installed)} - {pid}):
        connection.connect()
        wait_for(lambda: answering(installed, connection) == pid, "the connection")
    return connection


def answering(installed: Installation, connection: http.client.HTTPConnection) -> int | None:
    """Which process holds the other end of a connection; None where it is gone."""
    inode = server_inode(installed.port, connection.sock.getsockname()[1])
    return next((pid for pid in workers(installed) if inode in sockets_of(pid)), None)


def server_inode(server: int, client: int) -> str | None:
    """The inode of the server's end, from the system's table of connections."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, *rest = line.split()
        if int(local[-4:], 16) == server and int(remote[-4:], 16) == client:
            return f"socket:[{rest[6]}]"
    return None


def sockets_of(pid: int) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(str(entry.readlink()))
        except OSError:
            continue  # closed meanwhile
    return found


def send(connection: http.client.HTTPConnection, values: list[float]) -> None:
    """Send one prediction request over a kept connection."""
    connection.request("POST", "/predict", json.dumps({"values": values}), {"Content-Type": "application/json"})


def receive(connection: http.client.HTTPConnection) -> tuple[int, Any]:
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def ask(connection: http.client.HTTPConnection, values: list[float]) -> tuple[int, Any]:
    send(connection, values)
    return receive(connection)
