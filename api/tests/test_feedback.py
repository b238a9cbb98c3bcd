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
