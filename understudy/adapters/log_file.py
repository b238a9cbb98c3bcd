"""The file that one process logs to: whole lines, whatever becomes of the disk.

A full disk or a folder that is gone costs lines and never the service. The next record tries again; the first line that
fits says how many were lost. What did not fit whole is taken back, so that every line can be read.

A file belongs to one process: a rotation by two would lose lines. Whoever comes second writes `NAME-2.jsonl`, and so
on.
"""

import errno
import fcntl
import logging
import os
from pathlib import Path
from typing import IO

MAX_BYTES = 10 * 2**20
BACKUPS = 5
MOST_PROCESSES = 99


class LogFile(logging.Handler):
    """Appends to the first of NAME.jsonl, NAME-2.jsonl, … in `folder` that no living process writes."""

    def __init__(self, folder: Path, process: str) -> None:
        super().__init__()
        self._folder, self._process = folder, process
        self.file: Path | None = None
        """Where the lines go; None where they cannot be written."""
        self._opened: int | None = None
        self._claim: IO[str] | None = None
        self._lost = 0

    def open(self) -> int:
        """The descriptor of a file that is there. Raises OSError where the folder cannot be written."""
        if self._opened is None or not self._is_there(self._opened):
            self._let_go()
            self.file = None
            file, self._claim = own_file(self._folder, self._process)
            self._opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self.file = file
        return self._opened

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).encode() + b"\n"
        except Exception:  # noqa: BLE001 - what was to be logged may be anything
            self.handleError(record)
            return
        try:
            self._write(line, record)
            self._lost = 0
        except OSError:
            self._lost += 1

    def close(self) -> None:
        self._let_go()
        super().close()

    def _write(self, line: bytes, record: logging.LogRecord) -> None:
        opened = self.open()
        size = os.fstat(opened).st_size
        if size and size + len(line) > MAX_BYTES:
            opened, size = self._next(), 0
        data = line if not self._lost else self.format(self._gap(record)).encode() + b"\n" + line
        if os.write(opened, data) < len(data):
            os.ftruncate(opened, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _next(self) -> int:
        """The descriptor of a new file."""
        assert self.file is not None
        rotate(self.file)
        return self.open()  # the name leads to another file now

    def _gap(self, record: logging.LogRecord) -> logging.LogRecord:
        """What stands where lines are missing."""
        told = {"msg": f"{self._lost} lines before this one could not be written.", "lost": self._lost}
        more = {"action": "log.lines_lost", "levelname": "WARNING", "levelno": logging.WARNING}
        return logging.makeLogRecord({"created": record.created, "process": record.process, **told, **more})

    def _is_there(self, opened: int) -> bool:
        """False where somebody has moved or removed what we write to."""
        assert self.file is not None
        try:
            return os.path.samestat(self.file.stat(), os.fstat(opened))
        except OSError:
            return False

    def _let_go(self) -> None:
        if self._opened is not None:
            os.close(self._opened)
        if self._claim is not None:
            self._claim.close()
        self._opened, self._claim = None, None


def own_file(folder: Path, process: str) -> tuple[Path, IO[str]]:
    """The first of NAME, NAME-2, … that no living process writes, and the lock that keeps it so."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, MOST_PROCESSES + 1):
        name = process if number == 1 else f"{process}-{number}"
        lock = (folder / f".{name}.lock").open("a", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        except OSError:
            lock.close()
            raise
        else:
            return folder / f"{name}.jsonl", lock
    raise OSError(f"{MOST_PROCESSES} processes write there already")


def rotate(file: Path) -> None:
    """Make room for a new `file`: the old one becomes `….1`, that `….2`, and so on; the oldest is dropped."""
    for number in range(BACKUPS, 0, -1):
        newer = file if number == 1 else file.with_name(f"{file.name}.{number - 1}")
        if newer.exists():
            newer.replace(file.with_name(f"{file.name}.{number}"))
