"""The documented routes of `/predict`: what the application answers itself where nothing stands in front of it.

The work is done in `api/answering.py`. A server of ours answers most requests before they come here: see
`api/front.py` and `api/fast.py`.
"""

from contextlib import nullcontext

from fastapi import APIRouter, Request, Response

from api import arrow
from api.door import Door
from api.front import check_form, deadline_of, may_be_large
from api.service import Service, service_of

router = APIRouter(route_class=Door, tags=["predictions"])


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
    """Answer one request, of JSON or of Arrow's stream format."""
    if arrow.is_arrow(request):
        return await arrow.predicted(request, model)
    headers = dict(request.headers.raw)
    check_form(headers)
    deadline_s = deadline_of(headers)
    async with service.large_json.passed() if may_be_large(headers) else nullcontext():
        body = await request.body()
        content, _, served = await service.answering.answer(model, body, request.state.role, deadline_s)
    return Response(content, media_type="application/json", headers={"Model-Version": served.version})
