"""This process as one of the API's workers: it looks at the log, acts on what it finds, and says where it stands.

The rules are in `understudy/rollout.py`. Versions are loaded by threads of their own, so that neither looks nor signs
of life ever wait for a load.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, Thread

from api.journal import Journal
from api.roster import Roster
from api.serving import Served, ServingTable
from understudy.errors import NothingServes, UnderstudyError
from understudy.rollout import Free, Prepare, Sign, Swap, must_look, steps
from understudy.state import Registry

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.1
LOOK_SOON_S = 0.02
"""While a promotion is under way, and somebody waits for it."""
BEAT_EVERY_S = 1.0

LOADS_AT_ONCE = 2
LOAD_AGAIN_S = 10.0
"""After a champion could not be loaded; its blob may be back by then."""

LOOK_WITHIN_S = 2.0
"""How long a request waits for a look that is overdue. None waits while the log is known to be out of reach."""
LOADED_WITHIN_S = 10.0
"""How long a request waits for a champion that is being loaded."""
WAIT_S = 0.005


class Worker:
    """Follows the log."""

    def __init__(self, journal: Journal, table: ServingTable, roster: Roster) -> None:
        self._journal, self._table, self._roster = journal, table, roster
        self._spares: dict[int, Future[Served]] = {}
        self._again_s: dict[str, float] = {}
        self._loading = ThreadPoolExecutor(LOADS_AT_ONCE, "loading")
        self._acted_s = float("-inf")
        """When the last look began that was acted on."""
        self._is_blind = False
        """Whether the last look failed."""
        self._told_s = self._word_s = float("-inf")
        """When the newest pulse was written, and the newest that was there before the last look that was acted on."""
        self._told: Sign | None = None
        self._position = 0
        self.started = Event()
        """Set once every champion is loaded here, or could not be."""
        self._stop, self._wake = Event(), Event()
        self._thread = Thread(target=self._follow, name="worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self.wake()
        self._thread.join()
        self._loading.shutdown(wait=False, cancel_futures=True)

    def wake(self) -> None:
        """Look at once: there is something new in the log."""
        self._wake.set()

    def failure(self, began: int) -> BaseException | None:
        """Why the version of a start cannot be loaded here; None where it can, or nobody knows yet."""
        spare = self._spares.get(began)
        return spare.exception() if spare is not None and spare.done() and not spare.cancelled() else None

    def is_current(self) -> bool:
        """Whether what is loaded here may answer without asking further."""
        return not (self._table.outdated or must_look(time.monotonic() - self._word_s))

    async def current(self, model: str) -> None:
        """Wait until what answers for `model` is not older than the log, as far as the log can be read.

        Raises NothingServes where a newer version takes too long to load.
        """
        asked_s = time.monotonic()
        if must_look(asked_s - self._word_s):
            await self._looked(asked_s)
        while model in self._table.outdated:
            if time.monotonic() > asked_s + LOADED_WITHIN_S:
                raise NothingServes(f"A newer version of {model} is being loaded.", remedy="Ask again in a moment.")
            await asyncio.sleep(WAIT_S)

    async def _looked(self, since_s: float) -> None:
        """Wait until a look that began after `since_s` was acted on, or has failed; not for long."""
        while self._acted_s < since_s and not self._is_blind and time.monotonic() < since_s + LOOK_WITHIN_S:
            self.wake()
            await asyncio.sleep(WAIT_S)

    def _follow(self) -> None:
        while not self._stop.is_set():
            self._is_blind = not self._done(self._look)
            if not self._is_blind:
                self._done(self._tell)
            self._wake.wait(LOOK_SOON_S if self._spares or not self.started.is_set() else LOOK_EVERY_S)
            self._wake.clear()

    def _done(self, what: Callable[[], None]) -> bool:
        """Do it; False where it failed. What lasts shows: the age of the last look at /ready, a silence to all."""
        try:
            what()
        except UnderstudyError as error:
            log.debug("%s", error)
            return False
        except Exception:
            log.exception("a worker met a bug", extra={"action": "bug"})
            return False
        return True

    def _look(self) -> None:
        began_s, word_s = time.monotonic(), self._told_s
        state = self._journal.catch_up()
        self._act(state)
        self._position, self._acted_s, self._word_s = state.position, began_s, word_s
        if not self._table.outdated:
            self.started.set()

    def _act(self, state: Registry) -> None:
        outdated = set()
        for step in steps(state, self._table.serves, self._spares):
            match step:
                case Swap() if not self._swapped(state, step):
                    outdated.add(step.model)
                case Prepare():
                    self._load(state, step)
                case Free():
                    self._spares.pop(step.began).cancel()
        self._table.outdated = frozenset(outdated)

    def _swapped(self, state: Registry, step: Swap) -> bool:
        """Whether there is nothing left to wait for: the champion answers, or cannot be loaded."""
        spare = self._spares.get(step.began)
        if spare is None:
            if time.monotonic() < self._again_s.get(step.model, 0.0):
                return True
            self._load(state, step)
            return step.model in self._table.lacks
        if not spare.done():
            return step.model in self._table.lacks
        del self._spares[step.began]
        if (error := spare.exception()) is None:
            self._table.swap(spare.result(), step.position)
        else:
            self._again_s[step.model] = time.monotonic() + LOAD_AGAIN_S
            self._table.withhold(step.model, said(error))
        return True

    def _load(self, state: Registry, step: Swap | Prepare) -> None:
        version = state.version(step.model, step.version)
        try:
            spare = self._loading.submit(self._table.prepare, version)
        except RuntimeError as error:  # no thread can be started
            spare = Future()
            spare.set_exception(error)
        spare.add_done_callback(lambda _: self.wake())
        self._spares[step.began] = spare

    def _sign(self) -> Sign:
        done = {began: spare.exception() for began, spare in self._spares.items() if spare.done()}
        return Sign(
            worker=self._roster.me,
            starting=not self.started.is_set(),
            position=self._position,
            serves=self._table.serves,
            ready=frozenset(began for began, error in done.items() if error is None),
            unable={began: said(error) for began, error in done.items() if error is not None},
            lacks=self._table.lacks,
        )

    def _tell(self) -> None:
        """Pulse what is new at once, and otherwise once a second: only ever after a look."""
        sign, now_s = self._sign(), time.monotonic()
        if self._told != sign or now_s - self._told_s >= BEAT_EVERY_S:
            self._roster.tell(sign)
            self._told, self._told_s = sign, now_s
        self._roster.signs()  # whoever will promote must have watched the others for a while


def said(error: BaseException) -> str:
    return error.problem if isinstance(error, UnderstudyError) else f"The load raised {type(error).__name__}."
