"""docs/api.md lists every route, and who may use it."""

from pathlib import Path

from fastapi.routing import APIRoute

from api import (
    docs,
    drift,
    events,
    feedback,
    health,
    inference,
    invocations,
    labelled,
    live,
    metrics,
    models,
    predictions,
    promotions,
    recorded,
    refits,
    runs,
)
from api.access import ROLES, ROUTES, Right

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
PARTS = (
    predictions,
    invocations,
    inference,
    recorded,
    feedback,
    labelled,
    models,
    refits,
    live,
    drift,
    promotions,
    runs,
    events,
    health,
    metrics,
    docs,
)


def may(right: Right) -> str:
    """Who has a right, as the page says it."""
    if right == "open":
        return "everybody"
    roles = ROLES[right]
    who = "every role" if len(roles) == 3 else ", ".join(sorted(roles))
    return f"{who}; everybody where `{right}` is open" if right in ("predict", "read") else who


def listed(route: APIRoute) -> str:
    assert route.methods is not None
    name = f"{'/'.join(sorted(route.methods))} {route.path}"
    return f"| `{name}` | {route.summary or 'the page, and what it needs'} | {may(ROUTES[route.name])} |"


def test_the_page_lists_every_route_and_who_may_use_it() -> None:
    routes = [route for part in PARTS for route in part.router.routes if isinstance(route, APIRoute)]
    expected = [listed(route) for route in routes if route.name not in ("promote_get", "demote_get")]

    found = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert found == expected, "the table should be:\n" + "\n".join(expected)
