"""`/predictions/{id}`: one prediction as it is on record."""

import asyncio
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from api.door import Door
from api.service import Service, service_of
from understudy.errors import NotFound
from understudy.events import timestamp
from understudy.ports import Records
from understudy.records import Identity, Record, is_sampled, withheld

router = APIRouter(route_class=Door, tags=["predictions"])

YOUNG_MS = 2_000
"""An answer that is younger may not be on record yet, and is worth a moment's patience."""
LOOK_EVERY_S = 0.1
LOOKS = 10
AT_A_TIME = 10_000
"""Values that are encoded at a time: encoding lets no other thread do anything, and a record may have millions."""

RECORD: dict[str, Any] = {
    "type": "object",
    "properties": {
        "prediction_id": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "model": {"type": "string"},
        "version": {"type": "string"},
        "role": {"type": ["string", "null"], "description": "Who asked; null: without a token"},
        "latency_ms": {"type": "number"},
        "inputs": {
            "type": "object",
            "description": "Columns in the order of the signature, each with one value a row",
            "additionalProperties": {"type": "array"},
        },
        "withheld": {"type": "array", "items": {"type": "string"}, "description": "Columns whose values are withheld"},
        "predictions": {"type": "array"},
        "probabilities": {"type": ["array", "null"], "items": {"type": "array", "items": {"type": "number"}}},
        "classes": {"type": ["array", "null"]},
    },
}
"""What `written` makes, for the published schema."""
RECORDED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The prediction, as it was answered",
        "content": {"application/json": {"schema": {**RECORD, "required": list(RECORD["properties"])}}},
    }
}

Id = Annotated[str, Path(max_length=64)]
Row = Annotated[int, Path(ge=0, lt=2**31)]


@router.get("/predictions/{id}", name="prediction", summary="One prediction as it is on record", responses=RECORDED)
async def prediction(id: Id, request: Request) -> Response:
    """Inputs by column in the order of the signature, outputs, model, version, latency, role.

    404 where it is not on record, with what can be known of why: it was not sampled, was trimmed, or was lost in a gap.
    """
    return await recorded(id, request)


@router.get(
    "/predictions/{id}/{row}",
    name="prediction_row",
    summary="One row of a prediction that had many",
    responses=RECORDED,
)
async def prediction_row(id: Id, row: Row, request: Request) -> Response:
    return await recorded(f"{id}/{row}", request)


async def recorded(id: str, request: Request) -> Response:
    service = service_of(request)
    record = await found(service.records, id, share=service.settings.records_sample)
    names = hidden(service, record)
    content = await run_in_threadpool(lambda: written(record.without(names), id))
    return Response(content, media_type="application/json")


def hidden(service: Service, record: Record) -> Collection[str]:
    """Columns that a record has and that are withheld by now: its model's newest definition says so."""
    known = service.journal.state.models.get(record.model)
    definition = {} if known is None or known.definition is None else known.definition
    names = withheld(definition, service.settings.records_withhold)
    is_old = Identity.parse(record.id) is None
    return record.columns if names and is_old else names  # an earlier release stored no names of columns


async def found(records: Records, id: str, *, share: float) -> Record:
    """The record of an id; one that is being written is waited for. Raises NotFound."""
    asked, looks = Identity.parse(id), 0
    while True:
        try:
            return await run_in_threadpool(records.get, id)
        except NotFound as problem:
            if asked is None:
                raise
            if not is_sampled(str(asked).encode(), share):
                raise not_sampled(problem, share) from None
            looks += 1
            if looks == LOOKS or abs(time.time_ns() // 1_000_000 - asked.ms) > YOUNG_MS:
                raise
            await asyncio.sleep(LOOK_EVERY_S)


def not_sampled(problem: NotFound, share: float) -> NotFound:
    return NotFound(problem.problem, remedy=f"It was not sampled: UNDERSTUDY_RECORDS_SAMPLE is {share:g}.")


def written(record: Record, id: str) -> bytes:
    """A record as JSON. `id` is that of a request, or of one of its rows."""
    encode, said = msgspec.json.encode, record.answer
    columns = ((name, [row[i] for row in record.rows]) for i, name in enumerate(record.columns))
    inputs = [encode(name) + b":" + array(values) for name, values in columns]
    fields = {
        "prediction_id": encode(id),
        "time": encode(timestamp(record.time)),
        "model": encode(record.model),
        "version": encode(record.version),
        "role": encode(record.role),
        "latency_ms": encode(round(record.latency_s * 1e3, 4)),
        "inputs": b"{" + b",".join(inputs) + b"}",
        "withheld": encode(record.withheld),
        "predictions": array(said.predictions),
        "probabilities": b"null" if said.probabilities is None else array(said.probabilities),
        "classes": encode(record.classes),
    }
    return b"{" + b",".join([b'"%b":%b' % (name.encode(), value) for name, value in fields.items()]) + b"}"


def array(values: Sequence[Any]) -> bytes:
    """A JSON array, encoded a part at a time."""
    return b"[" + b",".join(parts(values)) + b"]"


def parts(values: Sequence[Any]) -> Iterator[bytes]:
    for first in range(0, len(values), AT_A_TIME):
        yield msgspec.json.encode(values[first : first + AT_A_TIME])[1:-1]
