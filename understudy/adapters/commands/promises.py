"""How each of the eight promises is kept on this installation, from what is found here and not from what was meant.

What cannot be seen from where the doctor stands is called unknown, which is neither right nor wrong. Nothing here
changes anything; two requests are sent that must be refused.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from understudy.adapters.audit import Audit
from understudy.adapters.commands.checkups import Checkup
from understudy.adapters.commands.seen import asked, bugs_logged, is_wal, memory_map
from understudy.adapters.folder_store import FolderStore
from understudy.errors import UnderstudyError
from understudy.events import LiveCompared, Recorded, VerdictReached, VersionRefitted, VersionTried
from understudy.rollout import LOOK_AFTER_S, Sign
from understudy.settings import Settings
from understudy.state import Promotion, Registry, Version

SHORT = 2000
"""Bytes of an answer to a wrong input."""
NO_API = "the API does not answer"
LOOK_AGAIN = "Ask again in a moment; if it stays, see logs/ and start the API again."


@dataclass
class Grounds:
    """What promotions may stand on, noted while the log is read: verdicts and trials, without their numbers."""

    verdicts: dict[int, tuple[str, str, str | None, bool]] = field(default_factory=dict)
    """Position -> model, version, the champion that it was compared with, whether it passed."""
    live: set[int] = field(default_factory=set)
    """Which of these were reached by labels of what was predicted."""
    refits: dict[tuple[str, str], tuple[int, str, bool]] = field(default_factory=dict)
    """Model and version -> position of its check, the candidate whose verdict it stands on, whether it may."""
    trials: dict[tuple[str, str], list[tuple[int, bool]]] = field(default_factory=dict)
    """Model and version -> position and outcome of each trial."""
    evidence_age_s: float | None = None
    """How old the evidence of the newest verdict was, by the API's clock less the scheduler's."""

    def note(self, entry: Recorded) -> bool:
        """For `audit(keep=…)`; it keeps nothing of the log itself."""
        event = entry.event
        if isinstance(event, VerdictReached):
            self.verdicts[entry.position] = (event.model, event.version, event.champion, event.passed)
            self.evidence_age_s = event.facts.get("evidence_age_s")
        if isinstance(event, LiveCompared):
            crossed = event.standing.get("crossed") is not None
            self.verdicts[entry.position] = (event.model, event.version, event.serving, crossed)
            self.live.add(entry.position)
        if isinstance(event, VersionRefitted):
            self.refits[event.model, event.version] = (entry.position, event.of, event.passed)
        if isinstance(event, VersionTried):
            self.trials.setdefault((event.model, event.version), []).append((entry.position, event.passed))
        return False

    def passed_before(self, model: str, version: str, position: int) -> bool:
        """Whether the newest trial before a position passed."""
        before = [trial for trial in self.trials.get((model, version), []) if trial[0] < position]
        return max(before)[1] if before else False

    def carry(self, model: str, promotion: Promotion) -> bool:
        """Whether a promotion stands on a verdict that was passed before it, against the champion of that moment.

        Of a refit, that is the verdict of its candidate, once it was found no worse.
        """
        ground = promotion.ground or 0
        checked, of, holds = self.refits.get((model, promotion.version), (0, promotion.version, False))
        judged = of if holds and checked < promotion.position and ground not in self.live else promotion.version
        verdict = self.verdicts.get(ground)
        return verdict == (model, judged, promotion.replaces, True) and ground < promotion.position


@dataclass(frozen=True)
class Found:
    """What the lines below are made from."""

    settings: Settings
    now: datetime
    ready: Mapping[str, Any] | None
    """What `GET /ready` says; None where nothing answers."""
    log: Audit | None
    grounds: Grounds
    url: str
    token: str | None
    """The client's, where there is one."""
    environment: str
    """Fingerprint of the libraries that are installed here."""
    as_pinned: bool

    @property
    def signs(self) -> Sequence[Sign] | None:
        """What the living workers say of themselves; None where that is unknown."""
        told = None if self.ready is None else self.ready.get("workers")
        if told is None:
            return None
        return [Sign.from_json(one["worker"], {k: v for k, v in one.items() if k != "worker"}) for one in told]


