"""A changed policy is tested by sabotage, by itself: the log tells what came of it, and so does the command."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.services import Installation, installation
from understudy.adapters import definitions

pytestmark = pytest.mark.timeout(240)

WITHIN_S = 120.0

DEFINITION = """
from datetime import timedelta

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from understudy import Model, Promotion, Schedule


class Coins:
    def get_dataframe(self, as_of):
        rng = np.random.default_rng(1)
        weight, bend = rng.random((2, 900))
        heads = (weight + bend + 0.6 * (rng.random(900) - 0.5) > 1).astype(int)
        at = [as_of - timedelta(seconds=900 - n) for n in range(900)]
        return pd.DataFrame({"at": at, "weight": weight, "bend": 20 * bend, "heads": heads})


model = Model(
    name="coins",
    source=Coins(),
    target="heads",
    time="at",
    estimator=LogisticRegression(),
    retrain=Schedule.cron("0 0 29 2 *", zone="UTC"),
    promotion=Promotion(refit="off"),
)
"""
HIGH = DEFINITION.replace('refit="off"', 'refit="off", floors={"accuracy": 0.999}')


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installation]:
    """Both services, with tests of gates, and a first champion."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "coins.py").write_text(DEFINITION)
    with installation(tmp_path, UNDERSTUDY_SELFTEST="on") as made:
        made.start_api()
        made.start("scheduled_task.scheduler_service")
        yield made


def ended(installed: Installation) -> dict[str, dict[str, Any]]:
    """The tests of gates that have ended, by their slot."""
    runs = installed.get("/runs").json()["items"]
    return {run["slot"]: run for run in runs if run["kind"] == "selftest" and run["finished_at"]}


def wait_for(installed: Installation, happens: Callable[[], bool]) -> None:
    until = time.monotonic() + WITHIN_S
    while not happens():
        assert time.monotonic() < until, installed.said("scheduled_task.scheduler_service")[-3000:]
        time.sleep(0.2)


def define(installed: Installation, text: str) -> None:
    """Tell the API of a changed definition, as the scheduler would when it next looks at its files."""
    file = installed.home / "changed.py"
    file.write_text(text)
    definition = definitions.load(file)
    body = {"definition": definition.model.to_json(), "source": dict(definition.sources)}
    token = installed.token("scheduler")
    requests.put(f"{installed.url}/models/coins", json=body, headers=token, timeout=30).raise_for_status()


def command(installed: Installation, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "understudy.adapters.cli", *words],
        env=installed.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.slow
def test_a_changed_policy_is_tested_by_itself_and_the_log_tells_that_it_refuses_everything(
    installed: Installation,
) -> None:
    wait_for(installed, lambda: installed.get("/current_model?model=coins").status_code == 200)
    define(installed, HIGH)
    slot = installed.get("/models/coins").json()["selftest"]["slot"]
    wait_for(installed, lambda: slot in ended(installed))

    run = ended(installed)[slot]
    events = installed.get("/events").json()["items"]
    changed = [event["position"] for event in events if event["kind"] == "model.defined"][-1]
    assert (run["slot"], run["state"], run["version"]) == (f"selftest/{changed}", "failed", None)
    assert run["reason"].startswith("Even the honest candidate was refused")
    assert "the owner wants at least 0.999" in run["reason"]
    assert run["result"]["sabotages"]["a model ten times slower"] == ["floors", "latency"]
    (note,) = [event["data"] for event in events if event["kind"] == "attention.needed"]
    assert (note["run"], note["version"]) == (run["id"], None)
    assert "Even the honest candidate" in command(installed, "status").stdout


DICE = """
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from understudy import Model, Promotion

NAMES = np.array(["high", "low", "middle"])


class Dice:
    def get_dataframe(self, as_of):
        rng = np.random.default_rng(1)
        weight, bend = rng.random((2, 1400))
        thrown = NAMES[np.searchsorted([0.35, 0.7], weight + 0.1 * (rng.random(1400) - 0.5))]
        return pd.DataFrame({"weight": weight, "bend": bend, "town": np.where(bend > 0.9, "A", "B"), "thrown": thrown})


def dear(labels, outputs):
    hit = outputs[np.arange(len(labels)), np.searchsorted(NAMES, labels)]
    return np.where(labels == "high", 3.0, 1.0) * (1 - hit)


model = Model(
    name="dice",
    source=Dice(),
    target="thrown",
    estimator=LogisticRegression(),
    protected=("town",),
    ranges={"bend": (0, 1)},
    promotion=Promotion(loss=dear, max_size_mb=5, floors={"accuracy": 0.6}),
)
"""
"""Three classes, a loss of its own, a protected column, and no clock."""


def test_the_command_is_red_and_names_what_came_through_where_a_gate_is_switched_off(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "dice.py").write_text(DICE)
    alone = Installation(tmp_path)  # no service has to run

    said = command(alone, "selftest", "dice", "--without", "latency", "--json")

    assert said.returncode == 1, said.stderr
    value = json.loads(said.stdout)
    assert value["control"] == []
    assert value["came_through"] == ["a model ten times slower", "a latency beside another champion"]
    assert "came through every gate: a model ten times slower (latency)" in value["sentence"]
    stopped = {one["name"]: one["caught_by"] for one in value["sabotages"]}
    assert stopped["accuracy below 0.6"] == stopped["a bundle that is too large"] == ["floors"]
    assert stopped["a slice harmed"] == ["slices"]
    assert stopped["a value outside its declared range"] == ["data"]
    assert {"rows from the future", "a latency beyond the limit"} <= set(value["impossible"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models"]
