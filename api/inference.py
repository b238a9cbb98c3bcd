"""`/v2`: the Open Inference Protocol, for clients that speak it already.

Only champions are loaded: a version may be named, and another one than the champion is refused. A failing answer is the
problem that all routes answer, with the member `error` that the protocol asks for; see `api/errors.py`.
"""

from typing import Any

from fastapi import APIRouter, Request, Response

from api.door import Door
from api.foreign import foreign
from api.service import Service, service_of
from api.serving import Served
from understudy import __version__, open_inference
from understudy.errors import BadInput, Conflict
from understudy.foreign_rows import checked

router = APIRouter(route_class=Door, prefix="/v2", tags=["open inference protocol"])

HEADER_LENGTH = "inference-header-content-length"

TENSOR: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}},
        "datatype": {"type": "string"},
        "data": {"type": "array"},
    },
    "required": ["name", "shape", "datatype", "data"],
}
BODY: dict[str, Any] = {
    "responses": {
        "200": {
            "description": "Outputs; as bytes behind the JSON where they were asked for so",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            "model_name": {"type": "string"},
                            "model_version": {"type": "string"},
                            "id": {"type": "string"},
                            "outputs": {"type": "array", "items": TENSOR},
                            "parameters": {"type": "object", "properties": {"prediction_id": {"type": "string"}}},
                        },
                        "required": ["model_name", "model_version", "outputs"],
                    }
                },
                "application/octet-stream": {},
            },
        }
    },
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string", "maxLength": open_inference.LONGEST_ID},
                        "inputs": {
                            "type": "array",
                            "minItems": 1,
                            "items": TENSOR,
                        },
                    },
                    "required": ["inputs"],
                }
            }
        },
    },
}
"""What the published schema says of a request; what a model takes, `GET /v2/models/{model}` says."""


@router.get("/health/live", response_class=Response, name="v2_live", summary="Does the process answer? (V2)")
async def live() -> Response:
    """200, without a body."""
    return Response()


@router.get(
    "/health/ready",
    response_class=Response,
    name="v2_ready",
    summary="Is it fit to answer predictions? (V2)",
    responses={503: {"description": "It is not"}},
)
async def ready(request: Request) -> Response:
    """200 where `GET /ready` says so, else 503; without a body."""
    return Response(status_code=200 if service_of(request).health.reason() is None else 503)


@router.get("", name="v2_server", summary="The server and its extensions (V2)")
async def server() -> dict[str, Any]:
    """Name, version, and the extensions of the protocol that are spoken."""
    return {"name": "understudy", "version": __version__, "extensions": ["binary_tensor_data"]}


@router.get("/models/{model}", name="v2_model", summary="Inputs and outputs of a model (V2)")
async def model_metadata(model: str, request: Request) -> dict[str, Any]:
    """Derived from the signature of the champion."""
    return described(service_of(request).serving(model))


@router.get("/models/{model}/versions/{version}", name="v2_version", summary="Inputs and outputs of a version (V2)")
async def version_metadata(model: str, version: str, request: Request) -> dict[str, Any]:
    """As above, where the version is the champion."""
    return described(champion(service_of(request), model, version))


@router.get(
    "/models/{model}/ready", response_class=Response, name="v2_model_ready", summary="Does a model answer? (V2)"
)
async def model_ready(model: str, request: Request) -> Response:
    """200 where a champion answers, without a body."""
    service_of(request).serving(model)
    return Response()


@router.get(
    "/models/{model}/versions/{version}/ready",
    response_class=Response,
    name="v2_version_ready",
    summary="Does a version answer? (V2)",
)
async def version_ready(model: str, version: str, request: Request) -> Response:
    """200 where the version is the champion and answers, without a body."""
    champion(service_of(request), model, version)
    return Response()


@router.post("/models/{model}/infer", name="v2_infer", summary="Predict with a named model (V2)", openapi_extra=BODY)
async def infer(model: str, request: Request) -> Response:
    """Tensors as JSON, or as bytes behind it; one row a prediction."""
    return await inferred(request, model, None)


@router.post(
    "/models/{model}/versions/{version}/infer",
    name="v2_version_infer",
    summary="Predict with a named version (V2)",
    openapi_extra=BODY,
)
async def infer_version(model: str, version: str, request: Request) -> Response:
    """As above, where the version is the champion."""
    return await inferred(request, model, version)


async def inferred(request: Request, model: str, version: str | None) -> Response:
    async with foreign(request, model) as asking:
        service, served = service_of(request), asking.served
        if version is not None:
            check_version(service, served, version)
        signature, length = served.runtime.signature, header_length(request)
        asked = await asking.apart(open_inference.read, asking.body, length, signature)
        rows = await asking.apart(checked, served.decoder, asked.rows)
        answer, identity = await asking.ask(rows)
        whose = {"model": served.model, "version": served.version, "prediction_id": identity}
        content, length = await asking.apart(open_inference.written, asked, answer, signature, **whose)
    headers = {"Model-Version": served.version}
    if length is None:
        return Response(content, media_type="application/json", headers=headers)
    headers["Inference-Header-Content-Length"] = str(length)
    return Response(content, media_type="application/octet-stream", headers=headers)


def described(served: Served) -> dict[str, Any]:
    runtime = served.runtime
    platform = "onnx_onnxruntime" if runtime.manifest["serves"] == "onnx" else "sklearn"
    return open_inference.metadata(
        runtime.signature, model=served.model, version=served.version, platform=f"understudy_{platform}"
    )


def champion(service: Service, model: str, version: str) -> Served:
    """What answers for a model, where it is this version. Raises as `check_version` does."""
    served = service.serving(model)
    check_version(service, served, version)
    return served


def check_version(service: Service, served: Served, version: str) -> None:
    """Raises NotFound for a version that there is not, Conflict for one that does not serve."""
    if version == served.version:
        return
    service.journal.state.version(served.model, version)
    raise Conflict(
        f"Version {version} of {served.model} does not serve; version {served.version} does.",
        remedy="Ask without a version, or promote this one: only champions are loaded.",
    )


def header_length(request: Request) -> int | None:
    """Bytes of the JSON where binary tensors follow it. Raises BadInput where the header is no number."""
    said = request.headers.get(HEADER_LENGTH)
    if said is None:
        return None
    if not (said.isascii() and said.isdigit() and len(said) <= 10):
        raise BadInput("Inference-Header-Content-Length is no number of bytes.", remedy="Send the length of the JSON.")
    return int(said)
