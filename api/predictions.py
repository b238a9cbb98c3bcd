"""`/predict`: bytes in, rows, model, bytes out.

The body is read and checked by the champion's own decoder, made from its signature; pydantic and per-request objects
stay away from this path. A request keeps the version that it began with.
"""

import secrets
import time
from datetime import UTC, datetime

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from api.door import Door
from api.service import Service, service_of
from api.serving import Served
from understudy.errors import Unread
from understudy.parity import Answer
from understudy.ports import Prediction
from understudy.rows import Row

router = APIRouter(route_class=Door, tags=["predictions"])

INLINE_ROWS = 256
"""An ONNX model answers so many rows in about a millisecond or two: less than handing them to a thread may cost."""

encode = msgspec.json.Encoder().encode


@router.post("/predict", name="predict", summary="Predict with the default model")
async def predict(request: Request) -> Response:
    """One record, `{"records": […]}` or `{"values": [[…], …]}`; answered by the champion of the default model."""
    service = service_of(request)
    return await answered(service, service.settings.default_model, request)


@router.post("/models/{model}/predict", name="predict_model", summary="Predict with a named model")
async def predict_model(model: str, request: Request) -> Response:
    """As `/predict`, for one model by name."""
    return await answered(service_of(request), model, request)


async def answered(service: Service, model: str, request: Request) -> Response:
    """Answer one request and hand it to the records."""
    started_s = time.perf_counter()
    check_form(request)
    body = await request.body()
    if not service.worker.is_current():
        await service.worker.current(model)
    served = service.serving(model)
    with served.request():
        rows = served.decoder.decode(body)
        answer = await ask(served, rows)
    identity = new_id()
    content = written(served, answer, identity)
    service.recorder.add(
        Prediction(
            identity,
            datetime.now(UTC),
            served.model,
            served.version,
            encode(rows),
            content,
            (time.perf_counter() - started_s) * 1e3,
            request.state.role or "open",
        )
    )
    return Response(content, media_type="application/json", headers={"Model-Version": served.version})


async def ask(served: Served, rows: list[Row]) -> Answer:
    if served.runtime.manifest["serves"] == "onnx" and len(rows) <= INLINE_ROWS:
        return served.runtime.predict(rows)
    return await run_in_threadpool(served.runtime.predict, rows)


def written(served: Served, answer: Answer, identity: str) -> bytes:
    return encode(
        {
            "predictions": answer.predictions,
            "probabilities": answer.probabilities,
            "classes": served.runtime.signature.classes,
            "model": served.model,
            "version": served.version,
            "prediction_id": identity,
        }
    )


def check_form(request: Request) -> None:
    """Refuse what would be read wrongly: another charset, or a compressed body taken for text."""
    encoding = request.headers.get("content-encoding", "identity").lower()
    _, _, charset = request.headers.get("content-type", "application/json").lower().partition("charset=")
    if encoding != "identity" or charset.strip('" ') not in ("", "utf-8", "utf8"):
        raise Unread("This form of body is not read here.", remedy="Send plain JSON in UTF-8.")


def new_id() -> str:
    """Sortable by time to the millisecond, and unguessable."""
    return f"{time.time_ns() // 1_000_000:011x}{secrets.token_hex(6)}"
