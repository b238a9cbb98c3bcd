"""`POST /feedback`: labels for recorded predictions."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from api.door import Door
from api.errors import problem, status_of
from api.front import check_form
from api.recorded import LOOK_EVERY_S, LOOKS, YOUNG_MS, not_sampled
from api.service import Service, service_of
from understudy.errors import BadInput, Forbidden, NotFound, TooLarge, UnderstudyError
from understudy.events import Role
from understudy.labels import (
    MODEL_SOURCE,
    Answered,
    Given,
    Outcome,
    Place,
    not_on_record,
    place_of,
    request_of,
    written,
)
from understudy.records import Identity, is_sampled
from understudy.row_keys import text_of

router = APIRouter(route_class=Door, tags=["labels"])

MOST_ITEMS = 10_000
SOURCE = "feedback"
"""Who is taken for the source of a label that names none."""
AT_A_TIME = 2_000
KEY_WAIT_S = 0.6
"""Of a key nobody knows how old its prediction is; half a second after its answer it is on record."""
OUTCOMES: Sequence[Outcome] = ("accepted", "known", "changed", "late")


LABEL: dict[str, Any] = {
    "type": "object",
    "properties": {
        "prediction_id": {"type": "string", "description": "`ID/i`; `ID` of a prediction that had one row"},
        "key": {
            "type": ["string", "integer"],
            "description": "Instead of it, with `model`: as it was sent with the row",
        },
        "model": {"type": "string"},
        "label": {"type": ["string", "number", "boolean"]},
        "source": {"type": "string", "maxLength": 60, "default": SOURCE},
    },
    "required": ["label"],
    "additionalProperties": False,
}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"anyOf": [{"type": "array", "items": LABEL, "maxItems": MOST_ITEMS}, LABEL]},
            }
        },
    }
}
"""What the published schema says of a request."""


class Item(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One label, and which row it is for."""

    label: Any
    prediction_id: str | None = None
    key: str | int | None = None
    model: str | None = None
    source: str = SOURCE


PARTS, ITEM = msgspec.json.Decoder(list[msgspec.Raw]), msgspec.json.Decoder(Item)


@dataclass
class Batch:
    """The items of one request, by their place in it, and what became of each."""

    items: dict[int, Item]
    refused: dict[int, UnderstudyError] = field(default_factory=dict)
    outcomes: dict[int, Outcome] = field(default_factory=dict)


@router.post("/feedback", name="feedback", summary="Labels for recorded predictions", openapi_extra=BODY)
async def feedback(request: Request) -> Response:
    """One label or a list of up to 10,000; each is taken or refused by itself.

    `accepted`: new. `known`: the same again. `changed`: another one than the row had; it counts from now on. `late`:
    the row is judged already; the label is kept, and nothing is judged by it. What the model's own source has said
    counts before all others.
    """
    service = service_of(request)
    check_form(dict(request.headers.raw))
    body = await request.body()
    batch = await run_in_threadpool(read, body)
    service.admission.labels.take(len(batch.items) + len(batch.refused))
    return await run_in_threadpool(taken, request, service, batch)


def taken(request: Request, service: Service, batch: Batch) -> Response:
    """Find the records of a batch, and store its labels. For a thread.

    Some at a time: what is made for them is gone before the next, or the collector of cycles would look at the whole
    heap, while nobody is answered.
    """
    reserve(batch, request.state.role)
    began_s, numbers = time.monotonic(), list(batch.items)
    for start in range(0, len(numbers), AT_A_TIME):
        some = {i: batch.items[i] for i in numbers[start : start + AT_A_TIME]}
        store(service, batch, located(service, batch, some, began_s))
    return answered(request, batch)


