"""docs/performance.md holds only figures that `make bench` has measured, and calls a goal met only where it is."""

import copy
from pathlib import Path
from typing import Any

import pytest

from bench.figures import Place, of, to_floor, to_other
from bench.goals import GOALS
from bench.page import figures_of, render

PAGE = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()


@pytest.fixture
def figures() -> Any:
    return copy.deepcopy(figures_of(PAGE))


def test_the_page_says_what_its_raw_figures_say(figures: Any) -> None:
    assert render(figures) == PAGE, "no figure is typed; write the page again: make bench"


def test_another_figure_makes_another_page(figures: Any) -> None:
    for run in figures["runs"]:
        run["rate"] *= 1.5

    assert render(figures) != PAGE


def test_every_goal_was_measured(figures: Any) -> None:
    assert [goal.what for goal in GOALS if goal.met(figures) is None] == []


def test_a_goal_that_is_missed_is_called_missed(figures: Any) -> None:
    for run in figures["runs"]:
        run["rate"] = 1.0 if run["server"] == "fast" else run["rate"]

    line = next(line for line in render(figures).splitlines() if line.startswith(f"| {GOALS[0].what} "))

    assert line.endswith("| **missed** |")


def test_a_ratio_is_taken_within_a_round_and_is_the_median_over_them() -> None:
    runs = [run("fast", 0, 150, (90, 110)), run("fast", 1, 20, (10, 10)), run("fast", 2, 900, (100, 100))]
    others = [run("empty", 0, 10, (90, 110)), run("empty", 1, 1, (10, 10)), run("empty", 2, 30, (100, 100))]
    figures = {"runs": [*others, *reversed(runs)]}

    fast, empty = of(figures, "fast", Place()), of(figures, "empty", Place())

    assert to_floor(fast) == 2.0
    assert to_other(fast, empty) == 20.0


def run(server: str, number: int, rate: float, floor: tuple[float, float]) -> dict[str, Any]:
    place = {"model": "logistic", "form": "record", "connections": 32}
    return {"server": server, "round": number, "rate": rate, "floor_rates": floor, **place}
