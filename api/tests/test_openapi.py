"""`/openapi.json`: what it says is what is answered."""

import gc
import json
import re
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.examples import example_of
from api.tests import given
from api.tests.given import HOLDOUT
from tests import bundles
from understudy.adapters.arrow_rows import MEDIA_TYPE

NAMES = ("rain", "fog", "customers")
PREDICTING = [
    "/predict",
    "/invocations",
    "/v2/models/{model}/versions/{version}/infer",
    *(f"/models/{name}/predict" for name in NAMES),
    *(f"/v2/models/{name}/infer" for name in NAMES),
]
JSON = "application/json"


def serve(api: given.Api, names: Iterator[str] | tuple[str, ...] = NAMES) -> None:
    """A classifier of numbers, a regression, and one of numbers and texts."""
    data = {
        "rain": lambda: given.bundle(),
        "fog": lambda: given.bundle(model="fog", task="regression", names=("a", "b")),
        "customers": lambda: bundles.made("mixed").data,
    }
    for name in names:
        api.serve(data[name](), name)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[given.Api]:
    """An API whose default model is `rain`."""
    with given.api(tmp_path_factory.mktemp("api")) as started:
        serve(started)
        yield started


@pytest.fixture(scope="module")
def document(api: given.Api) -> Any:
    return api.client.get("/openapi.json").json()


@pytest.mark.parametrize("path", PREDICTING)
def test_every_example_is_answered_as_it_is_shown(api: given.Api, document: Any, path: str) -> None:
    way = document["paths"][path]["post"]
    sent = way["requestBody"]["content"][JSON]["schema"]["example"]
    done = way["responses"]["200"]
    places = {one["name"]: one["example"] for one in way["parameters"] if one["in"] == "path"}

    answer = api.client.post(path.format(**places), json=sent)

    assert answer.status_code == 200, answer.text
    assert ids_aside(answer.json()) == ids_aside(done["content"][JSON]["schema"]["example"])
    assert set(done["headers"]) <= {name.title() for name in answer.headers}
    assert "Model-Version" in done["headers"]


def ids_aside(answer: Any) -> Any:
    """An answer in which every id has become its length."""
    return json.loads(re.sub(r'"[0-9a-f]{25}"', "25", json.dumps(answer)))


@pytest.mark.parametrize("path", PREDICTING)
def test_the_deadline_is_a_parameter_wherever_something_is_predicted(api: given.Api, document: Any, path: str) -> None:
    way = document["paths"][path]["post"]
    (deadline,) = [one for one in way["parameters"] if one["name"] == "X-Request-Deadline-Ms"]
    places = {one["name"]: one["example"] for one in way["parameters"] if one["in"] == "path"}
    sent = way["requestBody"]["content"][JSON]["schema"]["example"]

    def status(deadline_ms: int) -> int:
        headers = {"X-Request-Deadline-Ms": str(deadline_ms)}
        return int(api.client.post(path.format(**places), json=sent, headers=headers).status_code)

    assert (deadline["in"], deadline["required"]) == ("header", False)
    assert status(deadline["schema"]["maximum"]) == 200
    assert status(deadline["schema"]["maximum"] + 1) == 422
    assert status(deadline["schema"]["minimum"]) == 504


def test_arrow_is_another_form_of_what_predict_takes_and_answers(document: Any) -> None:
    for path in ("/predict", "/models/customers/predict"):
        way = document["paths"][path]["post"]
        assert list(way["requestBody"]["content"]) == [JSON, MEDIA_TYPE]
        assert list(way["responses"]["200"]["content"]) == [JSON, MEDIA_TYPE]


def test_each_model_has_words_of_its_own_and_only_the_default_one_is_called_so(document: Any) -> None:
    paths = document["paths"]

    assert "default model" in paths["/predict"]["post"]["description"]
    for name in NAMES:
        for path in (f"/models/{name}/predict", f"/v2/models/{name}/infer"):
            assert f"the champion of `{name}`" in paths[path]["post"]["description"]
            assert "default model" not in json.dumps(paths[path])


def test_the_document_is_the_same_in_every_process_in_whatever_order_models_were_loaded(
    document: Any, tmp_path: Path
) -> None:
    with given.api(tmp_path) as other:
        serve(other, tuple(reversed(NAMES)))
        again = other.client.get("/openapi.json").json()

    assert json.dumps(again) == json.dumps(document)


