"""Asks for a run when enough new rows have a label: `Schedule.on_new_rows(n)`.

Once a minute the rows are counted in a process of their own (`scheduled_task/counting.py`). New are those that no
version was judged by, and that the champion has not been fitted on: what the run itself would find. Its slot is named
by the number of runs there were, so any number of schedulers ask for one. A run that leaves the rows as new as they
were, because it failed, or its data were refused, is asked for again after a pause that doubles.
"""

import json
import logging
import os
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from scheduled_task.asking import all_models
from scheduled_task.run_process import RunProcess, ending
from scheduled_task.scratch import scratch
from understudy.adapters.api_client import ApiClient
from understudy.evidence import Clock
from understudy.schedule import Schedule
from understudy.settings import Settings

log = logging.getLogger(__name__)

COUNT_EVERY_S = 60.0
WITHIN_S = 300.0
"""A source may be slow; the runs that it feeds are."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 6 * 3600.0

Bounds = tuple[Clock | None, Clock | None]
"""Clocks of the last row that was judged by, and of the last that the champion was fitted on."""


@dataclass(frozen=True)
class Asked:
    """The last run that was asked for."""

    runs: int
    """How many there were."""
    bounds: Bounds
    at_s: float
    times: int
    """How many have been asked for since the bounds were these."""


class Pauses:
    """Between runs that leave the rows as new as they were, on a clock that never jumps."""

    def __init__(self) -> None:
        self._asked: dict[str, Asked] = {}

    def over(self, model: str, now_s: float) -> bool:
        """Whether a run may be asked for."""
        last = self._asked.get(model)
        if last is None:
            return True
        return now_s - last.at_s >= min(FIRST_PAUSE_S * 2.0 ** min(last.times - 1, 20), LONGEST_PAUSE_S)

    def asked(self, model: str, runs: int, bounds: Bounds, now_s: float) -> None:
        last = self._asked.get(model)
        before = 0 if last is None or last.bounds != bounds else last.times - (last.runs == runs)
        self._asked[model] = Asked(runs, bounds, now_s, before + 1)


class Arrivals:
    """For one thread."""

    def __init__(self, settings: Settings, api: ApiClient) -> None:
        self._settings, self._api, self._pauses = settings, api, Pauses()
        self._counted_s: dict[str, float] = {}

    def look(self, names: Collection[str]) -> None:
        """Count for each of these models that waits for rows, and is not at work."""
        waiting = {model["name"]: model for model in all_models(self._api) if model["name"] in names and waits(model)}
        waiting = {name: model for name, model in waiting.items() if self._is_due(name, monotonic())}
        if not waiting:
            return
        bounds = {name: self._bounds(model) for name, model in waiting.items()}
        for name, found in self._count(bounds).items():
            self._take(waiting[name], bounds[name], found)

    def close(self) -> None:
        self._api.close()

    def _is_due(self, name: str, now_s: float) -> bool:
        if now_s - self._counted_s.get(name, float("-inf")) < COUNT_EVERY_S or not self._pauses.over(name, now_s):
            return False
        self._counted_s[name] = now_s
        return True

    def _take(self, model: Mapping[str, Any], bounds: Bounds, found: Mapping[str, Any]) -> None:
        name, wanted = model["name"], Schedule.from_json(model["definition"]["schedule"]).new_rows
        if found["problem"] is not None:
            about = {"action": "arrivals.uncounted", "model": name}
            log.warning("The new rows of %s cannot be counted: %s", name, found["problem"], extra=about)
            return
        if wanted is None or found["rows"] < wanted:
            return
        slot = f"rows/{model['runs']}"
        answer = self._api.post("/runs", {"model": name, "kind": "train", "slot": slot})
        self._pauses.asked(name, model["runs"], bounds, monotonic())
        run = "stood for already" if answer["run"] is None else f"run {answer['run']['id']}"
        about = {"action": "slot.asked", "model": name, "slot": slot}
        log.info("%s has %d new rows: %s.", name, found["rows"], run, extra=about)

    def _bounds(self, model: Mapping[str, Any]) -> Bounds:
        """Clocks after which a row is new; the latest of them counts."""
        path = f"/models/{model['name']}/versions/{model['champion']}"
        return model["judged_until"], self._api.get(path)["manifest"]["data"]["cut"]

    def _count(self, bounds: Mapping[str, Bounds]) -> Mapping[str, Mapping[str, Any]]:
        settings = self._settings
        with scratch(settings.scratch.absolute(), f"rows-{socket.gethostname()}-{os.getpid()}") as folder:
            file, answer = folder / "bounds.json", folder / "answer.json"
            file.write_text(json.dumps(bounds), "utf-8")
            arguments = [str(settings.definitions.absolute()), str(file), str(answer), str(settings.run_memory_mb)]
            child = RunProcess("scheduled_task.counting", arguments, folder=folder, home=settings.home)
            code = child.wait(WITHIN_S)
            printed = child.end()
            if answer.exists():
                found: Mapping[str, Mapping[str, Any]] = json.loads(answer.read_text("utf-8"))
                return found
        became = f"took longer than {WITHIN_S:g} s" if code is None else ending(code)
        log.error(
            "New rows cannot be counted: their process %s. %s", became, printed, extra={"action": "arrivals.lost"}
        )
        return {}


def waits(model: Mapping[str, Any]) -> bool:
    """Whether new rows would be a reason to train it: what nothing serves yet is tried anyway."""
    if model["champion"] is None or model["open_runs"] or model["definition"] is None:
        return False
    return Schedule.from_json(model["definition"]["schedule"]).new_rows is not None
