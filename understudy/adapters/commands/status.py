"""`understudy status`: what serves, what was tried last, what waits for whom."""

from datetime import datetime
from typing import Any

import typer

from understudy.adapters.api_client import ApiClient
from understudy.adapters.commands.connection import address, current_settings, get_if_found, listed, reading
from understudy.adapters.commands.live import in_a_line
from understudy.adapters.commands.terminal import AsJson, Exit, answer, say, say_table, utc_now, when
from understudy.events import timestamp
from understudy.schedule import Schedule

ATTENTION_SHOWN = 5
NEWEST_RUNS = 10
"""Runs that are looked through for the last one that was no test of gates."""
NEWEST = 50
"""Versions that are looked through for those that wait."""


def add_to(app: typer.Typer) -> None:
    app.command()(status)


def status(as_json: AsJson = False) -> None:
    """Show what serves, and what was tried last.

    For each model: its champion, the last run and its reason, when the next one is due, what needs attention. Exits
    with 1 where the API is not ready.
    """
    settings, now = current_settings(), utc_now()
    with reading(settings) as client:
        api = {"url": address(settings), **client.readiness()}
        models = [summary(client, model, now) for model in listed(client, "/models")]
    answer(as_json, {"api": api, "models": models}, lambda value: show(value, now))
    if not api["ready"]:
        raise typer.Exit(Exit.NO)


def summary(client: ApiClient, model: dict[str, Any], now: datetime) -> dict[str, Any]:
    """One model, from the routes that know of it."""
    name = model["name"]
    champion = get_if_found(client, "/current_model", model=name) or {}
    versions = client.get(f"/models/{name}/versions", limit=NEWEST)["items"]
    newest = client.get("/runs", model=name, limit=NEWEST_RUNS)["items"]
    runs = [run for run in newest if run["kind"] != "selftest"][:1]
    whole = client.get(f"/models/{name}")
    return {
        "name": name,
        "default": model["default"],
        "champion": model["champion"],
        "since": champion.get("promoted_at"),
        "metric": champion.get("metric"),
        "value": champion.get("metrics", {}).get(champion.get("metric")),
        "waiting": waiting(versions, model["champion"]),
        "last_run": runs[0] if runs else None,
        "schedule": str(Schedule.from_json(model["definition"]["schedule"])),
        "next_slot": next_slot(model["definition"]["schedule"], now),
        "selftest": model["selftest"],
        "attention": unsettled(whole["attention"], runs, champion, model["selftest"]["run"]),
        "unrest": whole["unrest"],
        "live": get_if_found(client, f"/models/{name}/live"),
        "drift": drifted(get_if_found(client, f"/models/{name}/drift"), model["champion"]),
        "barred": {version["version"]: version["barred"] for version in versions if version["barred"]},
    }


def drifted(found: dict[str, Any] | None, champion: str | None) -> dict[str, Any] | None:
    """Drift that was noticed and has not calmed, and of which version; None where there is none.

    It may be of the version that served before: that is said until the champion has been asked enough to be measured.
    """
    if found is None or not found["noticed"] or champion is None:
        return None
    return {"version": found["report"]["version"], "kinds": found["noticed"], "measured": found["time"]}


def next_slot(schedule: dict[str, Any], now: datetime) -> str | None:
    """When a run is due next; None where that is not a matter of time."""
    due = Schedule.from_json(schedule).next_after(now)
    return None if due is None else timestamp(due)


def unsettled(
    notes: list[dict[str, Any]], runs: list[dict[str, Any]], champion: dict[str, Any], test: str | None
) -> list[dict[str, Any]]:
    """The newest notes that nothing later has made old, each cause once.

    A note on a run is old once a later run was asked for, or a version promoted; any other once a version was promoted.
    `test`: the run that tested the gates of the definition in force; what it says stays true until that changes.
    """
    promoted = champion.get("promoted_at", "")
    asked = max(promoted, *(run["requested_at"] for run in runs if run["state"] != "running"), "")
    newest = {
        note["run"] or note["reason"]: note
        for note in reversed(notes)
        if note["time"] >= (promoted if note["run"] is None else asked) or (test and note["run"] == test)
    }
    return list(newest.values())[:ATTENTION_SHOWN]


