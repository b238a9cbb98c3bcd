"""How two verdicts are told apart. That a real one is reached again is proven in tests/e2e/test_command_line.py."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.core import cases, worlds
from understudy.adapters.judging_again import first_difference
from understudy.gates import Case, judge
from understudy.metrics import FloatArray

OLDER: dict[str, Any] = json.loads((Path(__file__).parent / "older_verdicts.json").read_text())
"""Verdicts on the cases below, as a release reached and logged them that knew of no slices and no `settles`."""

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


# ── verdicts that were reached before there were slices ──────────────────────────────────────────


def sixteenths(p: FloatArray) -> FloatArray:
    """Probabilities whose losses any machine sums alike."""
    return np.clip(np.round(p * 16) / 16, 1 / 16, 15 / 16)


def older_case(name: str) -> Case:
    truth = worlds.world().truth[worlds.CUT :]
    candidate = sixteenths(truth)
    other = {
        "better": sixteenths(0.4 + 0.2 * (truth - 0.4)),
        "cannot tell": np.clip(candidate + ((np.arange(len(truth)) * 7) % 3 - 1) / 16, 1 / 16, 15 / 16),
    }
    both = cases.both(candidate), cases.both(other[name])
    return cases.case(evidence=cases.evidence(candidate_out=both[0], champion_out=both[1]))


@pytest.mark.parametrize("name", OLDER)
def test_an_older_verdict_is_still_reached_again(name: str) -> None:
    again = judge(older_case(name)).to_json()

    assert again != OLDER[name]
    assert first_difference(OLDER[name], again) is None


@pytest.mark.parametrize("name", OLDER)
def test_an_older_verdict_that_was_tampered_with_is_noticed_whatever_was_touched(name: str) -> None:
    again = judge(older_case(name)).to_json()
    places = [
        ("comparison", None),
        *(("gates", number) for number in range(len(OLDER[name]["gates"]))),
    ]

    for part, number in places:
        logged = OLDER[name][part] if number is None else OLDER[name][part][number]
        for field in logged:
            forged = copy.deepcopy(OLDER[name])
            (forged[part] if number is None else forged[part][number])[field] = "forged"
            assert first_difference(forged, again) is not None, (part, number, field)


def test_what_a_verdict_says_of_slices_cannot_be_dropped_where_slices_were_declared() -> None:
    case = cases.sliced()
    logged = judge(case).to_json()
    without_gate = {**logged, "gates": [gate for gate in logged["gates"] if gate["name"] != "slices"]}
    without_report = {name: value for name, value in logged.items() if name != "slices"}

    assert first_difference(logged, judge(case).to_json()) is None
    assert "gate slices.passed" in str(first_difference(without_gate, logged))
    assert "slice sky=" in str(first_difference(without_report, logged))


def test_the_words_on_how_many_rows_would_settle_it_are_compared_where_they_are_there() -> None:
    again = judge(older_case("cannot tell")).to_json()
    forged = {**again, "comparison": {**again["comparison"], "settles": "Three rows."}}

    assert "Three rows." in str(first_difference(forged, again))
