"""How many requests of a kind are let in, wait, and are told to come later."""

import asyncio

import pytest

from api.access import ROUTES
from api.admission import ROOMS, Admission, Room, Turnstile
from understudy.errors import TooMany

THREADS = 40
"""In the server's pool."""


def test_turnstiles_of_all_kinds_together_leave_threads_free() -> None:
    rooms = [room for name, room in ROOMS.items() if name != "claim"]

    assert sum(room.inside for room in rooms) < THREADS


def test_what_needs_no_token_or_predicts_has_no_turnstile_and_everything_else_has() -> None:
    admission = Admission()

    free = {route for route in ROUTES if admission.turnstile(route) is None}

    assert {ROUTES[route] for route in free} <= {"open", "predict"}
    assert admission.turnstile("claim") is not admission.turnstile("heartbeat")
    assert admission.turnstile("finish") is admission.turnstile("heartbeat")


def test_some_are_let_in_some_wait_and_the_next_is_told_to_come_later() -> None:
    async def story() -> None:
        turnstile, leave, inside = Turnstile("promote", Room(inside=2, waiting=3)), asyncio.Event(), []

        async def visit(number: int) -> None:
            async with turnstile.passed():
                inside.append(number)
                await leave.wait()

        visits = [asyncio.create_task(visit(number)) for number in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(TooMany, match="promote"):
            await visit(5)
        assert inside == [0, 1]
        visits[2].cancel()  # its client has gone
        await asyncio.sleep(0)
        leave.set()
        await asyncio.gather(*visits, return_exceptions=True)

        assert inside == [0, 1, 3, 4]
        async with turnstile.passed():
            pass

    asyncio.run(story())


def test_metrics_do_not_wait_behind_other_reads() -> None:
    async def story() -> None:
        admission, leave = Admission(), asyncio.Event()

        async def visit(route: str) -> None:
            turnstile = admission.turnstile(route)
            assert turnstile is not None
            async with turnstile.passed():
                if route != "metrics":
                    await leave.wait()

        reads = [asyncio.create_task(visit(route)) for route in ("events", "models") * 34]
        await asyncio.sleep(0)
        with pytest.raises(TooMany):
            await visit("events")
        await visit("metrics")
        leave.set()
        await asyncio.gather(*reads)

    asyncio.run(story())
