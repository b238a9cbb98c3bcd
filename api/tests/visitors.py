"""Who may knock at the API, how, and at which doors."""

from typing import Any

from fastapi.routing import iter_route_contexts

from api.tests import given

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
NOBODY, WRONG, CLIENT, SCHEDULER, OPERATOR = WHO = ("nobody", "wrong", "client", "scheduler", "operator")


def routes(api: given.Api) -> list[Any]:
    """Every route, out of the routers that it was written in."""
    parts = api.client.app.routes  # type: ignore[attr-defined]  # a FastAPI behind an ASGI type
    return [context.original_route for context in iter_route_contexts(parts)]


def as_whom(api: given.Api, who: str) -> dict[str, str]:
    if who == NOBODY:
        return {}
    return {"Authorization": "Bearer " + "x" * 43} if who == WRONG else api.token(who)
