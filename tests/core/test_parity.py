"""When two answers are the same."""

import math

import pytest

from understudy.parity import Answer, compare

CLASSES = ("no", "yes")


def binary(*probabilities: float, labels: list[str] | None = None) -> Answer:
    pairs = [[1 - p, p] for p in probabilities]
    return Answer(labels or ["yes" if p > 0.5 else "no" for p in probabilities], pairs)


def test_equal_answers_agree() -> None:
    found = compare(binary(0.2, 0.9), binary(0.2, 0.9), classes=CLASSES, scale=1.0)

    assert (found.problem, found.worst) == (None, 0.0)


@pytest.mark.parametrize(("apart", "agrees"), [(0.9e-5, True), (1.1e-5, False)])
def test_probabilities_agree_to_one_in_a_hundred_thousand(apart: float, agrees: bool) -> None:
    found = compare(binary(0.2), binary(0.2 + apart), classes=CLASSES, scale=1.0)

    assert (found.problem is None) == agrees
    assert found.worst == pytest.approx(apart)


def test_a_label_may_differ_only_where_the_two_top_classes_are_nearly_equal() -> None:
    tie, clear = 0.5 + 0.9e-5, 0.5 + 1.1e-5

    assert compare(binary(tie), binary(tie, labels=["no"]), classes=CLASSES, scale=1.0).problem is None
    found = compare(binary(clear), binary(clear, labels=["no"]), classes=CLASSES, scale=1.0)
    assert found.problem == "1 of 1 labels differ"


def test_a_label_of_another_type_differs_even_where_python_calls_it_equal() -> None:
    ours, theirs = Answer([True], [[0.1, 0.9]]), Answer([1], [[0.1, 0.9]])

    assert compare(ours, theirs, classes=(False, True), scale=1.0).problem == "1 of 1 labels differ"


@pytest.mark.parametrize(
    ("expected", "given", "scale", "agrees"),
    [
        (1e6, 1e6 + 9, 1.0, True),  # of the value
        (1e6, 1e6 + 11, 1.0, False),
        (0.0, 0.0009, 100.0, True),  # of the target's standard deviation
        (0.0, 0.0011, 100.0, False),
        (0.0, 0.0, 0.0, True),
        (0.0, 1e-9, 0.0, False),
    ],
)
def test_a_regression_agrees_relative_to_the_value_or_the_spread_of_the_target(
    expected: float, given: float, scale: float, agrees: bool
) -> None:
    found = compare(Answer([expected], None), Answer([given], None), classes=None, scale=scale)

    assert (found.problem is None) == agrees


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_not_finite_never_agree(bad: float) -> None:
    of_classes = compare(binary(0.5), Answer(["no"], [[bad, bad]]), classes=CLASSES, scale=1.0)
    of_numbers = compare(Answer([bad], None), Answer([bad], None), classes=None, scale=1.0)

    assert of_classes.problem == of_numbers.problem == "it answers with numbers that are not finite"


def test_another_shape_never_agrees() -> None:
    problem = "it answers with another shape"

    assert compare(binary(0.5), binary(0.5, 0.5), classes=CLASSES, scale=1.0).problem == problem
    assert compare(binary(0.5), Answer(["no"], None), classes=CLASSES, scale=1.0).problem == problem
    assert compare(binary(0.5), Answer([], [[0.5, 0.5]]), classes=CLASSES, scale=1.0).problem == problem
    assert compare(Answer([1.0], None), Answer([1.0, 1.0], None), classes=None, scale=1.0).problem == problem
