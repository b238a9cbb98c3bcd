"""A prediction that is asked for in the form of another protocol: it is answered and recorded as any other.

The protocols bring their own reading and writing; what lies between is here, and is the same for all.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any, ParamSpec, TypeVar

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from api.answering import Rows
from api.front import check_form, deadline_of, may_be_large
from api.service import Service, service_of
from api.serving import Served
from understudy.errors import DeadlinePassed, UnderstudyError
from understudy.parity import Answer

SMALL = 64 * 1024
"""Bytes of a body that is read in a millisecond or two: less than it pays to leave the event loop for."""

P = ParamSpec("P")
T = TypeVar("T")


class Foreign:
    """One request: its body, and the version that answers it."""

    def __init__(self, service: Service, served: Served, body: bytes, role: str | None, deadline_s: float) -> None:
        self.served, self.body, self._deadline_s = served, body, deadline_s
        self._answering, self._role, self._started_s = service.answering, role, time.perf_counter()
        self.is_large = len(body) > SMALL
        self.asked = False
        """From then on what goes wrong is counted where the model is asked."""

    async def run(self, rows: Rows) -> tuple[Any, bytes]:
        """What the model says to rows that its decoder would let pass, as `Runtime.run` says it, and its id on record.

        Where the version has a packer, `rows` may be its matrix of float32.
        """
        left_s = self._left_s()
        self.asked = True
        return await self._answering.ask(
            self.served, rows, started_s=self._started_s, role=self._role, deadline_s=left_s
        )

    def _left_s(self) -> float:
        """What reading has left of the deadline. Raises DeadlinePassed where that is nothing."""
        left_s = self._deadline_s - (time.perf_counter() - self._started_s)
        if left_s <= 0:
            raise DeadlinePassed(
                "The deadline passed while the body was read.", remedy="Allow more time, or send less."
            )
        return left_s

    async def ask(self, rows: Rows) -> tuple[Answer, str]:
        """The same in Python's values."""
        output, identity = await self.run(rows)
        return await self.apart(self.served.runtime.said, output), identity.decode()

    async def apart(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Do what takes long with a large body in a thread, so that nobody waits for it."""
        if not self.is_large:
            return work(*given, **named)
        return await run_in_threadpool(work, *given, **named)


@asynccontextmanager
async def foreign(request: Request, model: str) -> AsyncIterator[Foreign]:
    """Read the body, and hold the version that answers until it has; what is refused is counted.

    One that may be large has a place before a byte of it is read, or all who send at a time would fill the memory.
    """
    headers = dict(request.headers.raw)
    check_form(headers)
    deadline_s, service = deadline_of(headers), service_of(request)
    async with service.large_json.passed() if may_be_large(headers) else nullcontext():
        body = await request.body()
        async with held(service, model, body, role=request.state.role, deadline_s=deadline_s) as asking:
            yield asking


@asynccontextmanager
async def held(
    service: Service, model: str, body: bytes, *, role: str | None, deadline_s: float
) -> AsyncIterator[Foreign]:
    """Hold the version that answers a body that was read."""
    asking: Foreign | None = None
    try:
        served = await service.answering.serving(model, deadline_s=deadline_s)
        asking = Foreign(service, served, body, role, deadline_s)
        with served.request():
            async with service.large_bodies.passed() if asking.is_large else nullcontext():
                yield asking
    except UnderstudyError as error:
        if asking is None or not asking.asked:
            service.answering.refused(model, error)
        raise
