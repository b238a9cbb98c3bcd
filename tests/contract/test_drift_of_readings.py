"""Drift of real readings: seasons ring nothing, and an instrument that reads otherwise is named."""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from understudy.adapters import frames
from understudy.drift import Report
from understudy.profile import profile_columns
from understudy.watching import Reference, Window, measure

READINGS = Path(__file__).parents[2] / "models" / "rain.csv.gz"
TRAINED, NEWEST, RECENT = 6_000, 1_000, 1_500
"""Days: sixteen years of training, of which three were new to it, and the four years after."""


@cache
def readings() -> pd.DataFrame:
    frame = pd.read_csv(READINGS).iloc[: TRAINED + RECENT]
    possible = frame["sea_level_pressure_hpa"].between(850, 1100)
    return frame.assign(sea_level_pressure_hpa=frame["sea_level_pressure_hpa"].where(possible))


@cache
def reference() -> Reference:
    frame = readings().iloc[:TRAINED]
    names = [name for name in frame.columns if name != "rain"]
    columns = frames.learn_columns(frames.feature_frame(frame, names))
    profile = profile_columns(
        {column.name: frame[column.name].to_numpy() for column in columns},
        kinds={column.name: column.kind for column in columns},
        label=frame["rain"].to_numpy(),
        task="binary",
        clock=list(range(TRAINED)),
        new_from=TRAINED - NEWEST,
        fitted_until=TRAINED,
    )
    nothing = np.zeros((0, 2))
    return Reference(
        task="binary", profile=profile, names=("0", "1"), classes=(0, 1), holdout=nothing, labels=np.zeros(0)
    )


def look(recent: pd.DataFrame) -> Report:
    columns = {name: [None if value != value else value for value in recent[name]] for name in recent.columns}
    seen = Window(
        version="1",
        since=None,
        until=None,
        rows=len(recent),
        columns=columns,
        withheld=frozenset(),
        outputs=None,
    )
    return measure(seen, reference(), None, None)


def beyond(report: Report) -> set[tuple[str, str]]:
    return {(one.name, one.measure) for one in report.columns if one.beyond}


def test_four_years_of_weather_after_sixteen_are_no_drift() -> None:
    assert beyond(look(readings().iloc[TRAINED:])) == set()


@pytest.mark.parametrize("column", ["sea_level_pressure_hpa", "mean_wind_knots", "max_wind_knots"])
def test_an_instrument_that_reads_otherwise_is_the_only_one_that_is_named(column: str) -> None:
    recent = readings().iloc[TRAINED:].copy()
    recent[column] += recent[column].std()

    assert beyond(look(recent)) == {(column, "values")}


def test_an_instrument_that_falls_silent_is_the_only_one_that_is_named() -> None:
    recent = readings().iloc[TRAINED:].copy()
    recent.loc[recent.index[700:], "sea_level_pressure_hpa"] = np.nan

    assert beyond(look(recent)) == {("sea_level_pressure_hpa", "nulls")}
