"""A definition is refused where it is written, in words that say what to write instead."""

import dataclasses
import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from understudy import Limits, Model, Promotion, Schedule
from understudy.compare import LOSSES
from understudy.errors import BadDefinition
from understudy.metrics import METRICS, metrics_for
from understudy.signature import Task

if TYPE_CHECKING:
    import pandas as pd


class Nothing:
    def get_dataframe(self, as_of: datetime | None) -> "pd.DataFrame":
        raise AssertionError("a definition is made without asking its source")


class Learner:
    """No type, no tags: what somebody wrote who does not know scikit-learn."""

    def fit(self, rows: Any, labels: Any) -> "Learner":
        return self

    def predict(self, rows: Any) -> list[float]:
        return [0.0] * len(rows)


def model(**given: Any) -> Model:
    parts: dict[str, Any] = {"name": "rain", "source": Nothing(), "target": "y", "estimator": DummyClassifier()}
    return Model(**{**parts, **given})


def test_what_is_left_out_has_a_careful_default() -> None:
    written = model()

    assert written.metric == "log_loss"
    assert written.retrain == Schedule.every(days=1)
    assert written.promotion == Promotion(mode="auto", bar=0.8)
    assert written.not_features == {"y"}


def test_a_pipeline_that_ends_in_a_regressor_is_a_regression() -> None:
    written = model(estimator=make_pipeline(StandardScaler(), DummyRegressor()))

    assert (written.task, written.metric) == ("regression", "mae")


def test_a_classifier_is_binary_or_multiclass_once_its_classes_are_counted() -> None:
    assert model().task is None
    assert [model().task_for(classes) for classes in (2, 3)] == ["binary", "multiclass"]
    assert model(task="multiclass").task_for(2) == "multiclass"


def test_the_clock_the_key_and_what_is_dropped_are_no_features() -> None:
    assert model(time="when", key="id", drop=["note"]).not_features == {"y", "when", "id", "note"}


def test_a_definition_becomes_the_same_json_in_every_process() -> None:
    text = json.dumps(model(promotion="propose", ranges={"hpa": (800, None)}, description="Rain?").to_json())

    assert "0x" not in text
    assert json.loads(text) == {
        "name": "rain",
        "description": "Rain?",
        "target": "y",
        "time": None,
        "key": None,
        "drop": [],
        "task": None,
        "metric": "log_loss",
        "schedule": {"every_s": 86400},
        "promotion": Promotion(mode="propose").to_json(),
        "ranges": {"hpa": [800, None]},
        "source": text.split('"source": "')[1][:-2],
    }


def test_a_policy_survives_json() -> None:
    policy = Promotion(
        mode="propose", bar=0.95, floors={"accuracy": 0.7}, max_latency_ms=5, max_size_mb=10, loss="brier"
    )

    assert Promotion.from_json(policy.to_json()) == policy


@pytest.mark.parametrize("data", [{"bars": 0.8}, {"bar": "0.8"}, {"floors": 3}, {"mode": "always"}])
def test_what_is_no_policy_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(BadDefinition):
        Promotion.from_json(data)


@pytest.mark.parametrize("name", ["", "Rain", "ra in", "../rain", "-rain", "r" * 49, "régen", "rain\n", 5, None])
@pytest.mark.fault(86)
def test_a_name_that_could_be_mistaken_for_something_else_is_refused(name: Any) -> None:
    with pytest.raises(BadDefinition, match="cannot be the name"):
        model(name=name)


@pytest.mark.parametrize("name", ["r", "rain-2.1_b", "0", "r" * 48])
def test_short_plain_names_are_fine(name: str) -> None:
    assert model(name=name).name == name


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"source": "rain.csv"}, "no method `get_dataframe"),
        ({"source": Nothing}, "no method `get_dataframe"),
        ({"estimator": StandardScaler()}, "no method `predict`"),
        ({"estimator": DummyClassifier}, "or it is a class"),
        ({"estimator": Learner()}, "cannot be told whether"),
        ({"task": "regression"}, "The estimator is a classifier, and the task is regression"),
        ({"task": "ranking"}, "`ranking` is no task"),
        ({"metric": "mae"}, "`mae` does not fit a classification"),
        ({"metric": "f17"}, "no metric `f17`"),
        ({"task": "multiclass", "metric": "auc"}, "`auc` does not fit a multiclass"),
        ({"retrain": "hourly"}, "`retrain` is no schedule"),
        ({"promotion": "always"}, "`always` is no way to promote"),
        ({"promotion": Promotion(floors={"r2": 0.5})}, "`r2` does not fit a classification"),
        ({"promotion": Promotion(loss="squared")}, "`squared` does not fit a classification"),
        ({"target": ""}, "`target` names no column"),
        ({"time": ""}, "`time` names no column"),
        ({"time": "y"}, "cannot be the target and something else"),
        ({"drop": ["y"]}, "cannot be the target and something else"),
        ({"ranges": {"a": (1, 0)}}, "The range of `a`"),
        ({"ranges": {"a": 3}}, "The range of `a`"),
        ({"ranges": {"a": (float("nan"), 1)}}, "The range of `a`"),
        ({"description": 3}, "`description` is no text"),
    ],
)
def test_a_definition_that_cannot_be_trained_from_says_what_is_wrong(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadDefinition, match=problem) as caught:
        model(**given)

    assert caught.value.remedy


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"bar": 0.4}, "`bar` is a confidence"),
        ({"bar": 1.0}, "`bar` is a confidence"),
        ({"bar": True}, "`bar` is a confidence"),
        ({"floors": {"lift": 1.0}}, "no metric `lift`"),
        ({"floors": {"accuracy": float("inf")}}, "floor of `accuracy` is no number"),
        ({"max_latency_ms": 0}, "`max_latency_ms` must be more than 0"),
        ({"max_size_mb": -1}, "`max_size_mb` must be more than 0"),
        ({"loss": "hinge"}, "`hinge` is no loss"),
    ],
)
def test_a_policy_that_means_nothing_is_refused(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadDefinition, match=problem):
        Promotion(**given)


