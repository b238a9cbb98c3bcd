"""`understudy doctor`: is everything as it should be, and if not, what to do."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import typer

import understudy
from understudy.adapters.api_client import ApiClient
from understudy.adapters.audit import Audit, api_pages, audit, file_pages
from understudy.adapters.commands import checkups
from understudy.adapters.commands.checkups import Checkup
from understudy.adapters.commands.connection import address, current_settings, reading
from understudy.adapters.commands.terminal import AsJson, Exit, answer, say, say_table, utc_now
from understudy.errors import LogTampered, Unavailable
from understudy.settings import Settings

PINS = Path(understudy.__file__).parents[1] / "requirements.txt"


def add_to(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(as_json: AsJson = False) -> None:
    """Find out whether everything is as it should be.

    Run it where the services run, as their user. Exits with 1 where anything is wrong.
    """
    settings = current_settings()
    found = list(examined(settings, utc_now()))
    answer(
        as_json, {"ok": all(one.ok for one in found), "checks": [asdict(one) for one in found]}, lambda _: show(found)
    )
    if not all(one.ok for one in found):
        raise typer.Exit(Exit.NO)


def examined(settings: Settings, now: datetime) -> Iterator[Checkup]:
    """Every checkup, from the ground up."""
    yield checkups.settings_read(settings)
    yield from checkups.folders(settings)
    yield from checkups.tokens(settings)
    yield checkups.room(settings)
    yield checkups.libraries(PINS)
    with reading(settings, retries=0) as client:
        yield api(client, settings)
        log = read_log(client, settings)
    yield checkups.nothing_stale(settings)
    if log is None:
        yield Checkup("log", False, "can be read neither from the API nor from its file", "Start the API.")
        return
    yield checkups.log_follows(log)
    yield checkups.champions_stored(log.state, settings.store)
    yield from checkups.scheduler(log.state, now)
    yield checkups.clock(log.state, now)


def api(client: ApiClient, settings: Settings) -> Checkup:
    try:
        ready = client.readiness()
    except Unavailable as error:
        return Checkup("API", False, error.problem, error.remedy)
    return Checkup("API", ready["ready"], f"{address(settings)}: {ready['reason']}", "See logs/api.jsonl.")


def read_log(client: ApiClient, settings: Settings) -> Audit | None:
    """From the API; where it does not answer or refuses to read its log, from the file."""
    try:
        return audit(api_pages(client))
    except (Unavailable, LogTampered):
        return audit(file_pages(settings.events_file)) if settings.events_file.is_file() else None


def show(found: list[Checkup]) -> None:
    say_table(("", "what", "found"), [("ok" if one.ok else "PROBLEM", one.name, one.found) for one in found])
    for one in found:
        if not one.ok:
            say(f"{one.name}: {one.found}. {one.remedy}")
