"""What is on record of a prediction, as the API shows it; and what it leaves out."""

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api.recorded import AT_A_TIME, written
from api.retention import Retention
from api.tests import given
from tests.recorded import call, chunk, id_of, ms_of
from understudy.adapters.sqlite_records import SqliteRecords
from understudy.errors import NotFound
from understudy.events import timestamp
from understudy.parity import Answer
from understudy.records import Record
from understudy.settings import Settings

OLD_INSERT = """
INSERT INTO predictions (id, time, model, version, row_values, answer, latency_ms, role) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
ROWS = [[0.5, 0.25], [0.1, 0.7]]


def predict(api: given.Api, rows: list[list[float]], role: str | None = None) -> Any:
    headers = {} if role is None else api.token(role)
    answer = api.client.post("/predict", json={"values": rows}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def record(api: given.Api, id: str, *, status: int = 200) -> Any:
    answer = api.client.get(f"/predictions/{id}", headers=api.token("client"))
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_prediction_is_shown_as_it_was_sent_and_answered(api: given.Api) -> None:
    api.serve(given.bundle())
    answer = predict(api, ROWS, role="operator")

    shown = record(api, answer["prediction_id"])

    assert shown["inputs"] == {"x": [0.5, 0.1], "y": [0.25, 0.7]}
    assert {name: shown[name] for name in answer} == answer
    assert (shown["role"], shown["withheld"]) == ("operator", [])
    assert 0 < shown["latency_ms"] < 60_000
    assert abs(datetime.fromisoformat(shown["time"]) - datetime.now(UTC)) < timedelta(minutes=10)


def test_a_row_of_a_prediction_is_shown_alone(api: given.Api) -> None:
    api.serve(given.bundle())
    answer = predict(api, ROWS)

    shown = record(api, answer["prediction_id"] + "/1")

    assert shown["inputs"] == {"x": [0.1], "y": [0.7]}
    assert shown["predictions"] == answer["predictions"][1:]
    assert shown["probabilities"] == answer["probabilities"][1:]
    assert "no such row" in record(api, answer["prediction_id"] + "/2", status=404)["detail"]


def test_who_asks_for_what_was_not_sampled_is_told_so(tmp_path: Path) -> None:
    with given.api(tmp_path, records_sample=0) as api:
        api.serve(given.bundle())
        answer = predict(api, ROWS)

        problem = record(api, answer["prediction_id"], status=404)

    assert problem["remedy"] == "It was not sampled: UNDERSTUDY_RECORDS_SAMPLE is 0."


def test_a_column_that_becomes_personal_is_withheld_from_then_on(tmp_path: Path) -> None:
    with given.api(tmp_path) as api:
        api.serve(given.bundle())
        before = record(api, predict(api, ROWS)["prediction_id"])
        body = given.definition()
        body["definition"]["tags"] = {"y": ["personal"]}
        assert api.client.put("/models/rain", json=body, headers=api.token("scheduler")).status_code == 200

        after = record(api, predict(api, ROWS)["prediction_id"])
        again = record(api, before["prediction_id"])

    assert (again["inputs"], again["withheld"]) == ({"x": before["inputs"]["x"]}, ["y"])
    assert again["predictions"] == before["predictions"]
    assert (list(before["inputs"]), before["withheld"]) == (["x", "y"], [])
    assert (list(after["inputs"]), after["withheld"]) == (["x"], ["y"])


@pytest.mark.parametrize("rows", [0, AT_A_TIME, AT_A_TIME + 1])
def test_a_large_record_is_encoded_in_parts_that_are_one_array(rows: int) -> None:
    said = Answer([1] * rows, [[0.25, 0.75]] * rows)
    record = Record(
        id="a", time=given.START, model="rain", version="1", columns=("x", "y"), withheld=(), rows=[[0.5, None]] * rows,
        answer=said, classes=(0, 1), latency_s=0.001, role=None,
    )  # fmt: skip

    shown = json.loads(written(record, "a"))

    assert shown["inputs"] == {"x": [0.5] * rows, "y": [None] * rows}
    assert (shown["predictions"], shown["probabilities"]) == (said.predictions, said.probabilities)
    assert (shown["role"], shown["withheld"], shown["classes"]) == (None, [], [0, 1])


def test_of_a_row_that_names_no_columns_nothing_is_shown_once_one_is_withheld(api: given.Api) -> None:
    """What an earlier release stored."""
    body, id = given.definition(), "0" * 32
    body["definition"]["tags"] = {"y": ["personal"]}
    said = b'{"predictions":[1],"probabilities":null,"classes":null}'
    old = (id, timestamp(datetime.now(UTC)), "rain", "1", b"[[0.5,0.25]]", said, 1.0, "open")
    with given.opened(api.service.settings.records_file) as db:
        db.execute(OLD_INSERT, old)
        db.commit()
    before = record(api, id)

    assert api.client.put("/models/rain", json=body, headers=api.token("scheduler")).status_code == 200

    assert before["inputs"] == {"0": [0.5], "1": [0.25]}
    assert (record(api, id)["inputs"], record(api, id)["withheld"]) == ({}, ["0", "1"])


@pytest.mark.parametrize("tags", [["y"], {"y": "personal data"}, {"y": [1]}])
def test_tags_that_are_none_are_refused(api: given.Api, tags: Any) -> None:
    body = given.definition()
    body["definition"]["tags"] = tags

    answer = api.client.put("/models/rain", json=body, headers=api.token("scheduler"))

    assert (answer.status_code, answer.json()["code"]) == (422, "bad_definition")


def test_an_answer_that_waits_to_be_kept_is_on_record_when_it_comes(tmp_path: Path) -> None:
    with given.api(tmp_path, records="durable") as api:
        api.serve(given.bundle())
        answer = predict(api, ROWS)

        assert api.service.records.get(answer["prediction_id"]).answer.predictions == answer["predictions"]


def test_records_go_when_they_are_older_than_the_settings_say(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, records_days=0.005)  # seven minutes
    now = datetime.now(UTC)
    old, young = ms_of(now - timedelta(hours=1)), ms_of(now)
    with closing(SqliteRecords(tmp_path / "records.db")) as records:
        records.append([chunk(call(1, ms=old)), chunk(call(2, ms=young))])

        Retention(records, settings).trim()

        assert records.count() == 1
        assert records.get(id_of(2, young)).version == "3"
        with pytest.raises(NotFound, match="trimmed for its age or size"):
            records.get(id_of(1, old))


def test_records_go_when_there_are_more_than_the_settings_say_oldest_first(tmp_path: Path) -> None:
    settings, now = Settings(home=tmp_path, records_mb=1), ms_of(datetime.now(UTC))
    with closing(SqliteRecords(tmp_path / "records.db")) as records:
        records.append([chunk(call(i, [[i, i]], rows=bytes(40_000), n=1, ms=now)) for i in range(50)])
        retention = Retention(records, settings)

        retention.trim()
        retention.trim()

        assert 15 <= records.count() <= 25
        assert records.get(id_of(49, now)).version == "3"
