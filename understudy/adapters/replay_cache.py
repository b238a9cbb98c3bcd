"""What a replay has found out, kept in a folder of files that are named by everything that decides what is in them.

A file appears whole or not at all, so whoever stops a replay loses one training. The folder has a limit; what was used
longest ago makes room. It may be removed at any time.
"""

import contextlib
import io
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from understudy.fingerprint import canonical_json, digest_of

LARGEST_BYTES = 2_000_000_000
FORMAT = 1
"""Goes up where the same inputs give other contents."""

Arrays = Mapping[str, npt.NDArray[Any]]


class ReplayCache:
    """Arrays by key. Without a folder, or with one that cannot be used, it forgets all."""

    def __init__(self, folder: Path | None, *, largest_bytes: int = LARGEST_BYTES) -> None:
        self._folder, self._largest = folder, largest_bytes
        self._size: int | None = None
        """Bytes in the folder, as far as this process knows; None: it has not looked yet."""

    def get(self, key: str) -> Arrays | None:
        """What was put under `key`; None where there is nothing, or nothing that can be read."""
        if self._folder is None:
            return None
        file = self._folder / f"{key}.npz"
        try:
            with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in arrays.files}
            os.utime(file)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return None
        return found

    def put(self, key: str, arrays: Arrays) -> None:
        """Keep arrays. Where they cannot be kept, they are not."""
        if self._folder is None:
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            written = io.BytesIO()
            np.savez(written, **arrays)  # type: ignore[arg-type]  # the stubs take the names for options
            self._write(self._folder / f"{key}.npz", written.getvalue())
            if self._size is not None:
                self._size += written.tell()
            if self._size is None or self._size > self._largest:
                self._size = self._make_room()

    def _write(self, file: Path, data: bytes) -> None:
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as temporary:
            try:
                temporary.write(data)
                temporary.close()
                Path(temporary.name).replace(file)
            except BaseException:
                Path(temporary.name).unlink(missing_ok=True)
                raise

    def _make_room(self) -> int:
        """Remove what was used longest ago, until the folder is as small as it should be; return its size."""
        assert self._folder is not None
        found = sorted(((file.stat(), file) for file in self._folder.iterdir()), key=lambda one: one[0].st_mtime_ns)
        total = sum(one.st_size for one, _ in found)
        for one, file in found:
            if total <= self._largest:
                break
            file.unlink(missing_ok=True)
            total -= one.st_size
        return total


def key_of(*decides: Any) -> str:
    """The name of whatever follows from `decides`, which is anything that JSON can hold."""
    return digest_of(canonical_json([FORMAT, *decides]))
