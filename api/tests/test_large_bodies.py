"""Large bodies: how many are held in memory at a time, whichever way they come."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from api.main import create_app, in_front
from understudy.settings import Settings

BODIES = 60


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/predict", []),
        ("/predict", [(b"origin", b"http://localhost")]),
        ("/predict", [(b"content-type", b"application/vnd.apache.arrow.stream")]),
        ("/invocations", []),
        ("/v2/models/rain/infer", []),
    ],
)
def test_of_many_large_bodies_few_are_held_whichever_way_they_come(
    tmp_path: Path, path: str, more: list[tuple[bytes, bytes]]
) -> None:
    app = create_app(Settings(home=tmp_path, allowed_hosts=("localhost",)))
    front, taken, refused = in_front(app), set[int](), list[int]()

    async def send(number: int, go_on: asyncio.Event) -> None:
        async def receive() -> dict[str, Any]:
            if number in taken:
                await go_on.wait()
            taken.add(number)
            return {"type": "http.request", "body": b" ", "more_body": not go_on.is_set()}

        async def answered(message: Any) -> None:
            if message.get("status") == 429:
                refused.append(number)

        headers = [(b"host", b"localhost"), (b"content-length", b"16000000"), *more]
        scope: dict[str, Any] = {"type": "http", "http_version": "1.1", "method": "POST", "path": path}
        scope |= {
            "scheme": "http",
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": headers,
            "server": ("localhost", 80),
        }
        await front(scope, receive, answered)

    async def crowd() -> int:
        async with app.router.lifespan_context(app):
            go_on = asyncio.Event()
            asked = [asyncio.create_task(send(i, go_on)) for i in range(BODIES)]
            while len(taken) + len(refused) < BODIES and len(refused) < BODIES - 36:
                await asyncio.sleep(0.01)
            held = len(taken)
            go_on.set()
            await asyncio.gather(*asked)
            return held

    assert asyncio.run(asyncio.wait_for(crowd(), 60)) <= 12
