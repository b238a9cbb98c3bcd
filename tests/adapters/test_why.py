"""What `understudy why` makes of refits and of labels as grounds, from a real log behind a real API."""

from collections.abc import Iterator
from typing import Any

import pytest

from api.tests import given as apis
from tests.given import defined, judged, registered, tried
from understudy.adapters.commands.grounds import ground, refit_of, refused, show_ground, show_refit
from understudy.adapters.commands.verification import listed_version
from understudy.events import Event, LiveCompared, VerdictReached, VersionRefitted

GATE = {"name": "comparison", "passed": False, "reason": "It is worse.", "observed": None, "limit": None}
COMPARISON = {
    "answer": "better",
    "reason": "Its loss is lower.",
    "stops": "Would have stopped much.",
    "candidate_loss": 0.1,
    "champion_loss": 0.2,
    "gain": 0.1,
    "p": 0.01,
    "interval": [0.05, 0.15],
    "n": 200,
    "blocks": 20,
}


class Reader:
    """Asks an API in this process, as `ApiClient` asks one elsewhere."""

    def __init__(self, api: apis.Api) -> None:
        self._api = api

    def get(self, path: str, **query: str | int | None) -> Any:
        given = {name: value for name, value in query.items() if value is not None}
        answer = self._api.client.get(path, params=given, headers=self._api.token("client"))
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apis.Api]:
    with apis.api(tmp_path_factory.mktemp("why")) as started:
        yield started


def verdict(version: str, model: str, *, passed: bool) -> VerdictReached:
    found = judged(version, model=model, passed=passed)
    said = {"comparison": COMPARISON, "gates": [GATE | {"passed": passed}], "passed": passed}
    return VerdictReached(**{**vars(found), "verdict": said})


def refitted(version: str, of: str, model: str, *, passed: bool = True) -> VersionRefitted:
    reason = "It is the same." if passed else "Its loss is 4 % higher."
    return VersionRefitted(
        model=model, version=version, of=of, evidence="e" * 64, passed=passed, reason=reason, facts={}
    )


def told(api: apis.Api, model: str, *events: Event) -> Any:
    """Let these be the facts of a model; give a client that can be asked of them. `Any`: it stands for an ApiClient."""
    facts = [defined(model), *events]
    state = api.service.journal.state

    def decide(found: Any, now: Any) -> list[Event]:
        return facts if found.position == state.position else []

    api.service.journal.decide(decide)
    return Reader(api)


def candidate(model: str, *, passed: bool) -> list[Event]:
    """Version 1, judged, and version 2 made like it."""
    return [
        registered("1", model=model),
        tried("1", model=model),
        verdict("1", model, passed=passed),
        registered("2", model=model),
        tried("2", model=model),
    ]


def test_a_refit_stands_on_the_verdict_of_its_candidate(api: apis.Api, capsys: pytest.CaptureFixture[str]) -> None:
    client = told(api, "sun", *candidate("sun", passed=True), refitted("2", "1", "sun"))
    version = listed_version(client, "sun", "2")

    show_refit(refit_of(client, version))
    show_ground({"version": "2"}, ground(client, {"ground": version["verdict"]["position"]}))

    said = capsys.readouterr().out
    assert "It is the refit of version 1: the same recipe, on all rows with a label. It is the same." in said
    assert f"Its ground is the verdict on version 1 at position {version['verdict']['position']} of the log" in said
    assert "Comparison: better." in said


def test_a_version_that_is_no_refit_is_told_as_before(api: apis.Api, capsys: pytest.CaptureFixture[str]) -> None:
    client = told(api, "wind", *candidate("wind", passed=True))
    version = listed_version(client, "wind", "1")

    show_refit(refit_of(client, version))
    show_ground({"version": "1"}, ground(client, {"ground": version["verdict"]["position"]}))

    assert "refit" not in capsys.readouterr().out


def test_labels_of_predictions_are_shown_as_a_ground(api: apis.Api, capsys: pytest.CaptureFixture[str]) -> None:
    compared = LiveCompared(
        model="snow",
        version="2",
        serving="1",
        pair=1,
        rows=288,
        evidence="e" * 64,
        standing={"block": 4, "capital": 21.5, "crossed": 288},
        facts={},
    )
    client = told(api, "snow", *candidate("snow", passed=False), refitted("2", "1", "snow"), compared)
    version = listed_version(client, "snow", "2")

    show_refit(refit_of(client, version))
    show_ground({"version": "2"}, ground(client, {"ground": version["verdict"]["position"]}))

    said = capsys.readouterr().out
    assert "It is the refit of version 1" in said
    assert "in the shadow of version 1: after 288 labelled predictions, in blocks of 4" in said
    assert "whoever bet on it had made 20 of 1" in said


def test_a_refit_of_what_was_refused_is_not_told_twice(api: apis.Api) -> None:
    client = told(api, "fog", *candidate("fog", passed=False), refitted("2", "1", "fog"))

    assert [(one["version"], one["reasons"]) for one in refused(client, "fog", None)] == [("1", ["It is worse."])]


def test_a_refit_that_does_not_stand_is_told_with_its_own_reason(api: apis.Api) -> None:
    client = told(api, "hail", *candidate("hail", passed=True), refitted("2", "1", "hail", passed=False))

    assert [(one["version"], one["reasons"]) for one in refused(client, "hail", None)] == [
        ("2", ["Its loss is 4 % higher."])
    ]


def test_a_refit_whose_check_lies_too_far_in_the_log_is_told_without_its_numbers(
    api: apis.Api,
) -> None:
    many: list[Event] = [defined("other", every_s=60 + i) for i in range(100)]
    client = told(api, "ice", *candidate("ice", passed=True), *many, refitted("2", "1", "ice"))

    found = refit_of(client, listed_version(client, "ice", "2"))

    assert found == {"of": "1", "passed": None, "reason": "", "position": None}
