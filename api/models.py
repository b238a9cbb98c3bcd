"""The model registry: definitions, versions, their trials, evidence and verdicts."""

import base64
import hashlib
import json
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from api import shown
from api.door import Door
from api.schemas import Definition, EvidenceStored, Stored
from api.service import Service, role_of, service_of
from understudy.calm import unrest
from understudy.errors import BadInput, DigestMismatch, NotFound
from understudy.events import LiveCompared, ModelDefined, Role, VerdictReached, moment
from understudy.model import NAME, Promotion, read_tags
from understudy.promotion import barred_versions
from understudy.schedule import Schedule
from understudy.state import Registry, Version

router = APIRouter(route_class=Door, tags=["models"])

Limit = Annotated[int, Query(ge=1, le=1000)]
After = Annotated[int | None, Query(ge=0, lt=2**31)]
MAX_SOURCE = 2**20
"""Bytes of a definition's source."""


@router.get("/models", name="models", summary="All models")
def models(request: Request, limit: Limit = 100, after: After = None) -> dict[str, Any]:
    service = service_of(request)
    state = service.journal.newest()
    found = sorted(state.models.values(), key=lambda model: model.name, reverse=True)
    default = service.settings.default_model
    return shown.page(found, after=after, limit=limit, show=lambda m: shown.model(state, m, default=default))


@router.get("/models/{model}", name="model", summary="One model, and what needs attention")
def model(model: str, request: Request) -> dict[str, Any]:
    service = service_of(request)
    state = service.journal.newest()
    found = state.model(model)
    attention = [shown.attention(note) for note in reversed(found.attention)]
    return {
        **shown.model(state, found, default=service.settings.default_model),
        "attention": attention,
        "unrest": unrest(found, service.journal.now()),
    }


@router.put("/models/{model}", name="define", summary="Record a definition and its policy")
def define(model: str, body: Definition, request: Request) -> dict[str, Any]:
    """Recorded when it differs from what is recorded."""
    service, by = service_of(request), role_of(request)
    check_definition(model, body)
    source = service.store.put(json.dumps(body.source, sort_keys=True, ensure_ascii=False).encode())
    defined = ModelDefined(model=model, definition=body.definition, source_digest=source, by=by)

    def decide(state: Registry, now: object) -> list[ModelDefined]:
        known = state.models.get(model)
        same = known is not None and (known.definition, known.source_digest) == (body.definition, source)
        return [] if same else [defined]

    state = service.journal.decide(decide)
    return shown.model(state, state.model(model), default=service.settings.default_model)


def check_definition(model: str, body: Definition) -> None:
    """Raise BadDefinition or BadInput where the log would record what nobody can judge by."""
    if not NAME.fullmatch(model):
        raise BadInput("This is no name for a model.", remedy=f"Use what {NAME.pattern} matches.")
    if body.definition.get("name") != model:
        raise BadInput("The definition has another name than the route.", remedy="Send it to the model's own route.")
    if sum(len(name) + len(text) for name, text in body.source.items()) > MAX_SOURCE:
        raise BadInput("The source of the definition is larger than 1 MiB.", remedy="Keep data out of the model files.")
    try:
        Promotion.from_json(body.definition["promotion"])  # type: ignore[arg-type]  # it checks what it is given
        Schedule.from_json(body.definition["schedule"])  # type: ignore[arg-type]
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput("The definition lacks its promotion or its schedule.", remedy="Send Model.to_json().") from error
    read_tags(body.definition.get("tags", {}))


@router.get("/models/{model}/versions", name="versions", summary="Versions, newest first")
def versions(model: str, request: Request, limit: Limit = 100, after: After = None) -> dict[str, Any]:
    state = service_of(request).journal.newest()
    count, bars = state.model(model).version_count, barred_versions(state.model(model))
    found = [state.version(model, str(number)) for number in range(1, count + 1)]
    return shown.page(found, after=after, limit=limit, show=lambda version: shown.version(version, bars))


@router.get("/models/{model}/versions/{version}", name="version", summary="One version, with its verdict")
def version(model: str, version: str, request: Request) -> dict[str, Any]:
    service = service_of(request)
    state = service.journal.newest()
    found = state.version(model, version)
    manifest = service.manifests.get(found.digest)
    return {
        **shown.version(found, barred_versions(state.model(model))),
        "verdict": whole_verdict(service, found),
        "signature": manifest["signature"],
        "manifest": manifest,
    }


