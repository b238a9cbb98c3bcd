"""`/model/promote` and `/model/demote`."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response

from api import shown
from api.door import Door
from api.errors import problem
from api.promoting import new_key
from api.schemas import KEY, Demote, Promote
from api.service import role_of, service_of
from understudy import runs
from understudy.promotion import Wish

router = APIRouter(route_class=Door, tags=["promotion"])

Key = Annotated[str | None, Header(pattern=KEY)]


@router.post("/model/promote", name="promote", summary="Make a version the champion")
def promote(
    body: Promote,
    request: Request,
    response: Response,
    idempotency_key: Key = None,
    if_match: Annotated[str | None, Header(max_length=100)] = None,
) -> dict[str, Any]:
    """Answers once the version serves. The same `Idempotency-Key` gets the same answer and promotes nothing.

    A key under which nothing had to be promoted, since the version served already, is not remembered.
    """
    wish = Wish(
        model=body.model_name,
        version=body.model_version_id,
        key=idempotency_key or new_key(),
        by=role_of(request),
        how="promotion" if body.override is None else "override",
        reason=body.override or "",
        expects=None if if_match in (None, "*") else (if_match or "").strip().removeprefix("W/").strip('"'),
        run=body.run,
        token=body.token,
    )
    service = service_of(request)
    runs.carried(service.journal.catch_up(), wish.model, wish.run, wish.token)  # whoever is late prepares nothing
    done = service.promoter.promote(wish)
    response.headers["ETag"] = f'"{done.version}"'
    return shown.promotion(done, body.model_name)


@router.post("/model/demote", name="demote", summary="Go back to the champion before this one")
def demote(body: Demote, request: Request, response: Response, idempotency_key: Key = None) -> dict[str, Any]:
    """Walks back one champion at a time, as often as there is one."""
    done = service_of(request).promoter.demote(
        body.model_name, key=idempotency_key or new_key(), by=role_of(request), reason=body.reason
    )
    response.headers["ETag"] = f'"{done.version}"'
    return shown.promotion(done, body.model_name)


@router.get("/model/promote", name="promote_get", include_in_schema=False)
@router.get("/model/demote", name="demote_get", include_in_schema=False)
async def not_by_get(request: Request) -> Response:
    """A link must never change what serves; the answer shows the request that does."""
    path = request.scope["path"]
    last = '"model_version_id": "2"' if path.endswith("promote") else '"reason": "WHY"'
    curl = (
        f"curl -X POST -H 'Authorization: Bearer TOKEN' -H 'Content-Type: application/json' "
        f'-d \'{{"model_name": "MODEL", {last}}}\' http://HOST{path}'
    )
    return problem(
        request.scope, 405, "method_not_allowed", "This changes what serves, so it is a POST.", curl, {"Allow": "POST"}
    )
