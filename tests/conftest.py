"""What tests of every kind share: few fixtures, and how a test says that it needs more than Python."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def need(is_there: bool, reason: str) -> None:
    """Skip on a laptop where something is not there; in CI that is a failure, or a guard could sleep unseen."""
    if is_there:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have what this test needs: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def strace() -> None:
    """What a test asks for that watches or breaks the system calls of a child."""
    try:
        works = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], check=False).returncode == 0
    except OSError:
        works = False
    need(works, "strace is not installed, or may not trace here")


@pytest.fixture
def small_volume() -> Iterator[Path]:
    """A volume of one megabyte of its own; needs root."""
    with tempfile.TemporaryDirectory(prefix="understudy-volume-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        need(os.geteuid() == 0, "only root may mount a volume")
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0777", "tmpfs", name], check=False, capture_output=True
        )
        need(mounted.returncode == 0, f"a volume cannot be mounted here: {mounted.stderr.decode().strip()}")
        try:
            yield folder
        finally:
            while subprocess.run(["umount", "--lazy", name], check=False, capture_output=True).returncode == 0:
                pass  # a test may have mounted others over it


@contextmanager
def nobody() -> Iterator[None]:
    """Do the block as an account that owns nothing; needs root."""
    need(os.geteuid() == 0, "only root can become another account")
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
