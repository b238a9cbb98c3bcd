"""What a worker does after a look at the log, and what a promoter makes of the signs of workers."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.given import HERE, History, candidate, defined
from understudy import promotion
from understudy.liveness import SILENT_AFTER_S
from understudy.promotion import VOID_AFTER, Wish
from understudy.rollout import (
    LOOK_AFTER_S,
    READY_WITHIN_S,
    Free,
    Prepare,
    Readiness,
    Sign,
    Step,
    Swap,
    behind,
    must_look,
    readiness,
    steps,
)


def start(history: History, version: str, *, model: str = "rain") -> int:
    """Begin a promotion; return the position of the start."""
    wish = Wish(model=model, version=version, key=f"{model}-{version}", by="operator")
    history.add(*promotion.start(history.state, wish, history.now, HERE))
    return history.state.position


def commit(history: History, version: str, *, model: str = "rain") -> int:
    """Commit it; return the position of the promotion."""
    history.add(*promotion.commit(history.state, model, f"{model}-{version}", history.now, HERE))
    return history.state.position


def first(history: History, model: str = "rain") -> int:
    """Make version 1 champion and judge version 2 better; return the position of the promotion."""
    history.add(defined(model))
    candidate(history, "1", model=model)
    start(history, "1", model=model)
    done = commit(history, "1", model=model)
    candidate(history, "2", model=model)
    return done


def todo(history: History, serves: Mapping[str, int], *spares: int) -> tuple[Step, ...]:
    return steps(history.state, serves, spares)


@pytest.fixture
def history() -> History:
    return History()


# A worker


def test_a_model_without_a_champion_asks_for_nothing(history: History) -> None:
    history.add(defined())
    candidate(history, "1")

    assert todo(history, {}) == ()


def test_a_worker_that_starts_lets_the_champion_answer(history: History) -> None:
    began = first(history) - 1

    assert todo(history, {}) == (Swap("rain", "1", began + 1, began),)


def test_a_start_is_prepared_for_once(history: History) -> None:
    done = first(history)
    began = start(history, "2")

    assert todo(history, {"rain": done}) == (Prepare("rain", "2", began),)
    assert todo(history, {"rain": done}, began) == ()


def test_after_the_commit_the_spare_of_its_start_is_swapped_in_and_not_freed(history: History) -> None:
    done = first(history)
    began = start(history, "2")
    promoted = commit(history, "2")

    assert todo(history, {"rain": done}, began) == (Swap("rain", "2", promoted, began),)
    assert todo(history, {"rain": promoted}, began) == (Free(began),), "what is left over is freed"
    assert todo(history, {"rain": promoted}) == ()


def test_a_spare_is_freed_once_its_start_has_ended_otherwise(history: History) -> None:
    done = first(history)
    began = start(history, "2")
    history.add(*promotion.abort(history.state, "rain", "rain-2", "it cannot be loaded"))

    assert todo(history, {"rain": done}, began) == (Free(began),)
    assert todo(history, {"rain": done}) == ()


def test_the_spare_of_a_void_start_does_not_do_for_the_next_one_with_the_same_key(history: History) -> None:
    done = first(history)
    void = start(history, "2")
    history.now += VOID_AFTER
    began = start(history, "2")

    assert began > void
    assert todo(history, {"rain": done}, void) == (Free(void), Prepare("rain", "2", began))


def test_whoever_slept_through_a_promotion_goes_straight_to_the_newest(history: History) -> None:
    old = first(history)
    spare = start(history, "2")
    commit(history, "2")
    candidate(history, "3")
    began = start(history, "3")
    promoted = commit(history, "3")

    assert todo(history, {"rain": old}, spare) == (Swap("rain", "3", promoted, began), Free(spare))


def test_nothing_older_takes_the_place_of_what_answers(history: History) -> None:
    done = first(history)

    assert todo(history, {"rain": done + 1}) == ()


def test_each_model_goes_its_own_way_and_swaps_come_first(history: History) -> None:
    rain = first(history)
    first(history, "snow")
    began = start(history, "2")

    waiting = todo(history, {"rain": rain})

    assert [(type(step), step.model) for step in waiting if not isinstance(step, Free)] == [
        (Swap, "snow"),
        (Prepare, "rain"),
    ]
    assert waiting[-1] == Prepare("rain", "2", began)


# A promoter


def sign(worker: str, **told: Any) -> Sign:
    return Sign(worker=worker, **told)


def test_all_that_answer_have_to_be_ready_for_this_very_start() -> None:
    signs = [sign("a", ready=frozenset({7})), sign("b", ready=frozenset({5})), sign("c")]

    assert readiness(signs, 7) == Readiness(waiting=("b", "c"))
    assert readiness(signs[:1], 7).complete


def test_whoever_cannot_load_it_is_named_with_the_reason_and_not_waited_for() -> None:
    found = readiness([sign("a", unable={7: "no memory"}), sign("b")], 7)

    assert found == Readiness(waiting=("b",), unable=(("a", "no memory"),))
    assert not found.complete
    assert not readiness([sign("a", unable={7: "no memory"})], 7).complete


def test_one_that_was_unable_for_an_earlier_start_is_asked_again() -> None:
    assert readiness([sign("a", unable={5: "no memory"})], 7) == Readiness(waiting=("a",))


def test_a_worker_that_starts_holds_no_commit_up_but_the_answer() -> None:
    starting = [sign("a", starting=True)]

    assert readiness(starting, 7).complete
    assert behind(starting, "rain", 8) == ("a",)


def test_whoever_serves_an_older_promotion_or_none_is_behind() -> None:
    signs = [
        sign("older", serves={"rain": 6}),
        sign("this", serves={"rain": 8}),
        sign("newer", serves={"rain": 9}),
        sign("lacks it", lacks={"rain": "no memory"}),
        sign("another model", serves={"snow": 9}),
    ]

    assert behind(signs, "rain", 8) == ("older", "lacks it", "another model")


def test_where_nobody_is_alive_nobody_is_waited_for() -> None:
    assert readiness([], 7).complete
    assert behind([], "rain", 8) == ()


# Words and times


def test_a_sign_is_the_same_after_it_was_written_and_read() -> None:
    told = sign(
        "a",
        starting=True,
        position=9,
        serves={"rain": 8},
        ready=frozenset({12, 3}),
        unable={5: "no memory"},
        lacks={"snow": "its bytes are gone"},
    )

    written = json.dumps(told.to_json())

    assert Sign.from_json("a", json.loads(written)) == told
    assert Sign.from_json("b", json.loads(json.dumps(sign("b").to_json()))) == sign("b")


def test_a_worker_looks_again_well_before_anybody_may_take_it_for_silent() -> None:
    assert not must_look(LOOK_AFTER_S - 0.001)
    assert must_look(LOOK_AFTER_S)
    assert LOOK_AFTER_S <= SILENT_AFTER_S / 2, "what a pulse and a look take must fit between"


def test_a_promoter_gives_up_long_before_its_start_is_void() -> None:
    assert VOID_AFTER.total_seconds() >= 2 * READY_WITHIN_S
