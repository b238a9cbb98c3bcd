"""How answers look: tables and sentences for people on stdout, JSON for machines, problems on stderr.

What is shown has often come from elsewhere: a name of a column, the reason that an estimator gave. It is never read as
markup, and holds nothing that could move a terminal's cursor.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from understudy.errors import BadInput, Unavailable, UnderstudyError
from understudy.events import moment

WIDE = 160
"""Columns where nobody looks on: a pipe or a file."""

AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON, for machines.")]


class Exit(IntEnum):
    """What the command's exit code means."""

    YES = 0
    NO = 1
    USAGE = 2
    UNREACHABLE = 3


EXIT_CODES = (
    "Exit codes: 0 yes, or done; 1 no, refused, or a problem was found; "
    "2 wrong usage or settings; 3 the API cannot be reached."
)


def exit_code(error: UnderstudyError) -> Exit:
    """What a command that ended with `error` exits with."""
    if type(error) is Unavailable:
        return Exit.UNREACHABLE
    return Exit.USAGE if isinstance(error, BadInput) else Exit.NO


def say(*lines: str) -> None:
    """Sentences on stdout, for people, written in one piece: others may write to the same terminal."""
    console().print(Text("\n".join(map(plain, lines))), soft_wrap=True)


def say_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))


def say_problem(problem: str, remedy: str) -> None:
    """What is wrong and what to do, on stderr, a line each."""
    typer.echo(f"understudy: {plain(problem)}\n{plain(remedy)}".rstrip(), err=True)


def say_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for people; None is shown as a dash."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell(value)) for value in row))
    console().print(table)


def console(*, stderr: bool = False) -> Console:
    shown = Console(stderr=stderr, highlight=False, emoji=False)
    return shown if shown.is_terminal else Console(stderr=stderr, highlight=False, emoji=False, width=WIDE)


def cell(value: object) -> str:
    """A value as people read it: five digits of a number, a dash for nothing."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.5g}" if isinstance(value, float) else plain(str(value))


def plain(text: str) -> str:
    """One line without control characters."""
    safe = text.encode("utf-8", "replace").decode()
    return "".join(char if char.isprintable() else " " for char in safe)


def when(text: str | None, now: datetime) -> str:
    """A time and how far away it is: "2026-01-31 12:00:00 UTC (3 min ago)"."""
    if text is None:
        return "–"
    then = moment(text)
    return f"{then:%Y-%m-%d %H:%M:%S} UTC ({distance((then - now).total_seconds())})"


def distance(seconds: float) -> str:
    """How far away a moment is, in the largest unit that fits; negative: past."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if abs(seconds) >= 2 * size:
            return told(f"{abs(seconds) / size:.0f} {unit}", seconds)
    return told(f"{abs(seconds):.0f} s", seconds)


def told(length: str, seconds: float) -> str:
    return f"{length} ago" if seconds < 0 else f"in {length}"


def utc_now() -> datetime:
    return datetime.now(UTC)


def answer(as_json: bool, value: Any, show: Callable[[Any], None]) -> None:
    """Give `value` to a machine as it is, or to a person through `show`."""
    if as_json:
        say_json(value)
    else:
        show(value)
