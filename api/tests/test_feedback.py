"""Labels: what is taken, what is refused, and what of it is shown to whoever judges by them."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from api.admission import LABELS_AT_ONCE, LABELS_PER_S, Bucket
from api.feedback import MOST_ITEMS
from api.tests import given
from tests.recorded import call, chunk, id_of, signature
from understudy.errors import TooMany
from understudy.labels import MODEL_SOURCE, Given, Place
from understudy.records import Identity

ROWS = [[0.5, 0.25], [0.1, 0.7]]
MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def predict(api: given.Api, rows: Sequence[Sequence[float]] = ROWS) -> str:
    return str(ask(api, {"values": rows})["prediction_id"])


def ask(api: given.Api, body: Any, status: int = 200) -> Any:
    answer = api.client.post("/predict", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def send(api: given.Api, *items: Any, role: str = "client", status: int = 200) -> Any:
    answer = api.client.post("/feedback", json=list(items), headers=api.token(role))
    assert answer.status_code == status, answer.text
    return answer.json()


def label(id: str, label: Any, **more: Any) -> dict[str, Any]:
    return {"prediction_id": id, "label": label, **more}


def labelled(api: given.Api, model: str = "rain", **query: Any) -> Any:
    answer = api.client.get(f"/models/{model}/labelled", params=query, headers=api.token("scheduler"))
    assert answer.status_code == 200, answer.text
    return answer.json()


def counts(said: Any) -> tuple[int, int, int, int, int]:
    return said["accepted"], said["known"], said["changed"], said["late"], len(said["refused"])


def refused(said: Any) -> list[tuple[int, int, str]]:
    return [(one["index"], one["status"], one["code"]) for one in said["refused"]]


def past(api: given.Api, n: int, *, model: str = "rain", minutes: int = 60) -> list[str]:
    """`n` predictions, evenly over so many minutes until now, as if they had been answered then; their rows."""
    start = now_ms() - minutes * MINUTE_MS
    times = [start + i * minutes * MINUTE_MS // n for i in range(n)]
    about = signature(classes=(0, 1))
    made = [chunk(call(i, [[i, 0.5]], ms=ms), model=model, about=about) for i, ms in enumerate(times)]
    api.service.records.append(made)
    return [id_of(i, ms) + "/0" for i, ms in enumerate(times)]


def told(
    api: given.Api, ids: Sequence[str], labels: Sequence[Any], *, delay_ms: int = 1_000, source: str = "a"
) -> None:
    """Labels as if each had come so long after its prediction."""
    by_time: dict[int, list[Given]] = {}
    for id, one in zip(ids, labels, strict=True):
        place = Place.parse(id)
        assert place is not None
        by_time.setdefault((place.ms + delay_ms) // 60_000, []).append(Given("rain", place, source, str(one)))
    for minute, some in by_time.items():
        api.service.labels.add(some, now_ms=max(minute * 60_000, max(one.place.ms for one in some)))


@pytest.mark.fault(74)
def test_labels_of_an_answer_that_was_given_a_moment_ago_are_taken_once(api: given.Api) -> None:
    api.serve(given.bundle())
    id = predict(api)

    first = send(api, label(f"{id}/0", 1), label(f"{id}/1", 0), label(f"{id}/1", 0), label(f"{id}/1", 1))
    again = send(api, label(f"{id}/0", 1), label(f"{id}/0", 1, source="lab"), label(f"{id}/0", 0), role="operator")

    assert counts(first) == (2, 1, 1, 0, 0)
    assert counts(again) == (1, 1, 1, 0, 0)


@pytest.mark.fault(75)
def test_each_label_that_cannot_be_one_is_refused_alone_and_says_why(api: given.Api) -> None:
    api.serve(given.bundle())
    one, many = predict(api, ROWS[:1]), predict(api)
    unknown, old, future = (str(Identity(now_ms() + later, 1, "0" * 6)) for later in (-60_000, -40 * DAY_MS, DAY_MS))
    items = [
        (label(one, 1), None),
        (label(unknown, 1), (404, "not_found")),
        (label("no id", 1), (404, "not_found")),
        (label("0" * 32, 1), (404, "not_found")),
        (label(old, 1), (410, "expired")),
        (label(future, 1), (422, "bad_label")),
        (label(one, 2), (422, "bad_label")),
        (label(one, "1"), (422, "bad_label")),
        (label(one, None), (422, "bad_label")),
        (label(one, 0, model="bike_demand"), (422, "bad_label")),
        (label(many, 1), (422, "bad_label")),
        (label(many + "/2", 1), (404, "not_found")),
        (label(many + "/1", 1, model="rain"), None),
        ({"label": 1}, (422, "bad_input")),
        ({"key": "A", "label": 1}, (422, "bad_input")),
        ({"key": "A", "model": "rain", "label": 1}, (404, "not_found")),
        (label(one, 1, odd=True), (422, "bad_input")),
        (label(one, 1, source=""), (422, "bad_input")),
        ("<b>", (422, "bad_input")),
    ]

    said = send(api, *(item for item, _ in items))

    assert counts(said)[:4] == (2, 0, 0, 0)
    assert refused(said) == [(i, *why) for i, (_, why) in enumerate(items) if why is not None]
    assert all(one["detail"] and one["remedy"] for one in said["refused"])
    assert "<b>" not in json.dumps(said)
    assert "0" * 32 not in json.dumps(said)


@pytest.mark.fault(76)
@pytest.mark.parametrize("role", ["client", "operator"])
def test_only_the_scheduler_speaks_for_the_source_of_the_model(api: given.Api, role: str) -> None:
    api.serve(given.bundle())
    id = predict(api)
    truth = send(api, label(f"{id}/0", 1, source=MODEL_SOURCE), role="scheduler")

    said = send(api, label(f"{id}/0", 0, source=MODEL_SOURCE), label(f"{id}/0", 0), role=role)
    alone = send(api, label(f"{id}/0", 0, source=MODEL_SOURCE), role=role, status=403)

    assert (counts(truth), counts(said)) == ((1, 0, 0, 0, 0), (1, 0, 0, 0, 1))
    assert refused(said) == refused(alone) == [(0, 403, "forbidden")]
    assert "leave it out" in alone["remedy"]


@pytest.mark.fault(75)
def test_where_nothing_is_taken_the_answer_is_that_of_the_first_refusal(api: given.Api) -> None:
    unknown = str(Identity(now_ms() - DAY_MS, 1, "0" * 6))
    answer = api.client.post("/feedback", json=label(unknown, 1), headers=api.token("client"))

    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    body = answer.json()
    assert (body["status"], body["code"], body["accepted"], len(body["refused"])) == (404, "not_found", 0, 1)
    assert send(api) == {"accepted": 0, "known": 0, "changed": 0, "late": 0, "refused": []}


def test_a_label_of_what_was_not_sampled_is_told_so(tmp_path: Path) -> None:
    with given.api(tmp_path, records_sample=0) as api:
        api.serve(given.bundle())
        said = send(api, label(predict(api) + "/0", 1), status=404)

    assert said["remedy"] == "It was not sampled: UNDERSTUDY_RECORDS_SAMPLE is 0."


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"[{", 422),
        (b'{"prediction_id": "a", "label": NaN}', 422),
        (b'[{"prediction_id": "a", "label": 1e999}]', 422),
        (b"[" + b",".join([b"1"] * (MOST_ITEMS + 1)) + b"]", 413),
        (b'"\xff"', 422),
        (b"[" * 100_000, 422),
    ],
)
def test_a_body_that_holds_no_labels_is_refused(api: given.Api, body: bytes, status: int) -> None:
    answer = api.client.post("/feedback", content=body, headers=api.token("client"))

    assert answer.status_code == status, answer.text
    assert answer.json()["status"] == status


def test_nobody_may_send_labels_without_a_token(api: given.Api) -> None:
    assert api.client.post("/feedback", json=[]).status_code == 401


@pytest.mark.fault(76)
def test_a_flood_of_labels_is_told_to_come_later(api: given.Api) -> None:
    body = b"[" + b",".join([b"1"] * MOST_ITEMS) + b"]"

    def sent() -> Any:
        return api.client.post("/feedback", content=body, headers=api.token("client"))

    limited = next(answer for answer in (sent() for _ in range(100)) if answer.status_code != 422)

    assert (limited.status_code, limited.json()["code"]) == (429, "too_many")
    assert 1 <= int(limited.headers["retry-after"]) <= 3


@pytest.mark.fault(76)
def test_a_bucket_lets_through_so_many_a_second_whatever_their_sizes() -> None:
    clock, taken = [0.0], 0
    bucket = Bucket("labels", most=LABELS_AT_ONCE, per_s=LABELS_PER_S, now_s=lambda: clock[0])
    for tick in range(10_000):
        clock[0] = tick / 100
        try:
            bucket.take(size := 1 + tick * 7919 % 3_000)
            taken += size
        except TooMany:
            pass

    assert abs(taken / (LABELS_AT_ONCE + 100 * LABELS_PER_S) - 1) < 0.02


def test_rows_with_mature_labels_are_listed_in_the_order_of_their_answers(api: given.Api) -> None:
    api.define()
    ids = past(api, 100)
    told(api, ids, [i % 2 for i in range(100)])

    first = labelled(api, limit=60)
    second = labelled(api, limit=60, after=first["next"])
    third = labelled(api, after=second["next"])

    items = first["items"] + second["items"]
    assert [item["prediction_id"] for item in items] == ids[: len(items)]
    assert len(items) >= 95
    assert [item["label"] for item in items] == [i % 2 for i in range(len(items))]
    assert items[7]["inputs"] == {"a": 7.0, "b": 0.5}
    assert (items[7]["version"], items[7]["prediction"], items[7]["probabilities"]) == ("3", 1, [0.25, 0.75])
    assert (third["items"], third["next"]) == ([], second["next"])
    assert first["delay"]["labels"] == 100
    assert first["delay"]["p50_s"] <= first["delay"]["p99_s"] < 61


@pytest.mark.fault(75)
def test_a_label_that_comes_when_its_row_was_judged_is_kept_as_late(api: given.Api) -> None:
    api.define()
    ids = past(api, 100)
    told(api, ids[1:], [1] * 99)
    before = labelled(api)

    said = send(api, label(ids[0], 1), label(ids[5], 0), label(ids[6], 1), label(ids[6], 1, source="a"))
    after = labelled(api)

    assert counts(said) == (0, 1, 0, 3, 0)
    assert after["items"][: len(before["items"])] == before["items"]
    assert [item["label"] for item in labelled(api, labels="any")["items"][:7]] == [1, 1, 1, 1, 1, 0, 1]


def test_every_row_is_listed_with_its_label_or_none(api: given.Api) -> None:
    api.define()
    ids = past(api, 50)
    told(api, ids[:2], [1, 0])

    page = labelled(api, labels="any", limit=30)
    rest = labelled(api, labels="any", after=page["next"])

    assert [item["prediction_id"] for item in page["items"] + rest["items"]] == ids
    assert [item["label"] for item in page["items"][:3]] == [1, 0, None]
    assert labelled(api, labels="any", after=rest["next"])["next"] == rest["next"]
    assert labelled(api)["items"] == []


def test_a_column_that_becomes_personal_is_withheld_from_who_judges_too(api: given.Api) -> None:
    api.define()
    past(api, 3)
    body = given.definition()
    body["definition"]["tags"] = {"b": ["personal"]}
    assert api.client.put("/models/rain", json=body, headers=api.token("scheduler")).status_code == 200

    item = labelled(api, labels="any")["items"][0]

    assert (item["inputs"], item["withheld"]) == ({"a": 0.0}, ["b"])


@pytest.mark.fault(76)
def test_labels_that_two_sources_dispute_are_not_judged_by_and_a_person_is_told_once(api: given.Api) -> None:
    api.define()
    ids = past(api, 400)
    truth = [i % 2 for i in range(400)]
    told(api, ids, truth)
    told(api, ids[::10], [1 - one for one in truth[::10]], source="b", delay_ms=2_000)

    pages = [labelled(api) for _ in range(3)]

    assert all(page["items"] == [] for page in pages)
    assert pages[0]["closed_until"] is not None
    notes = [entry.event for entry in api.service.journal.read() if entry.event.kind == "attention.needed"]
    assert len(notes) == 1
    assert "rows were given two different labels" in notes[0].reason
    assert len(labelled(api, labels="any")["items"]) == 400


def with_key(api: given.Api, tags: dict[str, list[str]] | None = None) -> None:
    body = given.definition()
    body["definition"] |= {"key": "order", "tags": tags or {}}
    assert api.client.put("/models/rain", json=body, headers=api.token("scheduler")).status_code == 200


def unlabelled(api: given.Api, **query: Any) -> Any:
    return api.client.get("/models/rain/unlabelled", params=query, headers=api.token("scheduler")).json()


def test_a_row_may_be_named_by_its_key_and_labelled_by_it(api: given.Api) -> None:
    api.serve(given.bundle())
    with_key(api)
    old = ask(api, {"x": 0.5, "y": 0.25, "order": "A-7"})
    ask(api, {"records": [{"x": 0.1, "y": 0.7, "order": key} for key in ("A-7", 12)]})
    plain = ask(api, {"x": 0.5, "y": 0.25})

    said = send(api, *({"key": key, "model": "rain", "label": 1} for key in ("A-7", 12, "12")))

    assert (said["accepted"], refused(said)) == (2, [(2, 404, "not_found")])
    assert old["predictions"] == plain["predictions"]
    assert [item["key"] for item in unlabelled(api)["items"]] == ["A-7", "A-7", 12]
    told = [{"key": key, "model": "rain", "label": 1, "source": MODEL_SOURCE} for key in ("A-7", 12)]
    send(api, *told, role="scheduler")
    assert unlabelled(api)["items"] == [{"prediction_id": old["prediction_id"] + "/0", "key": "A-7"}]
    shown = api.client.get(f"/predictions/{old['prediction_id']}", headers=api.token("client")).json()
    assert shown["inputs"] == {"x": [0.5], "y": [0.25]}


def test_a_key_that_is_withheld_is_kept_nowhere(api: given.Api) -> None:
    api.serve(given.bundle())
    with_key(api, tags={"order": ["personal"]})
    id = ask(api, {"x": 0.5, "y": 0.25, "order": "A-7"})["prediction_id"]
    send(api, label(id, 1))

    assert unlabelled(api)["items"] == []
    with given.opened(api.service.settings.records_file) as db:
        assert db.execute("SELECT count(*) FROM keys").fetchone() == (0,)


def test_a_key_is_taken_only_where_the_definition_names_one(api: given.Api) -> None:
    api.serve(given.bundle())
    ask(api, {"x": 0.5, "y": 0.25, "order": "A-7"}, status=422)
    with_key(api)

    for body, problem in (
        ({"x": 0.5, "y": 0.25, "order": "A-7", "other": 1}, "no column 'other'"),
        ({"x": 0.5, "y": 0.25, "order": ""}, "key is no key"),
        ({"x": 0.5, "y": 0.25, "order": 1.5}, "key is no key"),
        ({"records": [{"x": 0.5, "y": 0.25}, {"x": 1, "y": 1, "order": None}]}, "Row 1: the key is no key"),
        ({"x": "text", "y": 0.25, "order": 7}, "`x` should be a number"),
    ):
        assert problem in ask(api, body, status=422)["detail"]
    twice = api.client.post("/predict", content=b'{"x": 1, "x": 2, "y": 1, "order": 7}')
    assert "given twice" in twice.json()["detail"]
