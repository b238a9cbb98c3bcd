"""How many requests a process has handed to its records, in a file that outlives a kill.

The file is mapped into memory, so a number is written there as cheaply as into a variable, and what a killed process
had written the system keeps. The process holds a lock on it for as long as it lives, and removes it when it has ended
well. So a file without a lock is what a killed process has left, and it says how far that had come.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from understudy.adapters.duty import no_locks
from understudy.adapters.sqlite import storage_errors

FORM = struct.Struct("<Q11sxxxxxQ36s")
"""Requests, time of the newest (hex digits of milliseconds), time of the start, boot of the system."""
NEWEST = struct.Struct("<Q11s")
BOOT = Path("/proc/sys/kernel/random/boot_id")


class Handover:
    """One process's count. `add` is for one thread."""

    def __init__(self, folder: Path, process: str, *, now_ms: int) -> None:
        """Raises StorageUnavailable or StorageFull."""
        self._path, self.requests = folder / process, 0
        with storage_errors():
            folder.mkdir(parents=True, exist_ok=True)
            written = self._path.with_suffix(".new")
            self._file = written.open("w+b")
            self._file.write(FORM.pack(0, b"%011x" % now_ms, now_ms, boot().encode()))
            self._file.flush()
            os.fsync(self._file.fileno())
            lock(self._file.fileno())
            written.rename(self._path)
            self._map = mmap.mmap(self._file.fileno(), FORM.size)

    def add(self, requests: int, stamp: bytes) -> None:
        """Count some more. `stamp`: their time, 11 hex digits of milliseconds."""
        self.requests += requests
        NEWEST.pack_into(self._map, 0, self.requests, stamp)

    def close(self, *, well: bool) -> None:
        """End; `well`: nothing that was counted is missing in the records."""
        if well:
            with suppress(FileNotFoundError):
                self._path.unlink()
        self._map.close()
        self._file.close()


@dataclass(frozen=True, slots=True)
class Left:
    """What a killed process has left."""

    process: str
    handed: int | None
    """Requests; None: the system went down with it, and the file may be older than that."""
    since_ms: int
    until_ms: int


@contextmanager
def left_behind(folder: Path) -> Iterator[list[Left]]:
    """What killed processes have left. Their files are removed after the block, where it does not raise.

    Raises StorageUnavailable where the folder cannot be read.
    """
    with storage_errors():
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
        found = {path: left for path in paths if (left := _read(path)) is not None}
    yield list(found.values())
    for path in found:
        path.unlink(missing_ok=True)


def _read(path: Path) -> Left | None:
    """None where its process lives or has removed it, and where it is no such file."""
    if path.suffix:  # not in its place yet
        return None
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            content = file.read()
            if os.fstat(file.fileno()).st_nlink == 0:
                return None
    except (BlockingIOError, FileNotFoundError):
        return None
    if len(content) != FORM.size:
        return None
    requests, stamp, started_ms, boot_then = FORM.unpack(content)
    same_boot = boot_then.rstrip(b"\0").decode() == boot()
    return Left(path.name, requests if same_boot else None, started_ms, int(stamp, 16))


def lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise no_locks() from error


def boot() -> str:
    """Which run of the system this is; nothing where it does not say."""
    try:
        return BOOT.read_text("ascii").strip()
    except OSError:
        return ""
