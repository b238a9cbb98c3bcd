"""Going back from a champion that fails: who notices, and what is done about it. The rules: `understudy/failures.py`.

A thread in every process: it buries dead processes, asks the log whether a champion must go, looks at what this
process's own versions do, hears the accusations of that and of its breakers, and promotes the champion before. All
processes notice the same and wish the same, under one key, so it happens once.

A process that starts settles this before it loads any champion: where one model kills whoever calls it, and there is
one process only, nobody else could.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from queue import Empty
from threading import Event, Thread

from api.breaker import Accusation, Breakers
from api.burial import Burial
from api.conduct import Conduct
from api.journal import Journal
from api.promoting import Promoter
from understudy.errors import UnderstudyError
from understudy.failures import FAILING, grievance, note, way_back, why_it_stays
from understudy.promotion import Wish
from understudy.state import Registry

log = logging.getLogger(__name__)

EVERY_S = 1.0
AGAIN_S = 30.0
"""After going back has failed."""
SETTLED_WITHIN_S = 20.0
"""A process that starts waits no longer: models that are well have to be served."""


class Recovery:
    """Goes back by itself; nobody calls it."""

    def __init__(
        self,
        burial: Burial,
        journal: Journal,
        promoter: Promoter,
        breakers: Breakers,
        conduct: Conduct,
        stopping: Event,
    ) -> None:
        self._stopping, self._conduct = stopping, conduct
        self._burial, self._journal, self._promoter, self._breakers = burial, journal, promoter, breakers
        self._going: dict[str, Thread] = {}
        self._again_s: dict[str, float] = {}
        self._turned = Event()
        self._failing = False
        self._thread = Thread(target=self._watch, name="recovery", daemon=True)

    def start(self) -> None:
        self._began_s = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._breakers.heard.put(None)
        self._thread.join()

    @property
    def is_settled(self) -> bool:
        """Whether no champion is left that the log accuses, as far as this process can help it."""
        if time.monotonic() - self._began_s > SETTLED_WITHIN_S:
            return True
        return self._turned.is_set() and not any(self._is_under_way(key) for key in [*self._going])

    def _watch(self) -> None:
        while not self._stopping.is_set():
            self._turn()
            self._turned.set()
            try:
                heard = self._breakers.heard.get(timeout=EVERY_S)
            except Empty:
                continue
            if heard is not None:
                self._do(partial(self._hear, heard))

    def _turn(self) -> None:
        self._do(self._burial.bury)
        self._do(self._conduct.look)
        state, now = self._journal.state, self._journal.now()
        accused = {name: why for name, model in state.models.items() if (why := grievance(model, now)) is not None}
        self._breakers.hold({(name, state.models[name].champion or ""): why for name, why in accused.items()})
        for name, why in accused.items():
            self._do(partial(self._judge, state, name, state.models[name].champion, why))

    def _do(self, what: Callable[[], object]) -> None:
        try:
            what()
            self._failing = False
        except UnderstudyError as error:
            level = logging.DEBUG if self._failing else logging.WARNING
            log.log(level, "%s", error, extra={"action": "recovery.waits"})
            self._failing = True
        except Exception:
            log.exception("looking after failing models met a bug", extra={"action": "bug"})

    def _hear(self, accusation: Accusation) -> None:
        self._judge(self._journal.catch_up(), *accusation)

    def _judge(self, state: Registry, name: str, version: str | None, why: str) -> None:
        """Go back from `version`, where it is still the champion; or tell somebody that it stays."""
        model = state.models.get(name)
        if model is None or version is None or model.champion != version:
            return
        if (wish := way_back(model, why)) is None:
            self._note(name, version, why, why_it_stays(model))
        elif not self._is_busy(wish.key):
            log.error("%s", wish.reason, extra={"action": "going_back", "model": name, "version": version})
            self._going[wish.key] = Thread(target=self._go_back, args=(wish, version, why), daemon=True)
            self._going[wish.key].start()

    def _is_busy(self, key: str) -> bool:
        under_way = key in self._going and self._going[key].is_alive()
        return under_way or time.monotonic() < self._again_s.get(key, 0.0)

    def _is_under_way(self, key: str) -> bool:
        """Whether a way back has begun and has not changed the champion yet."""
        models = self._journal.state.models.values()
        done = any(model.promotions and model.promotions[-1].key == key for model in models)
        return not done and self._going[key].is_alive()

    def _go_back(self, wish: Wish, version: str, why: str) -> None:
        try:
            self._promoter.promote(wish)
        except UnderstudyError as error:
            stays = f"Going back failed: {error.problem}"
            log.error("Going back failed: %s", error, extra={"action": "going_back.failed", "model": wish.model})
            self._again_s[wish.key] = time.monotonic() + AGAIN_S
            if self._journal.state.model(wish.model).champion == version and not self._stopping.is_set():
                self._do(partial(self._note, wish.model, version, why, stays))
        except Exception:
            log.exception("going back met a bug", extra={"action": "bug"})
            self._again_s[wish.key] = time.monotonic() + AGAIN_S

    def _note(self, name: str, version: str, why: str, stays: str) -> None:
        before = self._journal.state.position
        state = self._journal.decide(lambda state, now: note(state, name, version, why, stays))
        if state.position > before:
            log.error("Version %s of %s %s: %s. %s", version, name, FAILING, why, stays, extra={"action": "failing"})