Line = Callable[[Found], Checkup]


def examined(found: Found) -> Iterator[Checkup]:
    """One line for each promise, in their order."""
    for number, (promise, line) in enumerate(LINES.items(), start=1):
        said = line(found)
        yield Checkup(f"promise {number}: {promise}", said.ok, said.found, said.remedy, said.known)


def well(found: str) -> Checkup:
    return Checkup("", True, found)


def broken(found: str, remedy: str) -> Checkup:
    return Checkup("", False, found, remedy)


def unknown(why: str) -> Checkup:
    return Checkup("", True, f"unknown: {why}", known=False)


def requests_never_fail(found: Found) -> Checkup:
    """1. While one process of the API ends, another answers, with every champion."""
    if found.signs is None:
        return unknown(NO_API if found.ready is None else "the API does not say which workers live")
    answering = [sign for sign in found.signs if not sign.starting]
    wanted = found.settings.api_workers
    for sign in answering:
        for model, why in sign.lacks.items():
            return broken(f"worker {sign.worker} does not serve {model}: {why}", "See `store` and logs/api*.jsonl.")
    if len(answering) < wanted:
        return broken(f"{len(answering)} of {wanted} workers answer", LOOK_AGAIN)
    if len(answering) == 1:
        return well("one worker answers; while it is started again nobody does (UNDERSTUDY_API_WORKERS=2 helps)")
    return well(f"{len(answering)} workers answer, each with every champion; any of them may end")


def nobody_answers_older(found: Found) -> Checkup:
    """2. Every worker serves the newest promotions, and looks at the log."""
    if found.signs is None or found.ready is None:
        return unknown(NO_API if found.ready is None else "the API does not say what each worker serves")
    age_s = float(found.ready.get("age_s", 0.0))
    if age_s > LOOK_AFTER_S:
        return broken(
            f"the log was last read {age_s:.0f} s ago, so a promotion may go unseen", "See that var/ answers."
        )
    if found.log is None:
        return unknown("the log cannot be read")
    answering = [sign for sign in found.signs if not sign.starting]
    if not answering:
        return unknown("no worker answers")
    newest = {name: model.promotions[-1] for name, model in found.log.state.models.items() if model.promotions}
    for name, promotion in newest.items():
        for sign in answering:
            if name not in sign.lacks and sign.serves.get(name, 0) < promotion.position:
                behind = f"worker {sign.worker} answers with an older version of {name} than {promotion.version}"
                return broken(behind, LOOK_AGAIN)
    return well(f"workers at the newest promotion of every model: {len(answering)} of {len(answering)}")


def nothing_is_lost(found: Found) -> Checkup:
    """3. The log follows from its first event, is synced with each commit, and others remember its end."""
    if found.log is None:
        return unknown("the log cannot be read")
    if found.log.problem is not None:
        return broken(found.log.problem, "Keep the file, see `understudy verify log`, and restore a backup.")
    state, file = found.log.state, found.settings.events_file
    if is_wal(file):
        return broken(
            f"{file.name} is in WAL mode, in which SQLite may corrupt it",
            "Stop the API; `PRAGMA journal_mode=TRUNCATE`.",
        )
    readers = sum(1 for sign in found.signs or () if sign.position)
    remembered = f"workers that remember its end: {readers}"
    mode = "not in WAL mode" if file.is_file() else "its file is not on this machine"
    return well(
        f"verified to position {state.position}, hash {state.hash[:12]}…; {mode} (whether each commit is synced is "
        f"decided by the API's connection and cannot be seen from here); {remembered}. Keep that hash elsewhere"
    )


