"""One loop that claims runs, has each trained in a process of its own, and tells the API what came of it.

Nothing is kept between two runs. A worker that is told to stop kills what it has started and falls silent; the API
gives the run to the next one after ten seconds, and its data, as of a moment, are still the same.
"""

import logging
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic
from typing import Any

from scheduled_task import proposal
from scheduled_task.claim import Claim, Hold, LetGo
from scheduled_task.job import JOB, LONGEST_REASON, RESULT, Ended, Job
from scheduled_task.proposal import Ending, Made
from scheduled_task.run_process import RunProcess, ending
from scheduled_task.scratch import scratch
from understudy.adapters.api_client import ApiClient
from understudy.errors import UnderstudyError
from understudy.settings import Settings

log = logging.getLogger(__name__)

WAIT_S = 2
"""Of one long poll: short, since whoever stops waits for the last one."""
LOOK_EVERY_S = 0.1
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0

Connect = Callable[..., ApiClient]
"""Makes a client with the scheduler's token; each thread has its own."""


@dataclass(frozen=True)
class What:
    """What a process does for a run."""

    module: str
    doing: str


WHAT: Mapping[str, What] = {
    "train": What("scheduled_task.train", "Training"),
    "selftest": What("scheduled_task.selftest", "Testing the gates"),
}
"""Kind of the run -> what is done."""


