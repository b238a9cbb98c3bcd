"""Every order of the steps of promotions, with what may go wrong at each: the promises hold in every state.

And the other way round: each rule is broken once, and the exploration must say which promise that breaks.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pytest

from tests.core.exploration import BrokenPromise, explore
from tests.core.protocol_world import MODEL, Moment, Rules, Setup, Wanted
from understudy import promotion, rollout
from understudy.errors import Conflict, NoGround
from understudy.events import Event, PromotionStarted, VersionPromoted
from understudy.promotion import Wish
from understudy.rollout import Free, Readiness, Sign, Step, Swap
from understudy.state import Registry

A = Wish(model=MODEL, version="2", key="a", by="operator", how="override", reason="so")
B = Wish(model=MODEL, version="3", key="b", by="operator", how="override", reason="so")
GROUNDED = Wish(model=MODEL, version="2", key="a", by="scheduler")

BACK = Wish(model=MODEL, version="1", key="c", by="operator", how="demotion", reason="so", expects="2")
BACK_TOO = replace(BACK, key="d")

ONE, BOTH = (Wanted(A),), (Wanted(A), Wanted(B))
AGAIN, BOTH_AGAIN = (Wanted(A), Wanted(A, retries=0)), (Wanted(A), Wanted(B), Wanted(A, retries=0))
"""With a retry of the first, once its process has died or its answer is lost."""
ON_A_VERDICT = (Wanted(GROUNDED), Wanted(B))


def setup(
    workers: int, wanted: tuple[Wanted, ...], faults: str = "", *, at_most: int = 1, fine: bool = False, **rules: Any
) -> Setup:
    """`faults`: the kinds that may happen, `at_most` so many of them in one run."""
    kinds = frozenset(faults.split())
    return Setup(workers, wanted, at_most if kinds else 0, kinds, Rules(**rules), fine)


# Every order

BOTH_ENDS = {("1", ()), ("2", ("a",)), ("3", ("b",)), ("3", ("a", "b")), ("2", ("b", "a"))}

WALKS = {
    "2 workers, each load and look by itself": setup(2, BOTH, fine=True),
    "2 workers, one is paused, each load and look by itself": setup(2, ONE, "silence", fine=True),
    "2 workers, one dies, each load and look by itself": setup(2, ONE, "crash", fine=True),
    "2 workers, one dies": setup(2, BOTH, "crash"),
    "2 workers, one dies, a retry": setup(2, AGAIN, "crash"),
    "2 workers, an answer is lost": setup(2, AGAIN, "lost"),
    "2 workers, two of everything": setup(2, ONE, "crash silence cut load slow", at_most=2),
    "2 workers, a load fails under the restart of a key": setup(2, AGAIN, "lost load", at_most=2),
    "3 workers, nothing goes wrong": setup(3, BOTH),
    "3 workers, one is paused": setup(3, BOTH, "silence"),
    "3 workers, one loses the log": setup(3, BOTH, "cut"),
    "3 workers, a load fails or is slow": setup(3, BOTH, "load slow"),
    "3 workers, one dies, a retry": setup(3, AGAIN, "crash"),
    "3 workers, an answer is lost": setup(3, AGAIN, "lost"),
    "3 workers, the ground goes": setup(3, ON_A_VERDICT, "verdict"),
}
ALL = "crash silence cut load lost slow verdict"
LONG_WALKS = {
    "2 workers, one is paused or loses the log, each load and look by itself": setup(
        2, BOTH_AGAIN, "silence cut", fine=True
    ),
    "2 workers, one of everything": setup(2, BOTH_AGAIN, ALL),
    "2 workers, two of everything, one wish and a retry": setup(2, AGAIN, ALL, at_most=2),
    "3 workers, one is paused": setup(3, BOTH_AGAIN, "silence"),
    "3 workers, one dies": setup(3, BOTH_AGAIN, "crash"),
    "3 workers, one of everything, one wish and a retry": setup(3, AGAIN, ALL),
}


def walk(name: str, one: Setup, capsys: pytest.CaptureFixture[str]) -> set[Any]:
    """Explore and print how many states were visited; return the ends."""
    found = explore(one)
    with capsys.disabled():
        print(f"\n{name}: {found.states:,} states, {found.steps:,} steps", end=" ")  # noqa: T201
    return set(found.ends)


@pytest.mark.fault(20)
@pytest.mark.fault(21)
@pytest.mark.fault(26)
@pytest.mark.fault(27)
@pytest.mark.parametrize("name", WALKS)
def test_the_promises_hold_in_every_state_of_every_order(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    ends = walk(name, WALKS[name], capsys)

    assert ends <= BOTH_ENDS
    assert ends >= {("1", ()), ("2", ("a",))}, "the walk has not been everywhere"


@pytest.mark.slow
@pytest.mark.timeout(6 * 3600)
@pytest.mark.parametrize("name", LONG_WALKS)
def test_the_promises_hold_in_every_state_of_every_order_with_more_faults(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert walk(name, LONG_WALKS[name], capsys) <= BOTH_ENDS


def test_of_two_wishes_both_may_come_true_in_either_order_and_a_verdict_holds_for_one_champion_only() -> None:
    assert explore(setup(2, BOTH)).ends == BOTH_ENDS
    assert explore(setup(2, ON_A_VERDICT)).ends == BOTH_ENDS - {("2", ("b", "a"))}


def test_two_demotions_at_once_walk_back_once_in_every_order() -> None:
    found = explore(setup(2, (Wanted(A), Wanted(BACK), Wanted(BACK_TOO)), "slow"))

    assert found.ends == {("1", ()), ("2", ("a",)), ("1", ("a", "c")), ("1", ("a", "d"))}


def test_the_way_to_a_broken_promise_is_told() -> None:
    with pytest.raises(
        BrokenPromise, match=r"^progress: a worker keeps a spare for ever, after: promoter 0 starts; worker \d: looks"
    ):
        explore(setup(2, ONE, "slow", steps=spares_are_kept))


# Rules, broken


def begun(state: Registry, wish: Wish) -> PromotionStarted:
    return PromotionStarted(
        model=wish.model, key=wish.key, version=wish.version, replaces=state.model(wish.model).champion,
        how=wish.how, by=wish.by, reason=wish.reason,
    )  # fmt: skip


def a_second_start(state: Registry, wish: Wish, now: datetime, here: str) -> tuple[Event, ...]:
    try:
        return promotion.start(state, wish, now, here)
    except Conflict:
        return (begun(state, wish),)


def the_same_key_again(state: Registry, wish: Wish, now: datetime, here: str) -> tuple[Event, ...]:
    model = state.model(wish.model)
    free = model.pending is None and model.champion != wish.version
    return (begun(state, wish),) if free else promotion.start(state, wish, now, here)


def without_ground(state: Registry, wish: Wish, now: datetime, here: str) -> tuple[Event, ...]:
    try:
        return promotion.start(state, wish, now, here)
    except NoGround:
        return (begun(state, wish),)


def never_void(state: Registry, wish: Wish, now: datetime, here: str) -> tuple[Event, ...]:
    pending = state.model(wish.model).pending
    return promotion.start(state, wish, pending.time if pending else now, here)


def unseen(state: Registry, model: str, key: str, now: datetime, here: str, began: int) -> tuple[Event, ...]:
    """A commit that compares no champion and asks for no ground."""
    pending = promotion.under_way(state.model(model), key, began)
    if pending is None:
        return ()
    return (
        VersionPromoted(
            model=model, key=key, version=pending.version, replaces=pending.replaces, how=pending.how, ground=None,
            by=pending.by, reason=pending.reason,
        ),
    )  # fmt: skip


def of_any_start(state: Registry, model: str, key: str, now: datetime, here: str, began: int) -> tuple[Event, ...]:
    return promotion.commit(state, model, key, now, here)


def too_late(state: Registry, model: str, key: str, now: datetime, here: str, began: int) -> tuple[Event, ...]:
    pending = state.model(model).pending
    return promotion.commit(state, model, key, pending.time if pending else now, here, began=began)


def nobody_is_asked(signs: Iterable[Sign], began: int) -> Readiness:
    return Readiness()


def failures_are_overheard(signs: Iterable[Sign], began: int) -> Readiness:
    return Readiness(waiting=rollout.readiness(signs, began).waiting)


def whoever_starts_is_overlooked(signs: Iterable[Sign], model: str, position: int) -> tuple[str, ...]:
    return rollout.behind([sign for sign in signs if not sign.starting], model, position)


def whoever_lacks_it_is_overlooked(signs: Iterable[Sign], model: str, position: int) -> tuple[str, ...]:
    return rollout.behind([sign for sign in signs if model not in sign.lacks], model, position)


def spares_are_kept(state: Registry, serves: Mapping[str, int], spares: Iterable[int]) -> tuple[Step, ...]:
    return tuple(step for step in rollout.steps(state, serves, tuple(spares)) if not isinstance(step, Free))


def swaps_go_backwards(state: Registry, serves: Mapping[str, int], spares: Iterable[int]) -> tuple[Step, ...]:
    """Whatever the log as it was seen calls the champion is swapped in, also in the place of a newer one."""
    newer = any(serves.get(name, 0) > model.promotions[-1].position for name, model in state.models.items())
    return rollout.steps(state, {} if newer else serves, tuple(spares))


def swaps_come_early(state: Registry, serves: Mapping[str, int], spares: Iterable[int]) -> tuple[Step, ...]:
    """A version answers as soon as it is loaded."""
    due = rollout.steps(state, serves, tuple(spares))
    pending = state.models[MODEL].pending
    early = pending is not None and pending.position in spares and serves.get(MODEL, 0) < pending.position
    return (*due, Swap(MODEL, pending.version, pending.position, pending.position)) if early and pending else due


def once_acted_on(moment: Moment, *, told: bool, silent: bool) -> bool | None:
    return True if moment == "act" else None


def once_pulsed(moment: Moment, *, told: bool, silent: bool) -> bool | None:
    return True if moment == "pulse" else None


def before_acting(moment: Moment, *, told: bool, silent: bool) -> bool | None:
    return told and not silent if moment in ("look", "act") else None


def before_any_pulse(moment: Moment, *, told: bool, silent: bool) -> bool | None:
    return not silent if moment == "act" else None


@dataclass(frozen=True)
class Broken:
    """A rule that does not hold, and where that must be noticed."""

    promise: str
    setup: Setup


BROKEN = {
    "a commit that does not wait for ready workers": Broken(
        "promise 1", setup(2, ONE, "load", readiness=nobody_is_asked)
    ),
    "a failed load is committed anyway": Broken("promise 1", setup(2, ONE, "load", readiness=failures_are_overheard)),
    "a commit takes any start with its key": Broken(
        "promise 1", setup(2, AGAIN, "lost load", at_most=2, commit=of_any_start)
    ),
    "a version answers before its commit": Broken("promise 4", setup(2, ONE, steps=swaps_come_early)),
    "200 before live workers serve it": Broken("promise 2", setup(2, ONE, behind=lambda signs, model, position: ())),
    "a retry answers 200 without waiting": Broken("promise 2", setup(2, AGAIN, "lost", retry_waits=False)),
    "pulses are read before the commit": Broken("promise 2", setup(2, ONE, "crash", remembers="pulses")),
    "whoever starts is not waited for": Broken(
        "promise 2", setup(2, ONE, "crash", behind=whoever_starts_is_overlooked)
    ),
    "whoever lacks the champion is not waited for": Broken(
        "promise 2", setup(2, ONE, "crash load", at_most=2, behind=whoever_lacks_it_is_overlooked)
    ),
    "whoever lacks the champion goes on with the version before": Broken(
        "promise 2", setup(2, ONE, "load silence", at_most=2, lacking="answers with the old")
    ),
    "a starting worker folds before it pulses, and its look counts": Broken(
        "promise 2", setup(2, ONE, "crash", first="fold", lease=before_any_pulse)
    ),
    "no look after silence": Broken("promise 2", setup(2, ONE, "silence", must_look=lambda age_s: False)),
    "a look after silence counts from itself": Broken("promise 2", setup(2, ONE, "silence", lease=once_acted_on)),
    "a look counts from the pulse after it": Broken("promise 2", setup(2, ONE, "silence", lease=once_pulsed)),
    "a look counts before it is acted on": Broken(
        "promise 2", setup(2, ONE, "silence", fine=True, lease=before_acting)
    ),
    "a look outlasts the silence after its pulse": Broken(
        "promise 2", setup(2, ONE, "silence", lease_ends=lambda looked_since: not looked_since)
    ),
    "a request is answered between look and swap": Broken(
        "promise 2", setup(2, ONE, "silence", answers_before_swap=True)
    ),
    "a request joins a look that began before it": Broken(
        "promise 2", setup(2, ONE, "silence", fine=True, joins_running_look=True)
    ),
    "a commit is appended to a log that has moved on": Broken("promise 3", setup(2, BOTH, "slow", remembers="log")),
    "a second start beside a fresh one": Broken("promise 3", setup(2, BOTH, start=a_second_start)),
    "the same key starts again": Broken("promise 3", setup(2, BOTH_AGAIN, "lost", start=the_same_key_again)),
    "a start asks for no ground": Broken("promise 4", setup(2, ON_A_VERDICT, "", start=without_ground, commit=unseen)),
    "a commit asks for no ground": Broken("promise 4", setup(2, ON_A_VERDICT, "verdict", commit=unseen)),
    "a start is not void after 60 s": Broken(
        "progress", setup(2, BOTH, "crash", start=never_void, voided=lambda state, now: ())
    ),
    "nobody ends what is void": Broken("progress", setup(2, ONE, "crash", voided=lambda state, now: ())),
    "a silent worker is waited for": Broken("progress", setup(2, ONE, "crash", waits_for_silent=True)),
    "a pulse without a look": Broken("progress", setup(2, ONE, "cut", pulses_without_look=True)),
    "spares are never freed": Broken("progress", setup(2, ONE, "slow", steps=spares_are_kept)),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_each_rule_is_needed_for_a_promise(rule: str) -> None:
    with pytest.raises(BrokenPromise) as noticed:
        explore(BROKEN[rule].setup)

    assert noticed.value.promise == BROKEN[rule].promise, noticed.value


UNNEEDED = {
    "a commit does not compare the champion": setup(2, BOTH, "slow", commit=unseen),
    "a commit after 60 s": setup(2, AGAIN, "lost", commit=too_late),
    "a starting worker folds first, but a look without a pulse before it does not count": setup(
        2, ONE, "crash", first="fold"
    ),
}
"""What the promises would survive, as the other rules are. Reasons to keep them stand in docs/decisions/0016."""


UNNEEDED_AT_LENGTH = {"swaps go backwards": setup(2, BOTH, "silence", fine=True, steps=swaps_go_backwards)}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("rule", UNNEEDED_AT_LENGTH)
def test_nor_are_these(rule: str) -> None:
    explore(UNNEEDED_AT_LENGTH[rule])


@pytest.mark.parametrize("rule", UNNEEDED)
def test_these_rules_alone_are_not_what_keeps_the_promises(rule: str) -> None:
    explore(UNNEEDED[rule])
