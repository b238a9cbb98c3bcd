"""The gates of the models that come with the release stop what they are there for: their own rows, their own recipe."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest

from tests.adapters.stream import at, model, rows
from understudy.adapters import definitions, sabotaging, snapshot
from understudy.adapters.check import borrowed_home
from understudy.errors import BadInput
from understudy.model import Model
from understudy.sabotage import Proof, Sabotage, prove, suite
from understudy.verdict import Name

MODELS = Path(__file__).parents[2] / "models"
ROWS = {"rain": 1400, "bike_demand": 1400}
"""Few of each, so that it does not take long: an honest candidate must still be told from the others."""

Suite = tuple[Any, tuple[Sabotage, ...]]


def suite_of(given: Model, frame: pd.DataFrame) -> Suite:
    made = sabotaging.honest(given, frame, source="5" * 64)
    return made.case, suite(made)


@pytest.fixture(scope="module", params=sorted(ROWS))
def shipped(request: pytest.FixtureRequest) -> Iterator[Suite]:
    """The suite of a model that comes with the release."""
    with borrowed_home():
        given, now = definitions.load_named(MODELS, request.param).model, datetime.now(UTC)
        frame = snapshot.take(given, as_of=now, now=now).frame.head(ROWS[request.param])
        yield suite_of(given, frame)


@pytest.fixture(scope="module")
def proof(shipped: Suite) -> Proof:
    return prove(*shipped)


@pytest.mark.fault(68)
def test_the_gates_of_a_shipped_model_stop_every_sabotage_and_let_an_honest_candidate_pass(proof: Proof) -> None:
    assert proof.holds, proof.sentence()
    assert len(proof.outcomes) == 35
    assert [one.name for one in proof.outcomes if one.gate not in one.caught_by] == []


def test_what_cannot_be_done_to_a_shipped_model_is_what_it_does_not_declare(proof: Proof) -> None:
    assert set(proof.impossible) == {
        "a value outside its declared range",
        "a bundle that is too large",
        "a latency beyond the limit",
    }


@pytest.mark.parametrize("gate", get_args(Name))
def test_a_shipped_model_with_any_gate_switched_off_is_red_and_names_what_came_through(
    shipped: Suite, gate: Name
) -> None:
    found = prove(*shipped, without=[gate])

    assert not found.holds
    assert found.control == ()
    assert {one.gate for one in found.came_through} == {gate}
    assert all(one.name in found.sentence() for one in found.came_through)


def test_too_few_rows_are_no_fault_of_the_gates() -> None:
    with pytest.raises(BadInput, match=r"There are 299 rows with a label; a selftest needs 300\."):
        sabotaging.selftest(model(rows(299)), source="5" * 64, as_of=at(299))
