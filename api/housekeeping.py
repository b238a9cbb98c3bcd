"""What one process does for all: end what nobody will end, and drop what nobody needs any more."""

import logging
import time
from collections.abc import Callable, Sequence
from threading import Event, Thread

from api.journal import Journal
from api.retention import Retention
from api.roster import Roster
from api.switching import Switching
from api.work import Work
from understudy import aging, promotion
from understudy.adapters.duty import Duty
from understudy.errors import UnderstudyError
from understudy.ports import ArtifactStore

log = logging.getLogger(__name__)

EVERY_S = 1.0
SWEEP_EVERY_S = 60.0

Chore = Callable[[], object]


class Housekeeping:
    """A thread in every process; only that of the process which holds the duty does anything."""

    def __init__(
        self,
        duty: Duty,
        journal: Journal,
        work: Work,
        roster: Roster,
        retention: Retention,
        store: ArtifactStore,
        *,
        switching: Switching,
    ) -> None:
        self._duty, self._journal = duty, journal
        self._often: Sequence[tuple[str, Chore]] = (
            ("claims", work.reclaim),
            ("starts without outcome", self._void),
            ("signs of life", roster.forget_silent),
            ("what killed processes lost", retention.mourn),
            ("records", retention.trim),
            ("what labels have decided", switching.turn),
        )
        self._seldom: Sequence[tuple[str, Chore]] = (
            ("temporary files", store.sweep),
            ("champions that grow old", self._age),
        )
        self._swept_s = float("-inf")
        self._failing: set[str] = set()
        self._stop = Event()
        self._thread = Thread(target=self._keep, name="housekeeping", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop_soon(self) -> None:
        """Begin no other chore; one that waits for a lock goes on waiting."""
        self._stop.set()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._duty.close()

    def _keep(self) -> None:
        while not self._stop.is_set():
            self._do((("all of it", self._turn),))
            self._stop.wait(EVERY_S)

    def _turn(self) -> None:
        if not self._duty.is_mine():
            return
        self._do(self._often)
        if time.monotonic() - self._swept_s >= SWEEP_EVERY_S:
            self._swept_s = time.monotonic()
            self._do(self._seldom)

    def _do(self, chores: Sequence[tuple[str, Chore]]) -> None:
        for name, chore in chores:
            if self._stop.is_set():
                return
            try:
                chore()
                self._failing.discard(name)
            except UnderstudyError as error:
                level = logging.DEBUG if name in self._failing else logging.WARNING  # once, when it begins to fail
                log.log(level, "%s: %s", name, error, extra={"action": "housekeeping.waits"})
                self._failing.add(name)
            except Exception:
                log.exception("looking after %s met a bug", name, extra={"action": "bug"})

    def _void(self) -> None:
        if any(model.pending for model in self._journal.state.models.values()):
            self._journal.decide(promotion.voided)

    def _age(self) -> None:
        if aging.overaged(self._journal.state, self._journal.now()):
            self._journal.decide(aging.overaged)
