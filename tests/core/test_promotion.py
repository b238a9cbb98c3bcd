"""The promotion protocol, rule by rule: nothing without a ground, and one at a time.

`test_protocol.py` walks every order of its steps.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.given import HERE, NEW_YEAR, ROLES, History, candidate, defined, judged, registered, tried
from understudy import promotion
from understudy.errors import (
    BadInput,
    Conflict,
    Forbidden,
    NoGround,
    NotFound,
    NotTheChampion,
    StaleClaim,
    UnderstudyError,
)
from understudy.events import (
    PromotionAborted,
    Role,
    RunAbandoned,
    RunClaimed,
    RunRequested,
)
from understudy.promotion import FRESH_FOR, VOID_AFTER, Wish

MOMENT = timedelta(microseconds=1)


def wish(version: str, *, key: str = "key", by: Role = "operator", **what: Any) -> Wish:
    return Wish(model="rain", version=version, key=key, by=by, **what)


def start(history: History, wanted: Wish) -> list[str]:
    """Begin a promotion; return the kinds of the events that this made."""
    events = promotion.start(history.state, wanted, history.now, HERE)
    history.add(*events)
    return [event.kind for event in events]


def commit(history: History, key: str = "key") -> list[str]:
    events = promotion.commit(history.state, "rain", key, history.now, HERE)
    history.add(*events)
    return [event.kind for event in events]


def abort(history: History, key: str = "key", why: str = "it cannot be loaded") -> list[str]:
    events = promotion.abort(history.state, "rain", key, why)
    history.add(*events)
    return [event.kind for event in events]


def promote(history: History, version: str, **how: Any) -> None:
    wanted = wish(version, key=f"to-{version}-{len(history.entries)}", **how)
    start(history, wanted)
    assert commit(history, wanted.key) == ["version.promoted"]


def demote(history: History) -> str | None:
    promote(history, promotion.predecessor(history.state.model("rain")), how="demotion", reason="so")
    return champion(history)


def champion(history: History) -> str | None:
    return history.state.models["rain"].champion


@pytest.fixture
def history() -> History:
    """A model whose version 1 serves, and whose version 2 was judged better."""
    made = History()
    made.add(defined())
    candidate(made, "1")
    promote(made, "1")
    candidate(made, "2")
    return made


# The way through


def test_a_version_that_passed_is_started_committed_and_serves(history: History) -> None:
    ground = history.entries[-1].position

    assert start(history, wish("2", by="scheduler", reason="passed")) == ["promotion.started"]
    assert champion(history) == "1"
    assert commit(history) == ["version.promoted"]

    done = history.state.models["rain"].promotions[-1]
    assert champion(history) == "2"
    assert (done.version, done.replaces, done.ground, done.by, done.reason) == ("2", "1", ground, "scheduler", "passed")


def test_the_first_champion_replaces_nobody() -> None:
    history = History()
    history.add(defined())
    candidate(history, "1")

    promote(history, "1", by="scheduler")

    assert history.state.models["rain"].promotions[0].replaces is None


def test_promoting_the_champion_of_today_needs_nothing(history: History) -> None:
    assert start(history, wish("1")) == []


def test_an_aborted_promotion_leaves_the_champion_and_may_be_tried_again(history: History) -> None:
    start(history, wish("2"))

    assert abort(history, why="it cannot be loaded") == ["promotion.aborted"]
    assert champion(history) == "1"
    assert start(history, wish("2")) == ["promotion.started"]
    assert commit(history) == ["version.promoted"]


# What stands in the way


def test_what_does_not_exist_cannot_be_promoted(history: History) -> None:
    with pytest.raises(NotFound, match="no version '7'"):
        start(history, wish("7"))
    with pytest.raises(NotFound, match="no model 'snow'"):
        start(history, replace(wish("1"), model="snow"))


def refusal(history: History, wanted: Wish) -> UnderstudyError:
    """The error that a wish ends in; nothing was appended for it."""
    before = len(history.entries)
    with pytest.raises(UnderstudyError) as refused:
        start(history, wanted)
    assert len(history.entries) == before
    assert refused.value.remedy
    return refused.value


@pytest.mark.parametrize("by", ROLES)
def test_a_version_without_a_verdict_is_refused_whoever_asks(history: History, by: Role) -> None:
    history.add(registered("3"), tried("3"))

    assert isinstance(refusal(history, wish("3", by=by)), NoGround)


def test_a_version_that_was_judged_worse_is_refused(history: History) -> None:
    history.add(registered("3"), tried("3"), judged("3", champion="1", passed=False))

    assert refusal(history, wish("3")).problem == "Version 3 of rain has no passing verdict."


def test_the_newest_verdict_counts(history: History) -> None:
    history.add(judged("2", champion="1", passed=False))

    assert isinstance(refusal(history, wish("2")), NoGround)


@pytest.mark.parametrize("how", ["promotion", "override", "demotion"])
def test_without_a_trial_that_passed_here_nothing_helps(history: History, how: Any) -> None:
    history.add(registered("3"), judged("3", champion="1"))
    wanted = wish("3", how=how, reason="I insist")
    assert "has not been tried with the libraries that serve now" in refusal(history, wanted).problem

    history.add(tried("3", environment="libraries of last year"))
    assert "has not been tried with the libraries that serve now" in refusal(history, wanted).problem

    history.add(tried("3", passed=False))
    assert "failed its trial: it answered NaN" in refusal(history, wanted).problem


def test_a_verdict_against_another_champion_is_no_ground(history: History) -> None:
    candidate(history, "3")
    promote(history, "2")

    refused = refusal(history, wish("3", by="scheduler"))

    assert isinstance(refused, NoGround)
    assert refused.problem == "Version 3 of rain was compared with version 1, and version 2 serves now."


def test_a_verdict_against_nobody_is_no_ground_once_somebody_serves() -> None:
    history = History()
    history.add(defined())
    candidate(history, "1")
    candidate(history, "2")
    promote(history, "1")

    assert isinstance(refusal(history, wish("2")), NoGround)


def test_an_old_champion_does_not_come_back_on_the_verdict_of_its_time(history: History) -> None:
    promote(history, "2")

    assert isinstance(refusal(history, wish("1")), NoGround)


def test_a_stale_verdict_is_no_ground_for_a_scheduler_but_for_a_person(history: History) -> None:
    history.now = NEW_YEAR + FRESH_FOR
    assert promotion.start(history.state, wish("2", by="scheduler"), history.now, HERE)

    history.wait(microseconds=1)
    assert "older than ten minutes" in refusal(history, wish("2", by="scheduler")).problem
    promote(history, "2", by="operator")


@pytest.mark.parametrize("mode", ["propose", "", None, "AUTO"])
def test_where_the_last_step_is_left_to_a_person_a_scheduler_may_not_take_it(history: History, mode: Any) -> None:
    history.add(defined(mode=mode))

    refused = refusal(history, wish("2", by="scheduler"))

    assert isinstance(refused, Forbidden)
    assert refused.remedy == "An operator promotes it: understudy promote rain 2."
    promote(history, "2", by="operator")


def test_a_definition_that_says_nothing_leaves_the_last_step_to_a_person(history: History) -> None:
    history.add(replace(defined(), definition={}))

    assert isinstance(refusal(history, wish("2", by="scheduler")), Forbidden)


# Overrides


def test_an_operator_may_override_with_a_reason_and_it_is_on_record(history: History) -> None:
    history.add(registered("3"), tried("3"), judged("3", champion="1", passed=False))

    promote(history, "3", how="override", reason="the data of March were wrong")

    done = history.state.models["rain"].promotions[-1]
    assert (done.version, done.how, done.ground, done.reason) == ("3", "override", None, "the data of March were wrong")


@pytest.mark.parametrize("by", ["scheduler", "client"])
def test_nobody_else_may_override(history: History, by: Role) -> None:
    assert isinstance(refusal(history, wish("2", by=by, how="override", reason="because")), Forbidden)


@pytest.mark.parametrize("reason", ["", " ", "\n\t\u2003"])
def test_an_override_needs_a_reason(history: History, reason: str) -> None:
    assert isinstance(refusal(history, wish("2", how="override", reason=reason)), BadInput)


# One at a time


def test_while_one_is_under_way_another_must_wait(history: History) -> None:
    candidate(history, "3")
    start(history, wish("2"))

    refused = refusal(history, wish("3", key="other"))

    assert type(refused) is Conflict
    assert refused.problem == "Version 2 of rain is being promoted."


def test_a_start_without_outcome_is_void_after_a_minute(history: History) -> None:
    candidate(history, "3")
    start(history, wish("2"))
    history.wait(seconds=VOID_AFTER.total_seconds())
    history.now -= MOMENT
    assert type(refusal(history, wish("3", key="other"))) is Conflict

    history.now += MOMENT

    assert start(history, wish("3", key="other")) == ["promotion.aborted", "promotion.started"]
    aborted = history.entries[-2].event
    assert isinstance(aborted, PromotionAborted)
    assert (aborted.key, aborted.version, aborted.why) == ("key", "2", "no outcome in 60 s")


def test_a_promoter_that_wakes_up_after_its_start_was_voided_changes_nothing(history: History) -> None:
    candidate(history, "3")
    start(history, wish("2"))
    history.now += VOID_AFTER
    start(history, wish("3", key="other"))

    assert commit(history, "key") == []
    assert abort(history, "key") == []
    assert commit(history, "other") == ["version.promoted"]
    assert champion(history) == "3"


def test_a_promoter_that_wakes_up_after_a_minute_gives_up_itself(history: History) -> None:
    """Its spares may be freed by now: a commit would make every worker load while requests wait."""
    start(history, wish("2"))
    history.now += VOID_AFTER

    assert commit(history) == ["promotion.aborted"]
    assert champion(history) == "1"


def test_a_promoter_that_wakes_up_does_not_commit_or_abort_a_later_start_with_its_own_key(history: History) -> None:
    """The workers that it found ready have freed what they loaded for the first start."""
    start(history, wish("2"))
    first = history.entries[-1].position
    history.now += VOID_AFTER
    assert start(history, wish("2")) == ["promotion.aborted", "promotion.started"]
    second = history.entries[-1].position

    assert promotion.commit(history.state, "rain", "key", history.now, HERE, began=first) == ()
    assert promotion.abort(history.state, "rain", "key", "it cannot be loaded", began=first) == ()
    assert len(promotion.commit(history.state, "rain", "key", history.now, HERE, began=second)) == 1
    assert len(promotion.abort(history.state, "rain", "key", "it cannot be loaded", began=second)) == 1


def test_a_commit_is_given_up_where_another_champion_serves_meanwhile(history: History) -> None:
    """Nothing of ours does this while a start is pending; a log that was merged by hand may."""
    candidate(history, "3")
    start(history, wish("2"))
    state = history.state
    moved = replace(state.models["rain"], line=("1", "3"))
    history.state = replace(state, models={**state.models, "rain": moved})

    events = promotion.commit(history.state, "rain", "key", history.now, HERE)

    assert [event.why for event in events if isinstance(event, PromotionAborted)] == [
        "version 3 became champion meanwhile"
    ]


def test_a_ground_that_is_gone_at_the_commit_ends_the_promotion(history: History) -> None:
    start(history, wish("2", by="scheduler"))
    history.add(judged("2", champion="1", passed=False))

    assert commit(history) == ["promotion.aborted"]

    aborted = history.entries[-1].event
    assert isinstance(aborted, PromotionAborted)
    assert aborted.why == "Version 2 of rain has no passing verdict."
    assert champion(history) == "1"
    assert history.state.models["rain"].pending is None


def test_a_policy_that_changes_before_the_commit_holds_for_it(history: History) -> None:
    start(history, wish("2", by="scheduler"))
    history.add(defined(mode="propose"))

    assert commit(history) == ["promotion.aborted"]


def test_a_verdict_that_grows_old_between_start_and_commit_is_still_a_ground(history: History) -> None:
    history.now = NEW_YEAR + FRESH_FOR
    start(history, wish("2", by="scheduler"))
    history.wait(seconds=30)

    assert commit(history) == ["version.promoted"]


# Keys


def test_a_retry_with_the_same_key_finds_what_the_first_attempt_did(history: History) -> None:
    start(history, wish("2"))
    assert start(history, wish("2")) == []
    commit(history)

    assert start(history, wish("2")) == []
    assert commit(history) == []
    assert promotion.done(history.state.model("rain"), "key") == history.state.models["rain"].promotions[-1]


def test_a_retry_still_finds_it_when_others_were_promoted_since(history: History) -> None:
    start(history, wish("2", expects="1"))
    commit(history)
    candidate(history, "3")
    promote(history, "3")

    assert start(history, wish("2", expects="1")) == []
    assert champion(history) == "3"


@pytest.mark.parametrize("committed", [False, True])
def test_a_key_belongs_to_one_promotion(history: History, committed: bool) -> None:
    candidate(history, "3")
    start(history, wish("2"))
    if committed:
        commit(history)

    for other in (wish("3"), wish("2", how="override", reason="so")):
        assert refusal(history, other).problem == "This Idempotency-Key belongs to another promotion."


def test_a_key_that_nobody_used_finds_nothing(history: History) -> None:
    assert promotion.done(history.state.model("rain"), "never used") is None


# If-Match


def test_a_promotion_may_say_which_champion_it_expects(history: History) -> None:
    refused = refusal(history, wish("2", expects="7"))

    assert isinstance(refused, NotTheChampion)
    assert refused.problem == "The champion of rain is 1, not '7'."
    assert start(history, wish("2", expects="1")) == ["promotion.started"]


def test_whoever_expects_a_champion_where_none_serves_is_told() -> None:
    history = History()
    history.add(defined())
    candidate(history, "1")

    assert refusal(history, wish("1", expects="1")).problem == "The champion of rain is nobody, not '1'."


# Demotions


def test_demotions_walk_back_and_never_bounce(history: History) -> None:
    promote(history, "2")
    candidate(history, "3")
    promote(history, "3")

    assert [demote(history), demote(history)] == ["2", "1"]
    with pytest.raises(Conflict, match="no earlier champion to go back to"):
        demote(history)


def test_a_demotion_needs_no_verdict_and_says_who_asked_and_why(history: History) -> None:
    promote(history, "2")
    history.add(judged("1", champion="2", passed=False))

    promote(history, "1", how="demotion", reason="users complain")

    done = history.state.models["rain"].promotions[-1]
    assert (done.how, done.ground, done.by, done.reason) == ("demotion", None, "operator", "users complain")


def test_a_demotion_leads_to_the_champion_before_and_nowhere_else(history: History) -> None:
    promote(history, "2")
    candidate(history, "3")
    promote(history, "3")
    candidate(history, "4")

    for elsewhere in ("1", "4"):
        refused = refusal(history, wish(elsewhere, how="demotion", reason="so"))
        assert refused.problem.endswith("is not the champion before this one: version 2 is.")


def test_nobody_can_be_demoted_where_one_champion_is_all_there_was(history: History) -> None:
    assert "no earlier champion" in refusal(history, wish("2", how="demotion", reason="so")).problem


# A run that promotes


@pytest.mark.fault(60)
def test_a_run_promotes_only_with_the_claim_that_holds_it_and_a_late_one_is_told_even_where_all_is_done(
    history: History,
) -> None:
    run = RunRequested(
        model="rain", run="rain-1", job="train", slot="by-hand/x", as_of="", params={}, by="operator",
        start_date=None, end_date=None, like=None,
    )  # fmt: skip
    history.add(run, RunClaimed(model="rain", run="rain-1", attempt=1, claimant="one"))
    late = wish("2", key="rain-1", by="scheduler", run="rain-1", token=len(history.entries))
    history.add(
        RunAbandoned(model="rain", run="rain-1", token=len(history.entries), why="it fell silent"),
        RunClaimed(model="rain", run="rain-1", attempt=2, claimant="another"),
    )
    now = replace(late, token=len(history.entries))

    with pytest.raises(StaleClaim, match="no longer holds run rain-1"):
        start(history, late)
    assert start(history, now) == ["promotion.started"]
    with pytest.raises(StaleClaim):
        start(history, late)
    assert commit(history, "rain-1") == ["version.promoted"]
    with pytest.raises(StaleClaim):
        start(history, late)
    assert start(history, now) == []