def read(body: bytes) -> Batch:
    """Raises BadInput where it is no JSON, TooLarge for too many items; one that is none is refused alone."""
    try:
        listed = body.lstrip()[:1] == b"["
        parts = PARTS.decode(body) if listed else [msgspec.Raw(body)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadInput(
            "The body is no JSON in UTF-8.", remedy='Send [{"prediction_id": "…", "label": …}, …].'
        ) from None
    if len(parts) > MOST_ITEMS:
        raise TooLarge(f"These are {len(parts)} labels; at most {MOST_ITEMS} are taken at once.", remedy="Send fewer.")
    return one_by_one(parts)


def one_by_one(parts: Iterable[msgspec.Raw]) -> Batch:
    batch = Batch({})
    for i, part in enumerate(parts):
        try:
            batch.items[i] = checked(ITEM.decode(part))
        except BadInput as refusal:
            batch.refused[i] = refusal
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            batch.refused[i] = no_item()
    return batch


def checked(item: Item) -> Item:
    by_key = item.key is not None
    if by_key == (item.prediction_id is not None) or (by_key and item.model is None):
        raise no_item()
    if not (0 < len(item.source) <= 60 and item.source.isprintable() and item.source.isascii()):
        raise BadInput("`source` is no name.", remedy="Use up to 60 plain characters.")
    return item


def reserve(batch: Batch, role: Role | None) -> None:
    """Refuse what comes under the name of the model's source from anybody but the scheduler, who has asked it."""
    named = [i for i, item in batch.items.items() if item.source == MODEL_SOURCE and role != "scheduler"]
    for i in named:
        del batch.items[i]
        batch.refused[i] = Forbidden(
            f"Labels of `{MODEL_SOURCE}` are those that the scheduler finds in the model's source.",
            remedy="Say in `source` who tells this one, or leave it out.",
        )


def no_item() -> BadInput:
    return BadInput(
        "This is no label.",
        remedy='Send {"prediction_id": "ID/i", "label": …}, or {"key": …, "model": "…", "label": …}; "source" may be '
        "added.",
    )


def located(
    service: Service, batch: Batch, items: Mapping[int, Item], began_s: float
) -> dict[int, tuple[Identity, Answered]]:
    """What is on record of each item that has a record; the others are refused."""
    asked = identities(batch, items, keyed(service, items, began_s))
    requests = {i: request_of(one) for i, one in asked.items()}
    found = service.labels.find(requests.values())
    now_ms = time.time_ns() // 1_000_000
    while time.monotonic() - began_s < LOOKS * LOOK_EVERY_S:
        young = [one for one in requests.values() if one not in found and abs(now_ms - one[1]) < YOUNG_MS]
        if not young:
            break
        time.sleep(LOOK_EVERY_S)
        found |= service.labels.find(young)
    known = {}
    for i, one in asked.items():
        if (about := found.get(requests[i])) is None:
            batch.refused[i] = not_found(service, one, now_ms)
        else:
            known[i] = one, about
    return known


def identities(batch: Batch, items: Mapping[int, Item], by_key: Mapping[tuple[str, str], Place]) -> dict[int, Identity]:
    """Which request each item names."""
    found = {}
    for i, item in items.items():
        try:
            found[i] = identity_of(item, by_key)
        except NotFound as refusal:
            batch.refused[i] = refusal
    return found


def keyed(service: Service, items: Mapping[int, Item], began_s: float) -> dict[tuple[str, str], Place]:
    """Model and key -> the newest row that it names. One that names none is waited for: it may be a moment old."""
    missing = {(item.model, text_of(item.key)) for item in items.values() if item.key is not None and item.model}
    found: dict[tuple[str, str], Place] = {}
    while missing:
        for model in {model for model, _ in missing}:
            some = service.labels.by_key(model, {key for one, key in missing if one == model})
            found |= {(model, key): place for key, place in some.items()}
        missing -= found.keys()
        if time.monotonic() - began_s > KEY_WAIT_S:
            break
        if missing:
            time.sleep(LOOK_EVERY_S)
    return found


def identity_of(item: Item, by_key: Mapping[tuple[str, str], Place]) -> Identity:
    if item.key is not None:
        place = by_key.get((item.model or "", text_of(item.key)))
        if place is None:
            raise NotFound("No prediction of this model was asked for under that key.", remedy="Send it with the row.")
        return Identity(place.ms, place.number, place.process, place.row)
    asked = Identity.parse(item.prediction_id or "")
    if asked is None:
        raise NotFound("No prediction with that id is on record.", remedy="Use the `prediction_id` of an answer.")
    return asked


def not_found(service: Service, asked: Identity, now_ms: int) -> UnderstudyError:
    settings = service.settings
    oldest_ms = now_ms - int(settings.records_days * 86_400_000)
    why = not_on_record(asked, now_ms=now_ms, oldest_ms=oldest_ms)
    is_kept = is_sampled(str(asked).encode(), settings.records_sample)
    return not_sampled(why, settings.records_sample) if type(why) is NotFound and not is_kept else why


def store(service: Service, batch: Batch, places: dict[int, tuple[Identity, Answered]]) -> None:
    given: dict[int, Given] = {}
    for i, (asked, known) in places.items():
        item = batch.items[i]
        try:
            place = place_of(asked, known, item.model)
            given[i] = Given(known.model, place, item.source, written(item.label, known.classes))
        except UnderstudyError as refusal:
            batch.refused[i] = refusal
    now_ms = time.time_ns() // 1_000_000
    for i, outcome in zip(given, service.labels.add(list(given.values()), now_ms=now_ms), strict=True):
        if isinstance(outcome, UnderstudyError):
            batch.refused[i] = outcome
        else:
            batch.outcomes[i] = outcome


def answered(request: Request, batch: Batch) -> Response:
    """200 where anything was taken, or nothing was sent; else the first refusal, with all of them beside it."""
    said = list(batch.outcomes.values())
    counts: dict[str, Any] = {outcome: said.count(outcome) for outcome in OUTCOMES}
    counts["refused"] = [refusal(i, batch.refused[i]) for i in sorted(batch.refused)]
    if batch.outcomes or not batch.refused:
        return Response(msgspec.json.encode(counts), media_type="application/json")
    first = batch.refused[min(batch.refused)]
    plain = problem(request.scope, status_of(first), first.code, first.problem, first.remedy)
    body = msgspec.json.decode(plain.body) | counts
    return Response(msgspec.json.encode(body), plain.status_code, media_type="application/problem+json")


def refusal(index: int, error: UnderstudyError) -> dict[str, Any]:
    return {
        "index": index,
        "status": status_of(error),
        "code": error.code,
        "detail": error.problem,
        "remedy": error.remedy,
    }
