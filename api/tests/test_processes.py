"""How the API's parent judges its children."""

import os
import signal
import time
from collections.abc import Iterator

import pytest
import uvicorn

from api.processes import Child, Serving


def never() -> Serving:
    """Takes longer to build than any test waits."""
    time.sleep(600)
    raise AssertionError


@pytest.fixture
def child() -> Iterator[Child]:
    started = Child(uvicorn.Config("", workers=2), [], never)
    started.start()
    yield started
    started.kill()
    started.process.join()


def test_a_child_that_is_still_importing_is_alive_and_one_that_has_answered_once_must_go_on_doing_so(
    child: Child,
) -> None:
    assert child.is_alive(timeout=0.001), "nobody can have answered yet"
    assert child.parent_conn.poll(60), "it never answers"
    assert child.is_alive(timeout=60)
    assert child.is_alive(timeout=60)

    os.kill(child.pid or 0, signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid or 0, os.WSTOPPED | os.WNOWAIT)

    assert not child.is_alive(timeout=0.2)


def test_a_child_that_dies_before_it_answers_is_not_alive(child: Child) -> None:
    child.process.kill()
    child.process.join()

    assert not child.is_alive()
