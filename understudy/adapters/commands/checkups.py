"""What `understudy doctor` looks at, one function a question. Nothing here changes anything."""

import os
import shutil
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from sysconfig import get_config_var

from understudy.adapters.audit import Audit
from understudy.adapters.folder_store import ABANDONED_AFTER_S, FolderStore
from understudy.adapters.folders import OTHERS_WRITE
from understudy.errors import UnderstudyError
from understudy.events import Role, moment
from understudy.rules import EARLY_S, STALE_S
from understudy.runs import at_work
from understudy.schedule import Schedule
from understudy.settings import SHORTEST_TOKEN, Settings
from understudy.state import Model, Registry, RunState, Stage

LEAST_FREE = 2**30
"""Bytes: a day of bundles and snapshots of small models."""
SLOTS_ALLOWED = 2
BACK_OFF = timedelta(minutes=10)
"""Twice the longest pause between two attempts at a first model."""
CLOCKS_DIFFER = timedelta(seconds=5)
RUN_SUFFIX, RUN_LOCK = ".work", ".held"
"""What the folder of a run ends in, and the file that is locked in it: `scheduled_task.scratch`, as a test sees to."""
ROLES: tuple[Role, ...] = ("operator", "scheduler", "client")


@dataclass(frozen=True)
class Checkup:
    """One answer: what was found, and what to do where that is a problem."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
    known: bool = True
    """False where it cannot be seen from here, which is no problem."""


def settings_read(settings: Settings) -> Checkup:
    chosen = ", ".join(sorted(settings.model_fields_set)) or "none"
    return Checkup("settings", True, f"read; chosen otherwise than by default: {chosen}")


def folders(settings: Settings) -> Iterator[Checkup]:
    """Each folder of state is ours to write to, and nobody else's. Those of the scheduler may be on another volume."""
    for folder in (settings.var, settings.secrets, settings.store, settings.logs):
        yield folder_checked(f"folder {inside(settings.home, folder)}", folder)
    for folder in (settings.scratch, settings.holdouts):
        if folder.is_dir():
            yield folder_checked(f"folder {inside(settings.home, folder)}", folder)


def inside(home: Path, folder: Path) -> Path:
    return folder.relative_to(home) if folder.is_relative_to(home) else folder


def folder_checked(name: str, folder: Path) -> Checkup:
    if not folder.is_dir():
        return Checkup(name, False, "is not there", "Start the API, which makes it; or correct UNDERSTUDY_HOME.")
    if folder.stat().st_mode & OTHERS_WRITE:
        return Checkup(name, False, "can be written by anybody", f"chmod o-w {folder}")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return Checkup(name, False, "cannot be written by this user", "Run as the user of the services, or chown it.")
    return Checkup(name, True, "writable by its owner, and by nobody else")


def tokens(settings: Settings) -> Iterator[Checkup]:
    """Each role has a token that only we can read."""
    for role in ROLES:
        folder = settings.secrets if role == "scheduler" else settings.var
        given = getattr(settings, f"{role}_token") is not None
        yield Checkup(f"{role}'s token", True, "set") if given else token_checked(role, folder / f"{role}.token")


def token_checked(role: Role, file: Path) -> Checkup:
    name = f"{role}'s token"
    try:
        mode, length = file.stat().st_mode, len(file.read_bytes().strip())
    except OSError as error:
        return Checkup(name, False, f"cannot be read: {error.strerror}", "Start the API, which makes it.")
    if stat.S_IMODE(mode) & 0o077:
        return Checkup(name, False, "others may read it", f"chmod 600 {file}; then replace it, if they may have.")
    if length < SHORTEST_TOKEN:
        return Checkup(name, False, "is too short", f"Delete {file}; the API makes a new one at its next start.")
    return Checkup(name, True, "only its owner may read it")


def log_follows(audit: Audit) -> Checkup:
    if audit.problem is not None:
        remedy = "Keep the file, see `understudy verify log`, and restore a backup."
        return Checkup("log", False, audit.problem, remedy)
    return Checkup("log", True, f"{audit.state.position} events, each chained to the one before")


def champions_stored(state: Registry, folder: Path) -> Checkup:
    """The bundles that serve, and those that a demotion would bring back, have the digests of the log."""
    if not folder.is_dir():
        return Checkup("store", False, "is not there", "Start the API; or correct UNDERSTUDY_STORE_URL.")
    store = FolderStore(folder)
    wanted = [state.version(model.name, number) for model in state.models.values() for number in model.line[-2:]]
    for champion in wanted:
        try:
            store.get(champion.digest)
        except UnderstudyError as error:
            return Checkup("store", False, f"version {champion.id} of {champion.model}: {error.problem}", error.remedy)
    return Checkup("store", True, f"{len(wanted)} bundles of champions are there, and intact")


def nothing_stale(settings: Settings) -> Checkup:
    """Writers and runs that were killed leave files behind; the API sweeps the store, a scheduler its runs."""
    blobs = older_than(ABANDONED_AFTER_S, (settings.store / "writing").glob("*"))
    runs = older_than(ABANDONED_AFTER_S + settings.run_timeout_s, folders_of_runs(settings.scratch))
    if blobs or runs:
        found = f"{blobs} in the store and {runs} of runs are left over"
        remedy = "Start both services: the API sweeps each minute, a scheduler every 30 s. If it stays, see logs/."
        return Checkup("temporary files", False, found, remedy)
    return Checkup("temporary files", True, "none is left over")


def folders_of_runs(scratch: Path) -> set[Path]:
    """What a scheduler would sweep. What replays and feeds keep there is meant to grow old."""
    return {lock.parent for lock in scratch.glob(f"*/{RUN_LOCK}")} | set(scratch.glob(f"*{RUN_SUFFIX}"))


