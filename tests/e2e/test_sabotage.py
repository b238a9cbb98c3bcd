"""Sabotage, one kind at a time, on running services: the gate that should stop it does, and the old model serves on.

A wrong digest and a truncated bundle never become candidates: see `api/tests/test_serialisation.py`.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.services import Installation, installation

DEFINITION = '''
"""A model whose data and estimator a test can spoil, by what two files beside it say."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from understudy import Model, Promotion, Schedule

HERE = Path("{here}")
SPOILED = (HERE / "spoiled").read_text()
NEW = 600


class Stream:
    def get_dataframe(self, as_of):
        n = int((HERE / "rows").read_text())
        rng = np.random.default_rng(1)
        x, y, noise = rng.random(20000)[:n], rng.random(20000)[:n], rng.random(20000)[:n]
        label = (x + y + 0.6 * (noise - 0.5) > 1).astype(int)
        frame = pd.DataFrame({{"x": x, "y": 20 + 5 * y, "z": noise[::-1], "label": label}})
        frame["at"] = pd.date_range("2026-01-01", periods=n, freq="s", tz="UTC")
        return self.spoil(frame, n)

    def spoil(self, frame, n):
        fitted = slice(n - NEW, n - NEW // 2 - 1)
        if SPOILED == "shuffled labels":
            old = slice(0, n - NEW // 2 - 1)
            frame.loc[old, "label"] = np.random.default_rng(2).permutation(frame.loc[old, "label"])
        if SPOILED == "leaked target":
            frame.loc[n - NEW :, "z"] = frame.loc[n - NEW :, "label"].astype(float)
        if SPOILED == "swapped columns":
            frame.loc[fitted, ["x", "y"]] = frame.loc[fitted, ["y", "x"]].to_numpy().copy()
        if SPOILED == "renamed column":
            frame = frame.rename(columns={{"z": "zed"}})
        return frame


def estimator():
    if SPOILED == "constant output":
        return make_pipeline(SimpleImputer(), LogisticRegression(C=1e-12))
    if SPOILED == "slow model":
        return make_pipeline(SimpleImputer(), KNeighborsClassifier(50))
    if SPOILED == "NaN on nulls":
        return LogisticRegression(C=0.5)
    return make_pipeline(SimpleImputer(), LogisticRegression())


model = Model(
    name="rain",
    source=Stream(),
    time="at",
    target="label",
    estimator=estimator(),
    retrain=Schedule.every(days=1),
    promotion=Promotion(refit="off"),
)
'''

STEP = 600
ROW = {"x": 0.2, "y": 21.0, "z": 0.5}

pytestmark = pytest.mark.timeout(300)


class Spoiled:
    """An installation with one model, which a test may spoil."""

    def __init__(self, installed: Installation, folder: Path) -> None:
        self.installed, self.folder, self.rows = installed, folder, 1200

    def write(self, how: str) -> None:
        (self.folder / "spoiled").write_text(how)
        (self.folder / "rows").write_text(str(self.rows))

    def train(self, how: str) -> Any:
        """Let 600 rows arrive, train on them, and return the run once it has ended."""
        self.rows += STEP
        self.write(how)
        answer = requests.post(
            f"{self.installed.url}/job/train",
            json={"model_name": "rain"},
            headers=self.installed.token("operator"),
            timeout=10,
        )
        return self.ended(answer.json()["run_id"])

    def ended(self, run: str) -> Any:
        until = time.monotonic() + 90
        while time.monotonic() < until:
            found = self.installed.get(f"/runs/{run}").json()
            if found.get("finished_at"):
                return found
            time.sleep(0.2)
        raise AssertionError(self.installed.said("scheduled_task.scheduler_service")[-3000:])

    def champion(self) -> str:
        answer = requests.post(f"{self.installed.url}/predict", json=ROW, timeout=10)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["version"])


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spoiled]:
    folder = tmp_path_factory.mktemp("definitions")
    (folder / "rain.py").write_text(DEFINITION.format(here=folder))
    with installation(tmp_path_factory.mktemp("home"), UNDERSTUDY_MODELS_DIR=str(folder)) as installed:
        started = Spoiled(installed, folder)
        started.write("nothing")
        installed.start_api()
        installed.start("scheduled_task.scheduler_service")
        until = time.monotonic() + 90
        while installed.get("/current_model").status_code != 200 and time.monotonic() < until:
            time.sleep(0.2)
        started.ended("rain-1")
        yield started


def test_nothing_spoiled_is_not_refused_by_anything_but_the_comparison(spoiled: Spoiled) -> None:
    run = spoiled.train("nothing")

    failed = {gate["name"] for gate in run["verdict"]["gates"] if not gate["passed"]}
    assert failed <= {"comparison"}, run["reason"]


@pytest.mark.fault(68)
@pytest.mark.parametrize(
    ("how", "gate", "reason"),
    [
        ("shuffled labels", "comparison", "higher"),
        ("constant output", "sanity", "same"),
        ("slow model", "latency", "ms"),
        ("NaN on nulls", "signature", "may no longer be null"),
    ],
)
def test_a_spoiled_candidate_is_refused_by_its_gate_and_the_old_version_serves(
    spoiled: Spoiled, how: str, gate: str, reason: str
) -> None:
    champion = spoiled.champion()

    run = spoiled.train(how)

    results = {result["name"]: result for result in run["verdict"]["gates"]}
    assert run["state"] == "refused"
    assert results[gate]["passed"] is False, run["verdict"]
    assert reason in results[gate]["reason"]
    assert spoiled.champion() == champion


@pytest.mark.fault(68)
@pytest.mark.fault(72)
@pytest.mark.parametrize(
    ("how", "reason"),
    [("swapped columns", "`x`"), ("renamed column", "`zed`"), ("leaked target", "`z`")],
)
def test_spoiled_data_are_refused_before_anything_is_fitted_and_the_old_version_serves(
    spoiled: Spoiled, how: str, reason: str
) -> None:
    spoiled.train("nothing")  # the last snapshot that was accepted is the one before
    champion = spoiled.champion()

    run = spoiled.train(how)

    assert run["state"] == "refused"
    assert run["version"] is None
    assert reason in run["reason"]
    assert run["attention"]
    assert spoiled.champion() == champion
