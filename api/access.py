"""Who may do what: one table from route names to roles. What is not listed is refused.

Three tokens, one a role. `UNDERSTUDY_OPEN` names what needs none; that is decided by the route that the router matched,
never by a URL put together again from headers.
"""

import hmac
import logging
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from understudy.errors import BadSettings, Forbidden, Unauthenticated
from understudy.events import Role
from understudy.settings import SHORTEST_TOKEN, Settings

log = logging.getLogger(__name__)

Right = Literal["open", "predict", "read", "artifact", "schedule", "promote", "operate", "register"]

#: Route name -> what it needs. A route that is not here answers 403 to everybody.
ROUTES: Mapping[str, Right] = {
    "health": "open",
    "ready": "open",
    "root": "open",
    "docs": "open",
    "docs_asset": "open",
    "openapi": "open",
    "predict": "predict",
    "predict_model": "predict",
    "current_model": "read",
    "models": "read",
    "model": "read",
    "versions": "read",
    "version": "read",
    "artifact": "artifact",
    "define": "schedule",
    "register": "register",
    "evidence": "register",
    "promote": "promote",
    "promote_get": "open",
    "demote": "operate",
    "demote_get": "open",
    "train": "operate",
    "runs": "read",
    "run": "read",
    "request_run": "schedule",
    "claim": "schedule",
    "heartbeat": "schedule",
    "finish": "schedule",
    "events": "read",
}

#: Right -> roles that have it. `open` needs none.
ROLES: Mapping[Right, frozenset[Role]] = {
    "predict": frozenset({"client", "scheduler", "operator"}),
    "read": frozenset({"client", "scheduler", "operator"}),
    "artifact": frozenset({"client", "scheduler", "operator"}),
    "schedule": frozenset({"scheduler", "operator"}),
    "register": frozenset({"scheduler", "operator"}),
    "promote": frozenset({"scheduler", "operator"}),
    "operate": frozenset({"operator"}),
}


class Access:
    """Tokens, and what they open."""

    def __init__(self, settings: Settings) -> None:
        self._open = set(settings.open)
        self._tokens = Tokens(settings)

    def role(self, route: str, authorization: str | None) -> Role | None:
        """The role of a request; None where the route needs none and no token was sent.

        Raises:
            Unauthenticated: a token is needed, or the one that was sent is not known.
            Forbidden: this role may not do that.
        """
        right = ROUTES.get(route)
        if right is None:
            raise closed()
        if right == "open":
            return None
        role = None if authorization is None else self._known(authorization)
        if role is None and right in self._open:
            return None
        if role is None:
            raise Unauthenticated(
                "This needs a token.", remedy="Send `Authorization: Bearer …`; see `understudy token`."
            )
        if role not in ROLES[right]:
            raise Forbidden(f"The {role} may not do that.", remedy=f"Use the token of {one_of(ROLES[right])}.")
        return role

    def _known(self, authorization: str) -> Role:
        scheme, _, token = authorization.partition(" ")
        role = self._tokens.role(token.strip()) if scheme.lower() == "bearer" else None
        if role is None:
            raise Unauthenticated(
                "This token is not known.", remedy="Send `Authorization: Bearer …` with a current token."
            )
        return role


def closed() -> Forbidden:
    return Forbidden("This route is closed.", remedy="See /docs for what there is.")


def one_of(roles: frozenset[Role]) -> str:
    return " or ".join(f"the {role}" for role in sorted(roles))


class Tokens:
    """One token a role: from a setting, or from a file that may be replaced while we run."""

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
        self._read: dict[Role, tuple[tuple[int, int], str]] = {}
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
            stat = path.stat()
            mark = (stat.st_ino, stat.st_mtime_ns)
            if role not in self._read or self._read[role][0] != mark:
                self._read[role] = (mark, read_token(path))
        except (OSError, BadSettings) as error:
            if role not in self._read:
                raise bad_token(path, error) from None
            log.warning(
                "The token before is still valid: %s", bad_token(path, error), extra={"action": "token.unusable"}
            )
        return self._read[role][1]


def bad_token(path: Path, error: Exception) -> BadSettings:
    if isinstance(error, BadSettings):
        return error
    return BadSettings(f"{path.name} cannot be read.", remedy="Check its owner and mode.")


def make_token(path: Path) -> None:
    """Write a new token that only the owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32) + "\n")


def read_token(path: Path) -> str:
    """Read a token file. Raises BadSettings where it is short or others may read it."""
    token = path.read_text("utf-8").strip()
    if len(token) < SHORTEST_TOKEN:
        raise BadSettings(
            f"{path.name} holds fewer than {SHORTEST_TOKEN} characters.",
            remedy="Delete it; a new one is made at start.",
        )
    if path.stat().st_mode & 0o077:
        raise BadSettings(f"Others may read {path.name}.", remedy=f"chmod 600 {path.name}")
    return token
