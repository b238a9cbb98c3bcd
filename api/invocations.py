"""`POST /invocations`: MLflow's scoring protocol, so that its clients move here by changing a URL."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.door import Door
from api.foreign import foreign
from api.service import service_of
from understudy import scoring_forms
from understudy.errors import Unread
from understudy.foreign_rows import checked

router = APIRouter(route_class=Door, tags=["predictions"])

JSON = "application/json"

ROWS = {"type": "array", "minItems": 1}
BODY = {
    "responses": {
        "200": {
            "description": "Predictions, row by row",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "properties": {"predictions": {"type": "array"}},
                        "required": ["predictions"],
                    }
                }
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
                        "dataframe_split": {
                            "type": "object",
                            "properties": {"columns": {"type": "array", "items": {"type": "string"}}, "data": ROWS},
                            "required": ["columns", "data"],
                        },
                        "dataframe_records": {**ROWS, "items": {"type": "object"}},
                        "inputs": {"anyOf": [ROWS, {"type": "object"}]},
                        "instances": ROWS,
                    },
                    "minProperties": 1,
                    "maxProperties": 1,
                }
            }
        },
    },
}


@router.post("/invocations", name="invocations", summary="Predict, asked as MLflow's server is", openapi_extra=BODY)
async def invocations(
    request: Request,
    model: Annotated[str | None, Query(description="A model by name; without it, the default model answers.")] = None,
) -> Response:
    """`dataframe_split`, `dataframe_records`, `inputs` or `instances`; answered with `{"predictions": […]}`."""
    check_json(request)
    service = service_of(request)
    async with foreign(request, model or service.settings.default_model) as asking:
        served = asking.served
        rows = await asking.apart(scoring_forms.read, asking.body, served.signature)
        answer, identity = await asking.ask(await asking.apart(checked, served.decoder, rows))
    headers = {"Model-Version": served.version, "Prediction-Id": identity}
    return Response(scoring_forms.written(answer), media_type="application/json", headers=headers)


def check_json(request: Request) -> None:
    """Raises Unread, also for the CSV that MLflow's server reads too: it says no types, and nothing here guesses."""
    form = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if form == "text/csv":
        raise Unread("CSV says no types.", remedy='Send {"dataframe_split": frame.to_dict(orient="split")} as JSON.')
    if form != JSON:
        raise Unread("The Content-Type is not that of JSON.", remedy=f"Send `Content-Type: {JSON}`, and JSON.")
