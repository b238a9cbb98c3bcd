"""`understudy verify log | verdict | run`: what the log claims, computed again by somebody else.

Each answers `{"verified": bool, "problem": sentence or null, ...}` and exits with 1 where something does not hold.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from understudy.adapters.api_client import ApiClient
from understudy.adapters.audit import Audit, api_pages, audit, file_pages
from understudy.adapters.commands.connection import current_settings, reading
from understudy.adapters.commands.terminal import AsJson, Exit, answer, console, say
from understudy.errors import BadInput, DigestMismatch, LogTampered, NotFound, UnderstudyError
from understudy.settings import Settings

NEAR = 20
"""Versions around that of a run among which its others are: they are registered one after the other."""

verify = typer.Typer(
    name="verify", help="Compute again what the log claims, and compare.", no_args_is_help=True, rich_markup_mode=None
)


def add_to(app: typer.Typer) -> None:
    app.add_typer(verify)


@verify.command("log")
def verify_log(
    file: Annotated[
        Path | None, typer.Option(help="Read this file instead of asking the API, which may be down.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Hash and fold every event again, and name the first one that does not follow."""
    settings = current_settings()
    found = audit(file_pages(file)) if file is not None else audit_by_api(settings)
    value = {
        "verified": found.problem is None,
        "problem": found.problem,
        "events": found.state.position,
        "hash": found.state.hash,
        "broken_at": found.broken_at,
    }
    conclude(
        as_json, value, f"{value['events']} events follow from the first to the last, whose hash is {value['hash']}."
    )


def audit_by_api(settings: Settings) -> Audit:
    """Ask the API; where it refuses to read its log any more, look at the file, if it is on this machine."""
    with reading(settings) as client:
        try:
            return audit(api_pages(client))
        except LogTampered:
            if not settings.events_file.is_file():
                raise
            return audit(file_pages(settings.events_file))


@verify.command("verdict")
def verify_verdict(model: str, version: str, as_json: AsJson = False) -> None:
    """Judge a version again, from the stored evidence and the log as it was, and compare with its newest verdict.

    That of a refit is its candidate's; where labels of predictions have decided, what they said is computed again.
    """
    settings = current_settings()
    with reading(settings) as client:
        position = verdict_position(client, model, version)
        problem = difference(client, settings, position)
    value = {"verified": problem is None, "problem": problem, "model": model, "version": version, "position": position}
    conclude(as_json, value, f"The verdict at position {position} of the log is what its evidence says.")


def verdict_position(client: ApiClient, model: str, version: str) -> int:
    verdict = listed_version(client, model, version)["verdict"]
    if verdict is None:
        raise NotFound(f"Version {version} of {model} was never judged.", remedy=f"See `understudy why {model}`.")
    return int(verdict["position"])


def listed_version(client: ApiClient, model: str, version: str) -> dict[str, Any]:
    """A version as lists show it: that route never opens the bundle, which may be the thing that is wrong."""
    found = client.get(f"/models/{model}/versions", after=int(version), limit=1)["items"] if version.isdecimal() else []
    if not found or found[0]["version"] != version:
        raise NotFound(f"Model {model} has no version {version[:20]!a}.", remedy="See `understudy status`.")
    return dict(found[0])


def difference(client: ApiClient, settings: Settings, position: int) -> str | None:
    """What is wrong with the verdict at `position`; None where it holds."""
    from understudy.adapters.judging_again import judged_again

    try:
        return judged_again(client, settings.store, position)
    except (DigestMismatch, NotFound, BadInput) as error:
        return error.problem


@verify.command("run")
def verify_run(run: str, as_json: AsJson = False) -> None:
    """Train a run again from its stored inputs, its refit too, and compare the bundles byte for byte."""
    settings = current_settings()
    with reading(settings) as client:
        found = client.get(f"/runs/{run}")
        if found["version"] is None:
            raise NotFound(f"Run {run} has no version.", remedy="Choose one that has; see `understudy status`.")
        made = made_by(client, found)
    with console(stderr=True).status(f"Training {run} again."):
        problem = trained_otherwise(found, made, settings)
    digests = {version["version"]: version["digest"] for version in made}
    value = {
        "verified": problem is None,
        "problem": problem,
        "run": run,
        "version": found["version"],
        "digest": digests[found["version"]],
        "bundles": [{name: version[name] for name in ("version", "digest", "refit_of")} for version in made],
    }
    conclude(as_json, value, f"Run {run} gives the same bytes again: {', '.join(digests.values())}")


def made_by(client: ApiClient, run: dict[str, Any]) -> list[dict[str, Any]]:
    """The versions that a run has made: its candidate and then the refit, where there is one."""
    newest = int(run["version"])
    near = client.get(f"/models/{run['model']}/versions", after=newest + NEAR, limit=2 * NEAR)["items"]
    found = [version for version in reversed(near) if version["run"] == run["id"]]
    return found or [listed_version(client, run["model"], run["version"])]


def trained_otherwise(run: dict[str, Any], made: list[dict[str, Any]], settings: Settings) -> str | None:
    """The first part in which a registered bundle is not what the run's inputs give; None where none is."""
    from understudy.adapters.folder_store import FolderStore
    from understudy.adapters.reproduction import reproduce

    store, registered = FolderStore(settings.store), dict[str, bytes]()
    for version in made:
        try:
            registered[version["version"]] = store.get(version["digest"])
        except (DigestMismatch, NotFound) as error:
            return f"The bundle of version {version['version']}: {error.problem}"
    refit = any(version["refit_of"] is not None for version in made)
    try:
        again = reproduce(run, settings.store, refit=refit, timeout_s=settings.run_timeout_s)
    except UnderstudyError as error:
        return f"It cannot be trained again: {error.problem}"
    for version in made:
        expected = again.bundle if version["refit_of"] is None else again.refit
        assert expected is not None
        if (problem := differs(version, registered[version["version"]], expected)) is not None:
            return problem
    return None


def differs(version: dict[str, Any], registered: bytes, again: bytes) -> str | None:
    """The first part in which two bundles of a version are not the same."""
    from understudy.adapters.bundle import first_difference

    part = first_difference(registered, again)
    name = "bundle" if version["refit_of"] is None else f"refit of version {version['refit_of']}"
    return None if part is None else f"The registered {name} is not what its inputs give; they differ in {part}."


def conclude(as_json: bool, value: dict[str, Any], sentence: str) -> None:
    """Say whether it holds; exit with 1 where it does not."""
    answer(as_json, value, lambda value: say(sentence if value["verified"] else f"Not verified. {value['problem']}"))
    if not value["verified"]:
        raise typer.Exit(Exit.NO)
