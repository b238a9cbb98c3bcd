"""What is on the disk when all is over: the log, the blobs that it names, and what nobody swept."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from scheduled_task import scratch
from understudy.adapters import trial
from understudy.adapters.folder_store import FolderStore
from understudy.adapters.sqlite_log import SqliteLog
from understudy.errors import UnderstudyError
from understudy.events import Recorded, VersionPromoted, VersionRegistered
from understudy.settings import Settings


def log_of(settings: Settings) -> list[Recorded]:
    """All events, each checked against the one before."""
    with closing(SqliteLog(settings.events_file)) as log:
        return list(log.read())


def leftovers(settings: Settings, temporary: Path) -> list[str]:
    """Temporary files of whoever worked here, and journals that still hold something."""
    folders = (settings.store / "writing", temporary, settings.scratch)
    found = [str(path) for folder in folders if folder.exists() for path in folder.iterdir()]
    return [*found, *(str(path) for path in settings.var.glob("*-journal") if path.stat().st_size)]


def after_sweep(settings: Settings, temporary: Path) -> list[str]:
    """What is left after what the next start and the next trial sweep."""
    FolderStore(settings.store).sweep()
    scratch.sweep(settings.scratch)
    if any(temporary.iterdir()):
        time.sleep(trial.STARTED_WITHIN_S)
        trial.sweep(temporary)
    return leftovers(settings, temporary)


def damage(settings: Settings, log: Sequence[Recorded]) -> Iterator[str]:
    """What the log names and the store does not hold, whole; and a log that its own command does not verify."""
    store = FolderStore(settings.store)
    for entry in log:
        if isinstance(entry.event, VersionRegistered):
            try:
                store.get(entry.event.digest)
            except UnderstudyError as error:
                yield f"version {entry.event.version} of {entry.event.model}: {error}"
    if not any(isinstance(entry.event, VersionPromoted) for entry in log):
        yield "nothing was promoted"
    verify = [sys.executable, "-m", "understudy.adapters.cli", "verify", "log", "--file", str(settings.events_file)]
    verified = subprocess.run(verify, check=False, capture_output=True, text=True)
    if verified.returncode != 0 or not verified.stdout.startswith(f"{len(log)} events"):
        yield f"understudy verify log: {verified.stdout} {verified.stderr}"
