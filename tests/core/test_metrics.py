"""Metrics agree with their definitions, and with the library that people check them against."""

import numpy as np
import pytest
from sklearn import metrics as judge

from understudy.metrics import METRICS, brier_per_row, default_metric, measure, metrics_for, ranks

RNG = np.random.default_rng(7)


def test_binary_metrics_are_those_of_scikit_learn() -> None:
    p = RNG.uniform(size=500)
    labels = (RNG.uniform(size=500) < p).astype(np.int64)

    found = measure("binary", np.column_stack([1 - p, p]), labels)

    assert found == pytest.approx(
        {
            "accuracy": judge.accuracy_score(labels, p > 0.5),
            "auc": judge.roc_auc_score(labels, p),
            "brier": judge.brier_score_loss(labels, p),
            "log_loss": judge.log_loss(labels, p),
        }
    )


def test_multiclass_metrics_are_those_of_scikit_learn() -> None:
    p = RNG.dirichlet([1, 2, 3], size=500)
    labels = np.array([RNG.choice(3, p=row) for row in p])

    found = measure("multiclass", p, labels)

    assert found["accuracy"] == pytest.approx(judge.accuracy_score(labels, p.argmax(axis=1)))
    assert found["log_loss"] == pytest.approx(judge.log_loss(labels, p))
    assert found["brier"] == pytest.approx(np.mean(np.sum((p - np.eye(3)[labels]) ** 2, axis=1)))


def test_regression_metrics_are_those_of_scikit_learn() -> None:
    labels = RNG.normal(size=300)
    outputs = labels + RNG.normal(size=300)

    found = measure("regression", outputs, labels)

    assert found == pytest.approx(
        {
            "mae": judge.mean_absolute_error(labels, outputs),
            "rmse": judge.root_mean_squared_error(labels, outputs),
            "r2": judge.r2_score(labels, outputs),
        }
    )


def test_auc_counts_ties_as_half_and_one_class_alone_as_chance() -> None:
    tied = np.full((4, 2), 0.5)

    assert METRICS["auc"].of(tied, np.array([0, 1, 0, 1])) == 0.5
    assert METRICS["auc"].of(tied, np.array([1, 1, 1, 1])) == 0.5


def test_r2_of_labels_that_do_not_vary_is_nothing() -> None:
    assert METRICS["r2"].of(np.zeros(3), np.ones(3)) == 0.0


def test_a_label_that_is_none_of_the_classes_was_given_no_probability() -> None:
    outputs = np.array([[0.25, 0.75]])

    assert brier_per_row(outputs, np.array([-1]))[0] == pytest.approx((0.25**2 + 0.75**2 + 1) / 2)
    assert METRICS["accuracy"].of(outputs, np.array([-1])) == 0.0


def test_a_certain_and_wrong_row_is_no_infinity() -> None:
    assert np.isfinite(METRICS["log_loss"].of(np.array([[1.0, 0.0]]), np.array([1])))


def test_equal_values_share_their_mean_rank() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_metric_that_is_reported_by_default_fits_its_task(task: str) -> None:
    assert default_metric(task) in metrics_for(task)  # type: ignore[arg-type]  # a parametrised literal
