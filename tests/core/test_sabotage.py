"""The suite of sabotage: every gate has something that it alone stops, and a gate that is switched off is noticed."""

from dataclasses import replace
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest

from tests.core import cases, worlds
from understudy import Promotion
from understudy.evidence import Evidence, OwnLosses
from understudy.gates import Case
from understudy.losses import paired
from understudy.metrics import FloatArray, Labels
from understudy.proof import Proof, Sabotage, prove
from understudy.sabotage import MAKERS, Honest, suite
from understudy.sabotaged_answers import harmed, least_harm, worst
from understudy.sabotaged_rows import Table
from understudy.verdict import Name

GATES: tuple[Name, ...] = get_args(Name)
NOISE = np.random.default_rng(7)


def honest(case: Case | None = None, **learnt: Any) -> Honest:
    """A candidate that knows the truth about a small world, against a champion that half knows it."""
    case, world = case or cases.case(), worlds.world()
    table = Table(
        columns=world.columns,
        kinds=worlds.kinds(world.columns),
        label=world.label,
        task="binary",
        clock=[*range(worlds.END)],
        known=worlds.KNOWN,
        cut=worlds.CUT,
    )
    return Honest(case=case, table=table, learnt=learnt)


Suite = tuple[Case, tuple[Sabotage, ...]]


def proof(given: Honest, *without: Name) -> Proof:
    return prove(given.case, suite(given), without=without)


def through(given: Honest, *without: Name) -> list[str]:
    return [one.name for one in proof(given, *without).came_through]


STRICT = {
    "max_size_mb": 5.0,
    "max_latency_ms": 1.0,
    "floors": {"accuracy": 0.6, "log_loss": 0.62},
}


@pytest.fixture(scope="module")
def strict() -> Suite:
    """A policy with every limit that an owner may set, and declared slices; and its suite."""
    given = cases.evidence()
    groups = {"sky": ["clear" if place % 10 else "fog" for place in range(given.n)]}
    made = honest(
        cases.case(
            policy=Promotion(**STRICT).to_json(),  # type: ignore[arg-type]  # each of its own type
            slices=("sky",),
            evidence=replace(given, groups=groups),
        ),
        noise=cases.both(np.clip(0.4 + 0.1 * (NOISE.random(given.n) - 0.5), 0, 1)),
        refused=None,
    )
    return made.case, suite(made)


@pytest.fixture(scope="module")
def stopped(strict: Suite) -> Proof:
    return prove(*strict)


def test_every_gate_has_something_that_it_must_stop() -> None:
    assert tuple(MAKERS) == GATES


@pytest.mark.fault(68)
def test_a_sound_policy_stops_every_sabotage_and_lets_the_honest_candidate_pass(stopped: Proof) -> None:
    many = len(stopped.outcomes)

    assert stopped.holds, stopped.sentence()
    assert stopped.sentence() == f"An honest candidate passed, and each of {many} sabotages was stopped."
    assert [one for one in stopped.outcomes if one.gate not in one.caught_by] == []


ALSO_STOPPED_ELSEWHERE = {
    "a trial of another bundle": ("trial", "latency"),  # its latency is another bundle's, too
    "answers of another champion": ("holdout", "comparison"),  # what they say of the champion is not compared
    "no answer to some rows": ("sanity", "floors", "slices", "comparison"),  # nothing can be measured
    "the same answer to every row": ("sanity", "floors"),  # no constant keeps these floors
}


def test_each_sabotage_is_stopped_by_its_own_gate_and_hardly_any_by_another(stopped: Proof) -> None:
    found = {one.name: one.caught_by for one in stopped.outcomes if one.gate != "comparison"}

    assert {name: by for name, by in found.items() if len(by) > 1} == ALSO_STOPPED_ELSEWHERE


@pytest.mark.parametrize("gate", GATES)
def test_a_gate_that_is_switched_off_is_noticed_by_what_came_through(strict: Suite, gate: Name) -> None:
    found = prove(*strict, without=[gate])

    assert not found.holds
    assert {one.gate for one in found.came_through} == {gate}
    assert all(f"{one.name} ({gate})" in found.sentence() for one in found.came_through)


@pytest.mark.parametrize(
    ("names", "gate"),
    [
        (["accuracy below 0.6", "log_loss above 0.62", "a bundle that is too large"], "floors"),
        (["a latency beyond the limit"], "latency"),
        (["a slice harmed"], "slices"),
        (["a value outside its declared range"], "data"),
    ],
)
def test_what_an_owner_declares_is_sabotaged_too(strict: Suite, names: list[str], gate: Name) -> None:
    made = {one.name: one.gate for one in strict[1] if one.case is not None}

    assert {name: made[name] for name in names} == dict.fromkeys(names, gate)


def test_a_floor_is_broken_by_so_little_that_the_constant_predictor_is_still_beaten(stopped: Proof) -> None:
    outcome = next(one for one in stopped.outcomes if one.name == "log_loss above 0.62")

    assert "the owner wants at most 0.62" in outcome.reason
    assert "constant predictor" not in outcome.reason


