"""An API as a process, and what a scheduler does with it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd

from scheduled_task.tests.given import DEFINITION
from scheduled_task.worker import Worker
from tests.services import Installation
from understudy.adapters import definitions
from understudy.adapters.api_client import ApiClient, token_of
from understudy.settings import Settings

ENDED = ("succeeded", "refused", "failed", "skipped")
LONGEST_S = 90.0


class Site:
    """One installation, seen from beside it."""

    def __init__(self, installed: Installation, **settings: Any) -> None:
        self.installed = installed
        self.settings = Settings(home=installed.home, api_url=installed.url, **settings)
        self.api = self.connect()

    def connect(self, **options: Any) -> ApiClient:
        return ApiClient(self.settings.api_url, token_of("scheduler", self.settings), **options)

    def arrive(self, frame: pd.DataFrame, name: str = "stream") -> None:
        """Let these be the rows of a model from now on."""
        self.settings.definitions.mkdir(parents=True, exist_ok=True)
        frame.to_csv(self.settings.definitions / f"{name}.csv", index=False)

    def define(self, name: str = "stream", text: str = DEFINITION) -> None:
        """Write a definition and tell the API."""
        self.settings.definitions.mkdir(parents=True, exist_ok=True)
        file = self.settings.definitions / f"{name}.py"
        file.write_text(text.replace('"stream"', f'"{name}"').replace("rows.csv", f"{name}.csv"))
        definition = definitions.load(file)
        body = {"definition": definition.model.to_json(), "source": dict(definition.sources)}
        self.api.put(f"/models/{name}", body)

    def ask(self, name: str, slot: str) -> str:
        """Ask for the run of a slot; its id."""
        return str(self.api.post("/runs", {"model": name, "kind": "train", "slot": slot})["run"]["id"])

    def run(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(f"/runs/{run}")
        return found

    def ended(self, run: str) -> dict[str, Any]:
        """Wait for the end of a run."""
        until = time.monotonic() + LONGEST_S
        while (found := self.run(run))["state"] not in ENDED:
            assert time.monotonic() < until, found
            time.sleep(0.1)
        return found

    def events(self, kind: str, name: str) -> list[dict[str, Any]]:
        """The facts of one kind about one model, oldest first."""
        found, after = [], 0
        while True:
            page = self.api.get("/events", after=after, limit=1000)
            found += [event["data"] for event in page["items"] if (event["kind"], event["model"]) == (kind, name)]
            if not page["items"]:
                return found
            after = page["items"][-1]["position"]

    def scratch_folders(self) -> list[str]:
        return [path.name for path in self.settings.scratch.glob("*") if path.name != "feeds"]


@contextmanager
def working(site: Site, connect: Any = None) -> Iterator[Worker]:
    """Let one worker claim runs for as long as the block lasts."""
    worker = Worker(site.settings, connect or site.connect)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()
        worker.join(20)
