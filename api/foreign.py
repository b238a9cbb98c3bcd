"""A prediction that is asked for in the form of another protocol: it is answered and recorded as any other.

The protocols bring their own reading and writing; what lies between is here, and is the same for all.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import ParamSpec, TypeVar

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from api.predictions import ask, check_form, encode, new_id, written
from api.service import Service, service_of
from api.serving import Served
from understudy.parity import Answer
from understudy.ports import Prediction
from understudy.rows import Row

SMALL = 64 * 1024
"""Bytes of a body that is read in a millisecond or two: less than it pays to leave the event loop for."""

P = ParamSpec("P")
T = TypeVar("T")


class Foreign:
    """One request: its body, and the version that answers it."""

    def __init__(self, service: Service, served: Served, body: bytes, role: str | None) -> None:
        self.served, self.body = served, body
        self._service, self._role, self._started_s = service, role, time.perf_counter()

    async def ask(self, rows: list[Row]) -> tuple[Answer, str]:
        """What the model says, and the id under which it is recorded."""
        answer = await ask(self.served, rows)
        identity = new_id()
        self._service.recorder.add(
            Prediction(
                identity,
                datetime.now(UTC),
                self.served.model,
                self.served.version,
                encode(rows),
                written(self.served, answer, identity),
                (time.perf_counter() - self._started_s) * 1e3,
                self._role or "open",
            )
        )
        return answer, identity


@asynccontextmanager
async def foreign(request: Request, model: str) -> AsyncIterator[Foreign]:
    """Read the body, and hold the version that answers until it has."""
    check_form(request)
    body = await request.body()
    service = service_of(request)
    if not service.worker.is_current():
        await service.worker.current(model)
    served = service.serving(model)
    with served.request():
        yield Foreign(service, served, body, request.state.role)


async def apart(body: bytes, work: Callable[P, T], /, *given: P.args, **named: P.kwargs) -> T:
    """Do what may take long with a large body in a thread, so that nobody waits for it."""
    if len(body) <= SMALL:
        return work(*given, **named)
    return await run_in_threadpool(work, *given, **named)
