"""Drift of real readings: seasons ring seldom, and an instrument that reads otherwise is named."""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.watching import DAYS, weather
from understudy.adapters import frames
from understudy.drift import Report
from understudy.profile import profile_columns
from understudy.watching import Reference, Window, measure

READINGS = Path(__file__).parents[2] / "models" / "rain.csv.gz"
DECISION = Path(__file__).parents[2] / "docs" / "decisions" / "0035-watching-without-labels.md"
TRAINED, NEWEST, RECENT = 6_000, 1_000, 1_500
"""Days: sixteen years of training, of which three were new to it, and the four years after."""
CUTS = range(3_000, 16_001, 1_000)
"""How many days other trainings have had. `python -m bench.watching` shows more of them."""


@cache
def readings() -> pd.DataFrame:
    frame = pd.read_csv(READINGS)
    possible = frame["sea_level_pressure_hpa"].between(850, 1100)
    return frame.assign(sea_level_pressure_hpa=frame["sea_level_pressure_hpa"].where(possible))


@cache
def reference(trained: int = TRAINED) -> Reference:
    frame = readings().iloc[:trained]
    names = [name for name in frame.columns if name != "rain"]
    columns = frames.learn_columns(frames.feature_frame(frame, names))
    profile = profile_columns(
        {column.name: frame[column.name].to_numpy() for column in columns},
        kinds={column.name: column.kind for column in columns},
        label=frame["rain"].to_numpy(),
        task="binary",
        clock=list(range(trained)),
        new_from=trained - NEWEST,
        fitted_until=trained,
    )
    nothing = np.zeros((0, 2))
    return Reference(
        task="binary", profile=profile, names=("0", "1"), classes=(0, 1), holdout=nothing, labels=np.zeros(0)
    )


def after(trained: int = TRAINED) -> pd.DataFrame:
    return readings().iloc[trained : trained + RECENT]


def look(recent: pd.DataFrame, trained: int = TRAINED) -> Report:
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
    return measure(seen, reference(trained), None, None)


def beyond(report: Report) -> set[tuple[str, str]]:
    return {(one.name, one.measure) for one in report.columns if one.beyond}


def test_four_years_of_weather_ring_after_at_most_five_of_fourteen_trainings_and_never_for_a_temperature() -> None:
    named = [{name for name, _ in beyond(look(after(trained), trained))} for trained in CUTS]

    assert sum(map(bool, named)) <= 5, named
    assert not set().union(*named) & {"mean_temperature_f", "max_temperature_f", "min_temperature_f"}


@pytest.mark.slow
@pytest.mark.parametrize("days", DAYS)
def test_what_the_decision_says_of_the_weather_is_what_the_bench_prints(days: int) -> None:
    said = [weather(days, rule=rule)[:2] for rule in (True, False)]

    row = " | ".join(f"{rang} of {champions}" for rang, champions in said)
    assert f"\n| {days:,} | {row} |" in DECISION.read_text()


@pytest.mark.parametrize("column", ["sea_level_pressure_hpa", "mean_wind_knots", "max_wind_knots"])
def test_an_instrument_that_reads_otherwise_is_the_only_one_that_is_named(column: str) -> None:
    recent = after().copy()
    recent[column] += recent[column].std()

    assert beyond(look(recent)) == {(column, "values")}


def test_an_instrument_that_falls_silent_is_the_only_one_that_is_named() -> None:
    recent = after().copy()
    recent.loc[recent.index[700:], "sea_level_pressure_hpa"] = np.nan

    assert beyond(look(recent)) == {("sea_level_pressure_hpa", "nulls")}
