"""Promotions, carried out: start, load beside the old version, commit, swap, answer.

The rules are in `understudy/promotion.py`. Here one process is all workers there are: it makes itself ready between
start and commit, and answers after its own swap.
"""

import logging
import secrets

from api.journal import Journal
from api.judging import Judge
from api.serving import Served, ServingTable
from understudy import promotion
from understudy.compatibility import differences
from understudy.errors import Conflict, SignatureChanged, UnderstudyError
from understudy.events import Role
from understudy.promotion import Wish
from understudy.state import Model, Promotion, Registry

log = logging.getLogger(__name__)


class Promoter:
    """Carries out one wish at a time; any number may ask at once."""

    def __init__(self, journal: Journal, table: ServingTable, judge: Judge, environment: str) -> None:
        self._journal, self._table, self._judge, self._environment = journal, table, judge, environment

    def promote(self, wish: Wish) -> Promotion:
        """Make `wish` true and return the promotion that did, also where an earlier attempt with its key did.

        Raises what `promotion.start` raises; Conflict where the version cannot be loaded or another champion came
        first.
        """
        self._check_signature(self._journal.catch_up(), wish)
        self._try_here(wish)
        state = self._journal.decide(lambda state, now: promotion.start(state, wish, now, self._environment))
        model = state.model(wish.model)
        if model.pending is not None and model.pending.key == wish.key:
            served = self._ready(state, wish)
            state = self._commit(wish)
            model = state.model(wish.model)
            self._swap(model, served)
        return fulfilled(model, wish)

    def demote(self, model: str, *, key: str, by: Role, reason: str) -> Promotion:
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

    def _ready(self, state: Registry, wish: Wish) -> Served:
        try:
            return self._table.prepare(state.version(wish.model, wish.version))
        except BaseException as error:
            why = error.problem if isinstance(error, UnderstudyError) else type(error).__name__
            self._journal.decide(lambda state, now: promotion.abort(state, wish.model, wish.key, why))
            raise

    def _commit(self, wish: Wish) -> Registry:
        return self._journal.decide(
            lambda state, now: promotion.commit(state, wish.model, wish.key, now, self._environment)
        )

    def _swap(self, model: Model, served: Served) -> None:
        done = model.promotions[-1] if model.promotions else None
        if done is not None and done.version == served.version:
            self._table.swap(served, done.position)


def fulfilled(model: Model, wish: Wish) -> Promotion:
    """The promotion that fulfils `wish`; raises Conflict where another one came first."""
    done = promotion.done(model, wish.key)
    if done is None and model.champion == wish.version:
        done = model.promotions[-1]
    if done is None:
        raise Conflict(
            f"Another version of {wish.model} became champion meanwhile.", remedy="Look at it, and decide again."
        )
    return done


def new_key() -> str:
    return secrets.token_hex(16)
