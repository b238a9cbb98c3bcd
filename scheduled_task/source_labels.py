"""Sends the labels that the source knows for rows that were predicted under a key.

Once a minute: the keys that the source has not labelled, from the API; the labels that it has for them by now, found in
a process of its own (`scheduled_task/label_lookup.py`); and these to the API, as feedback under a name that is the
scheduler's alone. While nothing is found the pause doubles. Nothing is kept that matters: a label that is sent twice is
known.
"""

import json
import logging
import os
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from scheduled_task.asking import all_models
from scheduled_task.run_process import RunProcess, ending
from scheduled_task.scratch import scratch
from understudy.adapters.api_client import ApiClient
from understudy.labels import MODEL_SOURCE
from understudy.settings import Settings

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 3600.0
WITHIN_S = 300.0
PAGE, PAGES = 10_000, 20
"""Keys that are asked about at a time; the rest has its turn next time."""
SENT_AT_ONCE = 5_000

Item = Mapping[str, Any]


@dataclass(frozen=True)
class Round:
    """When a model has its next turn, and from where on."""

    at_s: float = float("-inf")
    pause_s: float = FIRST_PAUSE_S
    after: str | None = None


class SourceLabels:
    """For one thread."""

    def __init__(self, settings: Settings, api: ApiClient) -> None:
        self._settings, self._api = settings, api
        self._rounds: dict[str, Round] = {}

    def look(self, names: Collection[str]) -> None:
        """Send what is known by now of each of these models. Raises Unavailable where the API does not answer."""
        for model in all_models(self._api):
            name = model["name"]
            if name in names and has_key(model) and monotonic() >= self._rounds.get(name, Round()).at_s:
                self._send_for(name)

    def close(self) -> None:
        self._api.close()

    def _send_for(self, name: str) -> None:
        before = self._rounds.get(name, Round())
        self._rounds[name] = replace(before, at_s=monotonic() + FIRST_PAUSE_S)  # should something go wrong
        items, after = self._unlabelled(name, before.after)
        sent = self._send(name, items) if items else 0
        pause_s = FIRST_PAUSE_S if sent else min(2 * before.pause_s, LONGEST_PAUSE_S)
        self._rounds[name] = Round(monotonic() + (pause_s if items else FIRST_PAUSE_S), pause_s, after)

    def _unlabelled(self, name: str, after: str | None) -> tuple[list[Item], str | None]:
        """Rows with a key and no label of the source, and where to go on next time; None: at the oldest."""
        items: list[Item] = []
        for _ in range(PAGES):
            page = self._api.get(f"/models/{name}/unlabelled", after=after, limit=PAGE)
            items += page["items"]
            if len(page["items"]) < PAGE:
                return items, None
            after = page["next"]
        return items, after

    def _send(self, name: str, items: Sequence[Item]) -> int:
        """Send the labels that the source has; return how many."""
        labels = self._found(name, sorted({str(item["key"]) for item in items}))
        told = [
            {"prediction_id": item["prediction_id"], "label": labels[str(item["key"])], "source": MODEL_SOURCE}
            for item in items
            if str(item["key"]) in labels
        ]
        for start in range(0, len(told), SENT_AT_ONCE):
            said = self._api.post_list("/feedback", told[start : start + SENT_AT_ONCE])
            if said["refused"]:
                first = said["refused"][0]
                about = {"action": "labels.refused", "model": name, "refused": len(said["refused"])}
                log.warning(
                    "%d labels of %s were refused: %s", len(said["refused"]), name, first["detail"], extra=about
                )
        if told:
            log.info("The source has labelled %d rows of %s.", len(told), name, extra={"action": "labels.sent"})
        return len(told)

    def _found(self, name: str, keys: Sequence[str]) -> Mapping[str, Any]:
        settings = self._settings
        with scratch(settings.scratch.absolute(), f"labels-{socket.gethostname()}-{os.getpid()}") as folder:
            file, answer = folder / "keys.json", folder / "answer.json"
            file.write_text(json.dumps({"model": name, "keys": list(keys)}), "utf-8")
            arguments = [str(settings.definitions.absolute()), str(file), str(answer), str(settings.run_memory_mb)]
            child = RunProcess("scheduled_task.label_lookup", arguments, folder=folder, home=settings.home)
            code = child.wait(WITHIN_S)
            printed = child.end()
            found = json.loads(answer.read_text("utf-8")) if answer.exists() else None
        if found is None:
            problem = f"took longer than {WITHIN_S:g} s" if code is None else f"{ending(code)}. {printed}"
        elif (problem := found["problem"]) is None:
            labels: Mapping[str, Any] = found["labels"]
            return labels
        about = {"action": "labels.unread", "model": name}
        log.warning("The source's labels of %s cannot be read: %s", name, problem, extra=about)
        return {}


def has_key(model: Mapping[str, Any]) -> bool:
    return model["champion"] is not None and bool((model["definition"] or {}).get("key"))
