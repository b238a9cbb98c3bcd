"""Scores the version in shadow on newly labelled predictions, off the request path and outside the API.

Every few seconds, for each model whose champion is watched: labelled predictions from where the API stands, the other
version's answers to the very same rows, and both to the API, which decides. Nothing is kept here but the loaded
version, so a scheduler may be killed at any moment, and several of them score each row once.
"""

import json
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scheduled_task.asking import all_models
from scheduled_task.run_process import RunProcess
from scheduled_task.scratch import scratch
from understudy.adapters.api_client import ApiClient
from understudy.adapters.folder_store import FolderStore
from understudy.adapters.runtime import Runtime, open_bundle
from understudy.errors import BundleRefused, Conflict, NotFound, SourceFailed, Unavailable, UnderstudyError
from understudy.live import is_own
from understudy.settings import Settings
from understudy.signature import Value

log = logging.getLogger(__name__)

EVERY_S = 3.0
"""Shorter than the API keeps an idle connection."""
PAGE = 1000
PAGES = 50
"""In a row, before other models have their turn."""
OWN_WITHIN_S = 60.0
MOST_ROWS = 500_000
"""Of one pair: what has not shown by then would not matter, and rows cost room."""

Item = Mapping[str, Any]


@dataclass(frozen=True)
class Shadow:
    """The version that is compared with a champion, loaded."""

    digest: str
    runtime: Runtime | None
    """None: it cannot be loaded here, so it answers nothing."""


class LiveScoring:
    """For one thread."""

    def __init__(self, settings: Settings, api: ApiClient) -> None:
        self._settings, self._api, self._store = settings, api, FolderStore(settings.store)
        self._shadows: dict[str, Shadow] = {}

    def look(self) -> None:
        """Score what is newly labelled of every model. Raises Unavailable where the API does not answer."""
        for model in all_models(self._api):
            if model["champion"] is None:
                continue
            try:
                self._score(model["name"])
            except Unavailable:
                raise
            except Conflict as over:
                log.debug("%s: %s", model["name"], over)  # another scheduler, or another pair
            except UnderstudyError as error:
                log.warning("%s: %s", model["name"], error, extra={"action": "live.waits", "model": model["name"]})

    def close(self) -> None:
        self._api.close()

    def _score(self, name: str) -> None:
        standing = self._api.get(f"/models/{name}/live")
        for _ in range(PAGES):
            if standing["pair"] is None or standing["pair"]["settled_at"] or standing["rows"] >= MOST_ROWS:
                return
            page = self._api.get(f"/models/{name}/labelled", after=standing["cursor"], limit=PAGE)
            if not page["items"] and not standing["due"]:
                return
            standing = self._api.post(f"/models/{name}/live", self._scored(name, standing, page))
            if not page["items"]:
                return

    def _scored(self, name: str, standing: Mapping[str, Any], page: Mapping[str, Any]) -> dict[str, Any]:
        """What is sent of a page: the rows that the champion of the pair has answered."""
        pair = standing["pair"]
        items = [item for item in page["items"] if item["version"] == pair["serving"]["version"]]
        serving = [item["prediction"] if item["probabilities"] is None else item["probabilities"] for item in items]
        shadow = None if pair["other"] is None else self._shadow(name, pair["other"]["digest"])
        other = None if shadow is None else answers(shadow.runtime, items, standing["classes"])
        own = self._own(name, items, serving, other) if is_own(standing["loss"]) else None
        return {
            "pair": pair["position"],
            "after": standing["cursor"],
            "until": page["next"],
            "ids": [item["prediction_id"] for item in items],
            "labels": [item["label"] for item in items],
            "serving": serving,
            "other": other,
            **({} if own is None else {"own": own}),
        }

    def _own(self, name: str, items: Sequence[Item], serving: Sequence[Any], other: Sequence[Any] | None) -> Any:
        """The values of the owner's loss, which is a definition's code. Raises SourceFailed where it gives none."""
        settings = self._settings
        job = {
            "model": name,
            "source_digest": self._api.get(f"/models/{name}")["source_digest"],
            "store": str(settings.store.absolute()),
            "definitions": str(settings.definitions.absolute()),
            "memory_mb": settings.run_memory_mb,
            "labels": [item["label"] for item in items],
            "width": len(serving[0]) if serving and isinstance(serving[0], list) else None,
            "serving": serving,
            "other": other,
        }
        with scratch(settings.scratch.absolute(), f"loss-{socket.gethostname()}-{os.getpid()}") as folder:
            file, answer = folder / "job.json", folder / "answer.json"
            file.write_text(json.dumps(job), "utf-8")
            child = RunProcess("scheduled_task.own_values", [str(file), str(answer)], folder=folder, home=settings.home)
            child.wait(OWN_WITHIN_S)
            printed = child.end()
            found = json.loads(answer.read_text("utf-8")) if answer.exists() else {"problem": printed[-300:]}
        if found["problem"] is not None:
            raise SourceFailed(f"The loss of {name} gives no values: {found['problem']}", remedy="Correct it.")
        return {"serving": found["serving"] or [], "other": found["other"]}

    def _shadow(self, name: str, digest: str) -> Shadow:
        known = self._shadows.get(name)
        if known is None or known.digest != digest:
            known = self._shadows[name] = Shadow(digest, self._loaded(name, digest))
        return known

    def _loaded(self, name: str, digest: str) -> Runtime | None:
        try:
            return open_bundle(self._store.get(digest), digest=digest, trees=True)
        except (BundleRefused, NotFound) as error:
            log.warning("%s has no shadow: %s", name, error, extra={"action": "live.no_shadow", "model": name})
            return None


def answers(runtime: Runtime | None, items: Sequence[Item], classes: Sequence[Value] | None) -> list[Any]:
    """What the other version says to recorded rows, in the champion's class order; None where it says nothing.

    A column that the records withhold cannot be given to it.
    """
    if runtime is None or not items:
        return [None] * len(items)
    from understudy.adapters.scoring import ask_rows  # pandas comes with it, and most schedulers never get here

    names = [column.name for column in runtime.signature.columns]
    rows: list[list[Value]] = [[item["inputs"].get(name) for name in names] for item in items]
    if any(name not in items[0]["inputs"] for name in names):
        return [None] * len(items)
    return list(ask_rows(runtime, rows, classes).outputs)
