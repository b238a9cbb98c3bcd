"""`understudy run` and `understudy token`: a start, and the key to what it started."""

from typing import Annotated

import typer

from understudy.adapters.api_client import token_of
from understudy.adapters.commands.connection import current_settings
from understudy.adapters.commands.terminal import say
from understudy.adapters.launch import run_services
from understudy.events import Role


def add_to(app: typer.Typer) -> None:
    app.command()(run)
    app.command()(token)


def run() -> None:
    """Start the API and the scheduler; Ctrl-C stops both."""
    run_services(current_settings(), say)


def token(
    role: Annotated[Role, typer.Option(help="Whose token.")] = "operator",
) -> None:
    """Print a token: the operator's, or another role's."""
    typer.echo(token_of(role, current_settings())())
