"""Decisions where the truth is known: a small run of the bench, and the page that a whole run has written."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench import drifting
from bench.decision_page import GOALS, REASONS, RIGHT, figures_of, render
from bench.decisions import Size, better, equal_promoted, false_alarms, power, rows_needed, slices
from bench.other_games import GAMES, alarms
from bench.worlds import HELD, expected_brier, lives, noise_for, window
from bench.yardstick import gate, losses, monitor

PAGE = (Path(__file__).parents[2] / "docs" / "decision_quality.md").read_text()

SMALL = Size(sequences=1, windows=100, lives=30, sliced=30, streams=1, rounds=1)
"""Few: the limits here are wide, and the page's are the ones that count."""


@pytest.fixture
def figures() -> Any:
    return copy.deepcopy(figures_of(PAGE))


def test_the_page_says_what_its_raw_figures_say(figures: Any) -> None:
    assert render(figures) == PAGE, "no figure is typed; write the page again: python -m bench.decisions"


def test_every_goal_was_measured(figures: Any) -> None:
    assert [goal.what for goal in GOALS if goal.met(figures) is None] == []


def test_a_goal_that_is_missed_is_called_missed(figures: Any) -> None:
    figures["equal"]["independent"] = 95.0

    line = next(line for line in render(figures).splitlines() if line.startswith(f"| {GOALS[0].what} "))

    assert line.endswith("| **missed** |")


def test_a_goal_that_is_missed_says_why_beside_the_table(figures: Any) -> None:
    for stream in figures["streams"]:
        stream["rightly"] = stream["right"] = 0

    missed = next(line for line in render(figures).splitlines() if line.startswith(f"**Missed: {RIGHT.what}.**"))

    assert f"0 of {sum(stream['rolled back'] for stream in figures['streams'])} rollbacks" in missed
    assert {goal for goal in GOALS if goal.met(figures_of(PAGE)) is False} <= set(REASONS)


def test_of_equal_models_about_one_in_five_is_promoted() -> None:
    found = equal_promoted(SMALL)

    assert all(25 <= count <= 60 for count in found.values())


def test_a_gate_that_promotes_everything_is_found_out() -> None:
    assert equal_promoted(SMALL, lambda given: True) == {"independent": 200.0, "dependent": 200.0}
    assert power(SMALL, lambda given: True)["0.05"] == 1.0


def test_better_models_are_promoted_and_worse_ones_are_not() -> None:
    found = power(SMALL)

    assert found["0.05"] <= 0.05
    assert found["-0.05"] >= 0.7
    assert found["-0.1"] >= 0.95


def test_a_model_is_as_much_worse_as_it_is_said_to_be() -> None:
    rng = np.random.default_rng(1)
    drawn = [window(rng, 0.2) for _ in range(400)]

    ratio = expected_brier(noise_for(0.2)) / expected_brier(noise_for(0.0))
    measured = np.mean([np.mean((one.candidate - one.labels) ** 2) for one in drawn])

    assert ratio == pytest.approx(1.2)
    assert measured == pytest.approx(expected_brier(noise_for(0.2)), rel=0.02)


def test_a_live_comparison_finds_what_became_worse_and_seldom_what_did_not() -> None:
    drop, alarms = rows_needed(SMALL, 0.05), false_alarms(SMALL)

    assert (drop["median"] or 0) <= 600
    assert (drop["late"] or 0) <= 1500
    assert all(share <= 0.15 for share in alarms.values())


def test_cutting_off_what_is_far_out_makes_equal_models_change_places() -> None:
    found = {name: alarms(game, 20, 4000)["seldom much worse"] for name, game in GAMES.items()}

    assert found["cut off"] >= 80
    assert all(percent <= 15 for name, percent in found.items() if name != "cut off")


def test_a_slice_vetoes_its_own_harm_and_seldom_anything_else() -> None:
    found = slices(SMALL)

    assert found["vetoed"] <= 0.15
    assert found["caught"] >= 0.75


def test_on_a_stream_that_drifts_gate_and_live_comparison_beat_never_and_always() -> None:
    given = drifting.stream("gradual", "regression", 100)
    costs = {
        "whole": drifting.told(given, better, monitor, faulty=True).loss,
        "gate": drifting.told(given, better, None, faulty=True).loss,
        "never": drifting.told(given, lambda own, other: False, None, faulty=True).loss,
        "always": drifting.told(given, lambda own, other: True, None, faulty=True).loss,
    }

    assert drifting.least(given, faulty=True) <= costs["whole"] <= costs["gate"] < min(costs["never"], costs["always"])


def test_somebody_elses_yardstick_meets_the_gate_and_the_monitor_that_serve() -> None:
    given = window(np.random.default_rng(3), -0.1)
    context = SimpleNamespace(task="clf")

    assert gate(given.labels, given.champion, given.candidate, context)
    assert not gate(given.labels, given.candidate, given.champion, context)
    assert list(losses("regression", np.array([1.0]), np.array([3.5]))) == [2.5]
    assert monitor(lives(np.random.default_rng(1), HELD), np.ones(500)) == 8
