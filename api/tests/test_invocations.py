"""`POST /invocations` over HTTP."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from api.tests import given

RECORD = {"x": 0.1, "y": 0.2}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[given.Api]:
    """An API whose default model is `rain`, with `fog` beside it."""
    with given.api(tmp_path_factory.mktemp("api")) as started:
        started.serve(given.bundle())
        started.serve(given.bundle(model="fog", task="regression", names=("a", "b")), "fog")
        yield started


def invoke(api: given.Api, body: Any, query: str = "", **headers: str) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return api.client.post(f"/invocations{query}", content=data, headers=headers)


def test_the_answer_is_that_of_mlflow_with_version_and_id_in_headers(api: given.Api) -> None:
    answer = invoke(api, {"dataframe_records": [RECORD]}, **{"Content-Type": "application/json; charset=utf-8"})

    assert (answer.status_code, answer.json()) == (200, {"predictions": [0]})
    assert answer.headers["Model-Version"] == "1"
    assert answer.headers["Prediction-Id"]


def test_another_model_than_the_default_is_asked_for_by_its_name(api: given.Api) -> None:
    fog = invoke(api, {"inputs": {"a": [0.5], "b": [0.25]}}, "?model=fog")

    assert fog.json()["predictions"] == pytest.approx([1.75])
    assert invoke(api, {"inputs": [[1, 2]]}, "?model=snow").status_code == 404


WRONG: dict[str, tuple[Any, dict[str, str], int]] = {
    "no body": (b"", {}, 422),
    "no JSON": (b"x,y\n1,2", {}, 422),
    "CSV": (b"x,y\n1,2", {"Content-Type": "text/csv"}, 415),
    "another charset": ({"inputs": [[1, 2]]}, {"Content-Type": "application/json; charset=latin-1"}, 415),
    "compressed": ({"inputs": [[1, 2]]}, {"Content-Encoding": "gzip"}, 415),
    "the form of /predict": (RECORD, {}, 422),
    "two forms": ({"inputs": [[1, 2]], "instances": [[1, 2]]}, {}, 422),
    "a form of a chat": ({"messages": []}, {}, 422),
    "a missing column": ({"dataframe_records": [{"x": 1}]}, {}, 422),
    "an unknown column": ({"dataframe_records": [{**RECORD, "<b>" * 999: 1}]}, {}, 422),
    "a text": ({"instances": [["1", 2]]}, {}, 422),
    "a tensor": ({"inputs": [[[1, 2]]]}, {}, 422),
    "too many rows": ({"inputs": [[1, 2]] * 10_001}, {}, 413),
}


def test_who_sends_another_form_is_told_which_to_send(api: given.Api) -> None:
    unknown = invoke(api, {"messages": []}).json()
    untyped = invoke(api, {"inputs": [[1, 2]]}, **{"Content-Type": "application/x-www-form-urlencoded"}).json()
    csv = invoke(api, b"x,y\n1,2", **{"Content-Type": "text/csv"}).json()

    assert "Send one of dataframe_split, dataframe_records, inputs or instances" in unknown["remedy"]
    assert "CSV" not in untyped["detail"] + untyped["remedy"]
    assert "Content-Type: application/json" in untyped["remedy"]
    assert "CSV" in csv["detail"]


@pytest.mark.parametrize(("body", "headers", "status"), WRONG.values(), ids=list(WRONG))
def test_a_wrong_request_gets_one_short_problem(
    api: given.Api, body: Any, headers: dict[str, str], status: int
) -> None:
    answer = invoke(api, body, **headers)

    assert answer.status_code == status, answer.text
    assert len(answer.content) <= 4096
    assert answer.headers["content-type"] == "application/problem+json"
    assert "<" not in answer.text
