"""`understudy train`, `promote` and `demote`: what only an operator may ask for."""

import json
import secrets
import time
from typing import Annotated, Any

import typer

from understudy.adapters.api_client import ApiClient
from understudy.adapters.commands.connection import current_settings, operating
from understudy.adapters.commands.status import ending
from understudy.adapters.commands.terminal import AsJson, Exit, answer, console, say, utc_now, when
from understudy.errors import BadInput

LOOK_EVERY_S = 0.5
OPEN = ("queued", "running")


def add_to(app: typer.Typer) -> None:
    app.command()(train)
    app.command()(promote)
    app.command()(demote)


def train(
    model: str,
    param: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="For the estimator; repeat it.")] = None,
    as_of: Annotated[str | None, typer.Option(help="Train on what had arrived by then.")] = None,
    start_date: Annotated[str | None, typer.Option(help="Time of the first row.")] = None,
    end_date: Annotated[str | None, typer.Option(help="Time of the last row.")] = None,
    like: Annotated[str | None, typer.Option(metavar="RUN", help="Use that run's definition and params again.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit with 1 unless it succeeded.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a candidate now. It is judged as any other."""
    body = {
        "model_name": model,
        "params": None if param is None else params(param),
        "as_of": as_of,
        "start_date": start_date,
        "end_date": end_date,
        "like": like,
    }
    with operating(current_settings()) as client:
        run = client.post("/job/train", body, headers={"Idempotency-Key": secrets.token_hex(8)})
        if wait:
            run = ended(client, run["id"])
    answer(as_json, run, show_run)
    if wait and run["state"] != "succeeded":
        raise typer.Exit(Exit.NO)


def params(given: list[str]) -> dict[str, Any]:
    """Read `C=0.5` as the number, `penalty=l2` as the text. Raises BadInput."""
    pairs = [text.partition("=") for text in given]
    wrong = next((text for (_, sign, _), text in zip(pairs, given, strict=True) if not sign), None)
    if wrong is not None:
        raise BadInput(f"{wrong[:40]!a} is no parameter with a value.", remedy="Write `--param NAME=VALUE`.")
    return {name: value_of(text) for name, _, text in pairs}


def value_of(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def ended(client: ApiClient, run: str) -> Any:
    """Follow a run to its end."""
    with console(stderr=True).status(f"Run {run} is queued.") as line:
        while (found := client.get(f"/runs/{run}"))["state"] in OPEN:
            line.update(f"Run {run} is {found['state']}.")
            time.sleep(LOOK_EVERY_S)
    return found


def show_run(run: dict[str, Any]) -> None:
    if run["state"] in OPEN:
        say(f"Run {run['id']} is {run['state']}. `understudy status` shows how it ends.")
        return
    version = f" Its version is {run['version']}." if run["version"] else ""
    say(f"Run {run['id']} {ending(run)}{version}")


def promote(
    model: str,
    version: str,
    reason: Annotated[str | None, typer.Option(help="Why it should serve although no verdict says so.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a version serve.

    One that passed; or, with a reason, any whose trial passed.
    """
    body = {"model_name": model, "model_version_id": version, "override": reason}
    with operating(current_settings()) as client:
        done = client.post("/model/promote", body, headers=once())
    answer(as_json, done, show_promotion)


def demote(
    model: str,
    reason: Annotated[str, typer.Option(help="Why; it stays in the log.")],
    as_json: AsJson = False,
) -> None:
    """Go back to the champion before this one."""
    with operating(current_settings()) as client:
        done = client.post("/model/demote", {"model_name": model, "reason": reason}, headers=once())
    answer(as_json, done, show_promotion)


def once() -> dict[str, str | None]:
    """So that what is sent again after a cut does not happen again."""
    return {"Idempotency-Key": secrets.token_hex(16)}


def show_promotion(done: dict[str, Any]) -> None:
    before = f" in place of version {done['replaces']}" if done["replaces"] else ""
    say(f"Version {done['version']} of {done['model']} serves{before}, since {when(done['promoted_at'], utc_now())}.")
