"""Blobs in a folder, each named by its sha256.

    sha256/ab/ab34…     a blob, read-only
    writing/…           temporary files, each locked by its writer for as long as that lives

A blob appears by `link`, which is atomic and never replaces: the file under a digest is whole, or it is not there. It
is synced before, and its folders after, so an acknowledged `put` survives a power loss.
"""

import fcntl
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from understudy.adapters.sqlite import storage_errors
from understudy.errors import DigestMismatch, NotFound

ABANDONED_AFTER_S = 3600.0
"""Nobody writes one blob for an hour: where a volume knows no locks, such a temporary file has lost its writer."""

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
            return sum(swept(path) for path in self._writing.iterdir())

    def _path(self, digest: str) -> Path:
        if not DIGEST.fullmatch(digest):
            raise missing(digest)
        return self._blobs / digest[:2] / digest

    def _store(self, data: bytes, path: Path, place: Callable[[Path, Path], object]) -> None:
        with storage_errors(), temporary(self._writing) as (handle, written):
            with open(handle, "wb", closefd=False) as file:
                file.write(data)
            os.fchmod(handle, 0o444)
            os.fsync(handle)
            path.parent.mkdir(exist_ok=True)
            place(written, path)


@contextmanager
def temporary(folder: Path) -> Iterator[tuple[int, Path]]:
    """Make a file that is locked for as long as the block, or this process, lasts; its name is gone in the end."""
    handle, path = make_locked(folder)
    try:
        yield handle, path
    finally:
        try:
            path.unlink(missing_ok=True)
        finally:
            os.close(handle)


def make_locked(folder: Path) -> tuple[int, Path]:
    """Make a file and lock it; again, where a sweep came in between and took it for a dead writer's."""
    while True:
        handle, name = tempfile.mkstemp(dir=folder)
        with suppress(OSError):  # a volume without locks: then it is its age that tells
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)


def link(temporary: Path, path: Path) -> None:
    """Let the blob appear, unless another writer stored the same bytes first."""
    with suppress(FileExistsError):
        path.hardlink_to(temporary)


def swept(path: Path) -> bool:
    """Remove a temporary file whose writer is dead; False where it is at work, or has just finished."""
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            if not is_abandoned(handle):
                return False
            path.unlink()  # under its lock: whoever made it a moment ago and waits for the lock sees that it is gone
        finally:
            os.close(handle)
    except (FileNotFoundError, PermissionError):  # finished meanwhile; or another account's, who will sweep it
        return False
    return True


def is_abandoned(handle: int) -> bool:
    """Whether nobody holds the lock of a file, which is ours then: its writer is dead. Without locks its age tells."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return time.time() - os.fstat(handle).st_mtime > ABANDONED_AFTER_S
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