def older_than(seconds: float, paths: Iterable[Path]) -> int:
    oldest = time.time() - seconds
    return sum(1 for path in paths if path.stat().st_mtime < oldest)


def room(settings: Settings) -> Checkup:
    places = [place for place in (settings.home, settings.var, settings.store) if place.is_dir()]
    free = min((shutil.disk_usage(place).free for place in places), default=0)
    if free < LEAST_FREE:
        remedy = "Free some: below that, the log will soon refuse to grow."
        return Checkup("disk", False, f"{free / 2**30:.2f} GiB are free", remedy)
    return Checkup("disk", True, f"{free / 2**30:.0f} GiB are free")


WAITS_FOLLOW_THE_CLOCK = sys.platform == "linux" and not get_config_var("HAVE_SEM_CLOCKWAIT")
"""How this Python was built: against a C library older than glibc 2.30."""


def clock(state: Registry, now: datetime, *, waits_follow: bool = WAITS_FOLLOW_THE_CLOCK) -> Checkup:
    """Time in the log never goes back: where the clock did, it passes there at half the pace until both agree."""
    if state.time is not None and state.time > now + CLOCKS_DIFFER:
        ahead = (state.time - now).total_seconds()
        return Checkup("clock", False, f"is {ahead:.0f} s behind the newest event", "Set it by a time server.")
    note = "; were it set back, threads would wait as much longer: this Python was built without `sem_clockwait`"
    return Checkup("clock", True, "not behind the newest event" + (note if waits_follow else ""))


def clocks(evidence_age_s: float | None) -> Checkup:
    """Evidence is judged as soon as it is measured, so its age at the newest verdict compares the two clocks."""
    if evidence_age_s is None:
        return Checkup("clocks of both services", True, "not compared yet: nothing was judged", known=False)
    if EARLY_S <= evidence_age_s <= STALE_S:
        return Checkup("clocks of both services", True, "agreed at the newest verdict")
    ahead, behind = ("scheduler", "API") if evidence_age_s < 0 else ("API", "scheduler")
    found = f"the {ahead}'s seemed {abs(evidence_age_s):.0f} s ahead of the {behind}'s at the newest verdict"
    return Checkup("clocks of both services", False, found, "Set both by one time server: no candidate passes before.")


def scheduler(state: Registry, now: datetime) -> Iterator[Checkup]:
    """Alive where it has served any model in time; then every model that it has not served is a problem of its own."""
    if not state.models:
        yield Checkup("scheduler", False, "has never defined a model", "Start it: `make run` starts both services.")
        return
    if all(model.champion is not None and not has_times(model) for model in state.models.values()):
        yield Checkup("scheduler", True, "not seen from here: no model has due times", known=False)
        return
    late = [model.name for model in state.models.values() if not is_served(state, model, now)]
    if len(late) == len(state.models):
        found = f"has let more than {SLOTS_ALLOWED} due times pass"
        yield Checkup("scheduler", False, found, "Start it again; its last lines in logs/ say how it ended.")
        return
    yield Checkup("scheduler", True, "serves its slots")
    for name in late:
        found = f"no run for more than {SLOTS_ALLOWED} due times"
        yield Checkup(f"slots of {name}", False, found, "See that its file is in the models' folder, and check it.")


def is_served(state: Registry, model: Model, now: datetime) -> bool:
    """Whether a scheduler has been at work for `model` within two of its intervals."""
    if any(state.runs[run].state is RunState.RUNNING for run in at_work(state, model)) or waits_for_a_person(
        state, model
    ):
        return True
    sign = last_sign(state, model)
    if sign is None or model.definition is None:
        return False
    if model.champion is None and now - sign < BACK_OFF:
        return True
    if not has_times(model):
        return model.champion is not None  # whether rows arrive, or drift, is not known here
    slots = Schedule.from_json(model.definition["schedule"]).slots_between(sign, now)
    return slots is None or slots.count <= SLOTS_ALLOWED


def has_times(model: Model) -> bool:
    return model.definition is None or Schedule.from_json(model.definition["schedule"]).rule is not None


def waits_for_a_person(state: Registry, model: Model) -> bool:
    """A first version that passed, and whose promotion is left to somebody, is waited for."""
    version = None if model.champion or model.first is None else state.runs[model.first].version
    return version is not None and state.version(model.name, version).stage is Stage.PASSED


def last_sign(state: Registry, model: Model) -> datetime | None:
    """The newest moment that only a scheduler can have left in the log."""
    runs = [run for run in state.runs.values() if run.model == model.name and run.job != "selftest"]
    signs = [run.claimed_at for run in runs] + [run.finished_at for run in runs]
    signs += [run.requested_at for run in runs if run.requested_by == "scheduler"]
    signs.append(None if model.last_slot is None else moment(model.last_slot))
    return max((sign for sign in signs if sign is not None), default=None)


def libraries(pins: Path) -> Checkup:
    """What is installed is what was tested."""
    if not pins.is_file():
        return Checkup("libraries", True, "no requirements.txt is at hand to compare with")
    wrong = [text for line in pins.read_text("utf-8").splitlines() if "==" in line if (text := other_than(line))]
    if wrong:
        return Checkup("libraries", False, "; ".join(wrong[:5]), "pip install --requirement requirements.txt")
    return Checkup("libraries", True, "as pinned in requirements.txt")


def other_than(line: str) -> str | None:
    """How the installed package differs from a line `name==version ; marker`."""
    pin, _, marker = line.partition(";")
    name, _, pinned = pin.strip().partition("==")
    try:
        installed = version(name)
    except PackageNotFoundError:
        return None if marker else f"{name} is not installed"
    return None if installed == pinned else f"{name} is {installed}, not {pinned}"
