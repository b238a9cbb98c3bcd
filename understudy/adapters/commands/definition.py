"""`understudy check`: what is wrong with a definition, before anybody waits for a run of it."""

import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from understudy.adapters.commands.terminal import AsJson, Exit, answer, console, say


def add_to(app: typer.Typer) -> None:
    app.command()(check)


def check(
    file: Annotated[Path, typer.Argument(help="A definition, such as models/rain.py.")],
    as_json: AsJson = False,
) -> None:
    """Say in plain words what is wrong with a definition.

    Loads the file, asks its source for rows and trains on some of them, as a run would; nothing is kept. Exits with 1
    where a run would fail.
    """
    from understudy.adapters.check import check_definition

    # What the user's own code prints is no part of the answer.
    with console(stderr=True).status(f"Trying {file.name}."), redirect_stdout(sys.stderr):
        complaints = check_definition(file)
    stops = any(complaint.stops for complaint in complaints)
    value = {"file": str(file), "ok": not stops, "complaints": [asdict(complaint) for complaint in complaints]}
    answer(as_json, value, show)
    if stops:
        raise typer.Exit(Exit.NO)


def show(value: dict[str, Any]) -> None:
    for complaint in value["complaints"]:
        say(f"{'Wrong' if complaint['stops'] else 'Note'}: {complaint['problem']} → {complaint['remedy']}")
    if value["ok"]:
        say(f"{value['file']} can be trained, judged and served.")
