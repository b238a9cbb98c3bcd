"""Keeps the API's definitions equal to the files under `models/`, also while somebody edits them.

Several schedulers should have the same files. Where they do not, the last one that was started, or whose file changed,
is believed: a file is told once and not again, so two that disagree do not take turns. Who is overruled says so.
"""

import json
import logging
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scheduled_task.asking import all_models
from scheduled_task.run_process import RunProcess, ending
from scheduled_task.scratch import scratch
from understudy.adapters.api_client import ApiClient
from understudy.errors import BadInput, Unavailable, UnderstudyError
from understudy.schedule import Schedule
from understudy.settings import Settings

log = logging.getLogger(__name__)

READ_WITHIN_S = 120.0
"""A definition describes a model; whatever takes longer is doing something else."""

Files = Mapping[str, tuple[int, int]]
"""Path -> time of the last change in ns, size in bytes."""
Content = tuple[Any, Any]
"""A definition, and the digest of its source."""
Known = Callable[[Mapping[str, Schedule], frozenset[str]], None]
"""Told what is defined now, and which of it is new or different."""


class Catalogue:
    """What the folder of definitions says, and what the API has been told of it. For one thread."""

    def __init__(self, settings: Settings, api: ApiClient, known: Known) -> None:
        self._settings, self._api, self._known = settings, api, known
        self._seen: Files | None = None
        self._bodies: dict[str, Any] = {}
        self._told: dict[str, Any] = {}
        self._ours: dict[str, Content] = {}
        self._overruled: dict[str, Content] = {}

    def check(self) -> None:
        """Read the files again if they have changed, and tell the API what it has not been told yet.

        A broken file is logged with what is wrong and hides no other; its model keeps its last definition.
        """
        files = files_in(self._settings.definitions)
        if files != self._seen and (described := self._describe()) is not None:
            self._seen = files
            self._take(described)
        self._tell()

    def close(self) -> None:
        self._api.close()

    def _describe(self) -> Mapping[str, Any] | None:
        with scratch(self._settings.scratch.absolute(), f"definitions-{socket.gethostname()}-{os.getpid()}") as folder:
            answer = folder / "answer.json"
            arguments = [str(self._settings.definitions.absolute()), str(answer)]
            child = RunProcess("scheduled_task.describe", arguments, folder=folder, home=self._settings.home)
            code = child.wait(READ_WITHIN_S)
            printed = child.end()
            if answer.exists():
                described: Mapping[str, Any] = json.loads(answer.read_text("utf-8"))
                return described
        became = f"took longer than {READ_WITHIN_S:g} s" if code is None else ending(code)
        log.error(
            "The definitions cannot be read: their process %s. %s",
            became,
            printed,
            extra={"action": "definitions.unreadable"},
        )
        return None

    def _take(self, described: Mapping[str, Any]) -> None:
        for file, reason in described["problems"].items():
            log.error("%s", reason, extra={"action": "definition.broken", "file": file})
        gone = self._bodies.keys() - described["definitions"].keys()
        if described["problems"]:
            gone = frozenset()  # it may be in the file that is broken
        for name in sorted(gone):
            log.warning("Model %s is defined no more; it serves on.", name, extra={"action": "definition.gone"})
        self._bodies = {
            name: body for name, body in (self._bodies | described["definitions"]).items() if name not in gone
        }

    def _tell(self) -> None:
        changed = set()
        recorded = {model["name"]: model for model in all_models(self._api)}  # fewer, where its log was replaced
        for name, body in self._bodies.items():
            before = content(recorded.get(name, {}))
            if name in recorded and self._told.get(name) == body:
                self._compare(name, before)
                continue
            try:
                recorded[name] = self._api.put(f"/models/{name}", body)
            except Unavailable:
                raise
            except BadInput as error:
                if self._told.get(name) != body:
                    log.error("The API takes no model %s: %s", name, error, extra={"action": "definition.refused"})
            except UnderstudyError as error:  # a token that is being replaced, say: the next look tries again
                log.warning("Model %s is not defined yet: %s", name, error, extra={"action": "definition.later"})
                continue
            else:
                self._ours[name] = content(recorded[name])
                if self._ours[name] != before:
                    changed.add(name)
                log.info("Model %s is defined.", name, extra={"action": "definition.told", "model": name})
            self._told[name] = body
        self._known(
            {name: schedule(recorded.get(name), body) for name, body in self._bodies.items()}, frozenset(changed)
        )

    def _compare(self, name: str, recorded: "Content") -> None:
        """Say once where something else is recorded than what we have told."""
        ours = self._ours.get(name, recorded)
        if recorded in (ours, self._overruled.get(name)):
            return
        self._overruled[name] = recorded
        log.warning(
            "Model %s is recorded with another definition than our files have: another scheduler has other files, or "
            "somebody told the API. What is recorded is trained. Give all schedulers the same files.",
            name,
            extra={"action": "definition.overruled", "model": name},
        )


def content(model: Mapping[str, Any]) -> "Content":
    """What a definition is, as the API shows it."""
    return model.get("definition"), model.get("source_digest")


def schedule(recorded: Mapping[str, Any] | None, body: Mapping[str, Any]) -> Schedule:
    """The schedule that counts: slots are those of the definition that is recorded."""
    definition = (recorded or {}).get("definition") or body["definition"]
    return Schedule.from_json(definition["schedule"])


def files_in(folder: Path) -> Files:
    """The code below a folder, as far as a change of it can be seen."""
    found = {}
    for path in folder.rglob("*.py"):
        try:
            stat = path.stat()
        except OSError:
            continue  # gone again
        found[str(path)] = (stat.st_mtime_ns, stat.st_size)
    return found
