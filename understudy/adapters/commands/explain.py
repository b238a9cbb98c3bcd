"""`understudy explain`: a prediction again, from its record and the stored version that gave it."""

from typing import Any
from urllib.parse import quote

import typer

from understudy.adapters.api_client import ApiClient
from understudy.adapters.commands.connection import current_settings, reading
from understudy.adapters.commands.terminal import AsJson, Exit, answer, cell, say, say_table
from understudy.adapters.commands.verification import listed_version
from understudy.parity import Answer

ROWS_SHOWN = 20


def add_to(app: typer.Typer) -> None:
    app.command()(explain)


def explain(prediction: str, as_json: AsJson = False) -> None:
    """Answer a recorded prediction again, with the version that gave it, loaded here; and say whether both agree.

    Exits with 1 where they do not, and where it cannot be answered again. `ID/i` names row i of a batch.
    """
    with reading(current_settings()) as client:
        record = client.get("/predictions/" + quote(prediction))
        replayed = not_replayed(record["withheld"]) if record["withheld"] else again(client, record)
    value = {**record, **replayed}
    answer(as_json, value, show)
    if not value["agrees"]:
        raise typer.Exit(Exit.NO)


def not_replayed(withheld: list[str]) -> dict[str, Any]:
    columns = ", ".join(f"`{name}`" for name in withheld)
    why = f"{columns} carried a tag of UNDERSTUDY_RECORDS_WITHHOLD, so what was sent for it is withheld"
    return {"agrees": None, "now": None, "problem": f"It cannot be answered again: {why}."}


def again(client: ApiClient, record: dict[str, Any]) -> dict[str, Any]:
    """Load the version that answered, ask it the stored rows, and compare. Raises what loading and asking it raise."""
    from understudy.adapters.runtime import open_bundle
    from understudy.parity import compare

    version = listed_version(client, record["model"], record["version"])
    bundle = client.download(f"/models/{record['model']}/versions/{record['version']}/artifact")
    runtime = open_bundle(bundle, digest=version["digest"], trees=version["registered_by"] == "scheduler")
    rows = [tuple(row) for row in zip(*record["inputs"].values(), strict=True)]
    now = runtime.predict(rows)
    then = Answer(record["predictions"], record["probabilities"])
    problem = compare(then, now, classes=runtime.signature.classes, scale=runtime.golden.scale).problem
    return {
        "agrees": problem is None,
        "now": {"predictions": now.predictions, "probabilities": now.probabilities},
        "problem": None if problem is None else f"The stored version answers something else today: {problem}.",
    }


def show(value: dict[str, Any]) -> None:
    say(
        f"Version {value['version']} of {value['model']} answered in {value['latency_ms']:g} ms at {value['time']}, "
        f"asked {'without a token' if value['role'] is None else 'by the ' + value['role']}."
    )
    total = len(value["predictions"])
    for row in range(min(total, ROWS_SHOWN)):
        if total > 1:
            say(f"Row {row}")
        said = [("then", said_of(value, row)), *([] if value["now"] is None else [("now", said_of(value["now"], row))])]
        say_table(("", "value"), [*((name, values[row]) for name, values in value["inputs"].items()), *said])
    if total > ROWS_SHOWN:
        say(f"… and {total - ROWS_SHOWN} rows more; `--json` gives all.")
    say("The stored version gives the same answer today." if value["agrees"] else value["problem"])


def said_of(value: dict[str, Any], row: int) -> str:
    prediction = cell(value["predictions"][row])
    if value["probabilities"] is None:
        return prediction
    return f"{prediction} ({', '.join(f'{share:.6f}' for share in value['probabilities'][row])})"
