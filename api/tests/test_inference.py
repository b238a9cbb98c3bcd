"""`/v2` over HTTP: what is refused and how, versions, health, and what is recorded."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from api.tests import given

ROW = {"name": "input", "shape": [1, 2], "datatype": "FP64", "data": [0.1, 0.2]}
GOOD = {"inputs": [ROW]}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[given.Api]:
    """An API whose version 1 is retired and whose version 2 serves."""
    with given.api(tmp_path_factory.mktemp("api")) as started:
        started.serve(given.bundle(shuffled=True))
        started.serve(given.bundle())
        yield started


def infer(api: given.Api, body: Any, path: str = "/v2/models/rain/infer", **headers: str) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return api.client.post(path, content=data, headers=headers)


WRONG: dict[str, tuple[Any, dict[str, str], int]] = {
    "no body": (b"", {}, 422),
    "no JSON": (b"{", {}, 422),
    "no UTF-8": (b'{"id": "\xff"}', {}, 422),
    "another object": ({"records": [{}]}, {}, 422),
    "no inputs": ({"inputs": []}, {}, 422),
    "NaN": (json.dumps({"inputs": [ROW | {"data": [float("nan"), 1]}]}).encode(), {}, 422),
    "a text": ({"inputs": [ROW | {"data": ["1", 2]}]}, {}, 422),
    "a boolean": ({"inputs": [ROW | {"data": [True, 2]}]}, {}, 422),
    "null": ({"inputs": [ROW | {"data": [None, 2]}]}, {}, 422),
    "infinite in float32": ({"inputs": [ROW | {"data": [1e39, 2]}]}, {}, 422),
    "another shape": ({"inputs": [ROW | {"shape": [2, 1]}]}, {}, 422),
    "three dimensions": ({"inputs": [ROW | {"shape": [1, 1, 2]}]}, {}, 422),
    "no shape": ({"inputs": [ROW | {"shape": []}]}, {}, 422),
    "a huge shape": ({"inputs": [ROW | {"shape": [10**18, 2]}]}, {}, 413),
    "too many rows": ({"inputs": [ROW | {"shape": [10_001, 2], "data": [0] * 20_002}]}, {}, 413),
    "an unknown datatype": ({"inputs": [ROW | {"datatype": "STRING"}]}, {}, 422),
    "another datatype": ({"inputs": [ROW | {"datatype": "BYTES"}]}, {}, 422),
    "an input too many": ({"inputs": [ROW, ROW | {"name": "x"}]}, {}, 422),
    "an input twice": ({"inputs": [ROW, ROW]}, {}, 422),
    "an unknown input": ({"inputs": [ROW | {"name": "<script>" * 999}]}, {}, 422),
    "an unknown output": (GOOD | {"outputs": [{"name": "labels" * 999}]}, {}, 422),
    "a long id": (GOOD | {"id": "x" * 999}, {}, 422),
    "an id of numbers": (GOOD | {"id": 3}, {}, 422),
    "nothing but depth": (b"[" * 200_000, {}, 422),
    "a header that is no number": (GOOD, {"Inference-Header-Content-Length": "-1"}, 422),
    "a header that is too large": (GOOD, {"Inference-Header-Content-Length": "9" * 9}, 422),
    "a header that is too small": (GOOD, {"Inference-Header-Content-Length": "3"}, 422),
    "bytes that are not there": ({"inputs": [ROW | {"parameters": {"binary_data_size": 8}}]}, {}, 422),
    "a size below nothing": ({"inputs": [ROW | {"parameters": {"binary_data_size": -1}}]}, {}, 422),
    "compressed": (GOOD, {"Content-Encoding": "gzip"}, 415),
    "another charset": (GOOD, {"Content-Type": "application/json; charset=utf-16"}, 415),
    "a deadline that is none": (GOOD, {"X-Request-Deadline-Ms": "soon"}, 422),
    "a deadline that is past": (GOOD, {"X-Request-Deadline-Ms": "0"}, 504),
    "more than a body may have": (b" " * (16 * 2**20 + 1), {}, 413),
}


@pytest.mark.parametrize(("body", "headers", "status"), WRONG.values(), ids=list(WRONG))
def test_a_wrong_request_gets_one_short_problem_with_the_sentence_that_clients_read(
    api: given.Api, body: Any, headers: dict[str, str], status: int
) -> None:
    answer = infer(api, body, **headers)

    assert answer.status_code == status, answer.text
    assert len(answer.content) <= 4096
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["error"].startswith(answer.json()["detail"][:500])
    assert "<" not in answer.text


def test_a_request_without_content_type_is_read(api: given.Api) -> None:
    answer = infer(api, GOOD | {"id": "7", "parameters": {"priority": 3, "sequence_id": "a"}})

    assert answer.status_code == 200, answer.text
    assert (answer.headers["Model-Version"], answer.json()["id"]) == ("2", "7")


def test_a_version_that_does_not_serve_is_refused_and_one_that_there_is_not_is_unknown(api: given.Api) -> None:
    asked = {v: infer(api, GOOD, f"/v2/models/rain/versions/{v}/infer") for v in ("1", "2", "3", "x")}
    looked = {v: api.client.get(f"/v2/models/rain/versions/{v}").status_code for v in asked}
    ready = {v: api.client.get(f"/v2/models/rain/versions/{v}/ready").status_code for v in asked}

    expected = {"1": 409, "2": 200, "3": 404, "x": 404}
    assert {v: answer.status_code for v, answer in asked.items()} == looked == ready == expected
    assert "promote" in asked["1"].json()["remedy"]
    assert api.client.get("/v2/models/rain").json()["versions"] == ["2"]


def test_health_and_metadata_are_where_clients_look(api: given.Api) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/rain/ready", "/v2"):
        assert api.client.get(path).status_code == 200
    assert api.client.get("/v2/models/snow/ready").status_code == 404


def test_what_is_asked_in_another_protocol_is_recorded_as_every_prediction(api: given.Api) -> None:
    ids = [
        infer(api, GOOD).json()["parameters"]["prediction_id"],
        api.client.post("/invocations", json={"inputs": [[0.1, 0.2]]}).headers["Prediction-Id"],
    ]

    until, who = time.monotonic() + 30, api.token("operator")
    while (found := [api.client.get(f"/predictions/{i}", headers=who).status_code for i in ids]) != [200, 200]:
        assert time.monotonic() < until, found
        time.sleep(0.05)
