"""Watches each champion without labels, off the request path: recorded rows in, `POST /models/{model}/drift` out.

As soon as a version has answered enough rows, and then once a minute, the newest are read and measured in a process of
its own: see `scheduled_task/measuring.py`. What follows is the API's to decide.
"""

import json
import logging
import os
import socket
from collections.abc import Collection, Mapping
from time import monotonic
from typing import Any

from scheduled_task.asking import all_models, utc_now
from scheduled_task.measuring import Question
from scheduled_task.recent_rows import RecentRows
from scheduled_task.run_process import RunProcess, ending
from scheduled_task.scratch import scratch
from understudy.adapters.api_client import ApiClient
from understudy.errors import NotFound, UnderstudyError
from understudy.events import moment
from understudy.schedule import Schedule
from understudy.settings import Settings
from understudy.shift import FEWEST

log = logging.getLogger(__name__)

MEASURE_EVERY_S = 60.0
WITHIN_S = 120.0
"""Five thousand rows are measured in a second or two."""


class DriftWatch:
    """For one thread."""

    def __init__(self, settings: Settings, api: ApiClient) -> None:
        self._settings, self._api = settings, api
        self._recent: dict[str, RecentRows] = {}
        self._measured_s: dict[tuple[str, str], float] = {}
        """When each version of each model was looked at last, on a clock that never jumps."""

    def look(self, names: Collection[str]) -> None:
        """Look at each of these models that has a champion; what hinders one hinders no other."""
        for model in all_models(self._api):
            if model["name"] in names and model["champion"] is not None:
                try:
                    self._look(model)
                except UnderstudyError as error:
                    about = {"action": "drift.unwatched", "model": model["name"]}
                    log.warning("Model %s is not watched: %s", model["name"], error, extra=about)

    def close(self) -> None:
        self._api.close()

    def _look(self, model: Mapping[str, Any]) -> None:
        name, version = model["name"], model["champion"]
        last_s = self._measured_s.get((name, version))
        if last_s is not None and monotonic() - last_s < MEASURE_EVERY_S:
            return  # nothing is read meanwhile: whoever is asked a lot has no time to show all of it
        recent = self._recent.get(name)
        if recent is None or recent.version != version:
            promoted = moment(self._api.get("/current_model", model=name)["promoted_at"])
            recent = self._recent[name] = RecentRows(name, version, promoted)
        recent.read(self._api, utc_now())
        if not self._is_due(name, recent):
            return
        report = self._measured(name, self._question(model, recent))
        if report is not None:
            self._api.post(f"/models/{name}/drift", {"version": version, "report": report})

    def _is_due(self, name: str, recent: RecentRows) -> bool:
        """At the first rows that are enough, and then where there are new ones."""
        known = (name, recent.version) in self._measured_s
        if not recent.new or (not known and len(recent.items) < FEWEST):
            return False
        self._measured_s = {of: at for of, at in self._measured_s.items() if of[0] != name}
        self._measured_s[name, recent.version] = monotonic()
        recent.new = False
        return True

    def _question(self, model: Mapping[str, Any], recent: RecentRows) -> Question:
        name = model["name"]
        verdict = self._api.get(f"/models/{name}/versions/{recent.version}")["verdict"]
        return Question(
            version=recent.version,
            digest=model["champion_digest"],
            evidence=None if verdict is None else verdict["evidence"],
            other=self._other(name, recent.version),
            delay=self._delay(model),
            items=list(recent.items),
            store=str(self._settings.store.absolute()),
            memory_mb=self._settings.run_memory_mb,
        )

    def _other(self, name: str, version: str) -> Mapping[str, str] | None:
        """What is in shadow beside the version."""
        try:
            pair = self._api.get(f"/models/{name}/live")["pair"]
        except NotFound:
            return None
        if pair is None or pair["other"] is None or pair["serving"]["version"] != version:
            return None
        return {"version": pair["other"]["version"], "digest": pair["other"]["digest"]}

    def _delay(self, model: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """When labels come back, and how long it is between two trainings."""
        found = self._api.get(f"/models/{model['name']}/labelled", limit=1)["delay"]
        if found is None:
            return None
        schedule = Schedule.from_json(model["definition"]["schedule"])
        return {**{one: found[one] for one in ("labels", "p50_s", "p90_s")}, "step_s": schedule.step_s(utc_now())}

    def _measured(self, name: str, question: Question) -> Mapping[str, Any] | None:
        """The report of a child; None where it left none."""
        settings = self._settings
        with scratch(settings.scratch.absolute(), f"drift-{socket.gethostname()}-{os.getpid()}") as folder:
            file, report = folder / "question.json", folder / "report.json"
            question.write(file)
            child = RunProcess("scheduled_task.measuring", [str(file), str(report)], folder=folder, home=settings.home)
            code = child.wait(WITHIN_S)
            printed = child.end()
            if report.exists():
                found: Mapping[str, Any] = json.loads(report.read_text("utf-8"))
                return found
        became = f"took longer than {WITHIN_S:g} s" if code is None else ending(code)
        about = {"action": "drift.unmeasured", "model": name}
        log.error("The drift of %s cannot be measured: its process %s. %s", name, became, printed, extra=about)
        return None
