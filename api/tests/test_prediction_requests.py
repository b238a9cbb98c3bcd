"""What may be sent to `/predict`, and what every wrong body hears."""

import json
from typing import Any

import pytest

from api.tests import given

ROW = {"x": 0.25, "y": 0.5}


def send(api: given.Api, body: Any, **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return api.client.post("/predict", content=content, headers={"Content-Type": "application/json", **headers})


@pytest.mark.parametrize(
    "body",
    [
        ROW,
        {"y": 0.5, "x": 0.25},
        {"records": [ROW]},
        {"values": [[0.25, 0.5]]},
        {"values": [0.25, 0.5]},
    ],
)
def test_one_row_may_come_as_a_record_as_records_or_as_values(api: given.Api, body: Any) -> None:
    api.serve(given.bundle())

    answer = send(api, body)

    assert answer.status_code == 200
    assert answer.json()["predictions"] == send(api, ROW).json()["predictions"]
    assert len(answer.json()["predictions"]) == 1


def test_rows_are_answered_in_the_order_they_came(api: given.Api) -> None:
    api.serve(given.bundle())
    low, high = {"x": 0.0, "y": 0.0}, {"x": 1.0, "y": 1.0}

    answer = send(api, {"records": [low, high, low]})

    assert answer.json()["predictions"] == [0, 1, 0]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"x": 0.1}, "`y` is missing"),
        ({**ROW, "z": 1.0}, "no column"),
        ({"x": "0.1", "y": 0.5}, "`x` should be a number"),
        ({"x": True, "y": 0.5}, "`x` should be a number"),
        ({"x": None, "y": 0.5}, "`x` is null"),
        ({"records": []}, "no rows"),
        ({"values": [[0.1]]}, "2 values"),
        ([ROW], "no record"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"x": NaN, "y": 1}', "not JSON"),
        (b'{"x": 1e999, "y": 1}', ""),
        (b'{"x": 1e39, "y": 1}', "`x` is beyond"),
        (b'{"x": 1, "x": 2, "y": 1}', "twice"),
        (b'{"x": "\\ud800", "y": 1}', ""),
        (b"\xff\xfe{\x00}", "not JSON"),
        (b"[" * 100_000, ""),
    ],
)
def test_a_body_that_does_not_fit_gets_a_short_problem_with_a_remedy(api: given.Api, body: Any, said: str) -> None:
    api.serve(given.bundle())

    answer = send(api, body)

    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert set(answer.json()) == {"type", "title", "status", "detail", "remedy", "code", "request_id"}
    assert said in answer.json()["detail"]
    assert answer.json()["remedy"]
    assert len(answer.content) < 2000


def test_a_wrong_body_is_never_echoed(api: given.Api) -> None:
    api.serve(given.bundle())

    answer = send(api, {"x": "<script>alert(1)</script>", "y": "secret-4711"})

    assert "script" not in answer.text
    assert "4711" not in answer.text


def test_more_rows_than_are_answered_at_once_are_413(api: given.Api) -> None:
    api.serve(given.bundle())

    most = send(api, {"values": [[0.1, 0.2]] * 10_000})
    more = send(api, {"values": [[0.1, 0.2]] * 10_001})

    assert most.status_code == 200
    assert len(most.json()["predictions"]) == 10_000
    assert (more.status_code, more.json()["code"]) == (413, "too_large")


def test_a_body_above_16_mib_is_413_with_a_problem_body(api: given.Api) -> None:
    api.serve(given.bundle())

    answer = send(api, b" " * (16 * 2**20 + 1))

    assert answer.status_code == 413
    assert answer.json()["remedy"]


@pytest.mark.parametrize(
    "headers", [{"Content-Encoding": "gzip"}, {"Content-Type": "application/json; charset=utf-16"}]
)
def test_a_body_in_another_encoding_is_415(api: given.Api, headers: dict[str, str]) -> None:
    api.serve(given.bundle())

    assert send(api, ROW, **headers).status_code == 415


def test_a_model_is_asked_by_its_name_and_an_unknown_one_is_not_there(api: given.Api) -> None:
    api.serve(given.bundle())

    assert api.client.post("/models/rain/predict", json=ROW).status_code == 200
    assert api.client.post("/models/snow/predict", json=ROW).status_code == 404


def test_predictions_need_a_token_where_they_are_not_open(tmp_path: Any) -> None:
    with given.api(tmp_path, open=("read",)) as api:
        api.serve(given.bundle())

        without = send(api, ROW)
        wrong = send(api, ROW, Authorization="Bearer nonsense")
        client = send(api, ROW, **api.token("client"))

    assert (without.status_code, without.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert wrong.status_code == 401
    assert client.status_code == 200