def waiting(versions: list[dict[str, Any]], champion: str | None) -> list[str]:
    """Versions that could be promoted as they are; of a candidate and its refit the refit."""
    found = [version for version in versions if waits(version, champion)]
    refitted = {version["refit_of"] for version in found}
    return [version["version"] for version in found if version["version"] not in refitted]


def waits(version: dict[str, Any], champion: str | None) -> bool:
    """Whether a version passed against today's champion, so that it could be promoted as it is."""
    return bool(version["stage"] == "passed" and version["verdict"]["champion"] == champion)


def show(found: dict[str, Any], now: datetime) -> None:
    api = found["api"]
    say(f"The API at {api['url']} is {'ready.' if api['ready'] else 'not ready: ' + api['reason']}")
    if not found["models"]:
        say("No model is defined yet: the scheduler sends the definitions when it starts.")
        return
    say_table(
        ("model", "serves", "since", "metric", "waiting", "last run", "next slot"),
        [row(model, now) for model in found["models"]],
    )
    for model in found["models"]:
        if model["last_run"] is not None:
            say(f"{model['last_run']['id']}: {ending(model['last_run'])}")
        if model["selftest"].get("state") not in (None, "succeeded"):
            say(f"Gates of {model['name']}: {tested(model['selftest'])}")
        if model["live"] is not None and (stands := in_a_line(model["live"], now)) is not None:
            say(f"Labels of {stands}")
    for model in found["models"]:
        for version, reason in model["barred"].items():
            say(f"Version {version} of {model['name']} is barred since it was taken back. {reason}")
        if model["drift"] is not None:
            say(drift_line(model))
        if model["unrest"] is not None:
            say(f"Waiting: {model['unrest']}")
        for note in model["attention"]:
            say(f"Attention, {when(note['time'], now)}: {note['reason']} → {note['remedy']}")


def drift_line(model: dict[str, Any]) -> str:
    name, champion, version = model["name"], model["champion"], model["drift"]["version"]
    said = f"Drift of {name}: {', '.join(model['drift']['kinds'])} of version {version}"
    if version == champion:
        return f"{said}, not calmed; see `understudy drift {name}`."
    return f"{said}, which serves no more. Version {champion} has not been asked enough to be measured yet."


def row(model: dict[str, Any], now: datetime) -> tuple[object, ...]:
    run, value = model["last_run"], model["value"]
    return (
        f"{model['name']}{' (default)' if model['default'] else ''}",
        model["champion"],
        when(model["since"], now),
        None if value is None else f"{model['metric']} {value:.4g}",
        ", ".join(model["waiting"]),
        None if run is None else f"{run['id']} {run['state']}",
        when(model["next_slot"], now) if model["next_slot"] else model["schedule"],
    )


def tested(test: dict[str, Any]) -> str:
    """What a test of the gates has shown, or that it is still at work."""
    return f"{test['run']} {test['state']}. {test['reason']}".rstrip()


def ending(run: dict[str, Any]) -> str:
    """How a run stands, and why."""
    verdict = run["verdict"]
    if run["attempt"] > 1:
        return f"{run['state']}, attempt {run['attempt']}. {run['reason']}".rstrip()
    if verdict is not None and run["state"] in ("succeeded", "refused"):
        return f"{run['state']}. {' '.join(reasons(verdict))}"
    return f"{run['state']}. {run['reason']}".rstrip()


def reasons(verdict: dict[str, Any]) -> list[str]:
    """Why a verdict is a no; or, of a yes, what the comparison says."""
    failed = [gate["reason"] for gate in verdict["gates"] if not gate["passed"]]
    return failed or [verdict["comparison"]["reason"]]
