"""Work that one of several processes of a machine does: whoever holds a lock on a file, for as long as it lives."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from understudy.adapters.sqlite import storage_errors
from understudy.errors import StorageUnavailable


class Duty:
    """One file. The system takes the lock from a process that dies, so nobody has to judge whether it lives."""

    def __init__(self, path: Path) -> None:
        with storage_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a")
        self._thread = Lock()

    def is_mine(self) -> bool:
        """Take the duty where nobody has it; it stays ours."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise no_locks() from error
        return True

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other thread or process is in such a block, and be alone in it."""
        with self._thread:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX)
            except OSError as error:
                raise no_locks() from error
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        self._file.close()


def no_locks() -> StorageUnavailable:
    return StorageUnavailable(
        "The volume of `var/` keeps no locks.", remedy="Put it on a local volume, as the databases need one too."
    )
