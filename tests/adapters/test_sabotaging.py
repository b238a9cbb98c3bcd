"""The gates of the models that come with the release stop what they are there for: their own rows, their own recipe."""

from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest

from tests.adapters.stream import at, model, rows
from understudy.adapters import definitions, sabotaging, snapshot
from understudy.adapters.check import borrowed_home
from understudy.errors import BadInput
from understudy.proof import prove
from understudy.sabotage import Honest, suite
from understudy.verdict import Name

MODELS = Path(__file__).parents[2] / "models"
ROWS = 1400
"""Few, so that it does not take long: an honest candidate must still be told from the others, in a slice as well."""

UNDECLARED = {
    "a value outside its declared range",
    "a bundle that is too large",
    "a latency beyond the limit",
}


def shipped(name: str) -> Honest:
    """An honest candidate of a model that comes with the release."""
    with borrowed_home():
        given, now = definitions.load_named(MODELS, name).model, datetime.now(UTC)
        frame = snapshot.take(given, as_of=now, now=now).frame.head(ROWS)
        return sabotaging.honest(given, frame, source="5" * 64)


@pytest.mark.fault(68)
@pytest.mark.parametrize("name", ["rain", pytest.param("bike_demand", marks=pytest.mark.slow)])
def test_a_shipped_model_is_green_and_red_with_any_one_gate_switched_off(name: str) -> None:
    made = shipped(name)  # once for all that follows: it is what takes long
    sabotages = suite(made)

    proof = prove(made.case, sabotages)

    assert proof.holds, proof.sentence()
    assert (len(proof.outcomes), set(proof.impossible)) == (35, UNDECLARED)
    assert [one.name for one in proof.outcomes if one.gate not in one.caught_by] == []
    for gate in get_args(Name):
        found = prove(made.case, sabotages, without=[gate])
        assert not found.holds, gate
        assert {one.gate for one in found.came_through} == {gate}
        assert all(one.name in found.sentence() for one in found.came_through)


def test_too_few_rows_are_no_fault_of_the_gates() -> None:
    with pytest.raises(BadInput, match=r"There are 299 rows with a label; a selftest needs 300\."):
        sabotaging.selftest(model(rows(299)), source="5" * 64, as_of=at(299))
