"""Promotions, carried out: start, let every worker load beside the old version, commit, let every worker swap, answer.

The rules are in `understudy/promotion.py` and `understudy/rollout.py`. The process that was asked is the promoter; as a
worker it is one among the others.
"""

import secrets
import time
from threading import Event

from api.journal import Journal
from api.judging import Judge
from api.roster import Roster
from api.serving import ServingTable
from api.worker import Worker, said
from understudy import promotion
from understudy.compatibility import differences
from understudy.errors import Conflict, SignatureChanged, Unavailable, UnderstudyError
from understudy.events import Actor, PromotionAborted
from understudy.promotion import Wish
from understudy.rollout import READY_WITHIN_S, SERVED_WITHIN_S, behind, readiness
from understudy.state import Model, Pending, Promotion, Registry

LOOK_EVERY_S = 0.02
WHY_WITHIN = 100
"""Events after a start among which its end is looked for."""
OTHER = "another version became champion meanwhile"


class Promoter:
    """Carries out wishes; any number may be sent at once."""

    def __init__(
        self,
        journal: Journal,
        table: ServingTable,
        judge: Judge,
        environment: str,
        *,
        worker: Worker,
        roster: Roster,
        stopping: Event,
    ) -> None:
        self._journal, self._table, self._judge, self._environment = journal, table, judge, environment
        self._worker, self._roster, self._stopping = worker, roster, stopping

    def promote(self, wish: Wish) -> Promotion:
        """Make `wish` true and return the promotion that did, also where an earlier attempt with its key did.

        Raises what `promotion.start` raises; Conflict where a worker cannot load the version or another champion came
        first; Unavailable where it became champion and some worker does not serve it yet.
        """
        self._check_signature(self._journal.catch_up(), wish)
        self._try_here(wish)
        state = self._journal.decide(lambda state, now: promotion.start(state, wish, now, self._environment))
        pending = state.model(wish.model).pending
        if pending is not None and pending.key == wish.key:
            self._worker.wake()
            self._prepare_everywhere(wish, pending)
            state = self._commit(wish, pending)
            self._worker.wake()
        done = fulfilment(state.model(wish.model), wish)
        if done is None:
            why = f"Version {wish.version} of {wish.model} was not promoted: {self._why_not(pending)}."
            raise Conflict(why, remedy="Look at it, and decide again.")
        self._wait_until_served(wish.model, done)
        return done

    def demote(self, model: str, *, key: str, by: Actor, reason: str) -> Promotion:
        """Bring the champion before this one back."""
        state = self._journal.catch_up()
        known = promotion.done(state.model(model), key)
        version = known.version if known else promotion.predecessor(state.model(model))
        champion = None if known else state.model(model).champion
        return self.promote(
            Wish(model=model, version=version, key=key, by=by, how="demotion", reason=reason, expects=champion)
        )

    def _check_signature(self, state: Registry, wish: Wish) -> None:
        """Clients must be able to go on as they do, unless an operator says otherwise."""
        champion, version = state.champion(wish.model), state.version(wish.model, wish.version)
        if wish.how != "promotion" or champion is None or champion.id == version.id:
            return
        before, now = (self._table.signature(one) for one in (champion, version))
        if noticed := differences(before, now):
            raise SignatureChanged(
                f"Clients of {wish.model} would notice version {wish.version}: {' '.join(noticed)}",
                remedy="Override with a reason once the clients are ready for it.",
            )

    def _try_here(self, wish: Wish) -> None:
        """A version that was tried with older libraries only is tried with today's before it may come back."""
        if self._environment not in self._journal.state.version(wish.model, wish.version).trials:
            self._judge.tried(wish.model, wish.version)

    def _prepare_everywhere(self, wish: Wish, pending: Pending) -> None:
        """Wait until every live worker is ready; give the promotion up where one cannot be."""
        try:
            self._wait_until_ready(wish, pending)
        except BaseException as error:
            why = said(error)
            began = pending.position
            self._journal.decide(lambda state, now: promotion.abort(state, wish.model, wish.key, why, began=began))
            raise

    def _wait_until_ready(self, wish: Wish, pending: Pending) -> None:
        until_s = time.monotonic() + READY_WITHIN_S
        while self._journal.state.model(wish.model).pending == pending:
            found = readiness(self._roster.signs(), pending.position)
            if found.complete:
                return
            if isinstance(own := self._worker.failure(pending.position), UnderstudyError):
                raise own
            if found.unable:
                worker, why = found.unable[0]
                raise Conflict(f"Worker {worker} cannot load version {wish.version}: {why}", remedy=STAYS)
            if time.monotonic() > until_s:
                late = f"Worker {found.waiting[0]} was not ready within {READY_WITHIN_S:g} s"
                raise Conflict(f"{late} to serve version {wish.version}.", remedy=STAYS)
            self._pause()

    def _wait_until_served(self, model: str, done: Promotion) -> None:
        until_s = time.monotonic() + SERVED_WITHIN_S
        while late := behind(signs := self._roster.signs(), model, done.position):
            if time.monotonic() > until_s:
                lacks = next(sign.lacks.get(model, "") for sign in signs if sign.worker == late[0])
                why = f"Version {done.version} is the champion, and worker {late[0]} does not serve it yet. {lacks}"
                raise Unavailable(why.strip(), remedy=SAME_KEY)
            self._pause()

    def _why_not(self, pending: Pending | None) -> str:
        """Why a start came to nothing, as the log has it."""
        entries = [] if pending is None else self._journal.read(after=pending.position, limit=WHY_WITHIN)
        aborted = [entry.event for entry in entries if isinstance(entry.event, PromotionAborted)]
        return next((event.why for event in aborted if pending and event.key == pending.key), OTHER)

    def _pause(self) -> None:
        """Raises Unavailable where this process is told to stop."""
        if self._stopping.wait(LOOK_EVERY_S):
            raise Unavailable("This process is stopping.", remedy=SAME_KEY)

    def _commit(self, wish: Wish, pending: Pending) -> Registry:
        return self._journal.decide(
            lambda state, now: promotion.commit(
                state, wish.model, wish.key, now, self._environment, began=pending.position
            )
        )


def fulfilment(model: Model, wish: Wish) -> Promotion | None:
    """The promotion that made `wish` true, under its own key or another's; None where it did not come true."""
    done = promotion.done(model, wish.key)
    return model.promotions[-1] if done is None and model.champion == wish.version else done


def new_key() -> str:
    return secrets.token_hex(16)


STAYS = "The version that served goes on serving everywhere; look at GET /ready, and promote again."
SAME_KEY = "Send the same request with the same Idempotency-Key: it waits for what it began."
