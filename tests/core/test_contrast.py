"""What two versions say of themselves, side by side."""

import numpy as np
import pytest

from understudy.contrast import Change, answer_changes, changes, metric_changes, source_changes


def test_only_what_differs_is_listed_and_what_one_side_lacks_stands_beside_nothing() -> None:
    found = changes({"C": 1.0, "penalty": "l2", "old": None}, {"C": 0.5, "penalty": "l2", "new": [1, 2]})

    assert found == (
        Change(name="C", then="1.0", now="0.5"),
        Change(name="new", then=None, now="[1, 2]"),
        Change(name="old", then="null", now=None),
    )


def test_a_value_that_json_cannot_hold_is_shown_all_the_same() -> None:
    assert changes({"kernel": complex(1, 2)}, {"kernel": 3})[0].then == "(1+2j)"


@pytest.mark.parametrize(
    ("name", "then", "now", "says"),
    [
        ("accuracy", 0.8, 0.9, "better"),
        ("accuracy", 0.9, 0.8, "worse"),
        ("log_loss", 0.8, 0.9, "worse"),
        ("log_loss", 0.9, 0.8, "better"),
        ("mae", 3.0, 3.0, "same"),
        ("of_next_year", 1.0, 2.0, None),
    ],
)
def test_a_metric_is_better_in_its_own_direction(name: str, then: float, now: float, says: str | None) -> None:
    (found,) = metric_changes({name: then}, {name: now})

    assert found.says == says


def test_a_metric_that_one_version_lacks_says_nothing() -> None:
    (found,) = metric_changes({}, {"auc": 0.7})

    assert (found.then, found.says) == (None, None)


def test_the_lines_that_differ_are_shown_file_by_file() -> None:
    then = {"rain.py": "a\nb\nc\nd\n", "helper.py": "x\n"}

    assert source_changes(then, then) == ()
    assert source_changes(then, {"rain.py": "a\nb\nc\nD\n"}) == (
        "--- then/helper.py",
        "+++ /dev/null",
        "@@ -1 +0,0 @@",
        "-x",
        "--- then/rain.py",
        "+++ now/rain.py",
        "@@ -3,2 +3,2 @@",
        " c",
        "-d",
        "+D",
    )


def test_probabilities_are_apart_by_the_share_that_has_moved_and_numbers_by_their_difference() -> None:
    then, now = np.array([[0.8, 0.2], [1.0, 0.0], [np.nan] * 2]), np.array([[0.5, 0.5], [0.0, 1.0], [0.5, 0.5]])

    assert np.allclose(answer_changes(then, now), [0.3, 1.0, np.nan], equal_nan=True)
    assert np.allclose(answer_changes(np.array([1.0, 5.0]), np.array([3.0, 5.0])), [2.0, 0.0])
