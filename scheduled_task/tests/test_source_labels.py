"""Labels that the source has for rows that were predicted under a key."""

import time
from math import nan
from pathlib import Path

import pandas as pd
import pytest

from scheduled_task.label_lookup import looked_up
from scheduled_task.source_labels import SourceLabels
from scheduled_task.tests.given import DEFINITION, Workshop, stream
from scheduled_task.tests.site import Site, working
from understudy.adapters.commands.feedback import sent

pytestmark = pytest.mark.timeout(300)

KEYED = DEFINITION.replace('drop=("city",)', 'drop=("city",), key="order"')


def orders(n: int, *, first: int = 0) -> pd.DataFrame:
    """Rows with a number each."""
    return stream(n, first=first).assign(order=range(first, first + n))


def test_the_label_of_a_key_is_that_of_its_latest_row_as_json_has_it(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    frame = orders(6).assign(order=[0, 1, nan, 3, 4, 3], label=[1, nan, 1, 0, 0, 1])
    workshop.arrive(frame)
    workshop.define(KEYED)

    found = looked_up(workshop.definitions, "stream", ["0", "1", "2", "3", "9"])

    assert found == {"labels": {"0": 1, "3": 1}, "problem": None}


def test_a_source_that_raises_and_a_model_without_a_key_have_no_labels(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    workshop.define(KEYED)
    broken = looked_up(workshop.definitions, "stream", ["0"])
    workshop.arrive(orders(5))
    workshop.define()

    assert broken["labels"] == {}
    assert broken["problem"]
    assert looked_up(workshop.definitions, "stream", ["0"]) == {"labels": {}, "problem": None}


@pytest.mark.slow
def test_rows_that_were_predicted_under_a_key_get_the_label_that_arrives_in_the_source(site: Site) -> None:
    name = "orders"
    frame = orders(600)
    site.arrive(frame, name)
    site.define(name, KEYED)
    with working(site):
        assert site.ended(site.ask(name, "first"))["reason"] == "Version 1 was promoted."
    records = [{"x": row.x, "y": row.y, "order": row.order} for row in orders(20, first=600).itertuples()]
    answer = site.installed.post(f"/models/{name}/predict", json={"records": records})
    assert answer.status_code == 200, answer.text
    arrived = pd.concat([frame, orders(15, first=600)])
    site.arrive(arrived, name)
    until = time.monotonic() + 120
    while len(site.api.get(f"/models/{name}/unlabelled")["items"]) < 20:
        assert time.monotonic() < until
        time.sleep(0.1)

    labels = SourceLabels(site.settings, site.connect())
    labels.look({name})
    labels.close()

    left = site.api.get(f"/models/{name}/unlabelled")["items"]
    assert [item["key"] for item in left] == list(range(615, 620))
    while len(rows := site.api.get(f"/models/{name}/labelled", labels="any")["items"]) < 20:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert [row["label"] for row in rows[:15]] == arrived["label"].tolist()[600:]
    assert {row["source"] for row in rows} == {"source", None}

    last = [{"prediction_id": item["prediction_id"], "label": 1} for item in left]
    assert sent(site.api, [*last, {"label": 1}])["accepted"] == 5
    assert [one["code"] for one in sent(site.api, [{"label": 1}])["refused"]] == ["bad_input"]