class Worker:
    """Works on one run at a time."""

    def __init__(self, settings: Settings, connect: Connect, *, number: int = 1, kind: str = "train") -> None:
        """`kind`: of the runs that it takes."""
        self._settings, self._connect, self._kind = settings, connect, kind
        self._claimant = f"{socket.gethostname()}/{os.getpid()}/{number}"  # for people: the token is what counts
        self._stop = Event()
        self._hold: Hold | None = None
        self._thread = Thread(target=self._loop, name=f"worker {number}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Claim nothing more and drop what is being worked on; returns at once."""
        self._stop.set()
        if (hold := self._hold) is not None:
            hold.over.set()

    def join(self, timeout_s: float) -> None:
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _loop(self) -> None:
        api = self._connect()
        pause_s = FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                wish = {"claimant": self._claimant, "kind": self._kind, "wait_s": WAIT_S}
                given = api.post_once("/runs/claim", wish)
                pause_s = FIRST_PAUSE_S
            except UnderstudyError as error:
                level = logging.DEBUG if pause_s > FIRST_PAUSE_S else logging.WARNING  # once, when it begins to fail
                log.log(level, "No run can be claimed: %s", error, extra={"action": "claim.failed"})
                self._stop.wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            if given is not None:
                self._work(api, Claim(**given))
        api.close()

    def _work(self, api: ApiClient, claim: Claim) -> None:
        log.info(
            "Run %s of %s begins, attempt %s.",
            claim.id,
            claim.model["name"],
            claim.run["attempt"],
            extra={"action": "run.claimed", **claim.ticket},
        )
        with Hold(claim, self._connect(retries=0, answer_s=5.0)) as hold:
            self._hold = hold
            try:
                if self._stop.is_set():
                    raise LetGo
                self._finish(api, hold, claim)
            except LetGo:
                log.warning("Run %s is let go of.", claim.id, extra={"action": "run.let_go", **claim.ticket})
            except UnderstudyError as error:
                log.error("Run %s: %s", claim.id, error, extra={"action": "run.lost", **claim.ticket})
            except Exception:
                log.exception("Run %s met a bug.", claim.id, extra={"action": "bug", **claim.ticket})
            finally:
                self._hold = None

    def _finish(self, api: ApiClient, hold: Hold, claim: Claim) -> None:
        try:
            ended, facts = self._carry_out(api, hold, claim)
        except LetGo:
            raise
        except Exception as error:
            # A full disk, a refusal of the API, a bug of ours: said now, and not after three attempts.
            log.exception("Run %s could not be carried out.", claim.id, extra={"action": "run.lost", **claim.ticket})
            ended, facts = Ending("failed", f"The scheduler could not carry it out: {error}"), {}
        body = {
            "token": claim.token,
            "outcome": ended.outcome,
            "reason": ended.reason[:LONGEST_REASON],
            "result": facts,
        }
        hold.until_answered(lambda: api.post(f"/runs/{claim.id}/finish", body))
        log.log(
            logging.WARNING if ended.outcome in ("failed", "refused") else logging.INFO,
            "Run %s of %s %s. %s",
            claim.id,
            claim.model["name"],
            ended.outcome,
            ended.reason,
            extra={"action": "run.finished", "outcome": ended.outcome, **claim.ticket},
        )

    def _carry_out(self, api: ApiClient, hold: Hold, claim: Claim) -> tuple[Ending, Mapping[str, Any]]:
        """Go on from where an earlier attempt has come, or train; or test the gates, which is one step."""
        resume = claim.resume
        if resume["promoted"]:
            return Ending("succeeded", f"Version {resume['version']} was promoted."), self._recorded(api, hold, claim)
        if resume["verdict"] is not None:
            ended = proposal.conclude(api, hold, claim, resume["version"], resume["verdict"])
            return ended, self._recorded(api, hold, claim)
        trained = self._train(hold, claim)
        if trained.outcome != "trained":
            return Ending(trained.outcome, trained.reason), trained.facts
        assert trained.bundle is not None
        assert trained.evidence is not None
        began_s = monotonic()
        refit = trained.refit and trained.refit_evidence and Made(trained.refit, trained.refit_evidence)
        ended = proposal.propose(api, hold, claim, Made(trained.bundle, trained.evidence), refit or None)
        seconds = {**trained.facts.get("seconds", {}), "proposal": round(monotonic() - began_s, 3)}
        return ended, {**trained.facts, "seconds": seconds}

    def _recorded(self, api: ApiClient, hold: Hold, claim: Claim) -> Mapping[str, Any]:
        """The inputs of an earlier attempt, as its bundle tells them."""
        route, resumed = f"/models/{claim.model['name']}/versions", claim.resume["version"]
        version = hold.until_answered(lambda: api.get(f"{route}/{resumed}"))
        refit, of = None, version["refit_of"]
        if of is not None:
            refit, version = version["digest"], hold.until_answered(lambda: api.get(f"{route}/{of}"))
        manifest = version["manifest"]
        return {
            "source": claim.source_digest,
            "data": manifest["data"]["digest"],
            "cut": manifest["data"]["cut"],
            "params": manifest["params"],
            "seed": manifest["seed"],
            "bundle": version["digest"],
            **({} if refit is None else {"refit": refit}),
        }

    def _train(self, hold: Hold, claim: Claim) -> Ended:
        """Run the child to its end, its time limit or ours; what it left, or what became of it."""
        settings, what = self._settings, WHAT[claim.run["kind"]]
        with scratch(settings.scratch.absolute(), f"{claim.id}-{claim.token}") as folder:
            self._job(claim).write(folder / JOB)
            child = RunProcess(what.module, [str(folder / JOB)], folder=folder, home=settings.home)
            try:
                code = self._wait(child, hold)
            finally:
                printed = child.end()
            if (ended := Ended.read(folder / RESULT)) is not None:
                return ended
        reason = f"{what.doing} took longer than {settings.run_timeout_s:g} s."
        if code is not None:
            reason = f"Its process {ending(code)}."
        log.warning("%s It printed: %s", reason, printed, extra={"action": "child.died", **claim.ticket})
        return Ended(outcome="failed", reason=f"{reason} {last_line(printed)}".strip())

    def _wait(self, child: RunProcess, hold: Hold) -> int | None:
        """Its exit code; None at the time limit. Raises LetGo where the run is no longer ours."""
        until_s = monotonic() + self._settings.run_timeout_s
        while (code := child.wait(LOOK_EVERY_S)) is None and monotonic() < until_s:
            if hold.over.is_set():
                raise LetGo
        return code

    def _job(self, claim: Claim) -> Job:
        settings = self._settings
        return Job(
            run=claim.run,
            model=claim.model,
            source_digest=claim.source_digest,
            champion=claim.champion,
            store=str(settings.store.absolute()),
            definitions=str(settings.definitions.absolute()),
            holdouts=str(settings.holdouts.absolute()),
            memory_mb=settings.run_memory_mb,
        )


def last_line(printed: str) -> str:
    """The last that a process printed, which usually says why it died."""
    return next((line.strip()[:300] for line in reversed(printed.splitlines()) if line.strip()), "")
