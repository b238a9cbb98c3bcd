"""Another version takes over: on a verdict, by a person, and back again."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LogisticRegression

from api.tests import given
from understudy.events import VersionRegistered, VersionTried
from understudy.state import Registry

SECOND = given.Rows(20, 380)


def test_a_candidate_that_is_better_passes_and_is_promoted_by_the_scheduler(api: given.Api) -> None:
    api.serve(given.bundle(shuffled=True))
    better = given.bundle()
    api.register(better)

    judged = api.judge("2", given.evidence(api.store, better, given.bundle(shuffled=True)))
    promoted = api.promote("2", role="scheduler", **{"If-Match": '"1"', "Idempotency-Key": "run-1"})

    assert judged.json()["passed"] is True, judged.text
    assert judged.json()["verdict"]["comparison"]["answer"] == "better"
    assert promoted.status_code == 200, promoted.text
    assert promoted.json()["ground"] == judged.json()["position"]
    assert api.client.get("/current_model").json()["version"] == "2"


def test_a_candidate_that_is_worse_is_refused_with_reasons_and_needs_attention(api: given.Api) -> None:
    api.serve(given.bundle())
    worse = given.bundle(shuffled=True)
    api.register(worse)

    judged = api.judge("2", given.evidence(api.store, worse, given.bundle()))
    promoted = api.promote("2", role="scheduler")

    assert judged.json()["passed"] is False
    assert promoted.status_code == 409
    assert promoted.json()["code"] == "no_ground"
    attention = api.client.get("/models/rain").json()["attention"]
    assert "Version 2 of rain" in attention[0]["reason"]
    assert api.client.get("/current_model").json()["version"] == "1"


def test_without_a_champion_the_constant_predictor_stands_in(api: given.Api) -> None:
    api.define()
    api.register(given.bundle())

    judged = api.judge("1", given.evidence(api.store, given.bundle(), None))

    assert judged.json()["passed"] is True, judged.text
    assert api.promote("1", role="scheduler").status_code == 200


@pytest.mark.parametrize("forged", [{"p": 0.0001}, {"passed": True}, {"gain": 9.0, "comparison": {"answer": "better"}}])
def test_a_conclusion_that_is_sent_is_ignored(api: given.Api, forged: dict[str, Any]) -> None:
    api.serve(given.bundle())
    worse = given.bundle(shuffled=True)
    api.register(worse)
    digest = given.evidence(api.store, worse, given.bundle())
    import json

    inside = api.store.put(json.dumps({**json.loads(api.store.get(digest)), **forged}).encode())

    in_request = api.judge("2", digest, **forged)
    in_evidence = api.judge("2", inside)

    assert in_request.json()["passed"] is False
    assert in_evidence.json()["passed"] is False


def test_stale_evidence_is_no_ground(api: given.Api) -> None:
    api.define()
    api.register(given.bundle())
    old = datetime.now(UTC) - timedelta(minutes=11)

    judged = api.judge("1", given.evidence(api.store, given.bundle(), None, measured=old))

    assert judged.json()["passed"] is False


def test_data_are_never_judged_by_less_because_the_last_accepted_profile_is_gone(api: given.Api) -> None:
    api.define()
    api.register(given.bundle())
    api.judge("1", given.evidence(api.store, given.bundle(), None))
    reference = api.client.get("/models/rain").json()["profile"]
    (api.home / "api" / "prod_models" / "sha256" / reference[:2] / reference).unlink()
    api.register(given.bundle(trained_on=SECOND))

    judged = api.judge("2", given.evidence(api.store, given.bundle(trained_on=SECOND), None, rows=given.Rows(700, 200)))

    assert judged.status_code == 404
    assert api.promote("2", role="scheduler").status_code == 409


def test_evidence_against_another_champion_is_no_ground(api: given.Api) -> None:
    api.serve(given.bundle(shuffled=True))
    better = given.bundle()
    api.register(better)
    digest = given.evidence(api.store, better, given.bundle(shuffled=True))
    api.serve(given.bundle(trained_on=SECOND))

    judged = api.judge("2", digest)

    assert judged.json()["passed"] is False
    assert api.promote("2", role="scheduler").status_code == 409


def test_a_verdict_does_not_outlive_the_champion_it_was_reached_against(api: given.Api) -> None:
    api.serve(given.bundle(shuffled=True))
    better = given.bundle()
    api.register(better)
    assert api.judge("2", given.evidence(api.store, better, given.bundle(shuffled=True))).json()["passed"] is True
    api.serve(given.bundle(trained_on=SECOND))

    promoted = api.promote("2", role="scheduler")

    assert promoted.status_code == 409
    assert "was compared with version 1, and version 3 serves now" in promoted.json()["detail"]


def test_a_model_that_proposes_leaves_the_last_step_to_a_person(api: given.Api) -> None:
    api.define(mode="propose")
    api.register(given.bundle())
    judged = api.judge("1", given.evidence(api.store, given.bundle(), None))

    by_scheduler = api.promote("1", role="scheduler")
    waiting = api.client.get("/models/rain").json()["attention"][0]["reason"]
    by_person = api.promote("1", role="operator")

    assert judged.json()["passed"] is True
    assert (by_scheduler.status_code, by_scheduler.json()["code"]) == (403, "forbidden")
    assert "waits for a person" in waiting
    assert by_person.status_code == 200
    assert by_person.json()["how"] == "promotion"


def test_only_an_operator_may_override_and_only_with_a_reason(api: given.Api) -> None:
    api.define()
    api.register(given.bundle())

    by_scheduler = api.promote("1", role="scheduler", override="trust me")
    without_reason = api.promote("1", override="  ")
    with_reason = api.promote("1", override="the first one, looked at by hand")

    assert by_scheduler.status_code == 403
    assert without_reason.status_code == 422
    assert with_reason.json()["reason"] == "the first one, looked at by hand"
    assert with_reason.json()["how"] == "override"


def test_demotions_walk_back_one_champion_at_a_time_and_then_end(api: given.Api) -> None:
    for start in (0, 10, 20):
        api.serve(given.bundle(trained_on=given.Rows(start, 400)))

    back = [api.demote().json()["version"] for _ in range(2)]
    end = api.demote()

    assert back == ["2", "1"]
    assert end.status_code == 409
    assert "no earlier champion" in end.json()["detail"]
    assert api.client.post("/predict", json={"x": 0.1, "y": 0.1}).json()["version"] == "1"


@pytest.mark.fault(15)
@pytest.mark.parametrize(
    ("names", "task"), [(("x", "z"), "binary"), (("y", "x"), "binary"), (("x", "y"), "regression")]
)
def test_a_version_that_would_refuse_what_clients_send_needs_an_override(
    api: given.Api, names: tuple[str, str], task: Any
) -> None:
    api.serve(given.bundle())
    other = given.bundle(names=names, task=task)
    api.register(other)

    refused = api.promote("2", role="operator")
    overridden = api.promote("2", override="the clients know")

    assert (refused.status_code, refused.json()["code"]) == (409, "schema_incompatible")
    assert overridden.status_code == 200


@pytest.mark.fault(21)
def test_the_same_promotion_sent_twice_is_one_event_and_one_answer(api: given.Api) -> None:
    api.serve(given.bundle())
    api.register(given.bundle(trained_on=SECOND))

    answers = [api.promote("2", override="again", **{"Idempotency-Key": "k"}) for _ in range(3)]

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert api.kinds().count("version.promoted") == 2


def test_a_key_that_belongs_to_another_promotion_is_a_conflict(api: given.Api) -> None:
    api.serve(given.bundle())
    api.register(given.bundle(trained_on=SECOND))
    api.promote("2", override="first", **{"Idempotency-Key": "k"})

    answer = api.promote("1", override="second", **{"Idempotency-Key": "k"})

    assert answer.status_code == 409
    assert "Idempotency-Key" in answer.json()["detail"]


def test_if_match_guards_the_champion_that_is_to_be_replaced(api: given.Api) -> None:
    api.serve(given.bundle())
    api.register(given.bundle(trained_on=SECOND))

    refused = api.promote("2", override="now", **{"If-Match": '"7"'})
    accepted = api.promote("2", override="now", **{"If-Match": api.client.get("/current_model").headers["ETag"]})

    assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
    assert accepted.status_code == 200


@pytest.mark.fault(20)
def test_of_two_promotions_at_once_one_wins_and_the_other_hears_of_it(api: given.Api) -> None:
    api.serve(given.bundle())
    for start in (10, 20):
        api.register(given.bundle(trained_on=given.Rows(start, 400)))
    outcomes = []

    with ThreadPoolExecutor(2) as pool:
        for _ in range(100):
            gate = threading.Barrier(2)
            champion = api.client.get("/current_model").headers["ETag"]
            others = [v for v in ("1", "2", "3") if f'"{v}"' != champion]

            def race(version: str, gate: threading.Barrier = gate, champion: str = champion) -> int:
                gate.wait()
                return int(api.promote(version, override="race", **{"If-Match": champion}).status_code)

            outcomes.append(sorted(pool.map(race, others)))

    assert all(outcome in ([200, 409], [200, 412]) for outcome in outcomes)
    assert api.kinds().count("version.promoted") == 101


@pytest.mark.fault(24)
def test_a_demotion_to_a_version_whose_bytes_are_gone_is_refused_and_the_current_one_serves(
    api: given.Api, tmp_path: Path
) -> None:
    first = given.bundle()
    api.serve(first)
    api.serve(given.bundle(trained_on=SECOND))
    digest = api.client.get("/models/rain/versions/1").json()["digest"]
    (tmp_path / "api" / "prod_models" / "sha256" / digest[:2] / digest).unlink()

    answer = api.demote()

    assert answer.status_code == 409
    assert "cannot be loaded" in answer.json()["detail"]
    assert api.client.post("/predict", json={"x": 0.1, "y": 0.1}).json()["version"] == "2"
    assert api.kinds()[-1] == "promotion.aborted"


def test_a_version_that_only_older_libraries_have_tried_is_tried_again_before_it_serves(api: given.Api) -> None:
    api.serve(given.bundle())
    digest = api.store.put(given.bundle(trained_on=SECOND))
    registered = VersionRegistered(
        model="rain", version="2", digest=digest, size=1, summary={}, run=None, by="scheduler"
    )
    long_ago = VersionTried(
        model="rain", version="2", digest=digest, environment="older", passed=True, reason="", report={}, against=None
    )
    api.service.journal.decide(lambda state, now: [registered, long_ago] if "2" not in versions(state) else [])

    answer = api.promote("2", override="it served once")

    assert answer.status_code == 200
    assert api.kinds()[-3:] == ["version.tried", "promotion.started", "version.promoted"]


def versions(state: Registry) -> set[str]:
    return {version for _, version in state.versions}


def test_a_link_never_promotes_and_shows_the_request_that_does(api: given.Api) -> None:
    answers = [api.client.get(f"/model/{verb}") for verb in ("promote", "demote")]

    assert [answer.status_code for answer in answers] == [405, 405]
    assert [answer.headers["Allow"] for answer in answers] == ["POST", "POST"]
    assert all("curl -X POST" in answer.json()["remedy"] for answer in answers)


def test_a_changed_definition_is_recorded_once(api: given.Api) -> None:
    for bar in (0.8, 0.8, 0.9):
        api.define(bar=bar)

    assert api.kinds() == ["model.defined", "model.defined"]


def test_what_served_at_a_past_moment_is_answered_from_the_log(api: given.Api) -> None:
    api.serve(given.bundle())
    then = api.client.get("/current_model").json()["promoted_at"]
    api.serve(given.bundle(LogisticRegression(C=0.5)))

    past = api.client.get("/current_model", params={"at": then}).json()
    before = api.client.get("/current_model", params={"at": "2020-01-01T00:00:00Z"})

    assert past["version"] == "1"
    assert api.client.get("/current_model").json()["version"] == "2"
    assert before.status_code == 404
