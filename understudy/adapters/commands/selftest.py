"""`understudy selftest`: would the gates of a model stop what they are there for?"""

import sys
from contextlib import redirect_stdout
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from understudy.adapters.commands.connection import current_settings
from understudy.adapters.commands.terminal import AsJson, Exit, answer, console, say, say_table
from understudy.errors import BadInput
from understudy.settings import Settings

if TYPE_CHECKING:
    from understudy.proof import Proof
    from understudy.verdict import Name


def add_to(app: typer.Typer) -> None:
    app.command()(selftest)


def selftest(
    model: str,
    without: Annotated[
        list[str] | None, typer.Option(metavar="GATE", help="Switch a gate off, to see what it alone stops.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sabotage a model in every way that its gates are there for, and see whether they stop it.

    Takes its rows, trains an honest candidate and worse ones, and judges them by its own policy; nothing is kept, and
    no service is needed. Exits with 1 where something came through, or where even the honest candidate was refused.
    """
    off = tuple(gate_of(name) for name in without or ())
    # What the user's own code prints is no part of the answer.
    with console(stderr=True).status(f"Testing the gates of {model}.") as line, redirect_stdout(sys.stderr):
        proof = proved(current_settings(), model, off, line.update)
    answer(as_json, {"model": model, "without": list(off), **proof.to_json()}, show)
    if not proof.holds:
        raise typer.Exit(Exit.NO)


def gate_of(name: str) -> "Name":
    from understudy.verdict import Name

    gates: tuple[Name, ...] = get_args(Name)
    for gate in gates:
        if gate == name:
            return gate
    raise BadInput(f"There is no gate {name[:40]!a}.", remedy=f"Choose one of {', '.join(gates)}.")


def proved(settings: Settings, model: str, without: "tuple[Name, ...]", progress: Any) -> "Proof":
    """The proof of the gates of the definition as it stands in the folder now."""
    from understudy.adapters import definitions, sabotaging
    from understudy.adapters.check import borrowed_home
    from understudy.fingerprint import digest_of

    definition = definitions.load_named(settings.definitions, model)
    with borrowed_home():
        return sabotaging.selftest(
            definition.model,
            source=digest_of(definition.source_bytes()),
            as_of=datetime.now(UTC),
            progress=progress,
            without=without,
        )


def show(value: dict[str, Any]) -> None:
    say_table(
        ("sabotage", "made for", "stopped by", "in its words"),
        [
            (one["name"], one["gate"], ", ".join(one["caught_by"]) or "NOTHING", one["reason"])
            for one in value["sabotages"]
        ],
    )
    if value["impossible"]:
        say(f"Not possible with this model and its policy: {'; '.join(value['impossible'])}.")
    say(value["sentence"])
