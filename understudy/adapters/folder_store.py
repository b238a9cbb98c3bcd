"""Blobs in a folder, each named by its sha256.

    sha256/ab/ab34…     a blob, read-only
    writing/…           temporary files of writers at work

A blob appears by `link`, which is atomic and never replaces: the file under a digest is whole, or it is not there. It
is synced before, and its folders after, so an acknowledged `put` survives a power loss.
"""

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from understudy.adapters.sqlite import storage_errors
from understudy.errors import DigestMismatch, NotFound

ABANDONED_AFTER_S = 3600.0
"""Nobody writes one blob for an hour: such a temporary file has lost its writer."""

DIGEST = re.compile(r"[0-9a-f]{64}")


class FolderStore:
    """`ports.ArtifactStore` on a folder that several processes may share."""

    def __init__(self, folder: Path) -> None:
        self._blobs, self._writing = folder / "sha256", folder / "writing"
        with storage_errors():
            self._blobs.mkdir(parents=True, exist_ok=True)
            self._writing.mkdir(exist_ok=True)
            sync(folder)

    def put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        try:
            self.get(digest)
        except NotFound:
            self._store(data, self._path(digest), link)
        except DigestMismatch:  # a damaged blob is not "there already": the right bytes mend it
            self._store(data, self._path(digest), Path.replace)
        with storage_errors():  # also where another writer was first, who may not have come to it yet
            sync(self._path(digest).parent)
            sync(self._blobs)
        return digest

    def get(self, digest: str) -> bytes:
        with storage_errors():
            try:
                data = self._path(digest).read_bytes()
            except FileNotFoundError:
                raise missing(digest) from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise DigestMismatch(
                f"The stored bytes of {digest[:12]}… are not what they were.",
                remedy="Restore the store from a backup; nothing was served from them.",
            )
        return data

    def has(self, digest: str) -> bool:
        with storage_errors():
            return DIGEST.fullmatch(digest) is not None and self._path(digest).is_file()

    def sweep(self) -> int:
        with storage_errors():
            oldest = time.time() - ABANDONED_AFTER_S
            return sum(remove_older(path, oldest) for path in self._writing.iterdir())

    def _path(self, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise missing(digest)
        return self._blobs / digest[:2] / digest

    def _store(self, data: bytes, path: Path, place: Callable[[Path, Path], object]) -> None:
        with storage_errors():
            temporary = self._write(data)
            try:
                path.parent.mkdir(exist_ok=True)
                place(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    def _write(self, data: bytes) -> Path:
        handle, name = tempfile.mkstemp(dir=self._writing)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), 0o444)
                os.fsync(file.fileno())
        except BaseException:
            Path(name).unlink()
            raise
        return Path(name)


def link(temporary: Path, path: Path) -> None:
    """Let the blob appear, unless another writer stored the same bytes first."""
    with suppress(FileExistsError):
        path.hardlink_to(temporary)


def remove_older(path: Path, oldest: float) -> bool:
    """Remove a temporary file that its writer has left; False where the writer is at work, or has just finished."""
    try:
        if path.stat().st_mtime >= oldest:
            return False
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def sync(folder: Path) -> None:
    """Make a folder's entries durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def missing(digest: str) -> NotFound:
    return NotFound(
        f"The store has no blob {digest[:64]!a}.", remedy="Register it again, or restore the store from a backup."
    )
