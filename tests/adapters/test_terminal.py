"""What people see of an answer."""

from datetime import UTC, datetime

import pytest

from understudy.adapters.commands.orders import params
from understudy.adapters.commands.terminal import Exit, cell, distance, exit_code, plain, say, say_table, when
from understudy.errors import BadInput, BadSettings, NoGround, StorageUnavailable, Unavailable, UnderstudyError

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadSettings, Exit.USAGE),
        (BadInput, Exit.USAGE),
        (Unavailable, Exit.UNREACHABLE),
        (StorageUnavailable, Exit.NO),
        (NoGround, Exit.NO),
    ],
)
def test_an_exit_code_says_who_is_to_act(error: type[UnderstudyError], code: Exit) -> None:
    assert exit_code(error("It is so.", remedy="Do this.")) is code


@pytest.mark.parametrize("text", ["a\nb", "a\x1b[2Jb", "a\rb", "a\u2028b", "a\ud800b", "a\x9bb"])
def test_nothing_that_is_shown_can_move_a_cursor_or_begin_a_line(text: str) -> None:
    assert plain(text).isprintable()
    assert plain(text)[0] == "a"
    assert plain(text)[-1] == "b"


def test_what_is_shown_is_never_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    say("[bold]x[/bold] [link=http://evil]y[/link] :cat:")
    say_table(["reason"], [["[red]z[/red]"]])

    shown = capsys.readouterr().out
    assert "[bold]x[/bold] [link=http://evil]y[/link] :cat:" in shown
    assert "[red]z[/red]" in shown


def test_a_sentence_stays_one_line_where_it_is_read_by_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    say("word " * 100)

    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), ("", "–"), (True, "yes"), (False, "no"), (0.1234567, "0.12346"), (12, "12")]
)
def test_a_cell_shows_a_value_as_people_write_it(value: object, shown: str) -> None:
    assert cell(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-3, "3 s ago"), (0, "in 0 s"), (119, "in 119 s"), (-7200, "2 h ago"), (200_000, "in 2 d")]
)
def test_how_far_away_a_moment_is_reads_as_people_say_it(seconds: float, shown: str) -> None:
    assert distance(seconds) == shown


def test_a_time_is_told_with_its_distance() -> None:
    assert when("2026-01-31T11:57:00.123456Z", NOON) == "2026-01-31 11:57:00 UTC (3 min ago)"
    assert when(None, NOON) == "–"


def test_params_are_numbers_where_they_read_as_such_and_texts_otherwise() -> None:
    found = params(["C=0.5", "solver=saga", "fit=true", "name=a=b", "none=null"])

    assert found == {"C": 0.5, "solver": "saga", "fit": True, "name": "a=b", "none": None}


def test_a_param_without_a_value_says_how_to_write_it() -> None:
    with pytest.raises(BadInput, match="--param NAME=VALUE"):
        params(["C"])
