"""Labels that nothing should be judged by."""

import numpy as np
import pytest

from understudy.label_quality import FEWEST, Sample, distance_of_classes, distance_of_numbers, doubt
from understudy.signature import Value


def labels(n: int, share: float, seed: int = 0) -> list[Value]:
    return [int(one < share) for one in np.random.default_rng(seed).uniform(size=n)]


HOLDOUT = labels(700, 0.3)


def of(found: list[Value], disputed: int = 0, *references: list[Value]) -> str | None:
    return doubt(Sample(found, disputed), references or [HOLDOUT], numbers=False)


@pytest.mark.fault(76)
def test_rows_with_two_different_labels_are_doubted_beyond_one_in_twenty() -> None:
    assert of(labels(1000, 0.3, 1), 50) is None
    assert "100 of 1000 rows were given two" in str(of(labels(1000, 0.3, 1), 100))
    assert of(labels(60, 0.3, 1), 4) is None


@pytest.mark.fault(76)
@pytest.mark.parametrize("wrong", [[1] * 200, [1 - int(label or 0) for label in labels(500, 0.05)]])
def test_labels_of_another_world_are_doubted(wrong: list[Value]) -> None:
    assert "distributed quite otherwise" in str(of(wrong))


@pytest.mark.parametrize(("share", "noticed"), [(0.1, True), (0.3, False), (0.5, False)])
def test_swapped_classes_are_noticed_only_where_one_was_rare(share: float, noticed: bool) -> None:
    """The limit that docs/decisions/0030-labels.md names: the other ones look like a world that has turned over."""
    swapped: list[Value] = [1 - int(label or 0) for label in labels(FEWEST, share, 1)]

    assert (of(swapped, 0, labels(700, share)) is not None) is noticed


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.6])
def test_a_world_that_moves_is_judged_by(share: float) -> None:
    assert of(labels(1000, share, 1)) is None


def test_a_world_that_has_moved_by_steps_is_compared_with_what_was_judged_last() -> None:
    assert of(labels(500, 0.9, 1), 0, HOLDOUT, labels(500, 0.8, 2)) is None
    assert of(labels(500, 0.9, 1), 0, HOLDOUT, []) is not None


def test_few_labels_say_nothing_and_without_a_reference_only_disputes_count() -> None:
    assert of([1] * (FEWEST - 1)) is None
    assert of([1] * 500, 0, []) is None
    assert of([1] * 500, 400, []) is not None


def test_numbers_are_compared_by_their_distributions() -> None:
    chance = np.random.default_rng(0)
    holdout = chance.normal(10, 2, 700).tolist()

    assert doubt(Sample(chance.normal(11, 2, 300).tolist(), 0), [holdout], numbers=True) is None
    assert doubt(Sample((chance.normal(10, 2, 300) * 1.8).tolist(), 0), [holdout], numbers=True) is not None


def test_chance_alone_is_no_distance() -> None:
    chance = np.random.default_rng(1)
    classes = [distance_of_classes(labels(300, 0.3, i), labels(700, 0.3, i + 1000)) for i in range(200)]
    numbers = [
        distance_of_numbers(chance.normal(size=300).tolist(), chance.normal(size=700).tolist()) for _ in range(200)
    ]

    assert np.mean(np.array(classes) > 0) < 0.08
    assert np.mean(np.array(numbers) > 0) < 0.08
