"""Blobs in a folder, each named by its sha256.

    sha256/ab/ab34…     a blob, read-only
    writing/…           temporary files of writers at work

A blob appears by `link`, which is atomic and never replaces: the file under a digest is whole, or it is not there. It
is synced before, and its folder after, so an acknowledged `put` survives a power loss.
"""

import hashlib
import os
import re
import tempfile
import time
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

    def put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        if self._intact(digest):
            return digest
        with storage_errors():
            temporary = self._write(data)
            try:
                self._link(temporary, self._path(digest))
            finally:
                temporary.unlink()
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
        return self._path(digest).is_file()

    def sweep(self) -> int:
        with storage_errors():
            oldest = time.time() - ABANDONED_AFTER_S
            left = [path for path in self._writing.iterdir() if path.stat().st_mtime < oldest]
            for path in left:
                path.unlink(missing_ok=True)
        return len(left)

    def _path(self, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise missing(digest)
        return self._blobs / digest[:2] / digest

    def _intact(self, digest: str) -> bool:
        """A damaged blob is not "there already": storing the right bytes again must mend it."""
        try:
            self.get(digest)
        except NotFound:
            return False
        except DigestMismatch:
            self._path(digest).unlink(missing_ok=True)
            return False
        return True

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

    def _link(self, temporary: Path, path: Path) -> None:
        if not path.parent.is_dir():
            path.parent.mkdir(exist_ok=True)
            sync(self._blobs)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return  # another writer stored the same bytes first
        sync(path.parent)


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
