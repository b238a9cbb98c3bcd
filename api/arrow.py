"""`/predict` with a body in Arrow's stream format: as many rows as a body of JSON may have, ten times over.

Reading is done in a thread, however little there is: Arrow is imported with the first stream, which takes a tenth
of a second.
"""

from typing import Any

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from api.answering import Rows
from api.foreign import foreign
from api.serving import Served
from understudy.adapters import arrow_rows


def is_arrow(request: Request) -> bool:
    return named(request.headers.get("content-type", ""))


async def predicted(request: Request, model: str) -> Response:
    """Answer one request whose body is a stream; with a stream where the client accepts one, else with JSON."""
    async with foreign(request, model) as asking:
        rows = await run_in_threadpool(read, asking.served, asking.body)
        output, identity = await asking.run(rows)
        wants_arrow = any(map(named, request.headers.get("accept", "").split(",")))
        write = as_stream if wants_arrow else as_json
        content = await run_in_threadpool(write, asking.served, output, identity)
    kind = arrow_rows.MEDIA_TYPE if wants_arrow else "application/json"
    return Response(content, media_type=kind, headers={"Model-Version": asking.served.version})


def named(kind: str) -> bool:
    return kind.partition(";")[0].strip().lower() == arrow_rows.MEDIA_TYPE


def read(served: Served, body: bytes) -> Rows:
    """Rows as the model takes them: a matrix of float32, or tuples."""
    if served.runtime.packer is not None:
        return arrow_rows.matrix_of(body, served.signature)
    return arrow_rows.rows_of(body, served.decoder, served.signature)


def as_json(served: Served, output: Any, identity: bytes) -> bytes:
    return served.wording.many(output, identity)


def as_stream(served: Served, output: Any, identity: bytes) -> bytes:
    whose = {"model": served.model, "version": served.version, "prediction_id": identity.decode()}
    return arrow_rows.written(output, served.signature, **whose)