@pytest.mark.parametrize(("task", "estimator"), [("binary", DummyClassifier()), ("regression", DummyRegressor())])
def test_every_metric_and_loss_of_a_task_can_be_chosen_and_no_other(task: Task, estimator: Any) -> None:
    for metric in METRICS:
        fits = metric in metrics_for(task)
        assert _can_be_made(estimator=estimator, metric=metric, task=task) == fits
        assert _can_be_made(estimator=estimator, promotion=Promotion(floors={metric: 0.5}), task=task) == fits
    for losses in LOSSES.values():
        for loss in losses:
            fits = loss in LOSSES[task]
            assert _can_be_made(estimator=estimator, promotion=Promotion(loss=loss), task=task) == fits


def _can_be_made(**given: Any) -> bool:
    try:
        model(**given)
    except BadDefinition:
        return False
    return True


def test_naming_a_model_does_not_import_what_trains_it() -> None:
    code = "import sys, understudy; print(sorted({'pandas', 'sklearn', 'numpy'} & set(sys.modules)))"

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )

    assert answer.stdout.strip() == "[]"


def test_a_definition_without_tags_is_the_one_that_earlier_releases_recorded() -> None:
    assert "tags" not in model().to_json()


def test_a_column_may_carry_one_tag_or_several() -> None:
    written = model(tags={"name": "personal", "salary": ["personal", "finance", "finance"], "age": []})

    assert written.to_json()["tags"] == {"name": ["personal"], "salary": ["finance", "personal"]}


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        (["name"], "`tags` is no mapping"),
        ({"": "personal"}, "`tags` names no column"),
        ({"name": 1}, "`name` carries something that is no tag"),
        ({"name": "Personal Data"}, "`name` carries something that is no tag"),
        ({"name": ["personal", None]}, "`name` carries something that is no tag"),
    ],
)
def test_what_is_no_tag_is_refused(tags: Any, problem: str) -> None:
    with pytest.raises(BadDefinition, match=problem):
        model(tags=tags)


def test_a_policy_that_uses_nothing_new_is_the_one_that_is_recorded_already() -> None:
    assert set(Promotion().to_json()) == {"mode", "bar", "floors", "max_latency_ms", "max_size_mb", "loss"}
    assert not {"slices", "protected", "max_age_s", "tags"} & set(model().to_json())


def test_what_came_later_is_recorded_and_read_back() -> None:
    def cost(labels: Any, outputs: Any) -> Any:
        return labels - outputs

    policy = Promotion(refit="off", cannot_tell="promote", loss=cost, limits=Limits(error_share=0.1, outputs=(0, 9)))
    recorded = policy.to_json()
    assert recorded["limits"] == {"error_share": 0.1, "outputs": [0, 9]}
    assert recorded["loss"] == "own:cost"
    again = Promotion.from_json(json.loads(json.dumps(recorded)))
    assert again == dataclasses.replace(policy, loss="own:cost")
    assert again.to_json() == recorded


def test_protected_columns_are_never_features_and_slices_may_be() -> None:
    judged = model(slices="region", protected=("sex",), max_age=timedelta(days=30))
    assert "sex" in judged.not_features
    assert "region" not in judged.not_features
    assert judged.to_json()["slices"] == ["region"]
    assert judged.to_json()["max_age_s"] == 2_592_000


@pytest.mark.parametrize(
    "given",
    [{"slices": ("y",)}, {"slices": ("a", "a")}, {"slices": ("a",), "protected": ("a",)}, {"max_age": timedelta(0)}],
)
def test_slices_that_name_the_target_or_a_column_twice_are_none(given: dict[str, Any]) -> None:
    with pytest.raises(BadDefinition):
        model(**given)


@pytest.mark.parametrize(
    "given",
    [{"error_share": 1.0}, {"invalid_share": -0.1}, {"latency_ms": 0}, {"outputs": (3, 1)}, {"class_sd": True}],
)
def test_limits_that_are_none_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(BadDefinition):
        Limits(**given)
