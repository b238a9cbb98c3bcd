"""What may be sent to `/predict`; what every wrong body hears stands in `test_bad_requests.py`."""

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


def test_a_wrong_body_is_never_echoed(api: given.Api) -> None:
    api.serve(given.bundle())

    answer = send(api, {"x": "<script>alert(1)</script>", "y": "secret-4711"})

    assert "script" not in answer.text
    assert "4711" not in answer.text


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
