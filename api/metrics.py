"""`GET /metrics`: what all processes of the API have counted, as Prometheus reads it.

Each process puts its numbers down twice a second; the one that is asked does so once more before it reads everybody's.
The request path does nothing of this: see `api/counts.py`.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.door import Door
from api.estate import gather, read
from api.sheets import Sheet, Values
from understudy.adapters.sqlite import storage_errors

log = logging.getLogger(__name__)

router = APIRouter(route_class=Door, tags=["health"])

PUT_DOWN_EVERY_S = 0.5


@router.get(
    "/metrics",
    name="metrics",
    summary="Counters and gauges of all workers",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """In the text form of Prometheus. What each of them means is in docs/metrics.md."""
    text = await request.app.state.service.metrics.text()
    return Response(text, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


class Metrics:
    """The sheet of this process, the thread that fills it, and the text of all sheets."""

    def __init__(self, folder: Path, take: Callable[[], Values]) -> None:
        self._folder, self._take = folder, take
        with storage_errors():
            self._sheet = Sheet(folder)
        self._writing, self._stop = Lock(), Event()
        self._failing = False
        self._limiter = CapacityLimiter(1)
        self._text, self._read_s = b"", float("-inf")
        """The newest text, and when its reading began."""
        self._thread = Thread(target=self._put_down_again_and_again, name="metrics", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Put down what was counted last, and take the gauges away."""
        self._stop.set()
        self._thread.join()
        self._put_down()
        with self._writing:
            self._sheet.close()

    async def text(self) -> bytes:
        """The metrics as they are now or later; who asks while they are read shares the next reading.

        A thread of its own reads, so that no queue of other work delays it. Raises StorageUnavailable.
        """
        asked_s = time.monotonic()
        async with self._limiter:
            if self._read_s < asked_s:
                await run_sync(self._read, limiter=CapacityLimiter(1))
            return self._text

    def _read(self) -> None:
        began_s = time.monotonic()
        self._put_down()
        with suppress(OSError):  # a full volume: the next scrape tries again
            gather(self._folder)
        with storage_errors():
            text = generate_latest(Found(read(self._folder)))
        self._text, self._read_s = text, began_s

    def _put_down_again_and_again(self) -> None:
        while not self._stop.wait(PUT_DOWN_EVERY_S):
            self._put_down()

    def _put_down(self) -> None:
        """Write everything that has changed. Where that fails some numbers stand still, and are right again later."""
        with self._writing:
            try:
                self._sheet.write(self._take())
            except OSError as error:
                if not self._failing:
                    log.warning("Some metrics stand still: %s", error, extra={"action": "metrics.failed"})
                self._failing = True
            except Exception:
                log.exception("the metrics could not be written", extra={"action": "bug"})
            else:
                self._failing = False


class Found(Collector):
    """What was read, in the order of names."""

    def __init__(self, found: list[Metric]) -> None:
        self._found = sorted(found, key=lambda metric: metric.name)

    def collect(self) -> list[Metric]:
        return self._found
