"""F0, the floor: the least that uvicorn can do for a request. Reads the body, answers the same 60 bytes to everybody.

python -m bench.floor PORT
"""

import sys
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

ANSWER = b'{"predictions":[0],"probabilities":[[0.99,0.01]],"model":1}\n'
"""60 bytes."""

START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))],
}
BODY = {"type": "http.response.body", "body": ANSWER}


async def app(scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
    while (await receive()).get("more_body"):
        pass
    await send(START)  # type: ignore[arg-type]  # a plain dict, as applications send it
    await send(BODY)  # type: ignore[arg-type]


def serve(app: object, port: int) -> None:
    """Serve with uvicorn's fastest parts: what all servers that are compared with use."""
    uvicorn.run(
        app,  # type: ignore[arg-type]  # an ASGI application
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    serve(app, int(sys.argv[1]))
