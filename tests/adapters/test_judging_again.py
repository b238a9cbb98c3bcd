"""How two verdicts are told apart. That a real one is reached again is proven in tests/e2e/test_command_line.py."""

import copy
from typing import Any

import pytest

from understudy.adapters.judging_again import first_difference

VERDICT: dict[str, Any] = {
    "passed": True,
    "rows": "5" * 64,
    "comparison": {"answer": "better", "p": 0.01, "interval": [0.1, 0.2]},
    "gates": [
        {"name": "data", "passed": True, "observed": 0, "limit": 0, "reason": "fine"},
        {"name": "floors", "passed": True, "observed": 0.4, "limit": 0.6, "reason": "fine"},
    ],
}


def test_the_same_verdict_differs_in_nothing() -> None:
    assert first_difference(VERDICT, copy.deepcopy(VERDICT)) is None


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("comparison", "p"), 0.4, "The log says comparison.p 0.01, and the evidence 0.4."),
        (("comparison", "interval"), [0.1, 0.3], "comparison.interval [0.1, 0.2], and the evidence [0.1, 0.3]"),
        (("gates", 1, "passed"), False, "The log says gate floors.passed True, and the evidence False."),
        (("gates", 0, "name"), "api", "gate data.passed True, and the evidence None"),
        (("passed",), False, "The log says passed True, and the evidence False."),
        (("rows",), None, "says rows '55"),
    ],
)
def test_the_first_thing_that_differs_is_named(path: tuple[Any, ...], value: object, said: str) -> None:
    again = copy.deepcopy(VERDICT)
    place: Any = again
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value

    found = first_difference(VERDICT, again)

    assert found is not None
    assert said in found


def test_a_gate_that_the_log_has_dropped_is_named() -> None:
    logged = copy.deepcopy(VERDICT)
    del logged["gates"][1]

    assert first_difference(logged, VERDICT) == "The log says gate floors.passed None, and the evidence True."
