"""What can be said of a definition and its columns before anything is fitted."""

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor

from understudy import Model
from understudy.checks import Described, DescribedColumn, check_columns

if TYPE_CHECKING:
    import pandas as pd


class Source:
    def get_dataframe(self, as_of: datetime | None) -> "pd.DataFrame":
        raise AssertionError("what the source gives is described already")


def column(name: object, **given: Any) -> DescribedColumn:
    plain = DescribedColumn(name=name, kind="number", dtype="float64", nulls=0, distinct=500, counts=False)
    return replace(plain, **given)


def complaints(*columns: DescribedColumn, rows: int = 1000, **given: Any) -> list[tuple[str, bool]]:
    """Problems, and whether each one stops, of a model of `y`."""
    parts: dict[str, Any] = {"name": "rain", "source": Source(), "target": "y", "estimator": DummyClassifier()}
    found = check_columns(Model(**{**parts, **given}), Described(rows=rows, columns=columns))
    assert all(complaint.remedy for complaint in found)
    return [(complaint.problem, complaint.stops) for complaint in found]


Y = column("y", kind="integer", dtype="int64", distinct=2)
A = column("a")


def test_a_sound_definition_gets_no_complaint() -> None:
    assert complaints(Y, A, column("b", kind="text", dtype="str", distinct=3)) == []


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ((Y, A, column(5)), "A column is named 5."),
        ((Y, A, A), "Two columns are named `a`."),
        ((A,), "The source gives no column `y`, the model's target."),
        ((Y,), "No column is left to learn from."),
        ((replace(Y, distinct=1), A), "The target `y` always says the same."),
        ((replace(Y, nulls=900), A), "100 rows have a label, 200 are the least: half to fit, half to judge by."),
        ((Y, column("records")), "A feature is named `records`, a word that a request uses for itself."),
        ((Y, column("values")), "A feature is named `values`, a word that a request uses for itself."),
        ((Y, A, column("b", nulls=1000, distinct=0)), "`b` is null in every row."),
        (
            (Y, A, column("b", kind=None, dtype="datetime64[us]")),
            "`b` holds datetime64[us], which no request can send.",
        ),
    ],
)
def test_what_makes_training_or_serving_impossible_stops(columns: tuple[DescribedColumn, ...], problem: str) -> None:
    assert complaints(*columns) == [(problem, True)]


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ((Y, A, column("row", kind="integer", counts=True)), "`row` counts the rows"),
        ((Y, A, column("who", kind="text", distinct=990)), "The text `who` is different in most rows"),
        ((Y, A, column("b", distinct=1)), "`b` always says the same"),
        ((replace(Y, distinct=300), A), "The target `y` has 300 different values, each of them a class"),
    ],
)
def test_what_is_only_unwise_is_said_and_does_not_stop(columns: tuple[DescribedColumn, ...], problem: str) -> None:
    [(said, stops)] = complaints(*columns)

    assert said.startswith(problem)
    assert not stops


def test_time_and_key_must_be_there_and_are_no_features() -> None:
    time, key = column("when", kind=None, dtype="datetime64[us, UTC]"), column("id", kind="integer", counts=True)

    assert complaints(Y, A, time, key, time="when", key="id") == []
    assert [problem for problem, _ in complaints(Y, A, time="when", key="id")] == [
        "The source gives no column `when`, the model's time.",
        "The source gives no column `id`, the model's key.",
    ]


def test_a_misspelt_column_to_drop_or_to_limit_is_said() -> None:
    found = complaints(Y, A, drop=["dat"], ranges={"hpa": (0, 1)})

    assert found == [
        ("`drop` names a column `dat` that the source does not give.", False),
        ("`ranges` names a column `hpa` that the source does not give.", False),
    ]


def test_a_misspelt_column_with_a_tag_stops() -> None:
    assert complaints(Y, A, tags={"a": "personal", "emial": "personal"}) == [
        ("`tags` names a column `emial` that the source does not give.", True)
    ]


def test_a_regression_of_text_stops() -> None:
    found = complaints(column("y", kind="text", dtype="str"), A, estimator=DummyRegressor())

    assert found == [("The target `y` of a regression holds str, not numbers.", True)]
