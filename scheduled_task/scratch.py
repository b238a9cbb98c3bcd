"""A folder for each run to work in, gone when the run ends; what a killed scheduler left is swept at the next start."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".held"
"""Locked for as long as somebody works there: only then may nobody sweep the folder."""


@contextmanager
def scratch(root: Path, name: str) -> Iterator[Path]:
    """Make the folder `name` below `root`; whatever is in it is removed in the end."""
    folder = root / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep(root: Path) -> list[str]:
    """Remove the folders in which nobody works any more; return their names."""
    return [lock.parent.name for lock in sorted(root.glob(f"*/{LOCK}")) if _removed(lock)]


def _removed(lock: Path) -> bool:
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shutil.rmtree(lock.parent, ignore_errors=True)
        return True
