"""`/docs` and `/openapi.json`: the page from local files; what it shows, `api/openapi.py` says."""

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, RedirectResponse

from api.door import Door
from api.openapi import document
from api.service import key_of, service_of
from understudy.errors import Forbidden, NotFound, Unauthenticated

router = APIRouter(route_class=Door, include_in_schema=False)

ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}


SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


@router.get("/", name="root")
async def root(request: Request) -> RedirectResponse:
    """Whoever comes without a path wants to look around."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/docs")


@router.get("/docs", name="docs")
async def docs(request: Request) -> HTMLResponse:
    root = request.scope.get("root_path", "")
    page = get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title="Understudy",
        swagger_js_url=f"{root}/docs/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/docs/swagger-ui.css",
        swagger_favicon_url=f"{root}/docs/favicon-32x32.png",
        swagger_ui_parameters={"validatorUrl": None, "docExpansion": "list"},
    )
    page.headers["Content-Security-Policy"] = policy(bytes(page.body))
    return page


def policy(page: bytes) -> str:
    """Let run what the page was written with, by its digest, and nothing that a name or a description brings along."""
    digests = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in SCRIPT.findall(page)]
    ours = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'self'; script-src 'self' {ours}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@router.get("/docs/{name}", name="docs_asset")
async def docs_asset(name: str) -> Response:
    if name not in ASSETS:
        raise NotFound("There is no such file.", remedy="See /docs.")
    return Response(asset(name), media_type=ASSETS[name], headers={"Cache-Control": "max-age=86400"})


@cache
def asset(name: str) -> bytes:
    """One of three files, kept: 1.9 MB that would otherwise be read for each visit."""
    return (resources.files("fastapi_swagger.resources") / name).read_bytes()


@router.get("/openapi.json", name="openapi")
def openapi(request: Request) -> dict[str, Any]:
    """The schema with what the champions expect at this moment, for who may read of them."""
    service = service_of(request)
    table = service.table
    serving = {name: table.get(name) for name in table.versions()} if may_read(request) else {}
    keys = {name: key_of(service.journal, name) for name in serving}
    return document(request.app, serving, service.settings.default_model, keys)


def may_read(request: Request) -> bool:
    """Names, columns and typical values of models are for those to whom `GET /current_model` tells them too."""
    try:
        service_of(request).access.role("current_model", request.headers.get("authorization"))
    except (Forbidden, Unauthenticated):
        return False
    return True
