"""A folder for each piece of work, gone when it ends; what a killed process left is swept by whoever comes next.

Several schedulers may share the root. Nobody waits for anybody: a process that is paused keeps its lock, and so its own
folder, and nothing else.

    made       NAME-RANDOM.work, then a file in it, then the lock on that file; swept meanwhile, it is made once more
    removed    the content, then the file, then the folder: so what has no such file is empty, or not our business
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

LOCK = ".held"
"""Locked for as long as somebody works there: only then may nobody sweep the folder."""
SUFFIX = ".work"


@contextmanager
def scratch(root: Path, name: str) -> Iterator[Path]:
    """Make a folder below `root` whose name begins with `name`; whatever is in it is removed in the end."""
    root.mkdir(parents=True, exist_ok=True)
    while (made := _made(root, name)) is None:
        pass  # swept before it was locked
    folder, lock = made
    with lock:
        try:
            yield folder
        finally:
            _remove(folder)


def sweep(root: Path) -> list[str]:
    """Remove the folders in which nobody works any more; return their names."""
    left = {lock.parent for lock in root.glob(f"*/{LOCK}")} | set(root.glob(f"*{SUFFIX}"))
    return [folder.name for folder in sorted(left) if _swept(folder)]


def _made(root: Path, name: str) -> tuple[Path, IO[str]] | None:
    """A folder and its lock; None where a sweep came between the two."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", suffix=SUFFIX, dir=root))
    try:
        lock = (folder / LOCK).open("x")
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock.fileno()), (folder / LOCK).stat()):
            return folder, lock
    except (BlockingIOError, FileNotFoundError):
        pass
    lock.close()
    return None


def _swept(folder: Path) -> bool:
    try:
        with (folder / LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(folder)
    except FileNotFoundError:
        with suppress(OSError):
            folder.rmdir()  # it is empty: its maker died, or will make another
    except BlockingIOError:
        return False
    return not folder.exists()


def _remove(folder: Path) -> None:
    """Remove a folder that we hold. What a dying child adds meanwhile stays, and with it the file to sweep it by."""
    for entry in list(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != LOCK:
            entry.unlink(missing_ok=True)
    with suppress(OSError):
        if [entry.name for entry in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            folder.rmdir()
