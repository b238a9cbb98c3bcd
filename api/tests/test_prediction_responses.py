"""What `/predict` answers: scikit-learn's own labels and probabilities, the version, and a record of it."""

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from api.tests import given
from understudy.adapters import frames, training

ESTIMATORS = [LogisticRegression(), RandomForestClassifier(n_estimators=20)]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_answers_are_those_of_scikit_learn_for_every_row_of_the_holdout(api: given.Api, estimator: Any) -> None:
    frame = given.TRAINING.frame()
    labels = frames.target_of(frame["label"], task="binary")
    fitted = training.fit(estimator, frames.feature_frame(frame, given.FEATURES), labels, seed=1)
    holdout = frames.feature_frame(given.HOLDOUT.frame(), given.FEATURES)
    api.serve(given.bundle(estimator))

    answer = api.client.post("/predict", json={"values": holdout.to_numpy().tolist()}).json()

    sure = np.ptp(fitted.predict_proba(holdout), axis=1) > 2e-5  # a tie may fall either way
    assert sure.sum() > 150
    assert np.array_equal(np.array(answer["predictions"])[sure], fitted.predict(holdout)[sure])
    assert np.allclose(answer["probabilities"], fitted.predict_proba(holdout), rtol=0, atol=1e-5)
    assert answer["classes"] == [0, 1]


def test_a_regression_answers_numbers_and_no_probabilities(api: given.Api) -> None:
    api.serve(given.bundle(task="regression"))

    answer = api.client.post("/predict", json={"x": 0.5, "y": 0.25}).json()

    assert answer["predictions"] == pytest.approx([1.75], abs=1e-4)
    assert answer["probabilities"] is None
    assert answer["classes"] is None


def test_content_header_and_current_model_name_the_same_version(api: given.Api) -> None:
    api.serve(given.bundle())

    answer = api.client.post("/predict", json={"x": 0.5, "y": 0.25})

    assert answer.json()["model"] == "rain"
    assert answer.headers["Model-Version"] == answer.json()["version"] == "1"
    assert api.client.get("/current_model").headers["ETag"] == '"1"'


def test_every_answer_is_on_record_under_its_id(tmp_path: Any) -> None:
    with given.api(tmp_path) as api:
        api.serve(given.bundle())
        answer = api.client.post("/predict", json={"records": [{"x": 0.5, "y": 0.25}, {"x": 0.1, "y": 0.1}]})
        records = api.service.records
        api.service.recorder.stop()
        record = records.get(answer.json()["prediction_id"])

    assert record.rows == [[0.5, 0.25], [0.1, 0.1]]
    assert record.answer.predictions == answer.json()["predictions"]
    assert np.array(record.answer.probabilities) == pytest.approx(np.array(answer.json()["probabilities"]), abs=1e-7)
    assert (record.model, record.version, record.role) == ("rain", "1", None)


def test_every_answer_carries_a_request_id_and_no_two_are_alike(api: given.Api) -> None:
    api.serve(given.bundle())

    ids = {api.client.post("/predict", json={"x": 0.5, "y": 0.25}).headers["X-Request-Id"] for _ in range(20)}
    problem = api.client.post("/predict", json={})

    assert len(ids) == 20
    assert problem.json()["request_id"] == problem.headers["X-Request-Id"]


def test_the_schema_and_the_example_at_docs_are_the_champions_own_and_follow_a_promotion(api: given.Api) -> None:
    api.serve(given.bundle())
    before = schema(api)
    api.register(given.bundle(names=("wind", "hum idity")))
    api.promote("2", override="other columns")

    after = schema(api)
    answer = api.client.post("/predict", json=after["example"])

    assert list(before["example"]) == ["x", "y"]
    assert list(after["example"]) == ["wind", "hum idity"]
    assert answer.status_code == 200


def schema(api: given.Api) -> Any:
    operation = api.client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    return operation["requestBody"]["content"]["application/json"]["schema"]


def test_the_docs_page_needs_nothing_from_another_host(api: given.Api) -> None:
    page = api.client.get("/docs").text
    assets = [
        api.client.get(f"/docs/{name}") for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
    ]

    assert "https://" not in page
    assert [asset.status_code for asset in assets] == [200, 200, 200]
    assert api.client.get("/docs/nothing.js").status_code == 404