def serves_on_a_ground(found: Found) -> Checkup:
    """4. Each promotion in the log stands on a passing verdict, a reason or a demotion, after a passed trial."""
    if found.log is None:
        return unknown("the log cannot be read")
    state, counts = found.log.state, {"promotion": 0, "override": 0, "demotion": 0}
    live, refits = 0, 0
    for name, model in state.models.items():
        for promotion in model.promotions:
            why = groundless(name, promotion, found.grounds)
            if why is not None:
                remedy = f"Look at `understudy why {name}`, and demote or promote with a reason."
                return broken(f"version {promotion.version} of {name}, promoted at {promotion.position}, {why}", remedy)
            counts[promotion.how] += 1
            is_live = promotion.ground in found.grounds.live
            live += is_live
            refits += promotion.how == "promotion" and not is_live and (name, promotion.version) in found.grounds.refits
    answered = control_answers(found)
    if answered not in (None, 401, 403):
        return broken(f"POST /model/promote without a token was answered with {answered}", "Put the API out of reach.")
    asks = "whether control asks for a token is unknown" if answered is None else "control asks for a token"
    return well(
        f"promotions in the log, each on its ground and after a trial that passed: {sum(counts.values())} (by a "
        f"verdict {counts['promotion']}{of_these(live, refits)}, by an override with a reason {counts['override']}, "
        f"by a demotion {counts['demotion']}); {asks}"
    )


def of_these(live: int, refits: int) -> str:
    """Which verdicts were reached, or are stood on, in another way than most."""
    said = [f"{live} by labels of what was predicted"] if live else []
    said += [f"{refits} as the refit of what was judged"] if refits else []
    return f" – of these {' and '.join(said)} –" if said else ""


def groundless(model: str, promotion: Promotion, grounds: Grounds) -> str | None:
    """What is wrong with the ground of a promotion; None where it holds.

    A demotion to anything but the champion before cannot even be folded.
    """
    if not grounds.passed_before(model, promotion.version, promotion.position):
        return "had passed no trial"
    if promotion.how == "override":
        return None if promotion.reason.strip() else "was an override without a reason"
    if promotion.how == "demotion":
        return None
    carries = grounds.carry(model, promotion)
    return None if carries else "stands on no passing verdict against the champion of that moment"


def control_answers(found: Found) -> int | None:
    """The status that a promotion without a name and a token gets; None where nothing, or a failing API, answers."""
    if found.ready is None:
        return None
    status = asked(found.url + "/model/promote", {}, token=None)[0]
    return None if status == 0 or status >= 500 else status


def nothing_is_executed(found: Found) -> Checkup:
    """5. What serves was tried in a process of its own; and which parsers the API's processes hold."""
    if found.log is None:
        return unknown("the log cannot be read")
    champions = list(champions_of(found.log.state))
    for version in champions:
        name = f"version {version.id} of {version.model}"
        if not any(trial.passed for trial in version.trials.values()):
            return broken(f"{name} serves and has passed no trial", f"understudy demote {version.model} --reason …")
        trial = version.trials.get(found.environment)
        if trial is not None and not trial.passed:
            remedy = f"Train {version.model} again, or demote it."
            return broken(f"{name} serves, and failed its trial with these libraries: {trial.reason}", remedy)
    forms = [str(version.summary.get("serves", "an unknown form")) for version in champions]
    served = ", ".join(f"{forms.count(form)} as {form}" for form in sorted(set(forms))) or "none serves yet"
    elsewhere = [version for version in champions if found.environment not in version.trials]
    note = f"; tried with other libraries than are installed here: {len(elsewhere)}" if elsewhere else ""
    return well(f"champions: {served}; each passed a trial in a process of its own{note}; {loaded(found)}")


def loaded(found: Found) -> str:
    """Whether the API's processes hold scikit-learn's compiled code, as the system tells of those on this machine."""
    maps = [text for sign in found.signs or () if (text := memory_map(sign.worker)) is not None]
    if not maps:
        return "what the API's processes have loaded cannot be seen from here"
    with_sklearn = sum(1 for text in maps if "/sklearn/" in text)
    return f"processes of the API that hold scikit-learn: {with_sklearn} of {len(maps)}"


