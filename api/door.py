"""The door of every route, and the walls between the doors.

A `Door` lets in whom `api/access.py` names for it, and as many as `api/admission.py` has room for, before a byte of the
body is read. `Walls` stand in front of the
router and let nothing be entered that is no door: a mounted application, a folder of files, a websocket, a route of
another class. So who forgets about access has closed a route, and not opened one.
"""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute, Host, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access import Access, closed
from api.admission import Admission
from api.errors import answer, on_status

POLICY_VIOLATION = 1008
"""RFC 6455, 7.4.1."""


class Door(APIRoute):
    """A route that lets in whom `api/access.py` names for it. All routers here are made of these."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def let_in(request: Request) -> Response:
            access: Access = request.app.state.service.access
            request.state.role = access.role(self.name, request.headers.get("authorization"))
            admission: Admission = request.app.state.service.admission
            if (turnstile := admission.turnstile(self.name)) is None:
                return await handle(request)
            async with turnstile.passed():
                return await handle(request)

        return let_in


class Walls:
    """ASGI in front of the router. What the router would choose is found out first, by its own rule: the first route
    that takes path and method."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._doors: set[tuple[str, str]] = set()
        """Method and path of requests for which a door was found, of doors without parameters; `/predict` is one."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        elif scope["type"] == "http" and (refusal := self._refusal(scope)) is not None:
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        """What to answer where there is no door; None where there is one."""
        asked = scope["method"], scope["path"]
        if asked in self._doors:
            return None
        methods: set[str] = set()
        for route, match in matching(scope["app"].routes, scope):
            if not isinstance(route, Door):
                return answer(scope, closed())
            if match is Match.FULL:
                if route.path == scope["path"] and not any(isinstance(one, Host) for one in scope["app"].routes):
                    self._doors.add(asked)
                return None
            methods |= route.methods or set()
        if methods:
            return on_status(scope, 405, headers={"Allow": ", ".join(sorted(methods))})
        return on_status(scope, 404)


def matching(routes: Sequence[BaseRoute], scope: Scope) -> Iterator[tuple[BaseRoute, Match]]:
    """The routes that take the path of `scope`, in the order in which the router asks them."""
    for route in iter_route_contexts(routes):
        match, _ = route.matches(scope)
        if match is not Match.NONE:
            yield route.original_route, match
