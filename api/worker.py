"""This process as one of the API's workers: it looks at the log, acts on what it finds, and says where it stands.

The rules are in `understudy/rollout.py`. Versions are loaded by threads of their own, so that neither looks nor signs
of life ever wait for a load.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Event, Semaphore, Thread

from api.journal import Journal
from api.roster import Roster
from api.serving import Served, ServingTable
from understudy.adapters.memory import give_back
from understudy.errors import NothingServes, UnderstudyError
from understudy.rollout import Free, Prepare, Sign, Swap, must_look, steps
from understudy.state import Registry, Version

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.1
LOOK_SOON_S = 0.02
"""While a promotion is under way, and somebody waits for it."""
BEAT_EVERY_S = 1.0

LOADS_AT_ONCE = 2
LOAD_AGAIN_S = 10.0
"""After a champion could not be loaded; its blob may be back by then."""

LOOK_WITHIN_S = 2.0
"""How long a request waits for a look that is overdue."""
BLIND_FOR_S = 1.5
"""After a look that failed no request waits: the log is out of reach. Longer than one that fails, and far shorter than
the silence after which others give this worker up."""
LOADED_WITHIN_S = 10.0
"""How long a request waits for a champion that is being loaded."""
WAIT_S = 0.005


class Worker:
    """Follows the log."""

    def __init__(self, journal: Journal, table: ServingTable, roster: Roster) -> None:
        self._journal, self._table, self._roster = journal, table, roster
        self._spares: dict[int, Future[Served]] = {}
        self._again_s: dict[str, float] = {}
        self._loads = Semaphore(LOADS_AT_ONCE)
        self._acted_s = float("-inf")
        """When the last look began that was acted on."""
        self._failed_s = float("-inf")
        """When the last look that failed was given up."""
        self._told_s = self._word_s = float("-inf")
        """When the newest pulse was written, and the newest that was there before the last look that was acted on."""
        self._told: Sign | None = None
        self._position = 0
        self._failing: set[str] = set()
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
        for spare in self._spares.values():
            spare.cancel()

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
        """Wait until a look that began after `since_s` was acted on, but not while the log is out of reach."""
        while self._acted_s < since_s and (now_s := time.monotonic()) < since_s + LOOK_WITHIN_S:
            self.wake()
            if now_s - self._failed_s < BLIND_FOR_S:
                return
            await asyncio.sleep(WAIT_S)

    def _follow(self) -> None:
        while not self._stop.is_set():
            if self._done(self._look):
                self._done(self._tell)
            else:
                self._failed_s = time.monotonic()
            self._wake.wait(LOOK_SOON_S if self._spares or not self.started.is_set() else LOOK_EVERY_S)
            self._wake.clear()

    def _done(self, what: Callable[[], None]) -> bool:
        """Do it; False where it failed, which is told when it begins."""
        name = what.__name__
        try:
            what()
            self._failing.discard(name)
        except UnderstudyError as error:
            level = logging.DEBUG if name in self._failing else logging.WARNING
            log.log(level, "%s", error, extra={"action": "worker.waits"})
            self._failing.add(name)
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
        """Begin to load; by a thread that ends with the process, whatever it hangs on."""
        spare: Future[Served] = Future()
        spare.add_done_callback(lambda _: self.wake())
        self._spares[step.began] = spare
        version = state.version(step.model, step.version)
        try:
            Thread(target=self._prepare, args=(version, spare), name="loading", daemon=True).start()
        except RuntimeError as error:  # the system gives no more threads
            spare.set_exception(error)

    def _prepare(self, version: Version, spare: Future[Served]) -> None:
        with self._loads:
            if not spare.set_running_or_notify_cancel():
                return
            try:
                spare.set_result(self._table.prepare(version))
            except BaseException as error:  # noqa: BLE001 - told to whoever asks for the result
                spare.set_exception(error)
            give_back()  # the bundle was read whole, and taken apart

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
