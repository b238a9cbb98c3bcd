"""A loss of the owner's: called on rows that were answered, and believed only where it gives a number for each."""

from typing import Any

import numpy as np
import pytest

from understudy.adapters.own_loss import depends, filled, per_row
from understudy.errors import BadDefinition
from understudy.metrics import FloatArray
from understudy.policy import OwnLoss

LABELS = np.array(["dry", "wet", "wet", "dry"], dtype=object)
OUTPUTS = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])


def missed_rain(labels: Any, outputs: FloatArray) -> FloatArray:
    """Rain that nobody expected costs 10, an umbrella for nothing 1."""
    wet, expected = labels == "wet", outputs[:, 1] > 0.5
    return np.asarray(10.0 * (wet & ~expected) + (~wet & expected))


def raises(labels: Any, outputs: FloatArray) -> Any:
    return labels["cost"]


def one_number(labels: Any, outputs: FloatArray) -> Any:
    return outputs.mean()


def a_column(labels: Any, outputs: FloatArray) -> Any:
    return outputs


def texts(labels: Any, outputs: FloatArray) -> Any:
    return labels


def infinite(labels: Any, outputs: FloatArray) -> Any:
    return np.where(outputs[:, 1] > 0.5, np.inf, 1.0)


def beside_the_mean(labels: Any, outputs: FloatArray) -> Any:
    return outputs[:, 1] - outputs[:, 1].mean()


def destroys(labels: Any, outputs: FloatArray) -> Any:
    outputs[:] = 0.0
    return outputs[:, 0]


def test_each_row_gets_the_loss_that_the_function_gives_it() -> None:
    assert per_row(missed_rain, LABELS, OUTPUTS).tolist() == [0.0, 0.0, 10.0, 1.0]


def test_a_row_without_an_answer_has_no_loss_and_the_function_never_sees_it() -> None:
    outputs = filled([[0.9, 0.1], None, [0.6, 0.4], [0.3, 0.7]], 2)

    def strict(labels: Any, outputs: FloatArray) -> FloatArray:
        assert np.isfinite(outputs).all()
        return missed_rain(labels, outputs)

    found = per_row(strict, LABELS, outputs)

    assert np.isnan(found).tolist() == [False, True, False, False]
    assert np.isnan(per_row(strict, LABELS, filled([None] * 4, 2))).all()


@pytest.mark.parametrize(
    ("loss", "problem"),
    [
        (raises, "The loss `raises` raised IndexError: only integers"),
        (one_number, r"The loss `one_number` gave an array of shape \(\) for 4 rows"),
        (a_column, r"The loss `a_column` gave an array of shape \(4, 2\) for 4 rows"),
        (texts, "The loss `texts` raised ValueError: could not convert string to float"),
        (infinite, "The loss `infinite` gave no finite number for 2 of 4 rows"),
    ],
)
def test_a_function_that_is_no_loss_is_refused_with_what_to_write(loss: OwnLoss, problem: str) -> None:
    with pytest.raises(BadDefinition, match=problem) as refused:
        per_row(loss, LABELS, OUTPUTS)

    assert f"`def {loss.__name__}(labels, outputs)`" in refused.value.remedy


def test_a_function_cannot_change_what_it_is_shown() -> None:
    outputs = OUTPUTS.copy()

    per_row(destroys, LABELS, outputs)

    assert np.array_equal(outputs, OUTPUTS)


def test_a_loss_that_looks_at_the_rows_beside_it_is_found_out() -> None:
    assert depends(beside_the_mean, LABELS, OUTPUTS)
    assert not depends(missed_rain, LABELS, OUTPUTS)
