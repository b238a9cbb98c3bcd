"""The tokens: one a role, from a setting or from a file that may be replaced while we run."""

import contextlib
import hmac
import logging
import os
import re
import secrets
import stat
import tempfile
import time
from pathlib import Path

from pydantic import SecretStr

from understudy.errors import BadSettings
from understudy.events import Role
from understudy.settings import SHORTEST_TOKEN, Settings

log = logging.getLogger(__name__)

SENDABLE = re.compile(r"[!-~]+")
"""What a header carries unchanged."""

SETTLED_NS = 2 * 10**9
"""Two writes within one tick of a file system's clock look like one; the coarsest in use ticks every two seconds."""
LONGEST_FILE = 4096
"""Bytes; more is not read."""

Mark = tuple[int, ...]
"""What tells a file from the one that was there before: device, inode, size, times of the last changes."""
UNSETTLED: Mark = ()


class Tokens:
    """Read at start and again whenever a file has changed.

    A file that is gone, half written or open to others changes nothing: the token before stays valid, and the log says
    so once. Whoever wants a token to end puts another one in its place.
    """

    def __init__(self, settings: Settings) -> None:
        self._files: dict[Role, Path] = {
            "operator": settings.var / "operator.token",
            "scheduler": settings.secrets / "scheduler.token",
            "client": settings.var / "client.token",
        }
        given: dict[Role, SecretStr | None] = {
            "operator": settings.operator_token,
            "scheduler": settings.scheduler_token,
            "client": settings.client_token,
        }
        self._given = {role: token.get_secret_value() for role, token in given.items() if token is not None}
        self._read: dict[Role, tuple[Mark, str]] = {}
        self._told: dict[Role, str] = {}
        for role, path in self._files.items():
            if role not in self._given and not path.exists():
                make_token(path)
        for role in self._files:
            self._token(role)

    def role(self, token: str) -> Role | None:
        """The role whose token this is; all are compared, in constant time."""
        sent = token.encode("utf-8", "surrogateescape")
        found: Role | None = None
        for role in self._files:
            if hmac.compare_digest(sent, self._token(role).encode()):
                found = role
        return found

    def _token(self, role: Role) -> str:
        if role in self._given:
            return self._given[role]
        path = self._files[role]
        try:
            self._look(role, path)
        except BadSettings as error:
            if role not in self._read:
                raise
            self._tell(role, error)
        return self._read[role][1]

    def _look(self, role: Role, path: Path) -> None:
        """Read the file again where it may have changed. Raises BadSettings where it holds no usable token."""
        mark = mark_of(path)
        if mark is None or role not in self._read or self._read[role][0] != mark:
            token = read_token(path)
            self._read[role] = (mark or UNSETTLED, token)
        self._told.pop(role, None)

    def _tell(self, role: Role, error: BadSettings) -> None:
        """Log once what is wrong, and not with every request."""
        if self._told.get(role) != error.problem:
            self._told[role] = error.problem
            log.warning("The token before is still valid: %s", error, extra={"action": "token.unusable", "role": role})


def mark_of(path: Path) -> Mark | None:
    """None where the file was changed so lately that a second change could look the same. Raises BadSettings."""
    try:
        found = path.stat()
    except OSError:
        raise unreadable(path) from None
    if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) < SETTLED_NS:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def unreadable(path: Path) -> BadSettings:
    return BadSettings(f"{path.name} cannot be read.", remedy="Check its owner and mode.")


def make_token(path: Path) -> None:
    """Write a new token that only the owner can read, unless another process has just done so.

    It appears whole or not at all: several processes may start on one empty folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, written = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(written, path)
    finally:
        Path(written).unlink()


def read_token(path: Path) -> str:
    """Read a token file. Raises BadSettings where it is no file, short, no token at all, or others may read it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe in its place would be waited for
        with os.fdopen(descriptor, "rb") as file:
            mode, content = os.fstat(descriptor).st_mode, file.read(LONGEST_FILE)
    except OSError:
        raise unreadable(path) from None
    if not stat.S_ISREG(mode):
        raise unreadable(path)
    token = content.decode("ascii", "replace").strip()
    if len(token) < SHORTEST_TOKEN:
        raise BadSettings(
            f"{path.name} holds fewer than {SHORTEST_TOKEN} characters.",
            remedy="Delete it; a new one is made at start.",
        )
    if not SENDABLE.fullmatch(token):
        raise BadSettings(
            f"{path.name} holds what cannot be sent in a header.", remedy="Delete it; a new one is made at start."
        )
    if mode & 0o077:
        raise BadSettings(f"Others may read {path.name}.", remedy=f"chmod 600 {path.name}")
    return token
