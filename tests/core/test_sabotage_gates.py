"""One sabotage at a time, each stopped by the gate that is there for it, by name.

Every case here passes until it is sabotaged (`test_gates.py` proves that).
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.core import cases, worlds
from understudy.gates import Case, Champion, judge
from understudy.metrics import FloatArray
from understudy.verdict import Name

RNG = np.random.default_rng(2)
HELD_OUT = worlds.END - worlds.CUT
FITTED = slice(worlds.KNOWN, worlds.CUT)


def answering(candidate: Any) -> Case:
    return cases.case(evidence=cases.evidence(candidate_out=candidate))


def learnt_from(given: worlds.World) -> Case:
    """A candidate whose snapshot was tampered with; its answers are as good as ever, so only the data tell."""
    return cases.case(profile=worlds.snapshot(given), reference=worlds.reference(worlds.world()))


def shuffled_labels() -> Case:
    """It learnt nothing: near the class shares, with noise."""
    useless: FloatArray = np.clip(RNG.normal(0.4, 0.1, HELD_OUT), 0.05, 0.95)
    return answering(cases.both(useless))


def leaked_target() -> Case:
    given = worlds.world()
    return learnt_from(worlds.changed(given, slice(worlds.KNOWN, None), wind=given.label))


def swapped_columns() -> Case:
    given = worlds.world()
    return learnt_from(worlds.changed(given, FITTED, low=given.columns["high"], high=given.columns["low"]))


def nulls_answered_with_nan() -> Case:
    out = cases.evidence().candidate_out
    out[::17] = np.nan
    return answering(out)


def renamed_column() -> Case:
    columns = [cases.column(name) for name in ("low", "high", "speed", "humidity")]
    return cases.case(manifest=cases.manifest(columns=[*columns, cases.column("sky", "text")]))


def renamed_in_the_source() -> Case:
    given = worlds.world()
    reference = worlds.reference(given)
    given.columns["speed"] = given.columns.pop("wind")
    return cases.case(profile=worlds.snapshot(given), reference=reference)


def slow_model() -> Case:
    return cases.case(trial=cases.trial(report=cases.latency([40.0] * 5, [0.02] * 5)))


def worse_in_the_fog() -> Case:
    """Better on the whole; where the sky says fog it answers every fourth row the wrong way round."""
    case = cases.sliced()
    assert case.evidence is not None
    out, sky = case.evidence.candidate_out, np.array(case.evidence.groups["sky"])
    wrong = (sky == "fog") & (np.arange(len(sky)) % 4 == 0)
    return replace(case, evidence=replace(case.evidence, candidate_out=np.where(wrong[:, None], out[:, ::-1], out)))


def against_another_champion() -> Case:
    """Evidence that was honest until somebody promoted version 3."""
    three = Champion(version="3", digest="3" * 64, manifest=cases.manifest(cut=worlds.KNOWN - 1))
    return cases.case(champion=three, trial=cases.trial(against="3"))


SABOTAGE: dict[str, tuple[Case, Name]] = {
    "shuffled labels": (shuffled_labels(), "comparison"),
    "constant output": (answering(np.tile([0.6, 0.4], (HELD_OUT, 1))), "sanity"),
    "leaked target": (leaked_target(), "data"),
    "swapped columns, in the fitted rows only": (swapped_columns(), "data"),
    "slow model": (slow_model(), "latency"),
    "worse in one slice": (worse_in_the_fog(), "slices"),
    "NaN on nulls": (nulls_answered_with_nan(), "sanity"),
    "renamed column": (renamed_column(), "signature"),
    "renamed column in the source": (renamed_in_the_source(), "data"),
    "evidence against another champion": (against_another_champion(), "holdout"),
    "stale evidence": (cases.case(evidence_age_s=3600.0), "holdout"),
    "wrong digest": (cases.case(digest="f" * 64), "holdout"),
    "truncated bundle": (cases.case(trial=cases.trial(passed=False, reason="The file ends early.")), "trial"),
    "an unhealthy API": (cases.case(api={"ready": False, "reason": "no log", "age_s": 0.0}), "api"),
}

ALONE = set(SABOTAGE) - {
    "constant output",
    "shuffled labels",
    "NaN on nulls",
    "evidence against another champion",
    "wrong digest",
}
"""Where no other gate could have stopped it."""


@pytest.mark.fault(68)
@pytest.mark.parametrize("sabotage", SABOTAGE)
def test_each_sabotage_is_stopped_by_the_gate_that_should_stop_it(sabotage: str) -> None:
    case, name = SABOTAGE[sabotage]

    verdict = judge(case)

    assert not verdict.passed
    assert not verdict.gate(name).passed
    assert verdict.gate(name).reason in verdict.reasons


@pytest.mark.parametrize("sabotage", sorted(ALONE))
def test_no_other_gate_would_have_stopped_it(sabotage: str) -> None:
    case, name = SABOTAGE[sabotage]

    assert [gate.name for gate in judge(case).gates if not gate.passed] == [name]


@pytest.mark.fault(68)
def test_a_candidate_that_learnt_from_shuffled_labels_is_called_worse() -> None:
    assert judge(shuffled_labels()).comparison.answer == "worse"


@pytest.mark.fault(68)
def test_an_equal_candidate_is_not_promoted() -> None:
    case = cases.case()
    assert case.evidence is not None
    equal = replace(case, evidence=replace(case.evidence, champion_out=case.evidence.candidate_out))

    verdict = judge(equal)

    assert verdict.reasons == ("The two models answer alike.",)


def test_the_case_that_is_sabotaged_here_passes_without_the_sabotage() -> None:
    assert judge(learnt_from(worlds.world())).passed
    assert judge(answering(cases.both(worlds.world().truth[worlds.CUT :]))).passed
