"""Bodies made to be read wrongly, sent to the documented route alone: each gets what it is owed."""

from collections.abc import Iterator
from typing import Any

import pytest

from api.tests import given
from tests.wire.bodies import Body, bodies, vast
from tests.wire.models import models

LARGEST_ERROR = 4096
SHAPE = {"type", "title", "status", "detail", "remedy", "code", "request_id"}

ROWS = [pytest.param(row, marks=pytest.mark.fault(row)) for row in (30, 31, 32, 33, 34, 35, 36)]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[given.Api]:
    with given.api(tmp_path_factory.mktemp("home")) as started:
        for model, data in models().items():
            started.serve(data, model)
        yield started


def wrong(body: Body, answer: Any) -> str:
    """What is wrong with an answer; nothing where it is what is owed."""
    if answer.status_code not in body.owed:
        return f"{answer.status_code} instead of {set(body.owed)}: {answer.text[:200]}"
    told = answer.json()
    if answer.status_code == 200:
        return "" if body.gives in (None, told["predictions"]) else f"gave {answer.text[:100]}"
    if set(told) != SHAPE or answer.headers["Content-Type"] != "application/problem+json" or not told["remedy"]:
        return f"no problem with a remedy: {answer.text[:200]}"
    if body.says not in told["detail"]:
        return f"said {told['detail']}"
    return "" if len(answer.content) <= LARGEST_ERROR else f"{len(answer.content)} bytes"


def post(api: given.Api, body: Body) -> Any:
    headers = dict(line.decode().split(": ", 1) for line in body.headers)
    return api.client.post(f"/models/{body.model}/predict", content=body.content, headers=headers)


@pytest.mark.parametrize("row", ROWS)
def test_what_is_sent_wrongly_hears_what_is_wrong_and_what_to_do(api: given.Api, row: int) -> None:
    found = {body.name: wrong(body, post(api, body)) for body in (*bodies(), *vast()) if body.row == row}

    assert len(found) > 10
    assert {name: what for name, what in found.items() if what} == {}


def test_names_of_bodies_differ() -> None:
    names = [body.name for body in (*bodies(), *vast())]

    assert len(names) == len(set(names))
