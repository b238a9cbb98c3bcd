"""What a version does wrong while it serves, as decisions: what was seen in, what follows out.

    a call raises, or answers with what is no answer       counted in each process, see `Tally`
    a process ends in the middle of a call                 an event, `ProcessDied`, see `grievance`

    too much of it  --on_failure="rollback"-->  the champion before it comes back, as by a demotion
                    --"keep", or none before--> it stays; a person is told, once

One failure says little: a row can be such that only a person knows what to answer. So there are limits, and below them
a failure costs its own request and nobody else. A process that somebody kills, or stops, says nothing of the model that
it was calling; whoever tests our restarts by `kill -9` under load must not lose the champion by it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from understudy.events import AttentionNeeded, Ended
from understudy.promotion import Wish, refuge
from understudy.state import Model, Registry

FAILURES, WITHIN_S, SHARE = 5, 30.0, 0.2
"""So many failures within so many seconds, and such a share of the calls since the first of them. Fewer would let one
client that sends an odd row again and again take the champion from all others."""

DEATHS, DEATHS_WITHIN = 2, timedelta(minutes=10)
"""The first may be chance; a second one that soon is not."""

OWN_FAULT: frozenset[Ended] = frozenset({"crashed", "out_of_memory", "silent"})
"""Ends of a process that its model is held to account for, from the second on."""
HUNG: Ended = "hung"
"""An end that was watched for seconds, and so needs no second one."""

BLOCKED, RETIRED, STILL = 70, 75, 1
"""Exit codes of a process that ended itself: it answered nobody; it drained, to be started again; it ran no Python, or
met a bug. EX_SOFTWARE and EX_TEMPFAIL of sysexits.h, and what the interpreter's own timer ends with."""

FAILING = "fails while it serves"
"""What every note and reason of this module says."""


@dataclass
class Tally:
    """How one process's calls of one version went. A call that succeeds costs one addition."""

    calls: int = 0
    failures: int = 0
    """Since the window began."""
    began_s: float = float("-inf")
    """When the first failure of the window came, and how many calls there had been."""
    began_calls: int = 0
    failed: int = 0
    """In all."""
    not_finite: int = 0
    """In all, those that failed since their answer was not finite."""

    def fail(self, now_s: float, *, not_finite: bool = False) -> None:
        """Count a failure of the newest call; `now_s` by a monotonic clock."""
        self.failed += 1
        self.not_finite += not_finite
        if now_s - self.began_s > WITHIN_S:
            self.began_s, self.began_calls, self.failures = now_s, self.calls - 1, 0
        self.failures += 1

    @property
    def share(self) -> float:
        """Of the calls since the first failure of the window, those that failed; 0 to 1."""
        return min(1.0, self.failures / max(1, self.calls - self.began_calls)) if self.failures else 0.0

    @property
    def is_failing(self) -> bool:
        return self.failures >= FAILURES and self.share >= SHARE

    @property
    def answers_nobody(self) -> bool:
        """Whether it is of no use to ask at all; one that answers half of all rows is better than none."""
        return self.is_failing and self.share == 1.0

    @property
    def words(self) -> str:
        return f"{self.failures} of its last {self.calls - self.began_calls} calls failed"


WAY_BACK = "failing-"
"""How the key of a promotion begins that undid a failing champion."""


def grievance(model: Model, now: datetime) -> str | None:
    """Why the champion must not go on, as far as the log knows; None where it may."""
    if not model.promotions:
        return None
    since = [death for death in model.deaths if death.position > model.promotions[-1].position]
    recent = [death for death in since if death.version == model.champion and now - death.time < DEATHS_WITHIN]
    if any(death.how == HUNG for death in recent):
        return "a call of it did not come back"
    deaths = [death for death in recent if death.how in OWN_FAULT]
    if len(deaths) >= DEATHS:
        minutes = DEATHS_WITHIN.total_seconds() / 60
        return f"{len(deaths)} processes have died in calls of it within {minutes:.0f} minutes"
    return None


def way_back(model: Model, why: str) -> Wish | None:
    """The promotion that follows where the champion fails; None where it has to stay.

    Its key is made of what it undoes: whoever notices the same, in whatever process, wishes the same. One step only: a
    champion that came back in this way stays, or odd rows of one client would lead back to the first of all. A barred
    one is stepped over: it has failed before.
    """
    if policy(model) == "keep" or not model.line or has_come_back(model) or (before := refuge(model)) is None:
        return None
    failing = model.line[-1]
    return Wish(
        model=model.name,
        version=before,
        key=f"{WAY_BACK}{model.name}-{failing}-{model.promotions[-1].position}",
        by="api",
        how="demotion",
        reason=f"Version {failing} {FAILING}: {why}.",
        expects=failing,
    )


def has_come_back(model: Model) -> bool:
    """Whether the champion is one because the one after it failed."""
    return model.promotions[-1].key.startswith(WAY_BACK)


def policy(model: Model) -> str:
    return str((model.definition or {}).get("promotion", {}).get("on_failure", "rollback"))


def note(state: Registry, name: str, failing: str, why: str, stays: str) -> tuple[AttentionNeeded, ...]:
    """Tell a person that a failing champion stays; once for each time that it became champion.

    Args:
        stays: why it does, as a sentence.
    """
    model = state.model(name)
    if model.champion != failing or is_noted(model):
        return ()
    remedy = "Promote another version, by its id and with a reason; its bundle and the rows it fails on say more."
    reason = f"Version {failing} {FAILING}: {why}. {stays}"
    return (AttentionNeeded(model=name, version=failing, run=None, reason=reason, remedy=remedy),)


def is_noted(model: Model) -> bool:
    return any(
        known.version == model.champion and FAILING in known.reason
        for known in model.attention
        if known.position > model.promotions[-1].position
    )


def why_it_stays(model: Model) -> str:
    if policy(model) == "keep":
        return 'It stays, as its definition says: on_failure="keep".'
    if has_come_back(model):
        return "It stays: it came back by itself when the one after it failed, and what is asked may be at fault."
    if len(model.line) > 1:
        return "It stays: every earlier champion was taken back too, and is barred."
    return "It stays: there is no earlier champion to go back to."
