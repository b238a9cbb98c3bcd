"""`understudy`: the command line. Each group of commands is a module of `understudy/adapters/commands/`."""

import sys

import typer

from understudy.adapters.commands import (
    definition,
    diff,
    doctor,
    drift,
    explain,
    feedback,
    grounds,
    launching,
    live,
    orders,
    replay,
    selftest,
    status,
    verification,
)
from understudy.adapters.commands.terminal import EXIT_CODES, Exit, exit_code, say_problem
from understudy.errors import UnderstudyError

GROUPS = (
    launching,
    definition,
    status,
    grounds,
    live,
    drift,
    diff,
    explain,
    feedback,
    orders,
    replay,
    doctor,
    verification,
    selftest,
)

app = typer.Typer(
    name="understudy",
    help="Trains the next model offstage and puts it on only when it is proven better.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for group in GROUPS:
    group.add_to(app)


def main() -> int:
    """Do what the arguments say. What is wrong ends in one or two lines on stderr, and a code that means something."""
    try:
        app()
    except UnderstudyError as error:
        say_problem(error.problem, error.remedy)
        return exit_code(error)
    except OSError as error:
        say_problem(f"{error.filename or 'The system'}: {error.strerror}.", "Check that it is there and may be used.")
        return Exit.NO
    return Exit.YES


if __name__ == "__main__":
    sys.exit(main())