def test_what_fails_is_shown_in_the_one_shape_in_which_it_is_answered(api: given.Api, document: Any) -> None:
    problem = document["components"]["schemas"]["Problem"]
    shown = json.dumps(document)
    failing = [
        (status, answer)
        for ways in document["paths"].values()
        for way in ways.values()
        for status, answer in way["responses"].items()
        if status in ("4XX", "5XX")
    ]
    usual = api.client.post("/predict", json={})
    of_v2 = api.client.post("/v2/models/rain/infer", json={})

    assert "ValidationError" not in shown
    assert '"422"' not in shown
    assert len(failing) == 2 * sum(len(ways) for ways in document["paths"].values())
    for statuses, answer in failing:
        (content,) = answer["content"].values()
        assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
        assert content["example"]["status"] // 100 == int(statuses[0])
    assert list(usual.json()) == problem["required"]
    assert list(of_v2.json()) == list(problem["properties"])


def test_nothing_is_referred_to_that_is_not_there(document: Any) -> None:
    schemas = document["components"]["schemas"]

    assert set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document))) <= set(schemas)


def test_a_prediction_on_record_has_the_members_that_are_shown(api: given.Api, document: Any) -> None:
    row = dict(zip(given.FEATURES, HOLDOUT.frame()[list(given.FEATURES)].iloc[0], strict=True))
    identity = api.client.post("/predict", json=row).json()["prediction_id"]
    for path, url in (("{id}", identity), ("{id}/{row}", f"{identity}/0")):
        shown = document["paths"][f"/predictions/{path}"]["get"]["responses"]["200"]["content"][JSON]["schema"]
        answer = api.client.get(f"/predictions/{url}", headers=api.token("client"))

        assert list(answer.json()) == list(shown["properties"]) == shown["required"]


def test_before_anything_serves_the_document_is_whole_and_only_lacks_examples(tmp_path: Path) -> None:
    with given.api(tmp_path) as empty:
        document = empty.client.get("/openapi.json").json()

    for path in ("/predict", "/models/{model}/predict", "/invocations", "/v2/models/{model}/infer"):
        way = document["paths"][path]["post"]
        assert "example" not in way["requestBody"]["content"][JSON]["schema"]
        assert "X-Request-Deadline-Ms" in {one["name"] for one in way["parameters"]}
    assert "Problem" in document["components"]["schemas"]


def test_who_sent_no_body_is_not_told_to_look_at_it(api: given.Api) -> None:
    path = api.client.get("/predictions/0/x", headers=api.token("client"))
    query = api.client.get("/models?limit=0")
    body = api.client.post("/model/demote", json={}, headers=api.token("operator"))

    assert [answer.status_code for answer in (path, query, body)] == [422] * 3
    assert "body" not in path.json()["remedy"] + query.json()["remedy"]
    assert "body" in body.json()["remedy"]


def test_who_may_not_read_of_models_finds_none_of_them_in_the_document(tmp_path: Path) -> None:
    with given.api(tmp_path, open=()) as closed:
        serve(closed, ("rain", "fog"))
        shown = {
            role: closed.client.get("/openapi.json", headers=closed.token(role) if role else {})
            for role in (None, "client", "scheduler", "operator")
        }
        wrong = closed.client.get("/openapi.json", headers={"Authorization": "Bearer wrong"})

    assert shown[None].status_code == wrong.status_code == 200
    assert shown[None].json() == wrong.json()
    for secret in ("fog", "/models/rain", '"x"', "0.49"):
        assert secret not in shown[None].text
        assert all(secret in shown[role].text for role in ("client", "scheduler", "operator"))
    assert "/models/{model}/predict" in shown[None].json()["paths"]


def test_a_version_is_asked_once_however_often_the_document_is_read_and_is_not_kept_for_it(tmp_path: Path) -> None:
    with given.api(tmp_path) as api:
        api.serve(given.bundle())
        served = api.service.table.get("rain")
        assert example_of(served).answer is example_of(served).answer
        gone = weakref.ref(served)
        del served
        api.serve(given.bundle(task="regression"))
        api.client.get("/openapi.json")
        until = time.monotonic() + 30
        while gone() is not None and time.monotonic() < until:
            gc.collect()
            time.sleep(0.05)

    assert gone() is None
