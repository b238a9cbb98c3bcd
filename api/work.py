"""Runs, carried: requested, claimed, kept alive, ended. The rules are in `understudy/runs.py`."""

import logging
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from api.journal import Journal
from understudy import runs
from understudy.errors import NotFound, StaleClaim
from understudy.events import Outcome, RunClaimed
from understudy.liveness import Watch
from understudy.ports import Pulse
from understudy.runs import Wish
from understudy.state import Registry, Run, RunState

log = logging.getLogger(__name__)


class Work:
    """The run registry's active half."""

    def __init__(self, journal: Journal, pulse: Pulse, at_once: int) -> None:
        self._journal, self._pulse, self._at_once = journal, pulse, at_once
        self._watch, self._expected = Watch(), dict[str, float]()

    def request(self, wish: Wish) -> tuple[Run | None, str | None]:
        """Ask for a run; the run that serves the slot, or why none does."""
        state = self._journal.decide(lambda state, now: runs.request(state, wish, now))
        run = state.slots.get(wish.key)
        if run is not None:
            return state.runs[run], None
        return None, state.skipped.get(wish.key, "another run stands for this slot")

    def claim(self, claimant: str, *, selftest: bool = False) -> Run | None:
        """Give `claimant` the oldest run that may start, if there is one; `selftest`: of those that test gates."""
        taken: list[str] = []

        def decide(state: Registry, now: datetime) -> tuple[RunClaimed, ...]:
            events = runs.claim(state, claimant, at_once=self._at_once, selftest=selftest)
            taken[:] = [event.run for event in events]
            return events

        state = self._journal.decide(decide)
        return state.runs[taken[0]] if taken else None

    def heartbeat(self, run: str, token: int) -> None:
        """Raises StaleClaim where `token` no longer holds `run`."""
        try:
            runs.held(self._journal.newest(), run, token)
        except (StaleClaim, NotFound):  # another process of the API may have just given it
            runs.held(self._journal.catch_up(), run, token)
        self._pulse.beat(claim_name(run, token), {})

    def finish(self, run: str, token: int, outcome: Outcome, reason: str, result: Mapping[str, Any]) -> Run:
        """End a run. Raises StaleClaim."""
        state = self._journal.decide(lambda state, now: runs.finish(state, run, token, outcome, reason, result))
        self._pulse.forget([claim_name(run, token)])
        return state.run(run)

    def reclaim(self) -> None:
        """Take back what nobody has kept alive; call it every second, in one process alone.

        Liveness is judged on our own monotonic clock.
        """
        now_s = time.monotonic()
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
