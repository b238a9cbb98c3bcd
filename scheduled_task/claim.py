"""A run that we hold: kept alive while it is worked on, and let go of as soon as somebody else holds it."""

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar

from understudy.adapters.api_client import ApiClient
from understudy.errors import StaleClaim, Unauthenticated, Unavailable, UnderstudyError

log = logging.getLogger(__name__)
T = TypeVar("T")

BEAT_EVERY_S = 2.0
"""The API takes a run back after 10 s of silence."""
PATIENCE_S = 600.0
"""How long one answer is waited for; evidence is stale by then."""
LONGEST_PAUSE_S = 5.0


class LetGo(Exception):
    """The run is no longer ours, or we are told to stop."""


@dataclass(frozen=True)
class Claim:
    """What `POST /runs/claim` gave."""

    run: Mapping[str, Any]
    token: int
    model: Mapping[str, Any]
    source_digest: str
    champion: Mapping[str, str] | None
    resume: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.run["id"])

    @property
    def ticket(self) -> dict[str, Any]:
        """What every write of this run carries."""
        return {"run": self.id, "token": self.token}


class Hold:
    """Keeps one claim alive from a thread of its own, since a registration may take longer than the silence allowed."""

    def __init__(self, claim: Claim, api: ApiClient, *, every_s: float = BEAT_EVERY_S) -> None:
        """`api`: one for this thread alone, impatient: the next heartbeat comes soon."""
        self.over = Event()
        """Set when the run is no longer ours, or by whoever wants it dropped."""
        self._claim, self._api, self._every_s = claim, api, every_s
        self._done = Event()
        self._thread = Thread(target=self._beat, name=f"heartbeat of {claim.id}", daemon=True)

    def __enter__(self) -> "Hold":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._api.close()

    def until_answered(self, ask: Callable[[], T]) -> T:
        """Ask until something answers: what is asked must be safe to ask twice.

        Raises LetGo where the run is lost meanwhile, Unavailable after ten minutes, and what the API refuses with.
        """
        pause_s, give_up_s = 0.2, monotonic() + PATIENCE_S
        while True:
            if self.over.is_set():
                raise LetGo
            try:
                return ask()
            except (Unavailable, Unauthenticated) as error:
                if monotonic() > give_up_s:
                    raise
                log.warning("%s Asking again.", error, extra={"action": "api.waited_for", "run": self._claim.id})
            except StaleClaim as error:
                raise LetGo from error
            self.over.wait(random.uniform(pause_s / 2, pause_s))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _beat(self) -> None:
        path, body = f"/runs/{self._claim.id}/heartbeat", {"token": self._claim.token}
        level = logging.WARNING
        while True:
            try:
                self._api.post(path, body)
                level = logging.WARNING
            except StaleClaim:
                self.over.set()
                return
            except UnderstudyError as error:
                log.log(level, "No heartbeat: %s", error, extra={"action": "heartbeat.failed", "run": self._claim.id})
                level = logging.DEBUG  # once, when it begins to fail
            if self._done.wait(self._every_s):
                return
