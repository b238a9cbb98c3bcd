"""`/docs` and `/openapi.json`: the page from local files, the schema of `/predict` from the champion."""

import base64
import hashlib
import json
import re
from functools import cache
from importlib import resources
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from starlette.responses import HTMLResponse, RedirectResponse

from api.door import Door
from api.identity import Identities
from api.service import service_of
from api.serving import Served
from understudy.errors import NotFound
from understudy.rows import request_schema, response_schema

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
    """The schema with what the champions expect at this moment."""
    service = service_of(request)
    schema = dict(base_schema(request.app))
    paths = dict(schema["paths"])
    base = paths["/predict"]["post"]
    default = service.settings.default_model
    if service.table.versions():
        del paths["/models/{model}/predict"]  # the models' own entries say it better
    for name in service.table.versions():
        described = operation(base, service.table.get(name))
        paths[f"/models/{name}/predict"] = {"post": {**described, "operationId": f"predict_{name}"}}
        if name == default:
            paths["/predict"] = {"post": {**described, "summary": f"Predict with the default model, {name}"}}
    return {**schema, "paths": paths}


def operation(base: dict[str, Any], served: Served) -> dict[str, Any]:
    """One predict route in the words of one version, with its own answer to its own example."""
    signature = served.runtime.signature
    schema = response_schema(signature)
    example = served.runtime.predict([[column.example for column in signature.columns]])
    identities = Identities()
    schema["example"] = json.loads(served.wording.many(example, identities.of(*identities.take(1))))
    answer = {"description": "Predictions, row by row", "content": {"application/json": {"schema": schema}}}
    return {
        **base,
        "summary": f"Predict with {served.model}",
        "requestBody": {"required": True, "content": {"application/json": {"schema": request_schema(signature)}}},
        "responses": {**base["responses"], "200": answer},
    }


def base_schema(app: FastAPI) -> dict[str, Any]:
    """Everything but the champions, made once."""
    if app.openapi_schema is None:
        app.openapi_schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        secure(app.openapi_schema)
    return app.openapi_schema


def secure(schema: dict[str, Any]) -> None:
    """Let the page send a token."""
    schema.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    schema["security"] = [{}, {"token": []}]
