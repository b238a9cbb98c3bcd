"""What watches over this process and the models it serves, wired together."""

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from threading import Event

from api.breaker import Breakers
from api.burial import Burial
from api.conduct import Conduct
from api.journal import Journal
from api.mark import Marks
from api.promoting import Promoter
from api.recovery import Recovery
from api.roster import Roster
from api.watchdog import Watchdog
from api.worker import BEAT_EVERY_S
from understudy.adapters.duty import Duty
from understudy.errors import StorageUnavailable
from understudy.rollout import Sign
from understudy.settings import Settings


class Vitals:
    """One for each process."""

    def __init__(
        self,
        settings: Settings,
        marks: Marks,
        breakers: Breakers,
        conduct: Conduct,
        *,
        journal: Journal,
        promoter: Promoter,
        roster: Roster,
        stopping: Event,
    ) -> None:
        self._marks, self._roster, self._wanted, self._stopping = marks, roster, settings.api_workers, stopping
        self._told_s = time.monotonic()
        burial = Burial(marks_of(settings), journal, roster)
        self._recovery = Recovery(burial, journal, promoter, breakers, conduct, stopping)
        self.watchdog = Watchdog(
            marks,
            breakers,
            limit_s=settings.watchdog_s,
            memory_limit=settings.memory_limit_mb * 2**20,
            turn=Duty(settings.var / "memory.lock"),
            others_are_there=self._others_are_there,
        )

    async def start(self) -> None:
        """Look after what earlier processes died of, before any model is loaded."""
        self.watchdog.start(asyncio.get_running_loop())
        self._recovery.start()
        while not self._recovery.is_settled and not self._stopping.is_set():
            await asyncio.sleep(0.005)
            await self._stay_alive()

    async def _stay_alive(self) -> None:
        """Beat until the worker does: whoever is not seen by others does not see them either."""
        if time.monotonic() - self._told_s < BEAT_EVERY_S:
            return
        self._told_s = time.monotonic()
        with suppress(StorageUnavailable):
            await asyncio.to_thread(self._roster.tell, Sign(worker=self._roster.me, starting=True))

    def stop(self) -> None:
        self.watchdog.stop()
        self._recovery.stop()
        self._marks.close()

    def _others_are_there(self) -> bool:
        return sum(not sign.starting for sign in self._roster.last) >= self._wanted


def marks_of(settings: Settings) -> Path:
    return settings.var / "processes"
