"""The door of every route: who may not enter is told so before a byte of the body is read."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from api.access import Access


class Door(APIRoute):
    """A route that lets in whom `api/access.py` names for it. All routers here are made of these."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def let_in(request: Request) -> Response:
            access: Access = request.app.state.service.access
            request.state.role = access.role(self.name, request.headers.get("authorization"))
            return await handle(request)

        return let_in
