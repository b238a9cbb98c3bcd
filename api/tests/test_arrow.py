"""`POST /predict` with an Arrow stream: its answer, its refusals, and who imports Arrow."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from typing import Any

import numpy as np
import pyarrow
import pytest

from api.service import LARGE_JSON
from api.tests import given
from tests.adapters.arrow_streams import stream
from understudy.adapters.arrow_rows import MEDIA_TYPE

ROWS = pyarrow.table({"y": [0.2, 0.8], "x": [0.1, 0.9]})
LARGE = ("/predict", "/invocations", "/v2/models/rain/infer")
AS_ARROW = {"Content-Type": MEDIA_TYPE}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[given.Api]:
    with given.api(tmp_path_factory.mktemp("api")) as started:
        started.serve(given.bundle())
        yield started


def test_a_stream_is_answered_as_json_is(api: given.Api) -> None:
    expected = api.client.post("/predict", json={"records": ROWS.to_pylist()})

    for path in ("/predict", "/models/rain/predict"):
        answer = api.client.post(path, content=stream(ROWS), headers=AS_ARROW)
        assert answer.headers["Model-Version"] == "1"
        assert answer.json() | {"prediction_id": ""} == expected.json() | {"prediction_id": ""}


def test_a_client_that_accepts_arrow_gets_arrow(api: given.Api) -> None:
    accept = {"Accept": f"application/json;q=0.5, {MEDIA_TYPE}"}
    answer = api.client.post("/predict", content=stream(ROWS), headers=AS_ARROW | accept)

    assert answer.headers["content-type"] == MEDIA_TYPE
    read = pyarrow.ipc.open_stream(answer.content).read_all()
    assert read["predictions"].to_pylist() == [0, 1]
    assert json.loads(read.schema.metadata[b"classes"]) == [0, 1]
    assert read.schema.metadata[b"version"] == b"1"


def test_a_stream_holds_ten_times_the_rows_of_a_body_of_json(api: given.Api) -> None:
    many = pyarrow.table({"x": np.linspace(0, 1, 100_001), "y": np.linspace(0, 1, 100_001)})

    whole = api.client.post("/predict", content=stream(many.slice(1)), headers=AS_ARROW)
    more = api.client.post("/predict", content=stream(many), headers=AS_ARROW)
    as_json = api.client.post("/predict", json={"values": [[0.1, 0.2]] * 10_001})

    assert len(whole.json()["predictions"]) == 100_000
    assert (more.status_code, as_json.status_code) == (413, 413)
    assert "batch job" in more.json()["remedy"]
    assert "Arrow" in as_json.json()["remedy"]
    assert "batch job" in as_json.json()["remedy"]


def test_of_many_large_bodies_at_once_some_are_read_and_the_others_told_to_come_later(api: given.Api) -> None:
    many = stream(pyarrow.table({"x": np.linspace(0, 1, 5_000), "y": np.linspace(0, 1, 5_000)}))
    with ThreadPoolExecutor(30) as clients:
        answers = list(clients.map(lambda _: api.client.post("/predict", content=many, headers=AS_ARROW), range(30)))

    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) <= {200, 429}
    assert statuses[200] >= 2  # so many are read at a time; eight more may wait, a slow machine's not long enough
    assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 429)
    assert api.client.post("/predict", content=many, headers=AS_ARROW).status_code == 200


def test_a_large_body_has_its_place_before_a_byte_of_it_is_read(api: given.Api) -> None:
    read = 0

    async def receive() -> Any:
        nonlocal read
        read += 1
        await asyncio.Event().wait()  # it comes slowly

    async def sent(path: str) -> int:
        headers = [(b"host", b"testserver"), (b"content-length", b"1000000")]
        kind = [(b"content-type", MEDIA_TYPE.encode())] if path == "/predict" else []
        asked = {"type": "http", "method": "POST", "path": path, "headers": headers + kind, "query_string": b""}
        answers: list[Any] = []

        async def send(message: Any) -> None:
            answers.append(message)

        await api.client.app(asked, receive, send)
        return int(answers[0]["status"])

    async def story() -> list[int]:
        paths = islice(cycle(LARGE), LARGE_JSON.inside + LARGE_JSON.waiting + 1)
        clients = [asyncio.create_task(sent(path)) for path in paths]
        done, _ = await asyncio.wait(clients, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        return [client.result() for client in done]

    portal = api.client.portal
    assert portal is not None
    assert portal.call(story) == [429]
    assert read <= LARGE_JSON.inside


def test_what_reading_takes_is_taken_from_the_deadline(api: given.Api) -> None:
    many = pyarrow.table({"x": np.linspace(0, 1, 100_000), "y": np.linspace(0, 1, 100_000)})
    patience = {"X-Request-Deadline-Ms": "1"}  # reading so much takes some ten

    answer = api.client.post("/predict", content=stream(many), headers=AS_ARROW | patience)

    assert answer.status_code in (503, 504)  # 503: what was left is less than the model takes


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b'{"x": 0.1, "y": 0.2}', 422),
        (stream(ROWS)[:-200], 422),
        (stream(ROWS, compression="zstd"), 422),
        (stream(ROWS.drop_columns("x")), 422),
        (stream(ROWS.append_column("<b>" * 999, ROWS["x"])), 422),
        (stream(ROWS.set_column(0, "y", [[0.1, None]])), 422),
        (stream(pyarrow.table({"x": pyarrow.nulls(10**9)})), 413),
    ],
)
def test_a_wrong_stream_gets_one_short_problem(api: given.Api, body: bytes, status: int) -> None:
    answer = api.client.post("/predict", content=body, headers=AS_ARROW)

    assert answer.status_code == status, answer.text
    assert len(answer.content) <= 4096
    assert "<" not in answer.text
