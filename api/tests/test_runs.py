"""Runs over HTTP: asked for, claimed, kept, ended; and what nobody may write into the log by them."""

from typing import Any

import pytest

from api.tests import given


def train(api: given.Api, key: str | None = None, **body: Any) -> Any:
    headers = {**api.token("operator"), **({} if key is None else {"Idempotency-Key": key})}
    return api.client.post("/job/train", json={"model_name": "rain", **body}, headers=headers)


def scheduler(api: given.Api, route: str, **body: Any) -> Any:
    return api.client.post(route, json=body, headers=api.token("scheduler"))


def claimed(api: given.Api) -> dict[str, Any]:
    return dict(scheduler(api, "/runs/claim", claimant="a test").json())


def test_a_run_by_hand_is_queued_claimed_kept_and_ended(api: given.Api) -> None:
    api.define()
    run = train(api, params={"C": 1}).json()["run_id"]

    claim = claimed(api)
    nothing = scheduler(api, "/runs/claim", claimant="another")
    kept = scheduler(api, f"/runs/{run}/heartbeat", token=claim["token"])
    ended = scheduler(api, f"/runs/{run}/finish", token=claim["token"], outcome="skipped", reason="no rows")

    assert (claim["run"]["id"], claim["run"]["params"]) == (run, {"C": 1})
    assert nothing.status_code == 204
    assert kept.status_code == 200
    assert (ended.json()["state"], ended.json()["reason"]) == ("skipped", "no rows")


@pytest.mark.fault(60)
def test_a_token_of_another_attempt_is_refused_everywhere(api: given.Api) -> None:
    api.define()
    api.register(given.bundle())
    evidence = given.evidence(api.store, given.bundle(), None)
    api.judge("1", evidence)
    run = train(api).json()["run_id"]
    token = claimed(api)["token"] + 1
    late, before = {"run": run, "token": token}, len(api.kinds())

    answers = [
        scheduler(api, f"/runs/{run}/heartbeat", token=token),
        scheduler(api, f"/runs/{run}/finish", token=token, outcome="failed", reason="late"),
        scheduler(api, "/models/rain/versions", digest=api.store.put(given.bundle()), **late),
        scheduler(api, "/models/rain/versions/1/evidence", evidence=evidence, **late),
        scheduler(api, "/model/promote", model_name="rain", model_version_id="1", **late),
    ]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(409, "stale_claim")] * 5
    assert len(api.kinds()) == before


def test_the_scheduler_judges_only_for_a_run_that_it_holds(api: given.Api) -> None:
    api.define()
    api.register(given.bundle())
    evidence = given.evidence(api.store, given.bundle(), None)
    route = "/models/rain/versions/1/evidence"

    without = scheduler(api, route, evidence=evidence)
    train(api)
    claim = claimed(api)
    held = scheduler(api, route, evidence=evidence, run=claim["run"]["id"], token=claim["token"])

    assert without.status_code == 422
    assert held.status_code == 200


def test_a_version_cannot_be_judged_on_slices_of_one_holdout_until_it_passes(api: given.Api) -> None:
    api.define()
    api.register(given.bundle())
    first = api.judge("1", given.evidence(api.store, given.bundle(), None, rows=given.Rows(400, 200)))

    retried = api.judge("1", given.evidence(api.store, given.bundle(), None, rows=given.Rows(400, 200)))
    picked = api.judge("1", given.evidence(api.store, given.bundle(), None, rows=given.Rows(450, 120)))
    later = api.judge("1", given.evidence(api.store, given.bundle(), None, rows=given.Rows(600, 120)))

    assert [answer.json()["passed"] for answer in (first, retried, picked, later)] == [True, True, False, True]


def test_the_same_key_is_the_same_run_and_no_other(api: given.Api) -> None:
    api.define()

    first, again = train(api, "k", params={"C": 1}), train(api, "k", params={"C": 1})
    other = train(api, "k", params={"C": 2})

    assert first.json()["run_id"] == again.json()["run_id"]
    assert (other.status_code, other.json()["code"]) == (409, "conflict")


@pytest.mark.parametrize("key", ["<script>", "a b", "../..", "x" * 81])
def test_a_key_that_could_be_something_else_is_refused(api: given.Api, key: str) -> None:
    api.define()

    assert train(api, key).status_code == 422


def test_a_run_as_of_a_moment_that_has_not_come_is_refused(api: given.Api) -> None:
    api.define()

    answer = train(api, as_of="2100-01-01T00:00:00Z")

    assert answer.status_code == 422
    assert "lies in the future" in answer.json()["detail"]


def test_a_run_like_one_of_another_model_is_refused(api: given.Api) -> None:
    api.define()
    api.define("sun")
    run = train(api).json()["run_id"]

    assert train(api, model_name="sun", like=run).status_code == 422


@pytest.mark.parametrize("slot", ["first/abc", "first/0", "tomorrow", "by-hand/x", "2026-01-01", ""])
def test_a_slot_is_a_due_time_or_a_first_attempt(api: given.Api, slot: str) -> None:
    api.define()

    assert scheduler(api, "/runs", model="rain", kind="train", slot=slot).status_code == 422


def test_a_result_that_would_swell_the_log_is_refused(api: given.Api) -> None:
    api.define()
    run = train(api).json()["run_id"]
    token = claimed(api)["token"]

    answer = scheduler(api, f"/runs/{run}/finish", token=token, outcome="succeeded", result={"x": "y" * 70_000})

    assert answer.status_code == 422


def test_params_that_nest_too_deep_to_be_shown_again_are_refused(api: given.Api) -> None:
    api.define()
    params: Any = {"C": 1}
    for _ in range(100):
        params = {"C": params}

    assert train(api, params=params).status_code == 422
    assert api.client.get("/runs").status_code == 200


def test_what_was_asked_for_under_propose_is_not_lifted_by_a_new_policy(api: given.Api) -> None:
    api.define(mode="propose")
    api.register(given.bundle())
    api.judge("1", given.evidence(api.store, given.bundle(), None))
    api.define(mode="auto")

    assert api.promote("1", role="scheduler").status_code == 403
    assert api.promote("1", role="operator").status_code == 200


def test_a_stranger_is_turned_away_before_the_body_is_read(api: given.Api) -> None:
    body = b" " * (17 * 2**20)

    def parts() -> Any:
        yield from (body[i : i + 2**20] for i in range(0, len(body), 2**20))

    stranger = api.client.post("/model/promote", content=b"{not json")
    announced = api.client.post("/model/promote", content=body, headers=api.token("operator"))
    chunked = api.client.post("/model/promote", content=parts(), headers=api.token("operator"))

    assert stranger.status_code == 401
    assert (announced.status_code, announced.json()["code"]) == (413, "too_large")
    assert chunked.status_code == 413


def test_a_token_file_that_is_being_rewritten_leaves_the_old_token_valid(api: given.Api) -> None:
    token = api.token("operator")
    (api.home / "var" / "client.token").write_text("")

    body = {"model_name": "rain", "reason": "x"}
    assert api.client.post("/model/demote", json=body, headers=token).status_code == 404
    assert api.client.get("/health", headers={"Authorization": "Bearer nonsense"}).status_code == 200


def test_the_older_names_of_as_of_are_understood(api: given.Api) -> None:
    api.define()
    then = "2026-01-31T12:00:00Z"

    old = train(api, time_travel="true", time_travel_date=then)
    half = train(api, time_travel="true")

    assert (old.status_code, old.json()["as_of"]) == (202, then)
    assert half.status_code == 422
