"""The main job, with both services as processes and the shipped models: train, judge, promote, predict, survive."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests

from tests.services import Installation, installation
from understudy.adapters import frames, skops_form
from understudy.adapters.bundle import unpack

MODELS = Path(__file__).parents[2] / "models"
SCHEDULER = "scheduled_task.scheduler_service"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Both services, and a first champion of the default model."""
    home = tmp_path_factory.mktemp("installation")
    with installation(home, UNDERSTUDY_MODELS_DIR=str(MODELS)) as installed:
        installed.start_api()
        installed.start(SCHEDULER)
        wait(lambda: installed.get("/current_model").status_code == 200, installed)
        yield installed


def wait(holds: Callable[[], Any], installed: Installation, within_s: float = 120) -> Any:
    """Look every quarter of a second until something holds, and return it."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            if found := holds():
                return found
        except requests.ConnectionError:
            pass  # the API is being restarted
        time.sleep(0.25)
    raise AssertionError("it never came true; the scheduler said: " + installed.said(SCHEDULER)[-3000:])


def example(installed: Installation) -> Any:
    operation = installed.get("/openapi.json").json()["paths"]["/predict"]["post"]
    return operation["requestBody"]["content"]["application/json"]["schema"]["example"]


def understudy(installed: Installation, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "understudy.adapters.cli", *words]
    return subprocess.run(command, env=installed.environment, capture_output=True, text=True, timeout=120, check=False)


def finished(installed: Installation, model: str = "rain") -> list[Any]:
    runs = installed.get("/runs", params={"model": model}).json()["items"]
    return [run for run in runs if run["finished_at"]]


def test_the_example_of_the_docs_is_answered_without_a_token(running: Installation) -> None:
    answer = requests.post(f"{running.url}/predict", json=example(running), timeout=10)

    assert answer.status_code == 200
    assert answer.json()["model"] == "rain"
    assert answer.headers["Model-Version"] == answer.json()["version"]


def test_every_row_of_the_holdout_is_answered_as_scikit_learn_answers_it(running: Installation) -> None:
    version = running.get("/current_model").json()["version"]
    run = next(run for run in finished(running) if run["version"] == version)
    artifact = requests.get(
        f"{running.url}/models/rain/versions/{version}/artifact", headers=running.token("client"), timeout=10
    )
    digest = running.get(f"/models/rain/versions/{version}").json()["digest"]
    parts = unpack(artifact.content, digest=digest)
    model = skops_form.load(parts.forms["model.skops"], trees=True)
    blob = running.home / "api" / "prod_models" / "sha256" / run["result"]["holdout"][:2] / run["result"]["holdout"]
    holdout = frames.feature_frame(pd.read_parquet(BytesIO(blob.read_bytes())), parts.signature.names)

    answer = requests.post(
        f"{running.url}/models/rain/predict", json={"records": records(parts.signature.names, holdout)}, timeout=30
    )
    probabilities = model.predict_proba(holdout)
    sure = np.ptp(probabilities, axis=1) > 2e-5

    assert len(holdout) >= 100
    assert answer.headers["Model-Version"] == version
    assert np.allclose(answer.json()["probabilities"], probabilities, rtol=0, atol=1e-5)
    assert np.array_equal(np.array(answer.json()["predictions"])[sure], model.predict(holdout)[sure])


def records(names: tuple[str, ...], holdout: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(zip(names, row, strict=True)) for row in frames.rows_of(holdout)]


def test_a_run_is_reproduced_byte_for_byte(running: Installation) -> None:
    run = wait(lambda: finished(running), running)[-1]

    verified = understudy(running, "verify", "run", run["id"])

    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert run["result"]["bundle"] in verified.stdout.replace("\n", "")


def test_a_recorded_verdict_is_reached_again_from_the_stored_evidence(running: Installation) -> None:
    verified = understudy(running, "verify", "verdict", "rain", "1")

    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_killing_and_restarting_either_service_loses_nothing(running: Installation) -> None:
    before = running.get("/events", params={"limit": 1000}).json()["items"]
    champion = running.get("/current_model").json()["version"]

    running.kill("api.main")
    running.start_api()
    after = running.get("/events", params={"limit": 1000}).json()["items"]
    again = running.get("/current_model").json()["version"]
    running.kill(SCHEDULER)
    known = len(finished(running))
    running.start(SCHEDULER)
    wait(lambda: len(finished(running)) > known, running, 180)

    assert after[: len(before)] == before
    assert int(again) >= int(champion)
    assert understudy(running, "verify", "log").returncode == 0


def test_both_kinds_of_schedule_have_run_and_every_verdict_has_its_reasons(running: Installation) -> None:
    wait(lambda: finished(running, "bike_demand"), running)
    judged = [run for run in finished(running) + finished(running, "bike_demand") if run["verdict"]]

    assert {run["model"] for run in judged} == {"rain", "bike_demand"}
    assert all(gate["reason"] for run in judged for gate in run["verdict"]["gates"])
    assert all(run["verdict"]["comparison"]["reason"] for run in judged)


def test_a_stopped_installation_ends_by_itself_and_writes_one_json_line_per_record(tmp_path: Path) -> None:
    with installation(tmp_path, UNDERSTUDY_MODELS_DIR=str(MODELS)) as installed:
        installed.start_api()
        installed.start(SCHEDULER)
        wait(lambda: installed.get("/models").json()["items"], installed)

        for process in installed.processes.values():
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(20) for process in installed.processes.values()]
        lines = [line for file in (tmp_path / "logs").glob("*.jsonl") for line in file.read_text().splitlines()]

    assert set(codes) <= {0, -signal.SIGTERM}
    assert any("action" in json.loads(line) for line in lines)
