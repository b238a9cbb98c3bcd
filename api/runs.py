"""The run registry and the claim protocol."""

import asyncio
import time
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api import shown
from api.door import Door
from api.models import After, Limit, whole_verdict
from api.promoting import new_key
from api.schemas import KEY, Claim, Finish, Held, RunWish, Train
from api.service import Service, role_of, service_of
from understudy import promotion
from understudy.errors import BadInput, Conflict
from understudy.events import moment
from understudy.redaction import redacted, without_secrets
from understudy.runs import Wish, check_dates
from understudy.state import Registry, Run, Version

router = APIRouter(route_class=Door, tags=["runs"])

LOOK_EVERY_S = 0.2
"""How often a waiting claim looks at the state in memory."""


@router.post("/job/train", name="train", status_code=202, summary="Train now")
def train(
    body: Train, request: Request, idempotency_key: Annotated[str | None, Header(pattern=KEY)] = None
) -> dict[str, Any]:
    """The run is queued; follow it at `/runs/{run_id}`."""
    service, as_of = service_of(request), travelled(body)
    check_dates(body.start_date, body.end_date, as_of)
    if as_of is not None and moment(as_of) > service.journal.wall_clock():
        raise BadInput("`as_of` lies in the future.", remedy="Leave it out for what has arrived by now.")
    params = body.params
    if body.like is not None:
        like = service.journal.newest().run(body.like)
        if like.model != body.model_name:
            raise BadInput(f"Run {like.id} is one of {like.model}.", remedy="Name a run of the same model.")
        params = {**like.params, **(params or {})}
    wish = Wish(
        model=body.model_name,
        job="train",
        slot=f"by-hand/{idempotency_key or new_key()}",
        by=role_of(request),
        as_of=as_of,
        params=params,
        start_date=body.start_date,
        end_date=body.end_date,
        like=body.like,
    )
    run, _ = service.work.request(wish)
    assert run is not None  # what is asked for by hand is never skipped
    if (run.params, run.start_date, run.end_date, run.like) != (
        params or {},
        body.start_date,
        body.end_date,
        body.like,
    ):
        raise Conflict("This Idempotency-Key belongs to another run.", remedy="Use a new key for a new run.")
    return {"run_id": run.id, **shown.run(run)}


def travelled(body: Train) -> str | None:
    """`as_of`, or its older pair of names."""
    if body.time_travel == "true" and body.time_travel_date is None:
        raise BadInput("`time_travel` needs a `time_travel_date`.", remedy="Send `as_of` instead of both.")
    return body.time_travel_date if body.as_of is None and body.time_travel == "true" else body.as_of


@router.post("/runs", name="request_run", summary="Ask for the run of a slot")
def request_run(body: RunWish, request: Request) -> dict[str, Any]:
    """The same model, kind and slot are the same run. A slot that comes due while its model is at work is skipped."""
    wish = Wish(model=body.model, job=body.kind, slot=body.slot, by=role_of(request))
    run, skipped = service_of(request).work.request(wish)
    return {"run": None if run is None else shown.run(run), "skipped": skipped}


@router.post("/runs/claim", name="claim", summary="Take a run; 204 where there is none")
async def claim(body: Claim, request: Request) -> Any:
    """Waits up to `wait_s` for one. The token that is given stands for this attempt alone."""
    service = service_of(request)
    until = time.monotonic() + body.wait_s
    while not await request.is_disconnected():
        run = await run_in_threadpool(partial(service.work.claim, body.claimant, selftest=body.kind == "selftest"))
        if run is not None:
            return await run_in_threadpool(claimed, service, run)
        if time.monotonic() >= until or service.stopping.is_set():
            break
        await changed(service, until)
    return Response(status_code=204)


async def changed(service: Service, until: float) -> None:
    """Return when the state has moved, or at `until`."""
    position = service.journal.state.position
    while service.journal.state.position == position and time.monotonic() < until and not service.stopping.is_set():
        await asyncio.sleep(LOOK_EVERY_S)


def claimed(service: Service, run: Run) -> dict[str, Any]:
    """A run with all that its attempt needs, and how far an earlier attempt has come."""
    state = service.journal.state
    model, champion = state.model(run.model), state.champion(run.model)
    version = None if run.version is None else state.version(run.model, run.version)
    return {
        "run": shown.run(run),
        "token": run.token,
        "model": shown.model(state, model, default=service.settings.default_model),
        "source_digest": source_of(service, run),
        "champion": None if champion is None else {"version": champion.id, "digest": champion.digest},
        "resume": {
            "version": run.version,
            "verdict": None if version is None or awaits_refit(state, version) else whole_verdict(service, version),
            "promoted": promotion.done(model, run.id) is not None,
        },
    }


def awaits_refit(state: Registry, version: Version) -> bool:
    """Whether an attempt ended between a verdict and the refit that follows it: the next one begins anew."""
    model, judgement = state.model(version.model), version.judgement
    policy = (model.definition or {}).get("promotion", {})
    if judgement is None or not (judgement.passed or judgement.shadows) or policy.get("refit") == "off":
        return False
    later = (str(number) for number in range(int(version.id) + 1, model.version_count + 1))
    return version.refit_of is None and all(state.version(model.name, one).refit_of != version.id for one in later)


def source_of(service: Service, run: Run) -> str | None:
    """The definition's source: today's, or that of the run that this one should be like."""
    state = service.journal.state
    if run.like is None:
        return state.model(run.model).source_digest
    like = state.run(run.like)
    return state.model(run.model).source_at(like.ended_by or like.token or state.position)


@router.post("/runs/{run}/heartbeat", name="heartbeat", summary="Keep a claimed run")
def heartbeat(run: str, body: Held, request: Request) -> dict[str, Any]:
    service_of(request).work.heartbeat(run, body.token)
    return {}


@router.post("/runs/{run}/finish", name="finish", summary="End a claimed run")
def finish(run: str, body: Finish, request: Request) -> dict[str, Any]:
    reason, result = redacted(body.reason), without_secrets(body.result)  # a source may have raised its password
    done = service_of(request).work.finish(run, body.token, body.outcome, reason, result)
    return shown.run(done)


@router.get("/runs", name="runs", summary="Runs, newest first, each with the verdict on its version")
def runs(
    request: Request,
    model: Annotated[str | None, Query(max_length=64)] = None,
    limit: Limit = 100,
    after: After = None,
) -> dict[str, Any]:
    service = service_of(request)
    found = [run for run in service.journal.newest().runs.values() if model in (None, run.model)]
    return shown.page(found, after=after, limit=limit, show=lambda run: with_verdict(service, run))


@router.get("/runs/{run}", name="run", summary="One run")
def run(run: str, request: Request) -> dict[str, Any]:
    service = service_of(request)
    return with_verdict(service, service.journal.newest().run(run))


def with_verdict(service: Service, run: Run) -> dict[str, Any]:
    state = service.journal.state
    notes = [note for note in state.model(run.model).attention if note.run == run.id]
    version = None if run.version is None else state.version(run.model, run.version)
    return {
        **shown.run(run),
        "verdict": None if version is None else whole_verdict(service, version),
        "attention": [shown.attention(note) for note in notes],
    }
