"""What labels say of a champion, and what follows: the reference they are measured by, a decline, and one switch."""

from typing import Any

import numpy as np
import pytest

from tests.core.cases import CANDIDATE, CHAMPION, both, evidence
from tests.core.test_pairs import REFUSED_BY, labels_say, pair, refused, two_champions
from tests.given import HERE, History, defined, judged, registered, tried
from understudy import Promotion, live, promotion
from understudy.compare import row_losses
from understudy.errors import NoGround
from understudy.live import Reference, Scored

POLICY = Promotion().to_json()
WORSE = 0.05


def losses(n: int, mean: float = 0.2, *, seed: int = 0) -> Any:
    return np.random.default_rng(seed).gamma(2, mean / 2, n)


def settled(mode: str = "auto") -> History:
    """A pair after a promotion, of which labels prefer the champion before."""
    history = two_champions()
    if mode != "auto":
        history.add(defined(mode=mode))
    history.add(labels_say("1", "2", pair(history).position))
    return history


def test_the_side_of_the_evidence_that_a_version_stands_on_is_told_by_its_digest() -> None:
    judged = evidence()

    new = live.reference(POLICY, judged, serving=["refit", CANDIDATE], other=[CHAMPION])
    kept = live.reference(POLICY, judged, serving=[CHAMPION], other=["refit", CANDIDATE])

    assert new is not None
    assert kept is not None
    assert new.other is not None
    assert kept.other is not None
    assert np.array_equal(new.serving, kept.other)
    assert np.array_equal(new.other, kept.serving)
    assert live.reference(POLICY, judged, serving=["another"], other=[CHAMPION]) is None


def test_without_an_other_version_there_is_nothing_to_compare() -> None:
    alone = live.reference(POLICY, evidence(), serving=[CANDIDATE], other=[])

    assert alone is not None
    assert alone.other is None
    assert live.standing(alone, Scored(losses(500), None)) is None


def test_labels_that_prefer_the_other_version_cross_and_those_that_do_not_never_do() -> None:
    known = Reference(losses(400), losses(400, seed=1))
    worse, equal = losses(2000, 0.4, seed=2), losses(2000, seed=2)
    other = losses(2000, seed=3)

    found = live.standing(known, Scored(worse, other))
    none = live.standing(known, Scored(equal, other))

    assert found is not None
    assert none is not None
    assert found.crossed is not None
    assert none.crossed is None


def rare(n: int, seed: int) -> tuple[Any, Any, Any]:
    """Labels, one in a hundred of them true, and two models that are equally wrong in opposite ways."""
    rng = np.random.default_rng(seed)
    truth = np.clip(rng.gamma(2, 0.005, n), 0, 0.5)
    labels = (rng.random(n) < truth).astype(int)
    return labels, both(0.4 * truth), both(1.6 * truth)


def test_where_hardly_any_row_tells_two_models_apart_an_equal_one_seldom_takes_over() -> None:
    switched = []
    for seed in range(100):
        labels, low, high = rare(200, seed)
        parts = {"labels": labels, "candidate_out": low, "champion_out": high, "first": 1400}
        known = live.reference(POLICY, evidence(**parts), serving=[CHAMPION], other=[CANDIDATE])
        later, low, high = rare(2000, 1000 + seed)
        scored = Scored(*(row_losses("brier", out, later) for out in (high, low)))
        found = live.standing(known, scored)
        switched.append(found is not None and found.crossed is not None)
        assert known is not None
        assert (known.extreme > 0) == (min(labels.sum(), 200 - labels.sum()) < live.RARE)

    assert sum(switched) <= 8


def test_a_loss_of_ones_own_is_not_followed_where_a_class_is_rare() -> None:
    known = Reference(losses(400), losses(400, seed=1), extreme=float("inf"))

    found = live.standing(known, Scored(losses(2000, 0.4, seed=2), losses(2000, seed=3)))

    assert found is not None
    assert found.crossed is None
    assert "not known" in (found.reason or "")


def test_a_champion_that_is_what_it_was_is_not_in_decline_and_one_that_is_worse_is() -> None:
    known = Reference(losses(400), None)

    assert live.decline(known, Scored(losses(4000, seed=5), None)) is None
    found = live.decline(known, Scored(np.concatenate([losses(400, seed=6), losses(400, 0.4, seed=7)]), None))

    assert found is not None
    assert found.until == 800
    assert found.errors > live.WORSE_BY
    assert "standard errors more" in found.words


