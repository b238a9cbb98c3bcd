"""`understudy doctor`: is everything as it should be, and if not, what to do."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import typer

import understudy
from understudy.adapters.api_client import ApiClient, token_of
from understudy.adapters.audit import Audit, api_pages, audit, file_pages
from understudy.adapters.commands import checkups, promises
from understudy.adapters.commands.checkups import Checkup
from understudy.adapters.commands.connection import address, current_settings, if_there, reading
from understudy.adapters.commands.promises import Found, Grounds
from understudy.adapters.commands.terminal import AsJson, Exit, answer, say, say_table, utc_now
from understudy.adapters.trial import current_environment
from understudy.errors import LogTampered, Unavailable
from understudy.settings import Settings

PINS = Path(understudy.__file__).parents[1] / "requirements.txt"


def add_to(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(as_json: AsJson = False) -> None:
    """Find out whether everything is as it should be, and how each promise is kept here.

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
    libraries, grounds = checkups.libraries(PINS), Grounds()
    yield libraries
    with reading(settings, retries=0) as client:
        yield api(client, settings)
        log = read_log(client, settings, grounds)
        ready = readiness(client)  # after the log: whoever serves what it holds is not behind
    yield checkups.nothing_stale(settings)
    yield from logged(log, settings, grounds, now)
    yield from promises.examined(
        Found(
            settings=settings,
            now=now,
            ready=ready,
            log=log,
            grounds=grounds,
            url=address(settings),
            token=if_there(token_of("client", settings))(),
            environment=current_environment(),
            as_pinned=libraries.ok,
        )
    )


def logged(log: Audit | None, settings: Settings, grounds: Grounds, now: datetime) -> Iterator[Checkup]:
    """What the log says of itself and of the rest."""
    if log is None:
        yield Checkup("log", False, "can be read neither from the API nor from its file", "Start the API.")
        return
    yield checkups.log_follows(log)
    yield checkups.champions_stored(log.state, settings.store)
    yield from checkups.scheduler(log.state, now)
    yield checkups.clock(log.state, now)
    yield checkups.clocks(grounds.evidence_age_s)


def readiness(client: ApiClient) -> Mapping[str, Any] | None:
    try:
        return dict(client.readiness())
    except Unavailable:
        return None


def api(client: ApiClient, settings: Settings) -> Checkup:
    try:
        ready = client.readiness()
    except Unavailable as error:
        return Checkup("API", False, error.problem, error.remedy)
    return Checkup("API", ready["ready"], f"{address(settings)}: {ready['reason']}", "See logs/api*.jsonl.")


def read_log(client: ApiClient, settings: Settings, grounds: Grounds) -> Audit | None:
    """From the API; where it does not answer or refuses to read its log, from the file."""
    try:
        return audit(api_pages(client), keep=grounds.note)
    except (Unavailable, LogTampered):
        file = settings.events_file
        return audit(file_pages(file), keep=grounds.note) if file.is_file() else None


def sign(one: Checkup) -> str:
    if not one.known:
        return "unknown"
    return "ok" if one.ok else "PROBLEM"


def show(found: list[Checkup]) -> None:
    say_table(("", "what", "found"), [(sign(one), one.name, one.found) for one in found])
    for one in found:
        if not one.ok:
            say(f"{one.name}: {one.found}. {one.remedy}")
