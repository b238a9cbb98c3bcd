"""What a trial's process has given up, it cannot do; and could, had it not."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

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
    "remove": lambda: Path(sys.argv[1], "secret").unlink(),
    "make a folder": lambda: Path(sys.argv[1], "folder").mkdir(),
    "link": lambda: Path(sys.argv[1], "link").symlink_to("/"),
    "start a program": lambda: subprocess.run(["true"], check=True),
    "connect": connect,
    "signal": lambda: os.kill(os.getppid(), 0),
    "look at the parent": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
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
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-P", "-c", TRY, str(folder), how, str(server.getsockname()[1])]
        ended = subprocess.run(command, env=child.environment(), cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


@pytest.mark.fault(9)
def test_a_confined_process_reads_and_writes_no_file_starts_no_program_and_reaches_nobody(tmp_path: Path) -> None:
    found = possible(tmp_path, "confined")

    need(found[-1] == "is confined", "the kernel has no Landlock")
    assert set(found) <= {"is confined", "connect", "signal"}  # these two are known to newer kernels only
    assert (tmp_path / "secret").exists()


def test_a_process_that_is_not_confined_could_do_all_of_it(tmp_path: Path) -> None:
    found = possible(tmp_path, "free")

    assert {"read", "write", "remove", "make a folder", "link", "start a program", "connect", "signal"} <= set(found)
