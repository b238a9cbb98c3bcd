"""The plain path of a prediction: an ASGI function in front of the application, correct by itself on any server.

Routing, validation and middleware of the framework cost five times what a model costs. So the two predict routes are
answered here, by the same rules that the application has for everything: known Host, a token where one is needed, a
length, a form. What is unusual goes to the application, which has documented routes for it.
"""

import re

from fastapi import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access import Access
from api.admission import Turnstile
from api.answering import DEADLINE_S, SMALL, Answering
from api.errors import answer_any
from api.guard import CAREFUL, Guard, most, new_request_id, too_large
from api.serving import Served, ServingTable
from understudy.errors import BadInput, Unread
from understudy.events import Role

MODEL = re.compile(r"/models/([^/]+)/predict")
DEADLINE_MS = re.compile(rb"[0-9]{1,6}")
LONGEST_DEADLINE_S = 60.0

JSON = (b"content-type", b"application/json")
ARROW = b"application/vnd.apache.arrow.stream"
"""A body in this form is read by the application's route."""


class Gone(Exception):
    """The client went away in the middle of its body."""


class Front:
    """Answers predictions itself and hands everything else to the application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        guard: Guard,
        access: Access,
        answering: Answering,
        table: ServingTable,
        large_bodies: Turnstile,
        default_model: str,
    ) -> None:
        self._app, self._guard, self._access, self.table = app, guard, access, table
        self.is_open = access.is_open("predict")
        self._answering, self._default_model, self._large_bodies = answering, default_model, large_bodies
        self.at_once, self.refused, self.is_known = answering.at_once, answering.refused, guard.is_known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and (model := self._model_at(scope["path"])):
            headers = dict(scope["headers"])
            kind = headers.get(b"content-type", JSON[1])
            if b"origin" not in headers and (kind == JSON[1] or not kind.lower().startswith(ARROW)):
                await self._predict(model, headers, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _model_at(self, path: str) -> str | None:
        """The model whose predictions are asked for there."""
        if path == "/predict":
            return self._default_model
        found = MODEL.fullmatch(path)
        return found[1] if found else None

    async def _predict(
        self, model: str, headers: dict[bytes, bytes], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer one prediction."""
        try:
            self._guard.check(scope)
            authorization = headers.get(b"authorization")
            role = None if self.is_open and authorization is None else self.role_of(authorization)
            check_form(headers)
            deadline_s = deadline_of(headers)
            if may_be_large(headers):
                async with self._large_bodies.passed():
                    body = await read(receive, most(scope["path"]))
                    content, identity, served = await self._answering.answer(model, body, role, deadline_s)
            else:
                body = await read(receive, most(scope["path"]))
                content, identity, served = await self._answering.answer(model, body, role, deadline_s)
        except Gone:
            return
        except Exception as error:  # noqa: BLE001 - all of them become an answer
            await refuse(scope, receive, send, error)
        else:
            await send({"type": "http.response.start", "status": 200, "headers": headers_of(served, content, identity)})
            await send({"type": "http.response.body", "body": content})

    def role_of(self, authorization: bytes | None) -> Role | None:
        """Raises Unauthenticated or Forbidden."""
        return self._access.role("predict", None if authorization is None else authorization.decode("latin-1"))


def headers_of(served: Served, content: bytes, identity: bytes) -> list[tuple[bytes, bytes]]:
    return [
        served.named,
        (b"content-length", b"%d" % len(content)),
        JSON,
        (b"x-request-id", identity),
        *CAREFUL,
    ]


async def refuse(scope: Scope, receive: Receive, send: Send, error: Exception) -> None:
    scope["request_id"] = identity = new_request_id()
    response = marked_response(answer_any(scope, error), identity)
    await response(scope, receive, send)


def marked_response(response: Response, identity: str) -> Response:
    """With what every answer carries."""
    response.raw_headers += [(b"x-request-id", identity.encode()), *CAREFUL]
    return response


async def read(receive: Receive, limit: int) -> bytes:
    """The whole body. Raises TooLarge, and Gone where the client is."""
    parts: list[bytes] = []
    left = limit
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        parts.append(message.get("body", b""))
        left -= len(parts[-1])
        if left < 0:
            raise too_large(limit)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def may_be_large(headers: dict[bytes, bytes]) -> bool:
    """Whether a body takes a place among those of which memory holds only so many at a time."""
    length = headers.get(b"content-length", b"")
    return not length.isdigit() or int(length) > SMALL


def check_form(headers: dict[bytes, bytes]) -> None:
    """Refuse what would be read wrongly: another charset, or a compressed body taken for text."""
    if headers.get(b"content-type") == JSON[1] and b"content-encoding" not in headers:
        return
    encoding = headers.get(b"content-encoding", b"identity").lower()
    _, _, charset = headers.get(b"content-type", JSON[1]).lower().partition(b"charset=")
    if encoding != b"identity" or charset.strip(b'" ') not in (b"", b"utf-8", b"utf8"):
        raise Unread("This form of body is not read here.", remedy="Send plain JSON in UTF-8.")


def deadline_of(headers: dict[bytes, bytes]) -> float:
    """Seconds that the client is ready to wait, from now on. Raises BadInput."""
    said = headers.get(b"x-request-deadline-ms")
    if said is None:
        return DEADLINE_S
    if not DEADLINE_MS.fullmatch(said):
        raise BadInput("X-Request-Deadline-Ms is no number of milliseconds.", remedy="Send digits, at most six.")
    return min(int(said) / 1000, LONGEST_DEADLINE_S)
