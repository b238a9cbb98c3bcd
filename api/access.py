"""Who may do what: one table from route names to roles. What is not listed is refused.

Three tokens, one a role. `UNDERSTUDY_OPEN` names what needs none; that is decided by the route that the router matched,
never by a URL put together again from headers.
"""

from collections.abc import Mapping
from typing import Literal

from api.tokens import Tokens
from understudy.errors import Forbidden, Unauthenticated
from understudy.events import Role
from understudy.settings import Settings

Right = Literal[
    "open", "predict", "read", "artifact", "schedule", "promote", "operate", "register", "records", "feedback"
]

#: Route name -> what it needs. A route that is not here answers 403 to everybody.
ROUTES: Mapping[str, Right] = {
    "health": "open",
    "ready": "open",
    "metrics": "read",
    "root": "open",
    "docs": "open",
    "docs_asset": "open",
    "openapi": "open",
    "predict": "predict",
    "predict_model": "predict",
    "invocations": "predict",
    "v2_live": "open",
    "v2_ready": "open",
    "v2_server": "read",
    "v2_model": "read",
    "v2_version": "read",
    "v2_model_ready": "open",
    "v2_version_ready": "open",
    "v2_infer": "predict",
    "v2_version_infer": "predict",
    "prediction": "records",
    "prediction_row": "records",
    "feedback": "feedback",
    "labelled": "schedule",
    "unlabelled": "schedule",
    "current_model": "read",
    "models": "read",
    "model": "read",
    "versions": "read",
    "version": "read",
    "artifact": "artifact",
    "define": "schedule",
    "register": "register",
    "evidence": "register",
    "refit": "register",
    "live": "read",
    "score": "schedule",
    "promote": "promote",
    "promote_get": "open",
    "demote": "operate",
    "demote_get": "open",
    "train": "operate",
    "runs": "read",
    "run": "read",
    "drift": "read",
    "report_drift": "schedule",
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
    "records": frozenset({"client", "operator"}),
    "feedback": frozenset({"client", "scheduler", "operator"}),
}


class Access:
    """Tokens, and what they open."""

    def __init__(self, settings: Settings) -> None:
        self._open = set(settings.open)
        self._tokens = Tokens(settings)

    def is_open(self, right: Right) -> bool:
        """Whether nobody needs a token for it."""
        return right in self._open

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
