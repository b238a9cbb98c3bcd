"""What serves is judged by the labels of what it predicted: by a scheduler that scores and an API that decides."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scheduled_task.live import LiveScoring
from scheduled_task.tests.given import DEFINITION, stream
from scheduled_task.tests.site import Site, working
from tests.adapters.stream import at
from tests.services import installation
from understudy.adapters.judging_again import judged_again
from understudy.adapters.sqlite_scores import SqliteScores
from understudy.errors import BadInput, Conflict
from understudy.events import timestamp

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home: Path = tmp_path_factory.mktemp("live")
    with installation(home, UNDERSTUDY_MODELS_DIR=str(home / "models")) as installed:
        installed.start_api()
        yield Site(installed, models_dir=home / "models")


def turned(frame: pd.DataFrame) -> pd.DataFrame:
    """A world in which every label is the other one."""
    return frame.assign(label=1 - frame["label"])


def simpler(frame: pd.DataFrame) -> pd.DataFrame:
    """A world in which only one of the two columns tells the label."""
    chance = np.random.default_rng(len(frame)).uniform(-0.3, 0.3, len(frame))
    return frame.assign(label=(frame["x"] + chance > 0.5).astype(int))


def served(site: Site, name: str, frame: pd.DataFrame) -> None:
    """Ask for a prediction of each row, and send back what was true."""
    records = [{"x": row.x, "y": row.y} for row in frame.itertuples()]
    answer = site.installed.post(f"/models/{name}/predict", json={"records": records})
    identity = answer.json()["prediction_id"]
    labels = [{"prediction_id": f"{identity}/{i}", "label": int(label)} for i, label in enumerate(frame["label"])]
    said = site.installed.post("/feedback", json=labels, headers=site.installed.token("client")).json()
    assert said["accepted"] == len(frame), said


def watched(site: Site, name: str, event: str, number: int = 1) -> dict[str, Any]:
    """Score until the log holds so many events of a kind; the last of them."""
    scoring = LiveScoring(site.settings, site.connect())
    until = time.monotonic() + 60
    while len(found := site.events(event, name)) < number:
        assert time.monotonic() < until, site.api.get(f"/models/{name}/live")
        scoring.look()
        time.sleep(0.2)
    return found[-1]


def champion(site: Site, name: str, text: str = DEFINITION) -> None:
    site.arrive(stream(1000), name)
    site.define(name, text)
    with working(site):
        assert site.ended(site.ask(name, "first"))["reason"] == "Version 1 was promoted."


def two_champions(site: Site, name: str) -> None:
    """Version 1 has learnt the world as it was, version 2 as it is; each passed its gates."""
    champion(site, name)
    site.arrive(turned(stream(1000, first=1000)), name)
    with working(site):
        assert site.ended(site.ask(name, timestamp(at(0))))["reason"] == "Version 2 was promoted."


def test_a_champion_that_the_world_left_behind_is_followed_by_the_one_before_and_barred(site: Site) -> None:
    name = "rolled"
    two_champions(site, name)

    served(site, name, stream(400, first=2000))
    said = watched(site, name, "live.compared")
    back = watched(site, name, "version.promoted", number=3)

    assert (said["version"], said["serving"]) == ("1", "2")
    assert said["standing"]["crossed"] == said["rows"] < 400
    assert (back["version"], back["how"], back["by"]) == ("1", "demotion", "api")
    assert site.api.get("/current_model", model=name)["version"] == "1"
    assert "position" in site.api.get(f"/models/{name}/versions/2")["barred"]
    assert "takes over" not in site.api.get(f"/models/{name}")["attention"][0]["reason"]


def test_a_refused_candidate_shadows_the_champion_as_its_refit_until_labels_lift_it(site: Site) -> None:
    name = "lifted"
    site.arrive(stream(1000), name)
    site.define(name, DEFINITION.replace('promotion=Promotion(refit="off"),', ""))
    with working(site):
        assert site.ended(site.ask(name, "first"))["reason"] == "Version 2 was promoted."
        site.arrive(pd.concat([simpler(stream(500, first=1000)), stream(500, first=1500)]), name)
        refused = site.ended(site.ask(name, timestamp(at(0))))
    assert [gate["name"] for gate in refused["verdict"]["gates"] if not gate["passed"]] == ["comparison"]

    served(site, name, simpler(stream(600, first=2000)))
    said = watched(site, name, "live.compared")
    lifted = watched(site, name, "version.promoted", number=2)

    assert (said["version"], said["serving"]) == ("4", "2")
    assert site.api.get(f"/models/{name}/versions/4")["refit_of"] == "3"
    assert (lifted["version"], lifted["how"], lifted["by"]) == ("4", "promotion", "api")
    assert judged_again(site.api, site.settings.store, lifted["ground"]) is None
    assert site.api.get(f"/models/{name}/versions/4")["verdict"]["live"]


@dataclass(frozen=True)
class Costly:
    """A champion whose owner wrote the loss, and how it stood when two schedulers had scored its first 60 labels."""

    name: str
    standing: dict[str, Any]


@pytest.fixture(scope="module")
def costly(site: Site) -> Costly:
    name = "costly"
    loss = "def cost(labels, outputs):\n    return 3.0 * abs(labels - outputs[:, 1])\n\nmodel = Model("
    text = DEFINITION.replace("model = Model(", loss).replace('refit="off"', 'loss=cost, refit="off"')
    champion(site, name, text)
    served(site, name, stream(60, first=1000))
    scorings = [LiveScoring(site.settings, site.connect()) for _ in range(2)]
    until = time.monotonic() + 60
    while (standing := site.api.get(f"/models/{name}/live"))["rows"] < 60:
        assert time.monotonic() < until, standing
        for scoring in scorings:
            scoring.look()
        time.sleep(0.2)
    for scoring in scorings:
        scoring.look()
    return Costly(name, site.api.get(f"/models/{name}/live"))


def test_labels_are_weighed_by_the_loss_that_the_owner_wrote(costly: Costly) -> None:
    standing = costly.standing

    assert standing["loss"] == "own:cost"
    assert 0.3 < standing["serving_loss"] < 1.5
    assert standing["loss_on_holdout"] == pytest.approx(standing["serving_loss"], rel=0.5)


def test_what_was_scored_is_not_scored_again_by_another_scheduler(costly: Costly) -> None:
    assert costly.standing["rows"] == 60


def test_rows_that_somebody_else_has_scored_meanwhile_are_refused(site: Site) -> None:
    name = "shared"
    if not site.events("version.promoted", name):
        two_champions(site, name)
    standing = site.api.get(f"/models/{name}/live")
    body = {"pair": standing["pair"]["position"], "after": standing["cursor"], "until": standing["cursor"]}
    rows: dict[str, Any] = {"ids": [], "labels": [], "serving": [], "other": []}
    site.api.post(f"/models/{name}/live", {**body, **rows})

    with pytest.raises(Conflict, match="Somebody else"):
        site.api.post(f"/models/{name}/live", {**body, **rows, "after": "0" * 25 + "/0"})
    with pytest.raises(BadInput, match="no places in the records"):
        site.api.post(f"/models/{name}/live", {**body, **rows, "until": "garbage"})
    with pytest.raises(Conflict, match="is over"):
        site.api.post(f"/models/{name}/live", {**body, **rows, "pair": 1})


@pytest.mark.slow
def test_a_decision_that_a_kill_cut_off_is_made_at_the_next_look_without_a_new_label(site: Site) -> None:
    name = "shared"
    if not site.events("version.promoted", name):
        two_champions(site, name)
    standing = site.api.get(f"/models/{name}/live")
    pair, cursor = standing["pair"]["position"], standing["cursor"]
    scores = SqliteScores(site.installed.home / "var" / "records.db")
    stored = [(f"{i:025x}/0", 1.0, 0.0) for i in range(300)]  # as if the API had died just after these were written
    scores.add(name, pair, after=scores.cursor(name, pair), until=cursor, rows=stored)
    scores.close()
    assert site.api.get(f"/models/{name}/live")["due"]

    LiveScoring(site.settings, site.connect()).look()

    assert site.events("live.compared", name)[-1]["version"] == "1"
    assert not site.api.get(f"/models/{name}/live")["due"]


def test_a_champion_that_is_worse_than_it_was_with_nothing_better_at_hand_is_trained_anew(
    site: Site, costly: Costly
) -> None:
    name = costly.name
    served(site, name, turned(stream(600, first=1060)))
    asked = watched(site, name, "run.requested", number=2)

    assert (asked["by"], asked["slot"].partition("/")[0]) == ("api", "declined")
    notes = site.api.get(f"/models/{name}")["attention"]
    assert "has got worse" in notes[0]["reason"]
    assert len(notes) == 1
