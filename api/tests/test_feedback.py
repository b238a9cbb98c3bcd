"""Labels: what is taken, what is refused, and what of it is shown to whoever judges by them."""

import time
from collections.abc import Sequence
from typing import Any

from api.tests import given
from tests.recorded import call, chunk, id_of, signature

ROWS = [[0.5, 0.25], [0.1, 0.7]]
MINUTE_MS = 60_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def predict(api: given.Api, rows: Sequence[Sequence[float]] = ROWS) -> str:
    answer = api.client.post("/predict", json={"values": rows})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["prediction_id"])


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


def test_labels_of_an_answer_that_was_given_a_moment_ago_are_taken(api: given.Api) -> None:
    api.serve(given.bundle())
    id = predict(api)

    said = send(api, label(f"{id}/0", 1), label(f"{id}/1", 0))

    assert counts(said) == (2, 0, 0, 0, 0)


def past(
    api: given.Api, n: int, *, model: str = "rain", minutes: int = 60, labelled_after_ms: int = 1_000
) -> list[str]:
    """`n` predictions, evenly over so many minutes until now, as if they had been answered then; their ids."""
    start = now_ms() - minutes * MINUTE_MS
    times = [start + i * minutes * MINUTE_MS // n for i in range(n)]
    about = signature(classes=(0, 1))
    api.service.records.append(
        [chunk(call(i, [[i, 0.5]], ms=ms), model=model, about=about) for i, ms in enumerate(times)]
    )
    return [id_of(i, ms) + "/0" for i, ms in enumerate(times)]


def at_once(api: given.Api, ids: Sequence[str], labels: Sequence[Any], delay_ms: int = 1_000) -> None:
    """Labels as if each had come so long after its prediction."""
    from understudy.labels import Given, Place

    for id, one in zip(ids, labels, strict=True):
        place = Place.parse(id)
        assert place is not None
        api.service.labels.add([Given("rain", place, "feedback", str(one))], now_ms=place.ms + delay_ms)


def test_rows_with_mature_labels_are_listed_in_the_order_of_their_answers(api: given.Api) -> None:
    api.define()
    ids = past(api, 100)
    at_once(api, ids, [i % 2 for i in range(100)])

    first = labelled(api, limit=60)
    second = labelled(api, limit=60, after=first["next"])
    third = labelled(api, after=second["next"])

    items = first["items"] + second["items"]
    assert [item["prediction_id"] for item in items] == ids
    assert [item["label"] for item in items] == [i % 2 for i in range(100)]
    assert items[7]["inputs"] == {"a": 7.0, "b": 0.5}
    assert (items[7]["prediction"], items[7]["probabilities"]) == (1, [0.25, 0.75])
    assert (third["items"], third["next"]) == ([], second["next"])
    assert first["delay"] == {"labels": 100, "p50_s": 1.0, "p90_s": 1.0, "p99_s": 1.0}


def test_every_row_is_listed_with_its_label_or_none(api: given.Api) -> None:
    api.define()
    ids = past(api, 50)
    at_once(api, ids[:2], [1, 0])

    page = labelled(api, labels="any", limit=30)
    rest = labelled(api, labels="any", after=page["next"])

    assert [item["prediction_id"] for item in page["items"] + rest["items"]] == ids
    assert [item["label"] for item in page["items"][:3]] == [1, 0, None]


def with_key(api: given.Api, tags: dict[str, list[str]] | None = None) -> None:
    body = given.definition()
    body["definition"] |= {"key": "order", "tags": tags or {}}
    assert api.client.put("/models/rain", json=body, headers=api.token("scheduler")).status_code == 200


def ask(api: given.Api, body: Any, status: int = 200) -> Any:
    answer = api.client.post("/predict", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def unlabelled(api: given.Api, **query: Any) -> Any:
    return api.client.get("/models/rain/unlabelled", params=query, headers=api.token("scheduler")).json()


def test_a_row_may_be_named_by_its_key_and_labelled_by_it(api: given.Api) -> None:
    api.serve(given.bundle())
    with_key(api)
    old = ask(api, {"x": 0.5, "y": 0.25, "order": "A-7"})
    ids = [
        ask(api, {"records": [{"x": 0.1, "y": 0.7, "order": key} for key in ("A-7", 12)]})["prediction_id"],
        old["prediction_id"],
    ]
    plain = ask(api, {"x": 0.5, "y": 0.25})

    said = send(
        api,
        {"key": "A-7", "model": "rain", "label": 1},
        {"key": 12, "model": "rain", "label": 0},
        {"key": "12", "model": "rain", "label": 0},
    )

    assert (said["accepted"], [one["status"] for one in said["refused"]]) == (2, [404])
    assert old["predictions"] == plain["predictions"]
    assert unlabelled(api)["items"] == [{"prediction_id": ids[1] + "/0", "key": "A-7"}]
    assert set(api.client.get(f"/predictions/{ids[1]}", headers=api.token("client")).json()["inputs"]) == {"x", "y"}


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
    assert "no column 'other'" in ask(api, {"x": 0.5, "y": 0.25, "order": "A-7", "other": 1}, status=422)["detail"]
    assert "key is no key" in ask(api, {"x": 0.5, "y": 0.25, "order": ""}, status=422)["detail"]
    twice = api.client.post("/predict", content=b'{"x": 1, "x": 2, "y": 1, "order": 7}')
    assert "given twice" in twice.json()["detail"]
