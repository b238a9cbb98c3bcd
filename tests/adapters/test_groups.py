"""Which group a held-out row belongs to, whatever its column holds."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.adapters.stream import at, model, rows
from understudy.adapters import recipe, snapshot
from understudy.adapters.groups import LONGEST, groups
from understudy.errors import BadDefinition
from understudy.events import timestamp

N, CUT = 500, 299
HELD_OUT = slice(CUT + 1, None)


def grouped(values: Any) -> list[str | None]:
    """The groups of the 200 held-out rows by a protected column that holds `values`."""
    frame = rows(N).assign(kind=values)
    of = model(frame, protected=("kind",))
    divided = recipe.divide(of, snapshot.read(snapshot.write(frame), of), timestamp(at(CUT)))
    return groups(of, divided)["kind"]


def test_a_text_is_its_own_group_and_null_is_one_too() -> None:
    values = [None if row % 3 else "north" for row in range(N)]

    assert grouped(values) == values[HELD_OUT]
    assert set(grouped(values)) == {"north", None}


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([True, False] * 250, {"True", "False"}),
        ([1, 2, 3, 4, 5] * 100, {"1", "2", "3", "4", "5"}),
        ([1, None, 3, 4, 5] * 100, {"1", None, "3", "4", "5"}),
        ([0.5, 1e-7] * 250, {"0.5", "1e-07"}),
        (pd.Categorical(["a", "b"] * 250), {"a", "b"}),
        (pd.to_datetime(pd.Series(["2026-01-01", None] * 250)), {"2026-01-01 00:00:00", None}),
        (pd.array([7, None] * 250, dtype="Int64"), {"7", None}),
    ],
)
def test_few_different_values_are_groups_as_they_are(values: Any, shown: set[str | None]) -> None:
    assert set(grouped(values)) == shown


@pytest.mark.parametrize("dtype", ["int64", "float64", "Int64", "Float64"])
def test_many_different_numbers_are_cut_into_quarters_of_the_fitted_rows(dtype: Any) -> None:
    values = pd.Series(np.arange(N)).astype(dtype)

    found = grouped(values)  # the fitted rows hold 0 to 299, the others 300 to 499

    assert set(found) == {"224.2 or more"}
    assert set(grouped(values % 300)) == {"below 74.75", "74.75 to 149.5", "149.5 to 224.2"}


def test_a_number_that_is_missing_is_in_no_quarter() -> None:
    values = np.where(np.arange(N) % 2, np.arange(N) % 300, np.nan)

    found = grouped(values)

    assert found[0] is None
    assert found[1] is not None
    assert len(set(found)) > 2


def test_quarters_that_are_one_number_are_fewer() -> None:
    values = np.where(np.arange(N) % 10, 0, np.arange(N))

    assert set(grouped(values)) == {"0 or more"}


def test_a_long_text_is_cut_to_what_evidence_keeps() -> None:
    (found,) = set(grouped(["x" * 300] * N))

    assert found == "x" * (LONGEST - 1) + "…"


def test_protected_columns_are_grouped_by_as_well_and_are_no_features() -> None:
    frame = rows(N).assign(sex=["f", "m"] * 250)
    of = model(frame, slices=("city",), protected=("sex",))
    divided = recipe.divide(of, snapshot.read(snapshot.write(frame), of), timestamp(at(CUT)))

    assert set(groups(of, divided)) == {"city", "sex"}
    assert list(divided.features) == ["x", "y"]


def test_a_column_that_the_source_does_not_give_is_said() -> None:
    frame = rows(N)
    of = model(frame, protected=("sex",))
    divided = recipe.divide(of, snapshot.read(snapshot.write(frame), of), timestamp(at(CUT)))

    with pytest.raises(BadDefinition, match="judged by the column `sex`, which the source does not give"):
        groups(of, divided)
