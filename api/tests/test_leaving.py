"""What becomes of a version that was replaced: its memory is free once its last request has left, and no sooner."""

import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LogisticRegression

from api.serving import Served
from api.tests import given
from tests.workers import wait_for

ROW = {"values": [0.2, 0.9]}


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What frees a version must not be the collector of cycles: it comes at any time, to whoever asks just then."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def serve_and_ask(api: given.Api, data: bytes) -> Served:
    api.serve(data)
    for _ in range(3):
        assert api.client.post("/predict", json=ROW).status_code == 200
    return api.service.table.get("rain")  # type: ignore[no-any-return]  # behind an ASGI type


def lanes() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("lane ")]


@pytest.mark.fault(29)
@pytest.mark.parametrize("limit_ms", [1000.0, 0.0], ids=["on the loop", "in a lane"])
def test_a_replaced_version_is_freed_at_once_with_the_thread_that_it_had(
    tmp_path: Path, no_collector: None, limit_ms: float
) -> None:
    settings: dict[str, Any] = {"loop_limit_ms": limit_ms}
    with given.api(tmp_path, **settings) as api:
        old = weakref.ref(serve_and_ask(api, given.bundle()).runtime)
        assert len(lanes()) == (limit_ms == 0.0)

        serve_and_ask(api, given.bundle(LogisticRegression(C=0.01)))

        wait_for(lambda: old() is None, "the memory of the old version")
        wait_for(lambda: len(lanes()) == (limit_ms == 0.0), "the end of its thread")


@pytest.mark.fault(29)
def test_a_replaced_version_stays_while_it_answers(tmp_path: Path, no_collector: None) -> None:
    with given.api(tmp_path) as api:
        served = serve_and_ask(api, given.bundle())
        served.in_flight += 1
        old = weakref.ref(served)
        del served

        serve_and_ask(api, given.bundle(LogisticRegression(C=0.01)))

        threading.Event().wait(0.3)
        kept = old()
        assert kept is not None
        kept.in_flight -= 1
        del kept
        wait_for(lambda: old() is None, "the memory of the old version")
