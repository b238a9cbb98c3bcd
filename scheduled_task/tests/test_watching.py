"""What serves is watched without labels: drift is noticed and named, new rows are counted, both may train."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from scheduled_task.arrivals import Arrivals
from scheduled_task.asking import utc_now
from scheduled_task.drift import DriftWatch
from scheduled_task.recent_rows import RecentRows
from scheduled_task.tests.given import DEFINITION, Workshop, stream
from scheduled_task.tests.site import Site, working
from tests.adapters.stream import at
from tests.services import installation
from understudy.adapters.commands.drift import table
from understudy.events import moment

pytestmark = pytest.mark.timeout(300)

NAME = "watched"
TEXT = DEFINITION.replace("Schedule.every(minutes=1)", "Schedule.on_drift() | Schedule.on_new_rows(150)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An API with a champion that was trained on 1,000 rows."""
    home: Path = tmp_path_factory.mktemp("watched")
    with installation(home, UNDERSTUDY_MODELS_DIR=str(home / "models")) as installed:
        installed.start_api()
        opened = Site(installed, models_dir=home / "models")
        opened.arrive(stream(1000), NAME)
        opened.define(NAME, TEXT)
        with working(opened):
            assert opened.ended(opened.ask(NAME, "first"))["reason"] == "Version 1 was promoted."
        yield opened


def asked_for(site: Site, kind: str) -> list[str]:
    """Slots of a kind that a run was ever asked for; those that wait are ended."""
    while (given := site.api.post_once("/runs/claim", {"claimant": "a test"})) is not None:
        ending = {"token": given["token"], "outcome": "skipped", "reason": "a test says so"}
        site.api.post(f"/runs/{given['run']['id']}/finish", ending)
    found = site.events("run.requested", NAME)
    return [run["slot"] for run in found if run["slot"].startswith(kind)]


def asked(site: Site, frame: pd.DataFrame) -> None:
    """Ask for a prediction of each row."""
    records = [{"x": row.x, "y": row.y} for row in frame.itertuples()]
    assert site.installed.post(f"/models/{NAME}/predict", json={"records": records}).status_code == 200


def looked(site: Site, rows: int) -> dict[str, Any]:
    """What a scheduler that has just started finds, once so many rows are on record."""
    until = time.monotonic() + 60
    while len(site.api.get(f"/models/{NAME}/labelled", labels="any")["items"]) < rows:
        assert time.monotonic() < until
        time.sleep(0.1)
    watch = DriftWatch(site.settings, site.connect())
    watch.look({NAME})
    watch.close()
    found: dict[str, Any] = site.api.get(f"/models/{NAME}/drift")
    assert found["report"]["rows"] == rows
    return found


def test_enough_new_rows_are_one_run(site: Site) -> None:
    def look() -> list[str]:
        """What a scheduler that has just started asks for."""
        arrivals = Arrivals(site.settings, site.connect())
        arrivals.look({NAME})
        arrivals.close()
        return asked_for(site, "rows/")

    site.arrive(stream(1149), NAME)
    assert look() == []
    site.arrive(stream(1150), NAME)
    runs = site.api.get(f"/models/{NAME}")["runs"]
    assert look() == [f"rows/{runs}"]


def test_a_shift_in_one_column_is_noticed_once_and_asks_for_a_training(site: Site) -> None:
    asked(site, stream(300, first=1000))

    quiet = looked(site, 300)

    assert (quiet["noticed"], quiet["beyond"]) == ([], [])
    assert site.events("drift.noticed", NAME) == []

    asked(site, stream(500, first=1300).assign(y=lambda frame: frame["y"] + 8))
    found = looked(site, 800)

    assert found["beyond"] == [{"name": "y", "measure": "values"}]
    [noticed] = [event for event in site.events("drift.noticed", NAME) if event["report"]["kind"] == "columns"]
    assert "`y`" in noticed["reason"]
    [note] = [note for note in site.api.get(f"/models/{NAME}")["attention"] if "is asked has moved" in note["reason"]]
    assert "A training is asked for" in note["remedy"]
    assert len(asked_for(site, "drift/")) == 1

    events = len(site.events("drift.noticed", NAME))
    again = looked(site, 800)

    assert again["noticed"] == found["noticed"]
    assert len(site.events("drift.noticed", NAME)) == events
    assert len(asked_for(site, "drift/")) == 1
    assert [row[:2] for row in table(again) if "drift" in row] == [("y", "values"), ("answers (1)", "scores")]
    assert len(site.events("version.promoted", NAME)) == 1


@pytest.fixture(scope="module")
def promoted(site: Site, tmp_path_factory: pytest.TempPathFactory) -> datetime:
    """Since when a model called "stream" has had a champion."""
    site.define("stream", DEFINITION)
    shop = Workshop(tmp_path_factory.mktemp("stream"))
    shop.arrive(stream(300))
    bundle = shop.store.get(str(shop.carry_out(shop.job(at(300))).bundle))
    operator = site.installed.token("operator")
    site.installed.post("/models/stream/versions", data=bundle, headers=operator).raise_for_status()
    wish = {"model_name": "stream", "model_version_id": "1", "override": "a test needs it"}
    site.installed.post("/model/promote", json=wish, headers=operator).raise_for_status()
    return moment(site.api.get("/current_model", model="stream")["promoted_at"])


@pytest.mark.slow
def test_where_more_came_than_one_look_takes_the_newest_rows_are_read(site: Site, promoted: datetime) -> None:
    def newest() -> list[float]:
        """What a scheduler that has just started reads, at most 25 rows."""
        recent = RecentRows("stream", "1", promoted, window=25)
        recent.read(site.api, utc_now())
        return [item["inputs"]["x"] for item in recent.items]

    def ask(x: int, times: int) -> None:
        """Ask about as many equal rows in one moment."""
        records = [{"x": float(x), "y": 0.0}] * times
        site.installed.post("/models/stream/predict", json={"records": records}).raise_for_status()

    def wait(x: int) -> None:
        until = time.monotonic() + 60
        while newest()[-1:] != [x]:
            assert time.monotonic() < until
            time.sleep(0.05)

    for x in range(-40, 0):
        ask(x, 10)
    wait(-1)
    assert newest() == [-3.0] * 5 + [-2.0] * 10 + [-1.0] * 10

    ask(-99, 300)
    wait(-99)
    assert newest() == [-99.0] * 25


@pytest.mark.slow
def test_of_many_rows_the_newest_are_kept_and_read_on_from_where_they_end(site: Site, promoted: datetime) -> None:
    recent = RecentRows("stream", "1", promoted)

    def ask(first: int, last: int) -> None:
        """Ask about rows that are told apart by their x, and read until the last of them is there."""
        records = [{"x": float(x), "y": 0.0} for x in range(first, last + 1)]
        site.installed.post("/models/stream/predict", json={"records": records}).raise_for_status()
        until = time.monotonic() + 60
        while not recent.items or recent.items[-1]["inputs"]["x"] != last:
            assert time.monotonic() < until
            recent.read(site.api, utc_now())
            time.sleep(0.1)

    ask(1, 7_000)
    assert [item["inputs"]["x"] for item in recent.items] == list(range(2_001, 7_001))
    ask(7_001, 7_003)
    assert [item["inputs"]["x"] for item in recent.items] == list(range(2_004, 7_004))
    late = RecentRows("stream", "1", promoted)
    late.read(site.api, utc_now() + timedelta(seconds=100))
    assert list(late.items) == list(recent.items)
