"""`understudy explain`: what is on record of a prediction, and what the stored version answers today."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
import requests
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import TunedThresholdClassifierCV

from api.tests import given
from tests.services import Installation, installation
from understudy.chunks import DECODER, ENCODER
from understudy.records import Identity

pytestmark = pytest.mark.timeout(120)

ROWS = [[0.5, 0.25], [0.1, 0.7], [0.123456789, 0.9]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """`rain` is answered by ONNX, `coins` by scikit-learn."""
    with installation(tmp_path_factory.mktemp("explained")) as found:
        found.start_api()
        serve(found, "rain", given.bundle())
        serve(found, "coins", given.bundle(TunedThresholdClassifierCV(LogisticRegression()), model="coins"))
        yield found


def define(installed: Installation, model: str, **more: Any) -> None:
    body = given.definition(model)
    body["definition"] |= more
    url, headers = f"{installed.url}/models/{model}", installed.token("scheduler")
    requests.put(url, json=body, headers=headers, timeout=60).raise_for_status()


def serve(installed: Installation, model: str, bundle: bytes) -> None:
    define(installed, model)
    scheduler, operator = installed.token("scheduler"), installed.token("operator")
    url = f"{installed.url}/models/{model}/versions"
    requests.post(url, data=bundle, headers=scheduler, timeout=120).raise_for_status()
    order = {"model_name": model, "model_version_id": "1", "override": "a test"}
    requests.post(f"{installed.url}/model/promote", json=order, headers=operator, timeout=120).raise_for_status()


def predict(installed: Installation, model: str, rows: list[list[float]]) -> str:
    answer = requests.post(f"{installed.url}/models/{model}/predict", json={"values": rows}, timeout=60)
    answer.raise_for_status()
    return str(answer.json()["prediction_id"])


def explain(installed: Installation, *arguments: str) -> tuple[int, str]:
    """Exit code, and what was said."""
    done = subprocess.run(
        [sys.executable, "-m", "understudy.adapters.cli", "explain", *arguments],
        env=installed.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def test_an_answer_of_onnx_is_given_again(installed: Installation) -> None:
    code, said = explain(installed, predict(installed, "rain", ROWS[:1]))

    assert code == 0, said
    assert "Version 1 of rain answered" in said
    assert "without a token" in said
    assert "The stored version gives the same answer today." in said


def test_an_answer_of_scikit_learn_is_given_again_row_by_row(installed: Installation) -> None:
    found = installed.get("/models/coins/versions/1").json()["manifest"]
    identity = predict(installed, "coins", ROWS)

    code, said = explain(installed, f"{identity}/2", "--json")

    assert found["serves"] == "skops"
    assert (code, json.loads(said)["agrees"]) == (0, True)
    assert json.loads(said)["inputs"] == {"x": [ROWS[2][0]], "y": [ROWS[2][1]]}


def test_a_record_that_was_tampered_with_does_not_agree(installed: Installation) -> None:
    identity = predict(installed, "rain", ROWS)
    installed.get(f"/predictions/{identity}", headers=installed.token("client")).raise_for_status()
    tamper(installed, identity)

    code, said = explain(installed, identity)

    assert code == 1
    assert "The stored version answers something else today: a probability differs by" in said


def tamper(installed: Installation, identity: str) -> None:
    """Say in the record that the model said the opposite."""
    asked = Identity.parse(identity)
    assert asked is not None
    with closing(sqlite3.connect(installed.home / "var" / "records.db")) as db, db:
        found = "SELECT number, content FROM chunks WHERE process = ? AND ? BETWEEN first AND last"
        number, content = db.execute(found, (asked.process, asked.number)).fetchone()
        columns = DECODER.decode(content)
        assert isinstance(columns.outputs, bytes)
        columns.outputs = (1 - np.frombuffer(columns.outputs, "<f4")).tobytes()
        db.execute("UPDATE chunks SET content = ? WHERE number = ?", (ENCODER.encode(columns), number))


def test_what_was_withheld_cannot_be_answered_again(installed: Installation) -> None:
    rows = [[0.515625, 0.765625]]
    define(installed, "rain", tags={"y": ["personal"]})
    identity = predict(installed, "rain", rows)

    code, said = explain(installed, identity)
    define(installed, "rain")

    assert code == 1
    assert "It cannot be answered again: `y` carried a tag of UNDERSTUDY_RECORDS_WITHHOLD" in said
    assert np.float32(rows[0][1]).tobytes() not in stored(installed, identity)
    assert np.float32(rows[0][0]).tobytes() in stored(installed, identity)


def stored(installed: Installation, identity: str) -> bytes:
    with closing(sqlite3.connect(installed.home / "var" / "records.db")) as db:
        rows = db.execute("SELECT content FROM chunks WHERE process = ?", (identity[-6:],))
        return b"".join(content for (content,) in rows)


def test_an_id_that_nobody_gave_is_not_found(installed: Installation) -> None:
    code, said = explain(installed, "0" * 25)

    assert code == 1
    assert "No prediction with that id is on record." in said


def test_a_record_is_shown_to_clients_and_operators_alone(installed: Installation) -> None:
    route = f"/predictions/{predict(installed, 'rain', ROWS[:1])}"

    answered = {
        role: installed.get(route, headers=installed.token(role)).status_code for role in ("client", "operator")
    }

    assert answered == {"client": 200, "operator": 200}
    assert installed.get(route).status_code == 401
    assert installed.get(route, headers=installed.token("scheduler")).status_code == 403
