"""Runs, carried: requested, claimed, kept alive, ended. The rules are in `understudy/runs.py`."""

import logging
import time
from collections.abc import Mapping
from datetime import datetime
from threading import Event, Thread
from typing import Any

from api.journal import Journal
from understudy import runs
from understudy.errors import UnderstudyError
from understudy.events import Outcome, RunClaimed
from understudy.liveness import Watch
from understudy.ports import Pulse
from understudy.runs import Wish
from understudy.state import Registry, Run, RunState

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0


class Work:
    """The run registry's active half: it also takes runs back from whoever falls silent."""

    def __init__(self, journal: Journal, pulse: Pulse, at_once: int) -> None:
        self._journal, self._pulse, self._at_once = journal, pulse, at_once
        self._watch, self._expected = Watch(), dict[str, float]()
        self._stop = Event()
        self._thread = Thread(target=self._look, name="claims", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def request(self, wish: Wish) -> tuple[Run | None, str | None]:
        """Ask for a run; the run that serves the slot, or why none does."""
        state = self._journal.decide(lambda state, now: runs.request(state, wish, now))
        run = state.slots.get(wish.key)
        if run is not None:
            return state.runs[run], None
        return None, state.skipped.get(wish.key, "another run stands for this slot")

    def claim(self, claimant: str) -> Run | None:
        """Give `claimant` the oldest run that may start, if there is one."""
        taken: list[str] = []

        def decide(state: Registry, now: datetime) -> tuple[RunClaimed, ...]:
            events = runs.claim(state, claimant, at_once=self._at_once)
            taken[:] = [event.run for event in events]
            return events

        state = self._journal.decide(decide)
        return state.runs[taken[0]] if taken else None

    def heartbeat(self, run: str, token: int) -> None:
        """Raises StaleClaim where `token` no longer holds `run`."""
        runs.held(self._journal.state, run, token)
        self._pulse.beat(claim_name(run, token), {})

    def finish(self, run: str, token: int, outcome: Outcome, reason: str, result: Mapping[str, Any]) -> Run:
        """End a run. Raises StaleClaim."""
        state = self._journal.decide(lambda state, now: runs.finish(state, run, token, outcome, reason, result))
        self._pulse.forget([claim_name(run, token)])
        return state.run(run)

    def _look(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            try:
                self._reclaim(time.monotonic())
            except UnderstudyError as error:
                log.warning("%s", error, extra={"action": "claims_not_watched"})
            except Exception:
                log.exception("watching the claims met a bug", extra={"action": "bug"})

    def _reclaim(self, now_s: float) -> None:
        """Take back what nobody has kept alive; liveness is judged on our own monotonic clock."""
        claims = {
            claim_name(run.id, run.token): run
            for run in self._journal.state.open_runs()
            if run.state is RunState.RUNNING and run.token is not None
        }
        beats = self._pulse.read()
        self._pulse.forget(who for who in beats if who.startswith("claim/") and who not in claims)
        self._watch.see(beats, now_s)
        self._expected = {who: self._expected.get(who, now_s) for who in claims}
        for who, run in claims.items():
            if self._watch.is_silent(who, now_s, since_s=self._expected[who]):
                self._abandon(run)

    def _abandon(self, run: Run) -> None:
        assert run.token is not None
        token, why = run.token, f"no heartbeat of {run.claimant} for 10 s"
        self._journal.decide(lambda state, now: runs.abandon(state, run.id, token, why))
        log.warning("run %s abandoned: %s", run.id, why, extra={"action": "run_abandoned", "run": run.id})


def claim_name(run: str, token: int | None) -> str:
    return f"claim/{run}/{token}"
