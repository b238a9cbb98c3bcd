"""`/events`: the log, page by page, oldest first; with it anybody can check the chain."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from api.door import Door
from api.service import service_of
from understudy.events import Recorded, fields_of, timestamp

router = APIRouter(route_class=Door, tags=["events"])


@router.get("/events", name="events", summary="What has been decided, in order")
def events(
    request: Request,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """Events with a position above `after`. `next` is what to pass as `after` for more."""
    journal = service_of(request).journal
    found = journal.read(after=after, limit=limit) if after < journal.newest().position else []
    return {"items": [shown(entry) for entry in found], "next": found[-1].position if found else after}


def shown(entry: Recorded) -> dict[str, Any]:
    return {
        "position": entry.position,
        "time": timestamp(entry.time),
        "kind": entry.event.kind,
        "schema": entry.event.schema,
        "model": entry.event.model,
        "data": fields_of(entry.event),
        "hash": entry.hash,
    }
