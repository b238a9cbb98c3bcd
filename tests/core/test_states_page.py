"""docs/states.md is drawn from the code, and nobody has forgotten to draw it again."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_of_states_says_what_the_code_does() -> None:
    draw = runpy.run_path(str(ROOT / "docs" / "draw_states.py"))

    assert (ROOT / "docs" / "states.md").read_text() == draw["page"](), "draw it again: python docs/draw_states.py"


def test_the_drawing_reaches_every_state_of_a_promotion() -> None:
    draw = runpy.run_path(str(ROOT / "docs" / "draw_states.py"))

    assert {edge.after for edge in draw["edges"]()} == {"1 serves", "1 serves, 2 gets ready", "2 serves"}
