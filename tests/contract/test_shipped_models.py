"""The models that come with Understudy learn, are bundled as ONNX, and get better while one watches."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from understudy.adapters import bundle, definitions, recipe, snapshot, training
from understudy.compare import compare, constant_outputs, row_losses
from understudy.fingerprint import digest_of
from understudy.model import Model
from understudy.profile import Profile
from understudy.quality import check

MODELS = Path(__file__).parents[2] / "models"
MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
FAR = datetime.max.replace(tzinfo=UTC)


def load(name: str, folder: Path, first_use: datetime) -> Model:
    model = definitions.load(MODELS / f"{name}.py").model
    source: Any = model.source
    source.state, source.clock = folder / f"{name}.json", lambda: first_use
    return model


def rows_of(model: Model, as_of: datetime) -> snapshot.Snapshot:
    return snapshot.read(snapshot.write(snapshot.take(model, as_of=as_of, now=as_of).frame), model)


class Watched:
    """Ten minutes of one model, with the real feed, fits, data checks and comparisons, and a clock that is told."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.champion: Any = None
        self.judged_until: Any = None
        self.reference: Profile | None = None

    def run(self, as_of: datetime) -> str:
        """One run, on one thread as the scheduler's are; returns what came of it."""
        with threadpool_limits(1):
            return self._run(as_of)

    def _run(self, as_of: datetime) -> str:
        taken = rows_of(self.model, as_of)
        if self.champion is not None and recipe.fresh(taken, self.judged_until) < recipe.FEWEST_HELD_OUT:
            return "too little data"
        rows = recipe.divide(self.model, taken, recipe.choose_cut(taken, self.judged_until))
        profile = recipe.profile(self.model, rows, reference=self.reference, future=0)
        if check(profile, self.reference, self.model.ranges):
            return "refused data"
        self.reference = profile
        return self._judge(rows)

    def _judge(self, rows: recipe.Rows) -> str:
        labels = rows.labels(self.model, rows.fitted)
        fitted = training.fit(self.model.estimator, rows.features.iloc[rows.fitted], labels, seed=7)
        losses = self._losses(rows, fitted)
        base = self._losses(rows, self.champion) if self.champion else self._constant(rows, labels.values)
        answer = compare(losses, base, bar=self.model.promotion.bar).answer
        self.judged_until = recipe.as_clock(rows.snapshot.clock[rows.held_out[-1]])
        if answer == "better":
            self.champion = fitted
        return answer

    def _losses(self, rows: recipe.Rows, fitted: Any) -> Any:
        held_out = rows.features.iloc[rows.held_out]
        actual = rows.labels(self.model, rows.held_out).values
        if rows.task == "regression":
            return row_losses("absolute", fitted.predict(held_out), actual)
        return row_losses("brier", fitted.predict_proba(held_out), actual)

    def _constant(self, rows: recipe.Rows, labels: Any) -> Any:
        actual = rows.labels(self.model, rows.held_out).values
        if rows.task == "regression":
            return row_losses(
                "absolute", constant_outputs(rows.task, {"median": np.median(labels)}, len(actual)), actual
            )
        shares = [float(np.mean(labels == label)) for label in (0, 1)]
        return row_losses("brier", constant_outputs(rows.task, {"shares": shares}, len(actual)), actual)


def ten_minutes(name: str, folder: Path, *, second: float, delay: float) -> Iterator[str]:
    """What came of each run, when the service starts at `second` of a minute and a run takes `delay` seconds."""
    start = MIDNIGHT + timedelta(seconds=second)
    watched = Watched(load(name, folder, start + timedelta(seconds=delay / 2)))
    yield watched.run(start)
    moment = start + timedelta(seconds=delay)
    while (moment := watched.model.retrain.next_after(moment) or FAR) <= start + timedelta(minutes=10):
        yield watched.run(moment)


@pytest.mark.parametrize("delay", [2, 20])
@pytest.mark.parametrize("second", [0, 7, 18, 29, 41, 53, 59.5])
def test_rain_is_promoted_again_within_ten_minutes_whenever_it_was_started(
    second: float, delay: float, tmp_path: Path
) -> None:
    first, *later = ten_minutes("rain", tmp_path, second=second, delay=delay)

    assert first == "better"
    assert later.count("better") >= 2
    assert "refused data" not in later


@pytest.mark.parametrize("second", [0, 31, 61, 99, 119.5])
def test_bike_demand_is_promoted_again_within_ten_minutes_whenever_it_was_started(
    second: float, tmp_path: Path
) -> None:
    first, *later = ten_minutes("bike_demand", tmp_path, second=second, delay=8)

    assert first == "better"
    assert later.count("better") >= 2
    assert "refused data" not in later


@pytest.mark.parametrize("name", ["rain", "bike_demand"])
def test_a_shipped_model_is_bundled_as_onnx_and_answers_nulls(name: str, tmp_path: Path) -> None:
    model = load(name, tmp_path, MIDNIGHT)
    data = snapshot.write(snapshot.take(model, as_of=MIDNIGHT, now=MIDNIGHT).frame)
    taken = snapshot.read(data, model)
    cut = recipe.choose_cut(taken, None)

    inputs = recipe.Inputs(source="0" * 64, data=digest_of(data), params={}, cut=cut)

    with threadpool_limits(1):
        made = recipe.make(model, recipe.divide(model, taken, cut), inputs)

    parts = bundle.unpack(made, digest=digest_of(made))
    assert parts.manifest["serves"] == "onnx", parts.manifest["why"]
    assert all(column.nullable for column in parts.signature.columns)
    assert not {"row", "date", "arrived_at"} & set(parts.signature.names)


def test_rain_keeps_the_two_impossible_pressures_in_its_file_and_out_of_its_rows(tmp_path: Path) -> None:
    column = "sea_level_pressure_hpa"
    file = pd.read_csv(MODELS / "rain.csv.gz")
    frame = load("rain", tmp_path, MIDNIGHT).source.get_dataframe(MIDNIGHT + timedelta(days=1))

    errors = file[column] > 1100
    assert file.loc[errors, column].tolist() == [5503.8, 5503.1]
    assert frame[column].isna().tolist() == errors.tolist()
    assert frame.drop(columns=[column, "arrived_at"]).equals(file.drop(columns=column))


def test_both_kinds_of_schedule_run() -> None:
    kinds = {
        name: set(definitions.load(MODELS / f"{name}.py").model.retrain.to_json()) for name in ("rain", "bike_demand")
    }

    assert kinds == {"rain": {"every_s"}, "bike_demand": {"cron", "zone"}}


def test_every_definition_in_the_folder_loads() -> None:
    loaded = definitions.load_all(MODELS)

    assert set(loaded.definitions) == {"rain", "bike_demand"}
    assert loaded.problems == ()
    assert {"feed.py", "rain.py"} == set(loaded.definitions["rain"].sources)


@pytest.mark.parametrize("file", ["rain.csv.gz", "bike_demand.csv.gz"])
def test_the_data_are_those_that_their_note_describes(file: str) -> None:
    note = (MODELS / "DATA.md").read_text().split(f"## {file}")[1].split("\n## ")[0]

    assert digest_of((MODELS / file).read_bytes()) in note
    for column in pd.read_csv(MODELS / file, nrows=1).columns:
        assert f"`{column}`" in note