def test_a_model_that_is_a_little_worse_is_worse_by_a_twentieth_of_its_loss(strict: Suite) -> None:
    case = next(one.case for one in strict[1] if one.name == "a model that is a little worse")
    assert case is not None
    assert case.evidence is not None

    own, champion = paired(case.policy, case.evidence)

    assert champion is not None
    assert (own >= champion).all()
    assert 1.03 < own.mean() / champion.mean() < 1.06


def test_a_gate_on_which_nothing_can_be_tried_is_named_even_where_it_is_switched_off(strict: Suite) -> None:
    control, sabotages = strict
    none = [replace(one, case=None) if one.gate == "slices" else one for one in sabotages]

    found = prove(control, none, without=["slices"])

    assert found.holds
    assert found.unproven == ("slices",)
    assert found.sentence().endswith("sabotages was stopped. Nothing could be tried on: slices.")


def test_what_cannot_be_done_to_a_model_is_told_and_not_counted(stopped: Proof) -> None:
    found = proof(honest())

    assert set(found.impossible) == {
        "rows from the future",  # it has no time column
        "all new rows at one time",
        "a bundle that is too large",
        "a latency beyond the limit",
    }
    assert "refused" in stopped.impossible


def test_a_policy_that_refuses_even_the_honest_candidate_proves_nothing_and_says_so() -> None:
    found = proof(honest(cases.case(policy=Promotion(floors={"accuracy": 0.99}).to_json())))

    assert not found.holds
    assert found.sentence().startswith("Even the honest candidate was refused, so what was stopped proves nothing: ")
    assert "the owner wants at least 0.99" in found.sentence()


def test_a_policy_that_promotes_where_nobody_can_tell_is_not_blamed_for_equal_models() -> None:
    lenient = honest(cases.case(policy=Promotion(cannot_tell="promote").to_json()))

    assert "a model that is no better" in proof(lenient).impossible
    assert through(lenient) == []


def test_what_does_a_model_no_harm_need_not_be_stopped() -> None:
    right, given = 2 * np.eye(2)[cases.evidence().labels] - 1, cases.evidence().candidate_out
    better, worse = (np.clip(given + step * right, 0, 1) for step in (0.01, -0.01))

    found = proof(honest(few=better, wrong=worse))

    assert found.holds, found.sentence()
    assert "few, which does this model no harm" in found.impossible
    assert "wrong" in [one.name for one in found.outcomes]


def test_what_came_through_is_named() -> None:
    given = honest(cases.case(policy=Promotion(cannot_tell="promote").to_json()))
    shaken = 0.02 * np.random.default_rng(1).normal(size=(given.evidence.n, 1)) * [1, -1]
    out = np.clip(given.evidence.candidate_out + shaken, 0, 1)

    found = proof(replace(given, learnt={"shaken a little": out}))

    assert [one.name for one in found.came_through] == ["shaken a little"]
    assert (
        found.sentence()
        == f"1 of {len(found.outcomes)} sabotages came through every gate: shaken a little (comparison)."
    )


def test_a_loss_of_the_owner_s_is_asked_about_every_answer() -> None:
    case = cases.case(policy={**Promotion().to_json(), "loss": "own:cost"})
    assert case.evidence is not None
    given, labels = case.evidence, case.evidence.labels

    def cost(outputs: FloatArray) -> FloatArray:
        return np.asarray(np.where(labels == 1, 5.0, 1.0) * abs(outputs[:, 1] - labels))

    assert given.champion_out is not None
    constant = np.tile([0.6, 0.4], (given.n, 1))
    losses = [cost(outputs) for outputs in (given.candidate_out, given.champion_out, constant)]
    own = OwnLosses(name="cost", candidate=losses[0], champion=losses[1], constant=losses[2])

    made = replace(honest(replace(case, evidence=replace(given, own=own))), own_loss=cost)

    assert proof(made).holds, proof(made).sentence()
    assert through(made, "comparison") == ["a model that is no better", "a model that is a little worse"]


def test_a_proof_is_written_down_whole(strict: Suite) -> None:
    found = prove(*strict, without=["latency"])

    said = found.to_json()

    assert said["came_through"] == [one.name for one in found.came_through]
    assert (said["holds"], said["control"], said["impossible"]) == (False, [], list(found.impossible))
    assert {one["name"]: one["gate"] for one in said["sabotages"]} == {one.name: one.gate for one in found.outcomes}


# Answers


def answers(task: str) -> tuple[FloatArray, Labels]:
    given: Evidence = cases.evidence()
    if task == "binary":
        return given.candidate_out, given.labels
    labels = NOISE.normal(size=200)
    return labels + NOISE.normal(size=200), labels


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_harm_makes_every_row_worse_and_the_worst_is_worst_of_all(task: str) -> None:
    out, labels = answers(task)

    def wrong(outputs: FloatArray) -> FloatArray:
        return abs(outputs[:, 1] - labels) if outputs.ndim == 2 else abs(outputs - labels)

    steps = [wrong(harmed(out, labels, harm)) for harm in (0.0, 0.1, 0.5)] + [wrong(worst(out, labels))]

    assert np.allclose(steps[0], wrong(out))
    assert all((more >= less).all() for less, more in pairwise(steps))
    assert least_harm(out, labels, lambda outputs: False) is None