def test_a_window_that_is_not_whole_says_nothing() -> None:
    assert live.decline(Reference(losses(400), None), Scored(losses(399, 9.0), None)) is None


def test_a_decline_is_seldom_seen_where_there_is_none() -> None:
    known = [Reference(losses(200, seed=seed), None) for seed in range(300)]
    alarms = [live.decline(one, Scored(losses(1000, seed=1000 + i), None)) is not None for i, one in enumerate(known)]

    assert sum(alarms) <= 6  # of 1,500 windows


def test_the_switch_goes_back_by_a_demotion_under_a_key_of_its_own() -> None:
    history = settled()

    found = live.switch(history.state.model("rain"), history.now)

    assert found is not None
    assert found.wish is not None
    assert (found.wish.how, found.wish.version, found.wish.by) == ("demotion", "1", "api")
    assert found.wish.key == f"live-rain-{history.state.position}"
    history.add(*promotion.start(history.state, found.wish, history.now, HERE))
    history.add(*promotion.commit(history.state, "rain", found.wish.key, history.now, HERE))
    assert history.state.model("rain").champion == "1"
    assert live.switch(history.state.model("rain"), history.now) is None


def test_what_was_refused_is_lifted_on_the_ground_of_the_labels() -> None:
    history = two_champions()
    history.add(registered("3"), tried("3"), refused("3", "2", REFUSED_BY))
    history.add(labels_say("3", "2", pair(history).position))
    said = history.state.position

    found = live.switch(history.state.model("rain"), history.now)

    assert found is not None
    assert found.wish is not None
    history.add(*promotion.start(history.state, found.wish, history.now, HERE))
    (done,) = promotion.commit(history.state, "rain", found.wish.key, history.now, HERE)
    assert (done.kind, getattr(done, "ground", None)) == ("version.promoted", said)


def test_where_a_person_takes_the_last_step_labels_take_none() -> None:
    history = settled("propose")

    found = live.switch(history.state.model("rain"), history.now)

    assert found is not None
    assert (found.next, found.wish) == ("person", None)


def carried_out(history: History) -> None:
    found = live.switch(history.state.model("rain"), history.now)
    assert found is not None
    assert found.wish is not None
    history.add(*promotion.start(history.state, found.wish, history.now, HERE))
    history.add(*promotion.commit(history.state, "rain", found.wish.key, history.now, HERE))


def test_a_lift_waits_while_the_model_is_calmed() -> None:
    history = settled()
    carried_out(history)  # version 2 is taken back
    history.add(registered("3"), tried("3"), refused("3", "1", REFUSED_BY))
    history.add(labels_say("3", "1", pair(history).position))

    soon = live.switch(history.state.model("rain"), history.now)
    later = live.switch(history.state.model("rain"), history.wait(minutes=11))

    assert soon is not None
    assert (soon.next, soon.wish) == ("waits", None)
    assert later is not None
    assert later.next == "switch"


def test_what_was_taken_back_is_not_lifted_by_labels() -> None:
    history = settled()
    carried_out(history)
    history.wait(days=2)
    history.add(refused("2", "1", REFUSED_BY))
    history.add(labels_say("2", "1", pair(history).position))

    found = live.switch(history.state.model("rain"), history.now)

    assert found is not None
    assert (found.next, found.wish) == ("barred", None)


def test_the_api_promotes_nothing_that_no_labels_speak_for() -> None:
    history = two_champions()
    history.add(registered("3"), tried("3"), judged("3", champion="2"))
    wish = promotion.Wish(model="rain", version="3", key="k", by="api", expects="2")

    with pytest.raises(NoGround, match="No labels"):
        promotion.start(history.state, wish, history.now, HERE)


def test_a_switch_that_cannot_be_made_is_told_once() -> None:
    history = settled()
    found = live.switch(history.state.model("rain"), history.now)
    assert found is not None
    assert found.wish is not None

    for _ in range(2):
        history.add(*live.stuck(history.state.model("rain"), found.wish, "Its trial failed."))

    assert [note.reason for note in history.state.model("rain").attention] == [
        "What labels of predictions call for cannot be done: Its trial failed."
    ]
