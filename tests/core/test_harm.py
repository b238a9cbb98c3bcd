"""The gate on slices, the owner's own loss, and what follows where nobody can tell: the policy beyond the bar."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.core import cases, worlds
from understudy import Promotion
from understudy.compare import row_losses
from understudy.evidence import OwnLosses
from understudy.gates import Case, Verdict, judge

N = 900
"""Rows that `cases.sliced` judges by."""


def failed(case: Case) -> dict[str, str]:
    return {gate.name: gate.reason for gate in judge(case).gates if not gate.passed}


def worse_where(column: str, value: str) -> Case:
    """A candidate that answers every fourth row of one group the wrong way round, and knows the truth elsewhere."""
    case = cases.sliced()
    assert case.evidence is not None
    there = np.array(case.evidence.groups[column]) == value
    out = case.evidence.candidate_out
    some = there & (np.cumsum(there) % 4 == 0)
    return replace(case, evidence=replace(case.evidence, candidate_out=np.where(some[:, None], out[:, ::-1], out)))


def own(candidate: Any, champion: Any, *, name: str = "cost") -> OwnLosses:
    return OwnLosses(name=name, candidate=candidate, champion=champion, constant=np.full(len(candidate), 9.0))


def judged_by_cost(losses: OwnLosses | None, **changes: Any) -> Case:
    case = cases.case(policy={**Promotion().to_json(), "loss": "own:cost"}, **changes)
    assert case.evidence is not None
    return replace(case, evidence=replace(case.evidence, own=losses))


# ── slices ───────────────────────────────────────────────────────────────────────────────────────


def test_a_candidate_that_is_better_everywhere_passes_and_every_slice_is_on_record() -> None:
    verdict = judge(cases.sliced())

    assert verdict.passed
    assert {one.column for one in verdict.slices} == {"sky", "sex"}
    assert sum(one.n for one in verdict.slices) == 2 * N
    assert verdict.gate("slices").reason == "In none of 5 slices is its loss higher than the champion's, beyond chance."


def test_a_verdict_with_slices_is_plain_json_and_comes_back_from_it() -> None:
    verdict = judge(cases.sliced())

    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json(), allow_nan=False))) == verdict


def test_where_no_slices_are_declared_the_gate_says_so_and_the_record_holds_none() -> None:
    verdict = judge(cases.case())

    assert verdict.gate("slices").passed
    assert verdict.gate("slices").reason == "No slices are declared."
    assert "slices" not in verdict.to_json()


def test_a_slice_that_is_served_worse_stops_a_candidate_that_is_better_on_the_whole() -> None:
    case = worse_where("sky", "fog")

    verdict = judge(case)
    (harmed,) = (one for one in verdict.slices if one.harmed and one.column == "sky")

    assert verdict.comparison.answer == "better"
    assert "slices" in failed(case)
    assert verdict.gate("slices").reason.startswith(f"Where `sky` is fog, {harmed.n} rows: Its loss is ")
    assert (verdict.gate("slices").observed, verdict.gate("slices").limit) == (harmed.p, harmed.limit)


def test_a_protected_attribute_is_judged_alike_and_named_as_such() -> None:
    assert "Where the protected `sex` is f, 450 rows: Its loss is " in failed(worse_where("sex", "f"))["slices"]


def test_without_a_champion_slices_are_reported_only() -> None:
    case = cases.sliced(answers={"champion": None, "champion_out": None}, champion=None, reference=None)
    alone = replace(case, trial=cases.trial(against=None, report=cases.latency([0.02] * 5, None)), judged_until=None)

    verdict = judge(alone)

    assert verdict.gate("slices").passed
    assert "5 slices are reported" in verdict.gate("slices").reason
    assert {one.p for one in verdict.slices} == {None}


def test_protected_slices_with_too_few_rows_are_named_in_the_words_of_the_gate() -> None:
    case = cases.sliced()
    assert case.evidence is not None
    rare = {**case.evidence.groups, "sex": ["f" if row < 150 else "m" for row in range(N)]}

    gate = judge(replace(case, evidence=replace(case.evidence, groups=rare))).gate("slices")

    assert gate.passed
    assert "1 with too few rows are only reported, so nothing is known where the protected `sex` is f." in (gate.reason)


@pytest.mark.parametrize("groups", [{}, {"sky": ["clear"] * N}])
def test_evidence_that_does_not_say_where_its_rows_belong_is_refused(groups: dict[str, list[str]]) -> None:
    case = cases.sliced()
    assert case.evidence is not None

    said = failed(replace(case, evidence=replace(case.evidence, groups=groups)))

    assert set(said) == {"slices"}
    assert "does not say what its rows hold in" in said["slices"]


def test_answers_that_are_no_numbers_fail_the_gate_on_slices_too() -> None:
    case = cases.sliced()
    assert case.evidence is not None
    out = case.evidence.candidate_out.copy()
    out[3] = np.nan

    assert "slices" in failed(replace(case, evidence=replace(case.evidence, candidate_out=out)))


# ── a loss of the owner's ────────────────────────────────────────────────────────────────────────


def test_the_owners_loss_judges_where_the_policy_names_it() -> None:
    n = worlds.END - worlds.CUT
    cheap, dear = np.random.default_rng(0).uniform(0, 1, n), np.random.default_rng(1).uniform(2, 3, n)

    better, worse = (judge(judged_by_cost(losses)) for losses in (own(cheap, dear), own(dear, cheap)))

    assert better.passed
    assert (better.comparison.candidate_loss, better.comparison.champion_loss) == (cheap.mean(), dear.mean())
    assert better.gate("floors").limit == 9.0
    assert (worse.comparison.answer, worse.passed) == ("worse", False)


def test_a_slice_is_judged_by_the_owners_loss_as_well() -> None:
    case = cases.sliced(policy={**Promotion().to_json(), "loss": "own:cost"})
    assert case.evidence is not None
    fog = np.array(case.evidence.groups["sky"]) == "fog"
    noise = np.random.default_rng(0).uniform(0, 0.1, N)
    losses = own(np.where(fog, 1.5, 0.5) + noise, np.ones(N))

    said = failed(replace(case, evidence=replace(case.evidence, own=losses)))

    assert set(said) == {"slices"}
    assert "`sky` is fog" in said["slices"]


@pytest.mark.parametrize("losses", [None, own(np.zeros(300), np.ones(300), name="other")])
def test_evidence_without_the_owners_losses_passes_neither_floors_nor_comparison(losses: OwnLosses | None) -> None:
    said = failed(judged_by_cost(losses))

    assert set(said) == {"floors", "comparison"}
    assert "the evidence does not hold the losses by `cost`" in said["comparison"]


def test_losses_of_the_owners_that_no_policy_asks_for_change_nothing() -> None:
    case = cases.case()
    assert case.evidence is not None
    slipped_in = own(np.zeros(case.evidence.n), np.ones(case.evidence.n))

    assert judge(replace(case, evidence=replace(case.evidence, own=slipped_in))) == judge(case)


def test_a_row_without_a_loss_of_the_owners_is_never_better() -> None:
    n = worlds.END - worlds.CUT
    candidate = np.zeros(n)
    candidate[7] = np.nan

    assert judge(judged_by_cost(own(candidate, np.ones(n)))).comparison.answer == "cannot_tell"


# ── where nobody can tell ────────────────────────────────────────────────────────────────────────


def near(**policy: Any) -> Case:
    """A candidate of which nobody can tell: as often a little better as a little worse."""
    truth = worlds.world().truth[worlds.CUT :]
    shift = np.where(np.arange(len(truth)) % 2, 0.03, -0.03)
    out = cases.both(np.clip(truth + shift, 0.01, 0.99)), cases.both(np.clip(truth - shift, 0.01, 0.99))
    held_out = cases.evidence(candidate_out=out[0], champion_out=out[1])
    return cases.case(evidence=held_out, policy=Promotion(**policy).to_json())


def test_what_nobody_can_tell_stays_in_shadow_unless_the_policy_promotes_it() -> None:
    shadow, promoted = judge(near()), judge(near(cannot_tell="promote"))

    assert shadow.comparison.answer == promoted.comparison.answer == "cannot_tell"
    assert (shadow.passed, promoted.passed) == (False, True)
    assert promoted.gate("comparison").limit == "not worse"
    assert promoted.gate("comparison").reason.endswith("The policy promotes where nobody can tell.")


def test_too_little_data_is_no_answer_that_any_policy_promotes() -> None:
    few = cases.evidence(first=worlds.END - 99)

    verdict = judge(cases.case(evidence=few, policy=Promotion(cannot_tell="promote").to_json()))

    assert {gate.name for gate in verdict.gates if not gate.passed} == {"holdout", "comparison"}


def test_a_worse_candidate_is_refused_by_every_policy() -> None:
    case = cases.case(policy=Promotion(cannot_tell="promote").to_json())
    assert case.evidence is not None
    assert case.evidence.champion_out is not None
    turned = replace(case.evidence, candidate_out=case.evidence.champion_out, champion_out=case.evidence.candidate_out)

    assert judge(replace(case, evidence=turned)).comparison.answer == "worse"
    assert not judge(replace(case, evidence=turned)).gate("comparison").passed


def test_the_loss_of_the_whole_is_the_mean_over_the_slices_of_a_column() -> None:
    verdict, case = judge(cases.sliced()), cases.sliced()
    assert case.evidence is not None
    whole = row_losses("brier", case.evidence.candidate_out, case.evidence.labels).mean()

    parts = [one for one in verdict.slices if one.column == "sky"]

    assert sum(one.n * one.candidate_loss for one in parts) / N == pytest.approx(whole)
