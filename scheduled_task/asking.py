"""Asks the API for the runs that are due. What could not be asked for stays owed until the API answers again."""

import logging
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from threading import Lock
from time import monotonic
from typing import Any

from scheduled_task.due import timed_slot
from scheduled_task.firsts import Firsts
from understudy.adapters.api_client import ApiClient

log = logging.getLogger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


class Asking:
    """Any thread may call it; one question is asked at a time."""

    def __init__(self, api: ApiClient, *, now: Callable[[], datetime] = utc_now, selftests: bool = False) -> None:
        """`selftests`: whether the gates of each definition are to be tested."""
        self._api, self._now, self._since, self._selftests = api, now, now(), selftests
        self._firsts = Firsts()
        self._owed: set[str] = set()
        self._lock = Lock()

    def timed(self, name: str) -> None:
        """Ask for the slot that `name` is due for. Raises what the API answers; then it is owed."""
        with self._lock:
            self._owed.add(name)
            model = self._api.get(f"/models/{name}")
            slot = timed_slot(model, since=self._since, now=self._now())
            if slot is not None:
                self._ask(name, slot)
            self._owed.discard(name)

    def rest(self, names: Collection[str]) -> None:
        """Ask for first attempts at those of `names` that nothing serves, and for all that is owed."""
        with self._lock:
            models = {model["name"]: model for model in all_models(self._api) if model["name"] in names}
            for name, slot in self._firsts.due(models, monotonic()).items():
                self._ask(name, slot)
            for name, slot in untested(models).items() if self._selftests else ():
                self._ask(name, slot, kind="selftest")
            owed = self._owed & models.keys()
        for name in owed:
            self.timed(name)

    def hurry(self, name: str) -> None:
        """Its definition is new: try for a first champion at once."""
        with self._lock:
            self._firsts.hurry(name)

    def close(self) -> None:
        self._api.close()

    def _ask(self, name: str, slot: str, *, kind: str = "train") -> None:
        answer = self._api.post("/runs", {"model": name, "kind": kind, "slot": slot})
        run, skipped = answer["run"], answer["skipped"]
        what = f"is run {run['id']}" if run else f"is skipped: {skipped}"
        log.info("Slot %s of %s %s.", slot, name, what, extra={"action": "slot.asked", "model": name, "slot": slot})


def untested(models: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Model -> slot of the test of its gates, for those that serve by a definition whose gates nobody has tested yet.

    Not before something serves, and not while another model trains for its first champion: nobody should wait longer.
    """
    if any(model["champion"] is None and model["open_runs"] for model in models.values()):
        return {}
    serving = {name: model["selftest"] for name, model in models.items() if model["champion"] is not None}
    return {name: test["slot"] for name, test in serving.items() if test is not None and test["run"] is None}


def all_models(api: ApiClient) -> list[Mapping[str, Any]]:
    """Every model that the API knows."""
    page = api.get("/models", limit=1000)
    found: list[Mapping[str, Any]] = page["items"]
    while page["next"] is not None:
        page = api.get("/models", limit=1000, after=page["next"])
        found += page["items"]
    return found
