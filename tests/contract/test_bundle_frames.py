"""Between data frames and signatures: kinds, dtypes and the frame of a request."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from understudy.adapters import frames
from understudy.errors import BadDefinition, DataRefused
from understudy.signature import Column


def features_of(frame: pd.DataFrame) -> pd.DataFrame:
    return frames.feature_frame(frame, [str(name) for name in frame])


def kinds(**columns: Any) -> dict[str, str]:
    frame = pd.DataFrame(columns)
    return {column.name: column.kind for column in frames.learn_columns(features_of(frame))}


def test_columns_come_in_four_kinds() -> None:
    found = kinds(
        a=[1.5, None],
        b=np.array([1, 2], dtype="int8"),
        c=[True, False],
        d=["x", None],
        e=pd.array([1, None], dtype="Int64"),
        f=pd.array([1, 2], dtype="Int64"),
        g=np.array([1, 2], dtype="float32"),
        h=pd.array(["x", None], dtype="string"),
        i=np.array(["x", None], dtype=object),
        j=pd.array([True, False], dtype="boolean"),
        k=[None, None],
    )

    assert found == {
        "a": "number",
        "b": "integer",
        "c": "boolean",
        "d": "text",
        "e": "number",
        "f": "integer",
        "g": "number",
        "h": "text",
        "i": "text",
        "j": "boolean",
        "k": "text",
    }


@pytest.mark.parametrize(
    "values",
    [
        pd.to_datetime(["2026-01-01", "2026-01-02"]),
        pd.Categorical(["a", "b"]),
        pd.Categorical([True, False]),
        np.array([1, "a"], dtype=object),
        np.array([True, None], dtype=object),
        pd.array([True, None], dtype="boolean"),
        np.array([2**63, 1], dtype="uint64"),
        [1j, 2j],
        pd.to_timedelta(["1 day", "2 days"]),
    ],
    ids=lambda values: str(getattr(values, "dtype", "complex")),
)
def test_a_dtype_that_no_request_can_send_is_refused_with_the_way_out(values: Any) -> None:
    with pytest.raises(BadDefinition, match=r"`moment` holds values of type .* Make it numbers or text in the source"):
        kinds(moment=values)


@pytest.mark.parametrize("value", [1e17, -1e300, np.inf])
def test_a_number_that_no_request_can_send_is_refused_with_the_way_out(value: float) -> None:
    with pytest.raises(DataRefused, match=r"`big` holds numbers beyond .* Use another unit"):
        kinds(big=[1.0, value, None])


@pytest.mark.parametrize("name", ["records", "values"])
def test_a_name_that_requests_use_themselves_is_refused(name: str) -> None:
    with pytest.raises(BadDefinition, match=f"No feature can be named `{name}`"):
        kinds(**{name: [1.0]})


def test_a_column_that_is_not_there_or_there_twice_is_refused() -> None:
    twice = pd.DataFrame([[1.0, 2.0]], columns=["a", "a"])

    for frame, name in ((twice, "a"), (twice, "b")):
        with pytest.raises(BadDefinition, match="hold no column"):
            frames.feature_frame(frame, [name])
    with pytest.raises(BadDefinition, match="A column is named 3"):
        frames.feature_frame(pd.DataFrame({3: [1.0]}), [3])  # type: ignore[list-item]


def test_examples_are_medians_and_the_most_frequent_values() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 10.0], "b": [1, 2, 9], "c": ["y", "y", "x"], "d": [True, True, False]})

    columns = frames.learn_columns(features_of(frame))

    assert [column.example for column in columns] == [2.0, 2, "y", True]


def test_a_column_without_any_value_has_no_example() -> None:
    frame = pd.DataFrame({"a": [np.nan, np.nan]})

    assert frames.learn_columns(frames.feature_frame(frame, ["a"]))[0].example is None


def test_a_request_of_one_row_has_the_dtypes_of_the_training() -> None:
    frame = pd.DataFrame({"a": [1.5, None], "b": [1, 2], "c": [True, False], "d": ["x", None]})
    features = features_of(frame)
    columns = frames.learn_columns(features)

    for row in frames.rows_of(features):
        assert frames.request_frame(columns, [row]).dtypes.to_dict() == features.dtypes.to_dict()


def test_a_frame_goes_to_rows_and_back_unchanged() -> None:
    frame = pd.DataFrame({"a": [1.5, None], "b": [1, 2], "c": [True, False], "d": ["x", None]})
    features = features_of(frame)

    rows = frames.rows_of(features)

    assert rows == [[1.5, 1, True, "x"], [None, 2, False, None]]
    pd.testing.assert_frame_equal(frames.request_frame(frames.learn_columns(features), rows), features)


def test_a_null_among_integers_or_booleans_makes_their_column_floats_as_in_pandas() -> None:
    columns = [
        Column(name="a", kind="integer", dtype="int64", nullable=True, example=1),
        Column(name="b", kind="boolean", dtype="bool", nullable=True, example=True),
    ]

    frame = frames.request_frame(columns, [[1, None], [None, True]])

    assert frame.dtypes.astype(str).to_dict() == {"a": "float64", "b": "float64"}
    assert frame["a"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("column", "values", "classes"),
    [
        (pd.Series(["b", "a", "b"]), ["b", "a", "b"], ("a", "b")),
        (pd.Series([1, 0, 1], dtype="int8"), [1, 0, 1], (0, 1)),
        (pd.Series([1.0, 0.0]), [1, 0], (0, 1)),
        (pd.Series([True, False]), [True, False], (False, True)),
    ],
)
def test_labels_keep_their_type_and_whole_floats_are_integers(
    column: "pd.Series[Any]", values: list[Any], classes: tuple[Any, ...]
) -> None:
    target = frames.target_of(column, task="binary")

    assert (target.values.tolist(), target.classes) == (values, classes)
    assert [type(value) for value in target.values.tolist()] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("column", "task", "problem"),
    [
        (pd.Series([1.0, None], name="y"), "regression", "holds nulls"),
        (pd.Series(["a", "b"], name="y"), "regression", "not numbers"),
        (pd.Series([0.5, 1.5], name="y"), "binary", "cannot be class labels"),
        (pd.Series(pd.to_datetime(["2026-01-01"]), name="y"), "binary", "cannot be class labels"),
    ],
)
def test_a_target_that_does_not_fit_its_task_is_refused(column: "pd.Series[Any]", task: Any, problem: str) -> None:
    with pytest.raises(BadDefinition, match=f"`y` .*{problem}"):
        frames.target_of(column, task=task)
