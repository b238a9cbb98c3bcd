"""Nothing but a door leads in: whatever else an application is made of is closed to everybody."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from api.access import ROUTES
from api.door import Door, Walls
from api.tests import given
from api.tests.visitors import METHODS, WHO, as_whom, routes

entered: list[str] = []
"""What was reached that should not have been."""


async def plain(request: Request) -> Response:
    entered.append(request.scope["path"])
    return PlainTextResponse("inside")


async def talk(socket: WebSocket) -> None:
    entered.append("websocket")
    await socket.accept()
    await socket.send_text("inside")
    await socket.close()


def sub_app() -> FastAPI:
    """An application with doors of its own kind, as somebody might mount who knows nothing of ours."""
    app = FastAPI()
    app.add_api_route("/inner", plain, methods=["GET", "POST"])
    return app


def router(**kind: Any) -> APIRouter:
    found = APIRouter(**kind)
    found.add_api_route("/inner", plain, methods=["GET", "POST", "DELETE"], name="health")
    return found


def nested() -> APIRouter:
    outer = APIRouter(route_class=Door)
    outer.include_router(router(), prefix="/deep")
    return outer


def with_files(app: FastAPI, folder: Path) -> None:
    (folder / "inner").write_text("inside")
    app.mount("/stranger", StaticFiles(directory=folder))


def as_frontend(app: FastAPI, folder: Path) -> None:
    (folder / "inner").write_text("inside")
    app.frontend("/stranger", directory=folder)


STRANGERS: dict[str, Callable[[FastAPI, Path], None]] = {
    "an application": lambda app, _: app.mount("/stranger", sub_app()),
    "an application of Starlette": lambda app, _: app.mount("/stranger", Starlette(routes=[Route("/inner", plain)])),
    "an application inside another": lambda app, _: app.mount("/", Starlette(routes=[Mount("/stranger", sub_app())])),
    "a folder of files": with_files,
    "a frontend": as_frontend,
    "a router of the default class": lambda app, _: app.include_router(router(), prefix="/stranger"),
    "a router inside one of ours": lambda app, _: app.include_router(nested(), prefix="/stranger"),
    "a door that is not in the table": lambda app, _: app.add_api_route("/stranger/inner", plain, name="stranger"),
    "a route of Starlette": lambda app, _: app.router.routes.append(Route("/stranger/inner", plain, name="health")),
    "a host": lambda app, _: app.host("testserver", Starlette(routes=[Route("/stranger/inner", plain)])),
}


@pytest.mark.fault(85)
@pytest.mark.parametrize("what", STRANGERS)
def test_what_is_no_door_is_closed_to_everybody(api: given.Api, tmp_path: Path, what: str) -> None:
    app: FastAPI = api.client.app  # type: ignore[assignment]  # a FastAPI behind an ASGI type
    known, path = len(app.router.routes), "/stranger/deep/inner" if "one of ours" in what else "/stranger/inner"
    entered.clear()
    STRANGERS[what](app, tmp_path)

    def answers() -> set[int]:
        knocks = [(method, who) for method in METHODS for who in WHO]
        return {api.client.request(method, path, headers=as_whom(api, who)).status_code for method, who in knocks}

    last = answers()
    app.router.routes[:] = app.router.routes[known:] + app.router.routes[:known]
    first = answers()

    assert entered == []
    assert last | first <= {403, 404, 405}
    assert (403 in last & first) == (what != "a frontend")  # nothing of ours knows of it: it is not there at all

    tear_down_walls(app)
    answers()
    assert (entered != []) == (what not in ("a door that is not in the table", "a folder of files", "a frontend"))
    assert what != "a folder of files" or api.client.get(path).text == "inside"


def tear_down_walls(app: FastAPI) -> None:
    """So that a test shows that it is them who keep everybody out."""
    app.user_middleware = [one for one in app.user_middleware if getattr(one.cls, "__name__", "") != Walls.__name__]
    app.middleware_stack = None


def test_a_stranger_in_front_of_our_routes_takes_none_of_them_over(api: given.Api) -> None:
    """It hides them, which is seen at once, and is not entered in their place."""
    app: FastAPI = api.client.app  # type: ignore[assignment]  # a FastAPI behind an ASGI type
    entered.clear()

    app.router.routes.insert(0, Route("/health", plain, name="health"))
    app.router.routes.insert(0, Mount("/models", Starlette(routes=[Route("/{rest:path}", plain)])))

    assert api.client.get("/health").status_code == 403
    assert api.client.get("/models/rain", headers=api.token("operator")).status_code == 403
    assert api.client.get("/ready").status_code == 200
    assert entered == []


@pytest.mark.parametrize("who", WHO)
def test_a_websocket_is_never_opened(api: given.Api, who: str) -> None:
    app: FastAPI = api.client.app  # type: ignore[assignment]  # a FastAPI behind an ASGI type
    app.add_api_websocket_route("/talk", talk, name="health")
    app.include_router(_with_socket())
    entered.clear()

    for path in ("/talk", "/router/talk", "/nowhere"):
        with (
            pytest.raises((WebSocketDisconnect, WebSocketDenialResponse)),
            api.client.websocket_connect(path, headers=as_whom(api, who)) as socket,
        ):
            socket.receive_text()

    assert entered == []


def _with_socket() -> APIRouter:
    found = APIRouter(route_class=Door)
    found.add_api_websocket_route("/router/talk", talk, name="health")
    return found


@pytest.mark.parametrize("path", ["/models/rain", "/model/promote", "/runs", "/health", "/docs/favicon-32x32.png"])
def test_a_method_that_a_path_does_not_have_hears_of_all_that_it_has(api: given.Api, path: str) -> None:
    allowed = {
        "/models/rain": "GET, PUT",
        "/model/promote": "GET, POST",
        "/runs": "GET, POST",
        "/health": "GET",
        "/docs/favicon-32x32.png": "GET",
    }[path]

    for method in ("DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "X" * 200):
        answer = api.client.request(method, path, headers=api.token("operator"))
        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed), method


def test_a_slash_too_many_is_another_path_and_sends_nobody_elsewhere(api: given.Api) -> None:
    for path in ("/models/", "/models//rain", "/docs/", "/health/", "/models/rain/versions/"):
        answer = api.client.get(path, follow_redirects=False)
        assert answer.status_code == 404, path


def test_every_right_is_given_by_one_name_and_every_name_to_one_path(api: given.Api) -> None:
    """Two routes of one name would share a right that was written down for one of them."""
    paths = {name: {route.path for route in routes(api) if route.name == name} for name in ROUTES}

    assert {name: found for name, found in paths.items() if len(found) != 1} == {}
