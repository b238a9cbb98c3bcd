"""What serves is watched without labels: a shift in one column is noticed and named, and may ask for a training."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from scheduled_task.drift import DriftWatch
from scheduled_task.tests.given import DEFINITION, stream
from scheduled_task.tests.site import Site, working
from tests.services import installation
from understudy.adapters.commands.drift import table

pytestmark = pytest.mark.timeout(300)

ON_DRIFT = DEFINITION.replace("Schedule.every(minutes=1)", "Schedule.on_drift()")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home: Path = tmp_path_factory.mktemp("drift")
    with installation(home, UNDERSTUDY_MODELS_DIR=str(home / "models")) as installed:
        installed.start_api()
        yield Site(installed, models_dir=home / "models")


def champion(site: Site, name: str, text: str) -> None:
    site.arrive(stream(1000), name)
    site.define(name, text)
    with working(site):
        assert site.ended(site.ask(name, "first"))["reason"] == "Version 1 was promoted."


def asked(site: Site, name: str, frame: pd.DataFrame) -> None:
    """Ask for a prediction of each row."""
    records = [{"x": row.x, "y": row.y} for row in frame.itertuples()]
    assert site.installed.post(f"/models/{name}/predict", json={"records": records}).status_code == 200


def looked(site: Site, name: str, rows: int) -> dict[str, Any]:
    """What a scheduler that has just started finds, once so many rows are on record."""
    until = time.monotonic() + 60
    while len(site.api.get(f"/models/{name}/labelled", labels="any")["items"]) < rows:
        assert time.monotonic() < until
        time.sleep(0.1)
    watch = DriftWatch(site.settings, site.connect())
    watch.look({name})
    watch.close()
    found: dict[str, Any] = site.api.get(f"/models/{name}/drift")
    assert found["report"]["rows"] == rows
    return found


def test_a_shift_in_one_column_is_noticed_once_and_asks_for_a_training(site: Site) -> None:
    name = "moved"
    champion(site, name, ON_DRIFT)
    asked(site, name, stream(300, first=1000))

    quiet = looked(site, name, 300)

    assert (quiet["noticed"], quiet["beyond"]) == ([], [])
    assert site.events("drift.noticed", name) == []

    asked(site, name, stream(500, first=1300).assign(y=lambda frame: frame["y"] + 8))
    found = looked(site, name, 800)

    assert {"name": "y", "measure": "values"} in found["beyond"]
    assert "x" not in {one["name"] for one in found["beyond"]}
    [noticed] = [event for event in site.events("drift.noticed", name) if event["report"]["kind"] == "columns"]
    assert "`y`" in noticed["reason"]
    [note] = [note for note in site.api.get(f"/models/{name}")["attention"] if "is asked has moved" in note["reason"]]
    assert "A training is asked for" in note["remedy"]
    run = site.events("run.requested", name)[-1]
    assert (run["by"], run["slot"].partition("/")[0]) == ("api", "drift")

    events = len(site.events("drift.noticed", name))
    again = looked(site, name, 800)
    assert again["noticed"] == found["noticed"]
    assert len(site.events("drift.noticed", name)) == events
    assert [one["slot"] for one in site.events("run.requested", name)] == ["first", run["slot"]]
    assert [row[:2] for row in table(again) if "drift" in row] == [("y", "values"), ("answers (1)", "scores")]
