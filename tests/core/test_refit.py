"""A refit stands on its candidate's verdict only where it is the same recipe, and no worse where both can be seen."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from tests.core.cases import CANDIDATE, both, evidence, manifest
from tests.core.worlds import CUT, world
from tests.given import NEW_YEAR
from understudy import Promotion
from understudy.refit import Checked, Fitted, check
from understudy.state import Judgement

REFIT = "f" * 64
TRUTH = world().truth[CUT:]
RECIPE: dict[str, Any] = {"params": {}, "seed": 7, "metric": "log_loss", "libraries": {"numpy": "2"}}


def judgement(**changes: Any) -> Judgement:
    found = Judgement(
        position=9,
        time=NEW_YEAR,
        passed=True,
        champion="1",
        evidence="e" * 64,
        rows=evidence().row_set,
        until=CUT + 300,
        mode="auto",
        evidence_age=timedelta(0),
    )
    return replace(found, **changes)


def refit(refit_manifest: dict[str, Any] | None = None, *, answers: Any = None, **changes: Any) -> Checked:
    """The check of a refit that holds, but for what is changed."""
    candidate = {**manifest(), **RECIPE}
    own = {
        **candidate,
        "data": {**candidate["data"], "cut": CUT + 299, "judged_cut": CUT - 1},
        **(refit_manifest or {}),
    }
    out = both(TRUTH) if answers is None else answers
    beside = evidence(candidate=REFIT, champion=CANDIDATE, candidate_out=out, champion_out=both(0.9 * TRUTH + 0.05))
    parts: dict[str, Any] = {"evidence": beside, "judgement": judgement(), "tried": (True, ""), **changes}
    fitted = Fitted(digest=REFIT, manifest=own), Fitted(digest=CANDIDATE, manifest=candidate)
    return check(*fitted, policy=Promotion().to_json(), **parts)


def test_a_refit_that_is_no_worse_than_its_candidate_stands_on_its_verdict() -> None:
    found = refit()

    assert found.passed
    assert "2 % more are allowed" in found.reason
    assert found.loss is not None
    assert found.loss < (found.candidate_loss or 0)


def test_one_that_has_fallen_behind_on_rows_it_has_even_seen_does_not() -> None:
    assert not refit(answers=both(1 - TRUTH)).passed
    assert not refit(answers=both(0.8 * TRUTH + 0.1)).passed


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("params", {"C": 1}, "another `params`"),
        ("seed", 8, "another `seed`"),
        ("libraries", {"numpy": "3"}, "another `libraries`"),
        ("model", "bike_demand", "another `model`"),
        ("data", {**manifest()["data"], "digest": "9" * 64, "judged_cut": CUT - 1}, "another snapshot"),
        ("data", manifest()["data"], "not made from the rows"),
        ("signature", manifest(classes=[0, 1, 2], task="multiclass")["signature"], "classes were"),
    ],
)
def test_another_recipe_is_no_refit(name: str, value: Any, said: str) -> None:
    found = refit({name: value})

    assert not found.passed
    assert said in found.reason


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"judgement": None}, "has no verdict"),
        ({"judgement": judgement(live=True)}, "has no verdict"),
        ({"judgement": judgement(rows="0" * 64)}, "not about the rows"),
        ({"tried": (False, "it answered NaN")}, "trial failed: it answered NaN"),
        ({"evidence": evidence()}, "about other versions"),
    ],
)
def test_a_refit_needs_a_verdict_its_rows_and_a_trial_of_its_own(changes: dict[str, Any], said: str) -> None:
    found = refit(**changes)

    assert not found.passed
    assert said in found.reason


def test_one_that_answers_nothing_to_some_rows_is_told_so() -> None:
    silent = both(TRUTH)
    silent[3] = np.nan

    assert "no finite answer" in refit(answers=silent).reason