def whole_verdict(service: Service, version: Version) -> dict[str, Any] | None:
    """The verdict with every gate, read from the log; where labels spoke for the version, how they did."""
    if version.judgement is None:
        return None
    event, summary = service.journal.entry(version.judgement.position).event, shown.version(version)["verdict"]
    if isinstance(event, LiveCompared):
        return {**summary, "rows": event.rows, "standing": event.standing, "comparison": None, "gates": []}
    assert isinstance(event, VerdictReached)
    return {**summary, **shown.verdict(event)}


@router.get("/models/{model}/versions/{version}/artifact", name="artifact", summary="Download a bundle")
def artifact(model: str, version: str, request: Request) -> Response:
    service = service_of(request)
    found = service.journal.newest().version(model, version)
    headers = {
        "Content-Disposition": f'attachment; filename="{model}-{version}.zip"',
        "Content-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(found.digest)).decode()}:",
    }
    return Response(service.store.get(found.digest), media_type="application/zip", headers=headers)


@router.post(
    "/models/{model}/versions",
    name="register",
    status_code=201,
    summary="Register a bundle: its bytes, or a digest in the store",
)
async def register(
    model: str, request: Request, response: Response, content_digest: Annotated[str | None, Header()] = None
) -> dict[str, Any]:
    """The trial is run before the answer. The same bytes are the same version, and answer 200."""
    service, by = service_of(request), role_of(request)
    (await run_in_threadpool(service.journal.newest)).model(model)
    async with service.uploads:
        body = await request.body()
        kind = request.headers.get("content-type", "")
        stored = await run_in_threadpool(store_body, service, model, body, kind, content_digest, by)
    found, new = await run_in_threadpool(
        service.judge.register, model, stored.digest, by, run=stored.run, token=stored.token
    )
    response.status_code = 201 if new else 200
    return shown.version(found, barred_versions(service.journal.state.model(model)))


def store_body(
    service: Service, model: str, body: bytes, content_type: str, content_digest: str | None, by: Role
) -> Stored:
    """A bundle's bytes go to the store; JSON names what is there already."""
    check_content_digest(body, content_digest)
    if not content_type.startswith("application/json"):
        service.judge.admitted(model, body, hashlib.sha256(body).hexdigest(), by)  # what is refused takes no room
        return Stored(digest=service.store.put(body))
    try:
        return Stored.model_validate_json(body)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_input=False, include_url=False)) from None


def check_content_digest(body: bytes, header: str | None) -> None:
    """Raise DigestMismatch where a sha-256 `Content-Digest` (RFC 9530) does not fit the bytes."""
    if header is None or "sha-256=" not in header:
        return
    expected = f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"
    if expected not in header.replace(" ", "").split(","):
        raise DigestMismatch("The bytes are not those of their Content-Digest.", remedy="Send them again.")


@router.post("/models/{model}/versions/{version}/evidence", name="evidence", summary="Judge a version by its evidence")
def evidence(model: str, version: str, body: EvidenceStored, request: Request) -> dict[str, Any]:
    """The verdict is computed here from the stored rows; nothing that claims a result is read."""
    service = service_of(request)
    verdict, position = service.judge.judge(
        model, version, body.evidence, role_of(request), run=body.run, token=body.token
    )
    return {
        "model": model,
        "version": version,
        "passed": verdict.passed,
        "position": position,
        "verdict": verdict.to_json(),
    }


@router.get("/current_model", name="current_model", summary="What serves, or served at a past moment, and why")
def current_model(
    request: Request,
    response: Response,
    model: Annotated[str | None, Query(max_length=64)] = None,
    at: Annotated[str | None, Query(max_length=40, description="RFC 3339, with a zone")] = None,
) -> dict[str, Any]:
    service = service_of(request)
    name = model or service.settings.default_model
    state, then = service.journal.newest(), None if at is None else past(at)
    promotion = state.model(name).promoted_by(then) if name in state.models else None
    if promotion is None:
        raise NotFound(
            f"No version of {name[:64]!a} {'serves yet' if at is None else 'served then'}.",
            remedy="See GET /runs, or promote a version.",
        )
    champion = state.version(name, promotion.version)
    response.headers["ETag"] = f'"{champion.id}"'
    return {
        **shown.promotion(promotion, name),
        "digest": champion.digest,
        "registered_at": shown.version(champion)["registered_at"],
        "signature": service.manifests.get(champion.digest)["signature"],
        **champion.summary,
    }


def past(text: str) -> Any:
    try:
        return moment(text.replace(" ", "+"))  # a `+` of a zone that was not escaped in the URL
    except ValueError:
        raise BadInput(
            "`at` is no RFC 3339 time with a zone.", remedy="Write for example at=2026-01-31T12:00:00Z."
        ) from None
