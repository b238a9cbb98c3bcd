"""`/models/{m}/labelled`: recorded rows with their labels, in the order in which they were answered."""

import time
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api.door import Door
from api.service import Service, service_of
from understudy.errors import BadInput
from understudy.events import timestamp
from understudy.labels import Labelled, Place
from understudy.maturity import Curve
from understudy.records import moment_of, withheld

router = APIRouter(route_class=Door, tags=["labels"])

MOST = 10_000
WRITTEN_MS = 2_000
"""Rows that are younger may not be on record yet, and would be stepped over for ever."""

After = Annotated[str | None, Query(max_length=64)]


@router.get("/models/{model}/labelled", name="labelled", summary="Recorded rows with their labels, oldest first")
async def labelled(
    model: str,
    request: Request,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 1000,
    labels: Literal["mature", "any"] = "mature",
) -> Response:
    """Rows of closed cohorts with the label that counts; `?labels=any` gives every row, `label` null without one.

    `next` is what to pass as `after` for more; it is `after` where there is nothing new.
    """
    service = service_of(request)
    service.journal.state.model(model)
    start = None if after is None else place_of(after)
    shown = any_rows if labels == "any" else mature_rows
    return Response(await run_in_threadpool(shown, service, model, start, limit), media_type="application/json")


@router.get(
    "/models/{model}/unlabelled",
    name="unlabelled",
    summary="Rows that were asked for under a key and that the source has not labelled",
)
def unlabelled(
    model: str, request: Request, after: After = None, limit: Annotated[int, Query(ge=1, le=MOST)] = 1000
) -> dict[str, Any]:
    """Keys as they were sent, in the order of the answers; `next` as for `/labelled`.

    None where the key column carries a tag of UNDERSTUDY_RECORDS_WITHHOLD.
    """
    service = service_of(request)
    key = (service.journal.state.model(model).definition or {}).get("key")
    start = None if after is None else place_of(after)
    if key in hidden_of(service, model):
        return {"items": [], "next": after}
    found = service.labels.unlabelled(model, after=start, limit=limit)
    items = [{"prediction_id": str(place), "key": msgspec.json.decode(text)} for place, text in found]
    return {"items": items, "next": items[-1]["prediction_id"] if items else after}


def mature_rows(service: Service, model: str, after: Place | None, limit: int) -> bytes:
    standing = service.cohorts.look(model)
    until_ms = -1 if standing.closed_ms is None else standing.closed_ms
    found, last = service.labels.judged(
        model, after=after, until_ms=until_ms, limit=limit, hidden=hidden_of(service, model)
    )
    return page(found, last, until_ms, standing.curve)


def any_rows(service: Service, model: str, after: Place | None, limit: int) -> bytes:
    until_ms = time.time_ns() // 1_000_000 - WRITTEN_MS
    found = service.labels.recorded(
        model, after=after, until_ms=until_ms, limit=limit, hidden=hidden_of(service, model)
    )
    closed_ms = service.labels.closed_ms(model)
    return page(found, found[-1].place if found else after, -1 if closed_ms is None else closed_ms, None)


def hidden_of(service: Service, model: str) -> frozenset[str]:
    """Columns that the newest definition withholds, whatever was withheld when they were recorded."""
    return withheld(service.journal.state.model(model).definition or {}, service.settings.records_withhold)


def place_of(cursor: str) -> Place:
    place = Place.parse(cursor)
    if place is None:
        raise BadInput("`after` is no place in the records.", remedy="Pass `next` of the page before.")
    return place


def page(found: list[Labelled], last: Place | None, closed_ms: int, curve: Curve | None) -> bytes:
    return msgspec.json.encode(
        {
            "items": [shown(one) for one in found],
            "next": None if last is None else str(last),
            "closed_until": None if closed_ms < 0 else timestamp(moment_of(closed_ms)),
            "delay": None if curve is None else delay_of(curve),
        }
    )


def shown(one: Labelled) -> dict[str, Any]:
    return {
        "prediction_id": str(one.place),
        "time": timestamp(one.time),
        "version": one.version,
        "inputs": dict(zip(one.columns, one.values, strict=True)),
        "withheld": one.withheld,
        "prediction": one.prediction,
        "probabilities": one.probabilities,
        "label": one.label,
        "labelled_at": None if one.labelled_at is None else timestamp(one.labelled_at),
        "source": one.source,
    }


def delay_of(curve: Curve) -> dict[str, Any]:
    """Seconds within which so many of the labels come."""
    return {"labels": curve.labels} | {f"p{percent}_s": curve.age_ms(percent / 100) / 1000 for percent in (50, 90, 99)}
