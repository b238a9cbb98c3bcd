"""The newest report of drift of each model: one small file, overwritten each minute. No fact, and no history.

It also keeps which kinds of drift have been noticed. Whoever loses the file tells the owner once more.
"""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from understudy.adapters.sqlite import storage_errors


class DriftFile:
    """Of one model."""

    def __init__(self, folder: Path, model: str) -> None:
        self._file, self._lock = folder / f"{model}.json", folder / f"{model}.lock"

    @contextmanager
    def held(self) -> Iterator[None]:
        """One process at a time reads, decides and writes. Raises StorageUnavailable."""
        with storage_errors():
            self._lock.parent.mkdir(parents=True, exist_ok=True)
            lock = self._lock.open("a")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def read(self) -> Mapping[str, Any] | None:
        """None where there is none, or it is not whole."""
        try:
            found: Mapping[str, Any] = json.loads(self._file.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found

    def write(self, content: Mapping[str, Any]) -> None:
        """Raises StorageFull or StorageUnavailable."""
        temporary = self._file.with_suffix(".writing")
        with storage_errors():
            temporary.write_text(json.dumps(content), "utf-8")
            temporary.replace(self._file)