def runs_repeat(found: Found) -> Checkup:
    """6. The inputs of each champion's run are in the store, and the libraries are those that it was trained with."""
    if found.log is None:
        return unknown("the log cannot be read")
    if not found.settings.store.is_dir():
        return unknown("the store is not on this machine")
    store, state = FolderStore(found.settings.store), found.log.state
    runs, uploaded = list[str](), 0
    for version in champions_of(state):
        run = state.runs.get(version.run or "")
        if run is None:
            uploaded += 1
            continue
        for what in ("source", "data"):
            digest = run.result.get(what)
            if isinstance(digest, str) and not is_there(store, digest):
                gone = f"the {what} that version {version.id} of {version.model} was trained from is not in the store"
                return broken(gone, "Restore it from a backup; without it the run cannot be repeated.")
        runs.append(run.id)
    if not found.as_pinned:
        remedy = "pip install --requirement requirements.txt"
        return broken("the libraries are not those of requirements.txt, so bytes may differ", remedy)
    by_hand = f"; uploaded, and without a run: {uploaded}" if uploaded else ""
    if not runs:
        return well(f"no champion comes from a run{by_hand}")
    return well(
        f"champions whose inputs are all in the store: {len(runs)}{by_hand}; when a run was last repeated is recorded "
        f"nowhere: `understudy verify run {runs[-1]}` does it now"
    )


def is_there(store: FolderStore, digest: str) -> bool:
    try:
        return store.has(digest)
    except UnderstudyError:
        return False


def wrong_input_is_answered(found: Found) -> Checkup:
    """7. Something wrong is sent, and the answer is looked at; and no bug was logged lately."""
    if (bugs := bugs_logged(found.settings.logs, found.now)) > 0:
        remedy = 'Look for "action": "bug" there, and report it.'
        return broken(f"bugs logged in logs/ within a day: {bugs}", remedy)
    if found.ready is None:
        return unknown(NO_API)
    status, body = asked(found.url + "/predict", {"records": "a wrong input"}, token=found.token)
    try:
        remedy = str(json.loads(body)["remedy"])
    except (ValueError, KeyError, TypeError):
        remedy = ""
    if not 400 <= status < 500 and not (status == 503 and remedy):
        return broken(f"a wrong input was answered with {status}", "See logs/api*.jsonl.")
    if not remedy or len(body) > SHORT:
        return broken(f"a wrong input got {len(body)} bytes that do not say what to do", "Is a proxy in between?")
    return well(f"a wrong input sent now got {status}, {len(body)} bytes and what to do; no bug was logged in a day")


def numbers_are_printed(found: Found) -> Checkup:
    """8. The commands that print the README's figures are here."""
    project = Path(__file__).parents[3]
    if not (project / "README.md").is_file():
        return unknown("this is not a checkout: neither README nor bench/ is here")
    commands = sorted(path.stem for path in (project / "bench").glob("*.py") if is_command(path))
    if not commands:
        return broken("the README's figures have no command: bench/ is empty", "Check the repository out again.")
    names = ", ".join(f"`python -m bench.{name}`" for name in commands)
    return well(f"by {names}; whether they are those of the README is not looked at")


def is_command(module: Path) -> bool:
    """Whether a module does something when it is run, and is not only imported by others."""
    return '\nif __name__ == "__main__":' in module.read_text(encoding="utf-8")


def champions_of(state: Registry) -> Iterator[Version]:
    for name in state.models:
        if (champion := state.champion(name)) is not None:
            yield champion


#: A promise in a few words -> what is said of it.
LINES: Mapping[str, Line] = {
    "no request fails": requests_never_fail,
    "nobody answers older": nobody_answers_older,
    "no event is lost": nothing_is_lost,
    "served on a ground": serves_on_a_ground,
    "nothing is executed": nothing_is_executed,
    "runs repeat": runs_repeat,
    "wrong input is told": wrong_input_is_answered,
    "figures are printed": numbers_are_printed,
}
