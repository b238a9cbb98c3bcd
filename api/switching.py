"""Carries out what labels have decided: the version that they prefer takes over, by an ordinary promotion.

A chore of the one process that keeps house for all. The decision is in the log, so whoever takes that over goes on.
"""

import logging
import time
from contextlib import suppress
from threading import Event, Thread

from api.journal import Journal
from api.promoting import Promoter
from understudy import live
from understudy.errors import Forbidden, NoGround, UnderstudyError
from understudy.promotion import Wish

log = logging.getLogger(__name__)

AGAIN_S = 30.0
"""After a switch that failed."""


class Switching:
    """Looks at the pairs of all models; a promotion may take half a minute, so each has a thread."""

    def __init__(self, journal: Journal, promoter: Promoter, stopping: Event) -> None:
        self._journal, self._promoter, self._stopping = journal, promoter, stopping
        self._going: dict[str, Thread] = {}
        self._again_s: dict[str, float] = {}

    def turn(self) -> None:
        """Begin what is decided and not under way."""
        state, now = self._journal.state, self._journal.now()
        for model in state.models.values():
            found = live.switch(model, now)
            if found is not None and found.wish is not None and not self._is_busy(found.wish.key):
                log.warning("%s", found.why, extra={"action": "switch", "model": model.name})
                thread = Thread(target=self._carry_out, args=(found.wish,), name="switch", daemon=True)
                self._going[found.wish.key] = thread
                thread.start()
        self._going = {key: thread for key, thread in self._going.items() if thread.is_alive()}

    def _is_busy(self, key: str) -> bool:
        under_way = key in self._going and self._going[key].is_alive()
        return under_way or time.monotonic() < self._again_s.get(key, 0.0) or self._stopping.is_set()

    def _carry_out(self, wish: Wish) -> None:
        try:
            self._promoter.promote(wish)
            self._again_s.pop(wish.key, None)
        except UnderstudyError as error:
            if isinstance(error, NoGround | Forbidden):
                self._tell(wish, error.problem)
            self._again_s[wish.key] = time.monotonic() + AGAIN_S
            log.warning("The switch waits: %s", error, extra={"action": "switch.waits", "model": wish.model})
        except Exception:
            self._again_s[wish.key] = time.monotonic() + AGAIN_S
            log.exception("a switch met a bug", extra={"action": "bug"})

    def _tell(self, wish: Wish, why: str) -> None:
        with suppress(UnderstudyError):
            self._journal.decide(lambda state, now: live.stuck(state.model(wish.model), wish, why))
