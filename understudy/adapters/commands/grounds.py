"""`understudy why`: on which recorded ground a version serves, or served; and why the others do not."""

from datetime import datetime
from typing import Annotated, Any

import typer

from understudy.adapters.api_client import ApiClient
from understudy.adapters.commands.connection import current_settings, get_if_found, reading
from understudy.adapters.commands.live import enough
from understudy.adapters.commands.terminal import AsJson, Exit, answer, cell, say, say_table, utc_now, when
from understudy.adapters.commands.verification import listed_version
from understudy.errors import BadInput
from understudy.events import LiveCompared, VersionRefitted, moment

REFUSED_SHOWN = 3
NEWEST = 100
"""Versions that are looked through for refused ones."""
LOOKED_THROUGH = 100
"""Events after a verdict among which the check of its refit is."""

HOW = {"promotion": "promoted", "override": "promoted by override", "demotion": "brought back by a demotion"}


def add_to(app: typer.Typer) -> None:
    app.command()(why)


def why(
    model: str,
    at: Annotated[str | None, typer.Option(help="A past moment, such as 2026-01-31T12:00:00Z.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say on which ground a version serves, or served.

    Since when, by whose hand, with every number of the verdict that it stands on; and which candidates were refused,
    and why. Exits with 1 where nothing serves.
    """
    until = None if at is None else past(at)
    with reading(current_settings()) as client:
        client.get(f"/models/{model}")
        champion = get_if_found(client, "/current_model", model=model, at=at)
        found = {
            "model": model,
            "at": at,
            "champion": champion,
            "ground": None if champion is None else ground(client, champion),
            "refit": None if champion is None else refit_of(client, listed_version(client, model, champion["version"])),
            "refused": refused(client, model, until),
            "barred": barred(client, model) if at is None else {},
        }
    answer(as_json, found, lambda value: show(value, utc_now()))
    if champion is None:
        raise typer.Exit(Exit.NO)


def past(text: str) -> datetime:
    try:
        return moment(text)
    except ValueError as error:
        raise BadInput(
            "`--at` is no time with a zone.", remedy="Write it as RFC 3339 does, such as 2026-01-31T12:00:00Z."
        ) from error


def ground(client: ApiClient, champion: dict[str, Any]) -> dict[str, Any] | None:
    """The verdict that a promotion stands on, as the log holds it; None for an override or a demotion."""
    position = champion["ground"]
    if position is None:
        return None
    (item,) = client.get("/events", after=position - 1, limit=1)["items"]
    return {"position": position, "time": item["time"], "kind": item["kind"], **item["data"]}


def refit_of(client: ApiClient, version: dict[str, Any]) -> dict[str, Any] | None:
    """The check of a refit, as the log holds it; None for any other version.

    It follows the verdict that it is about; where more has happened in between than is looked through, it is named
    without its numbers.
    """
    of, verdict = version["refit_of"], version["verdict"]
    if of is None:
        return None
    unknown = {"of": of, "passed": None, "reason": "", "position": None}
    if verdict is None or verdict["live"]:
        verdict = listed_version(client, version["model"], of)["verdict"]
    events = client.get("/events", after=verdict["position"], limit=LOOKED_THROUGH)["items"] if verdict else []
    for item in events:
        data = item["data"]
        if item["kind"] == VersionRefitted.kind and (item["model"], data["version"]) == (
            version["model"],
            version["version"],
        ):
            return {"position": item["position"], **{name: data[name] for name in ("of", "passed", "reason", "facts")}}
    return unknown


def refused(client: ApiClient, model: str, until: datetime | None) -> list[dict[str, Any]]:
    """The newest versions that were refused, each with the reasons."""
    found = []
    for version in client.get(f"/models/{model}/versions", limit=NEWEST)["items"]:
        if until is not None and moment(version["registered_at"]) > until:
            continue
        if was_refused(version) and (said := refusal(client, version)) is not None:
            found.append({**version, **said})
        if len(found) == REFUSED_SHOWN:
            break
    return found


def barred(client: ApiClient, model: str) -> dict[str, str]:
    """Which of the newest versions never become champion by themselves, and why."""
    newest = client.get(f"/models/{model}/versions", limit=NEWEST)["items"]
    return {version["version"]: version["barred"] for version in newest if version["barred"]}


def was_refused(version: dict[str, Any]) -> bool:
    if version["verdict"] is None:
        return version["trial"] is not None and not version["trial"]["passed"]
    return not version["verdict"]["passed"]


def refusal(client: ApiClient, version: dict[str, Any]) -> dict[str, Any] | None:
    """Why it was refused; with the comparison and the slices of its verdict, where it came to one.

    None for a refit of what was refused: that is not said twice.
    """
    refit = refit_of(client, version)
    if refit is not None:
        failed = {"reasons": [refit["reason"]], "comparison": None, "slices": []}
        return failed if refit["passed"] is False else None
    if version["verdict"] is None:
        return {"reasons": [version["trial"]["reason"]], "comparison": None, "slices": []}
    (item,) = client.get("/events", after=version["verdict"]["position"] - 1, limit=1)["items"]
    verdict = item["data"]["verdict"]
    return {
        "reasons": [gate["reason"] for gate in verdict["gates"] if not gate["passed"]],
        "comparison": verdict["comparison"],
        "slices": verdict.get("slices", []),
    }


def show(found: dict[str, Any], now: datetime) -> None:
    champion, past = found["champion"], found["at"] is not None
    if champion is None:
        say(f"No version of {found['model']} " + (f"served at {found['at']}." if past else "serves yet."))
    else:
        show_champion(champion, now, verb="served" if past else "serves")
        show_refit(found["refit"])
        show_ground(champion, found["ground"])
    for version in found["refused"]:
        say(f"Refused: version {version['version']}, {when(version['registered_at'], now)}. {sentence(version)}")
        if version["comparison"] is not None:
            say(f"  {power(version['comparison'])}")
    for version, reason in found["barred"].items():
        say(f"Barred: version {version}, until an operator promotes it. {reason}")
    if not found["refused"]:
        say("No version was refused.")


def show_champion(champion: dict[str, Any], now: datetime, *, verb: str) -> None:
    before = f", in place of version {champion['replaces']}" if champion["replaces"] else ""
    say(
        f"Version {champion['version']} of {champion['model']} {verb} since {when(champion['promoted_at'], now)}, "
        f"{HOW[champion['how']]} by the {champion['promoted_by']}{before}."
    )


def show_refit(refit: dict[str, Any] | None) -> None:
    if refit is not None:
        said = f" {refit['reason']}" if refit["reason"] else ""
        say(f"It is the refit of version {refit['of']}: the same recipe, on all rows with a label.{said}")


def show_ground(champion: dict[str, Any], ground: dict[str, Any] | None) -> None:
    if ground is None:
        say(f"No verdict stands behind it, but a reason: {champion['reason']}")
    elif ground["kind"] == LiveCompared.kind:
        show_labels(ground)
    else:
        show_verdict(champion, ground)


def show_labels(ground: dict[str, Any]) -> None:
    """A ground that labels of what was predicted gave."""
    say(
        f"Its ground is the live comparison at position {ground['position']} of the log, in the shadow of version "
        f"{ground['serving']}: after {ground['rows']} labelled predictions, in blocks of "
        f"{cell(ground['standing']['block'])}, whoever bet on it had made {enough()} of 1."
    )


def show_verdict(champion: dict[str, Any], ground: dict[str, Any]) -> None:
    verdict = ground["verdict"]
    against = "the constant predictor" if ground["champion"] is None else f"version {ground['champion']}"
    whose = "the verdict" if ground["version"] == champion["version"] else f"the verdict on version {ground['version']}"
    say(f"Its ground is {whose} at position {ground['position']} of the log, against {against}.")
    show_comparison(verdict["comparison"])
    say_table(
        ("gate", "passed", "observed", "limit", "reason"),
        [(gate["name"], gate["passed"], gate["observed"], gate["limit"], gate["reason"]) for gate in verdict["gates"]],
    )
    show_slices(verdict.get("slices", []))


def show_comparison(comparison: dict[str, Any]) -> None:
    """The answer in words, then every number that it rests on."""
    say(f"Comparison: {comparison['answer'].replace('_', ' ')}. {comparison['reason']} {power(comparison)}")
    loss, against, gain, p = (cell(comparison[name]) for name in ("candidate_loss", "champion_loss", "gain", "p"))
    low, high = map(cell, comparison["interval"] or (None, None))
    say(
        f"  {comparison['n']} rows in {comparison['blocks']} blocks: loss {loss} against {against}, "
        f"gain {gain} (80 % interval: {low} to {high}), p {p}"
    )


def power(comparison: dict[str, Any]) -> str:
    """What the comparison could have seen; verdicts have not always said how many rows would settle it."""
    return f"{comparison['stops']} {comparison.get('settles') or ''}".rstrip()


def show_slices(slices: list[dict[str, Any]]) -> None:
    """Every slice of the declared columns, judged or not; nothing where none are declared."""
    if not slices:
        return
    columns = ("n", "candidate_loss", "champion_loss", "gain", "p", "limit", "reason")
    say_table(
        ("slice", "rows", "loss", "against", "gain", "p", "limit", "reason"),
        [(named(one), *(one[column] for column in columns)) for one in slices],
    )


def named(one: dict[str, Any]) -> str:
    value = "null" if one["value"] is None else one["value"]
    return f"{one['column']} = {value}{' (protected)' if one['protected'] else ''}"


def sentence(version: dict[str, Any]) -> str:
    return " ".join(version["reasons"])
