"""Two schedulers on one home folder: they share the slots, and one that was away changes nothing when it comes back."""

import json
from collections import Counter
from pathlib import Path

import pytest
import requests

from scheduled_task.tests.given import DEFINITION, stream
from tests.schedulers import Scheduler, events, eventually, gate, is_alive
from tests.services import Installation, installation

NEVER = "every(days=36500)"
"""No slot comes due while a test is at work."""

ONCE = """
import time


class Waits(Csv):
    # The first that asks waits for ever, the next one does not.
    def get_dataframe(self, as_of):
        try:
            open("{marker}", "x").close()
        except FileExistsError:
            return super().get_dataframe(as_of)
        time.sleep(3600)
"""

POINTS = ("training", "register", "evidence", "promote", "finish")


def define(home: Path, name: str, text: str = DEFINITION) -> None:
    folder = home / "models"
    folder.mkdir(exist_ok=True)
    stream(1000).to_csv(folder / f"{name}.csv", index=False)
    text = text.replace('"stream"', f'"{name}"').replace("rows.csv", f"{name}.csv").replace("every(minutes=1)", NEVER)
    (folder / f"{name}.py").write_text(text)


def waiting_once(marker: Path) -> str:
    """A definition whose first training never ends."""
    waits = ONCE.format(marker=marker)
    return DEFINITION.replace("\nmodel =", f"{waits}\n\nmodel =").replace("source=Csv(", "source=Waits(")


def late_write(path: str, body: bytes) -> str | None:
    """The point before which a request is held: each model has one of its own, and is called by it."""
    routes = {
        "/models/register/versions": "register",
        "/models/evidence/versions/1/evidence": "evidence",
        "/runs/finish-1/finish": "finish",
    }
    if path == "/model/promote" and json.loads(body)["model_name"] == "promote":
        return "promote"
    return routes.get(path)


def runs(installed: Installation) -> dict[str, dict[str, object]]:
    return {run["id"]: run for run in installed.get("/runs?limit=1000").json()["items"]}


def ended(installed: Installation, ids: set[str]) -> bool:
    found = runs(installed)
    return all(run in found and found[run]["finished_at"] for run in ids)


@pytest.mark.fault(59)
@pytest.mark.fault(60)
@pytest.mark.timeout(300)
def test_a_scheduler_that_was_paused_anywhere_in_a_run_wakes_up_late_and_changes_nothing(tmp_path: Path) -> None:
    marker, firsts = tmp_path / "waited", {f"{point}-1" for point in POINTS}
    for point in POINTS:
        define(tmp_path, point, waiting_once(marker) if point == "training" else DEFINITION)
    with installation(tmp_path, UNDERSTUDY_RUNS_AT_ONCE=str(len(POINTS))) as installed:
        installed.start_api()
        with gate(installed.url, late_write) as way:
            paused = Scheduler(installed, "paused", url=way.url)
            eventually(lambda: marker.exists() and way.waiting == set(POINTS[1:]), paused.said)
            (child,) = paused.children()

            paused.pause()
            other = Scheduler(installed, "other")
            eventually(lambda: ended(installed, firsts), other.said)
            before, found = events(installed), runs(installed)
            paused.wake()
            way.opened.set()
            eventually(lambda: paused.said().count("is let go of") == len(POINTS), paused.said)

            assert way.answers == dict.fromkeys(POINTS[1:], (409, "stale_claim"))
            assert events(installed) == before
            assert not is_alive(child)
            assert [path.name for path in installed.home.glob("scheduled_task/*/*.work")] == []
            works_on_alone(installed, paused, other)

    assert {(run["state"], run["attempt"], run["reason"]) for run in found.values()} == {
        ("succeeded", 2, "Version 1 was promoted.")
    }
    kinds = Counter((event["kind"], event["model"]) for event in before)
    once = ("version.registered", "version.judged", "promotion.started", "version.promoted", "run.finished")
    assert {kinds[kind, point] for kind in once for point in POINTS} == {1}


def works_on_alone(installed: Installation, left: Scheduler, stopped: Scheduler) -> None:
    """Stop one; the other one, which was late before, does what comes next."""
    stopped.process.terminate()
    stopped.process.wait(30)
    asked = requests.post(
        f"{installed.url}/job/train", json={"model_name": "finish"}, headers=installed.token("operator"), timeout=10
    )
    eventually(lambda: ended(installed, {asked.json()["run_id"]}), left.said)
    assert runs(installed)["finish-2"]["state"] == "skipped"
