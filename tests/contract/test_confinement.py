"""What a trial's process has given up, it cannot do; and could, had it not."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

import understudy
from tests.conftest import need
from understudy.adapters import child

TRY = """
import os, socket, subprocess, sys
from pathlib import Path
from understudy.adapters.confinement import confine

def connect():
    socket.create_connection(("127.0.0.1", int(sys.argv[3])), 5)

ways = {
    "read": lambda: Path(sys.argv[1], "secret").read_bytes(),
    "write": lambda: Path(sys.argv[1], "new").write_bytes(b""),
    "make a folder": lambda: Path(sys.argv[1], "folder").mkdir(),
    "link": lambda: Path(sys.argv[1], "link").symlink_to("/"),
    "start a program": lambda: subprocess.run(["true"], check=True),
    "connect": connect,
    "signal": lambda: os.kill(os.getppid(), 0),
    "look at the parent": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "send a datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
    "see the size": lambda: Path(sys.argv[1], "secret").stat(),
    "change the mode": lambda: Path(sys.argv[1], "secret").chmod(0o600),
    "reach a socket with a path": lambda: socket.socket(socket.AF_UNIX).connect("socket"),
    "remove": lambda: Path(sys.argv[1], "secret").unlink(),
}
confined = sys.argv[2] == "confined" and confine()
import onnxruntime, sklearn.svm, skops.io
for name, way in ways.items():
    try:
        way()
        print(name)
    except PermissionError:
        pass
print("is confined" if confined else "is free")
"""


def possible(folder: Path, how: str) -> list[str]:
    """What a process can do, and whether it is confined."""
    (folder / "secret").write_bytes(b"canary")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(folder / "socket"))
        unix.listen()
        command = [sys.executable, "-P", "-c", TRY, str(folder), how, str(server.getsockname()[1])]
        ended = subprocess.run(command, env=child.environment(), cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


NEWER = {"connect", "signal"}
"""What only newer kernels can take away."""
OPEN = {"send a datagram", "see the size", "change the mode", "reach a socket with a path"}
"""What Landlock leaves open."""


@pytest.mark.fault(9)
def test_a_confined_process_reads_and_writes_no_file_and_starts_no_program(tmp_path: Path) -> None:
    found = possible(tmp_path, "confined")

    need(found[-1] == "is confined", "the kernel has no Landlock")
    assert OPEN <= set(found) <= {"is confined"} | OPEN | NEWER
    assert (tmp_path / "secret").exists()


def test_a_process_that_is_not_confined_could_do_all_of_it(tmp_path: Path) -> None:
    found = possible(tmp_path, "free")

    closed = {"read", "write", "make a folder", "link", "start a program", "remove"}
    assert closed | NEWER | OPEN <= set(found)


THREADS = """
from threading import Event, Thread
from understudy.adapters.confinement import confine

Thread(target=Event().wait, daemon=True).start()
print(confine())
"""


def test_a_process_with_a_second_thread_is_not_taken_for_confined() -> None:
    command = [sys.executable, "-P", "-c", THREADS]
    ended = subprocess.run(command, env=child.environment(), capture_output=True, text=True)

    need(ended.stdout != "0\n", "the kernel has no Landlock")
    assert "another thread would stay free" in ended.stderr


def readable(folder: Path) -> list[str]:
    """What a confined process may read where the package lies in `folder`."""
    (folder / "understudy").symlink_to(Path(understudy.__file__).parent)
    code = "from understudy.adapters.confinement import readable; print(*readable(), sep='\\n')"
    environment = {**child.environment(), "PYTHONPATH": str(folder)}
    command = [sys.executable, "-P", "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()


def test_of_a_checkout_the_package_alone_may_be_read(tmp_path: Path) -> None:
    found = readable(tmp_path)

    assert str(tmp_path / "understudy") in found
    assert str(tmp_path) not in found


def test_where_packages_are_installed_beside_ours_all_of_them_may_be_read(tmp_path: Path) -> None:
    (tmp_path / "numpy-2.4.0.dist-info").mkdir()

    assert str(tmp_path) in readable(tmp_path)
