"""The only place where errors become HTTP: class to status, and one JSON shape for every failing answer (RFC 9457).

An answer never echoes what was sent beyond a short, escaped excerpt: a rejected body may hold NaN or lone surrogates,
which JSON cannot carry, or markup.
"""

import json
import logging
import random
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from understudy import errors
from understudy.errors import UnderstudyError

log = logging.getLogger(__name__)

#: The nearest listed ancestor of a class says its status.
STATUS: Mapping[type[UnderstudyError], int] = {
    errors.BadInput: 422,
    errors.TooLarge: 413,
    errors.Unread: 415,
    errors.BundleRefused: 422,
    errors.NotFound: 404,
    errors.Expired: 410,
    errors.Conflict: 409,
    errors.NotTheChampion: 412,
    errors.Forbidden: 403,
    errors.Unauthenticated: 401,
    errors.NoGround: 409,
    errors.Unavailable: 503,
    errors.TooMany: 429,
    errors.StorageFull: 507,
    errors.LogTampered: 503,
    errors.MissingExtra: 501,
    errors.ModelFailed: 500,
    errors.DeadlinePassed: 504,
    UnderstudyError: 500,
}


REMEDIES: Mapping[int, str] = {
    400: "Send a well-formed request; see /docs.",
    404: "See /docs for the routes that exist.",
    405: "See /docs for the methods that this route has.",
    413: "Send less at a time.",
    415: "Send application/json in UTF-8.",
    422: "Compare the body with the schema at /docs.",
}

LONGEST_DETAIL = 600
MOST_BYTES = 1100
"""Of a sentence on its way: a column may have a name in any script, or of signs that are escaped."""
PLAIN_WORD = re.compile(r"[A-Za-z0-9_-]{1,40}")
MOST_ERRORS = 10


def status_of(error: UnderstudyError) -> int:
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(
    scope: Scope, status: int, code: str, detail: str, remedy: str, headers: Mapping[str, str] | None = None
) -> Response:
    """One failing answer."""
    body = {
        "type": f"urn:understudy:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": plain(detail),
        "remedy": plain(remedy),
        "code": code,
        "request_id": scope.get("request_id"),
    }
    if scope.get("path", "").startswith("/v2"):  # what clients of the Open Inference Protocol read
        body["error"] = plain(f"{detail} {remedy}")
    return Response(
        inert(json.dumps(body, ensure_ascii=False)), status, dict(headers or {}), "application/problem+json"
    )


def inert(text: str) -> str:
    """The same JSON without a character of markup: a message may hold an excerpt of what was sent."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def plain(text: str) -> str:
    """Cut to a length that a person reads, without what JSON or a terminal could choke on."""
    safe = text.encode("utf-8", "replace").decode()
    safe = "".join(char if char.isprintable() else " " for char in safe)
    cut = safe[:LONGEST_DETAIL]
    while len(inert(json.dumps(cut, ensure_ascii=False)).encode()) > MOST_BYTES:
        cut = cut[: len(cut) * 3 // 4]
    return cut if cut == safe else cut[:-1] + "…"


def answer(scope: Scope, error: UnderstudyError) -> Response:
    status = status_of(error)
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503):
        headers["Retry-After"] = str(retry_after_s())
    return problem(scope, status, error.code, error.problem, error.remedy, headers)


def retry_after_s() -> int:
    """Whole seconds; not the same for all who are refused at once, or they would all be back at once."""
    return random.randint(1, 3)


async def on_ours(request: Request, error: Exception) -> Response:
    return answer_any(request.scope, error)


def answer_any(scope: Scope, error: Exception) -> Response:
    """The answer to whatever a route has raised; what is our own fault is told to the log."""
    if not isinstance(error, UnderstudyError):
        log.error("a request failed unexpectedly", exc_info=error, extra={"action": "bug", **named(scope)})
        return problem(
            scope,
            500,
            "bug",
            "Something went wrong that should not have.",
            "Report it with this request_id; the log has the details.",
        )
    if status_of(error) >= 500 and not isinstance(error, QUIET):
        log.warning("%s", error, extra={"action": "request_failed", "code": error.code, **named(scope)})
    return answer(scope, error)


def named(scope: Scope) -> dict[str, Any]:
    """By what the log lets a request be found again that somebody reports."""
    return {"request_id": scope.get("request_id"), "path": plain(scope.get("path", ""))}


QUIET = (errors.NothingServes, errors.Overloaded, errors.ModelUnhealthy, errors.DeadlinePassed)
"""Many of these come at once, and a counter tells how many."""


async def on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return on_status(request.scope, error.status_code, detail=str(error.detail), headers=error.headers)


def on_status(
    scope: Scope, status: int, *, detail: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer where there is no error of ours, but a status."""
    phrase = HTTPStatus(status).phrase
    code = phrase.lower().replace(" ", "_")
    return problem(scope, status, code, detail or phrase, REMEDIES.get(status, "See /docs."), headers)


async def on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    status = 400 if any(one["type"] == "json_invalid" for one in found) else 422
    of_body = any(one["loc"][:1] in ((), ("body",)) for one in found)
    remedy = REMEDIES[status] if of_body else "See /docs for what this route takes."
    return problem(request.scope, status, "bad_input", "; ".join(map(described, found[:MOST_ERRORS])), remedy)


def described(error: Mapping[str, Any]) -> str:
    """Where and what, without the value. The name of a key may have been sent too: only a plain word is shown."""
    where = ".".join(str(part) if PLAIN_WORD.fullmatch(str(part)) else "…" for part in error["loc"])
    return f"{where}: {error['msg']}"


async def on_bug(request: Request, error: Exception) -> Response:
    return answer_any(request.scope, error)


async def on_gone(request: Request, error: Exception) -> Response:
    """The client left, or was let go, in the middle of its body: nobody reads this answer, and nothing went wrong."""
    return on_status(request.scope, 400)


def install(app: FastAPI) -> None:
    """Give every failing answer of `app` the one shape."""
    app.add_exception_handler(UnderstudyError, on_ours)
    app.add_exception_handler(ClientDisconnect, on_gone)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(Exception, on_bug)
