"""Policies led through a past whose truth is known: who serves when, and what it costs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from understudy.events import timestamp
from understudy.hindsight import beside
from understudy.policy import Promotion
from understudy.profile import Profile, profile_columns
from understudy.replay import Answers, Decides, Made, Past, Policy, Served, Step, known_loss, serve
from understudy.staleness import staleness

ROWS, STEP = 2_000, 400
NOBODY = np.empty(0, dtype=np.intp)
LABELS = np.random.default_rng(1).normal(size=ROWS)
NOISE = np.random.default_rng(2).normal(size=ROWS)
PAST = Past(model="m", task="regression", classes=None, labels=LABELS, clock=np.arange(ROWS))


def profile() -> Profile:
    x = np.arange(100.0)
    return profile_columns(
        {"x": x},
        kinds={"x": "number"},
        label=LABELS[:100],
        task="regression",
        clock=list(range(100)),
        new_from=0,
        fitted_until=100,
    )


PROFILE = profile()


def off(by: float | npt.NDArray[Any], first: int = 0) -> Answers:
    """A version whose mean absolute error is about 0.8 times `by`."""
    return Answers(first, (LABELS + by * NOISE)[first:].astype(np.float32))


def trained(first: int, candidate: Answers, refit: Answers | None = None, **more: Any) -> Step:
    made = Made(held_out=np.arange(first - 200, first), candidate=candidate, refit=refit, profile=PROFILE)
    said: dict[str, Any] = {"at": f"{first:05}", "first": first, "waiting": NOBODY, "ended": "trained", "made": made}
    return Step(**{**said, **more})


def walk(steps: list[Step], decides: Decides = "gate", **policy: Any) -> Served:
    loss = known_loss("regression", None)
    return serve(PAST, steps, Policy(name="p", promotion=Promotion(**policy), loss=loss, decides=decides))


def said(served: Served) -> list[tuple[str, str, str | None]]:
    return [(one.at, one.did, one.serves) for one in served.decisions]


def test_a_better_version_serves_from_its_date_on_and_a_worse_one_does_not() -> None:
    served = walk([trained(400, off(0.5)), trained(800, off(0.3)), trained(1200, off(0.4))])

    assert said(served) == [
        ("00400", "promoted", "00400"),
        ("00800", "promoted", "00800"),
        ("01200", "kept", "00800"),
    ]
    expected = np.abs(NOISE[400:]) * np.where(np.arange(400, ROWS) < 800, 0.5, 0.3)
    assert np.allclose(served.losses, expected, atol=1e-5)


def test_never_keeps_the_first_champion_and_always_asks_nobody() -> None:
    steps = [trained(400, off(0.5)), trained(800, off(0.3)), trained(1200, off(0.9))]

    never, always = walk(steps, "never"), walk(steps, "always")

    assert said(never) == [("00400", "promoted", "00400")]
    assert [one[1] for one in said(always)] == ["promoted"] * 3
    assert np.allclose(always.losses[-ROWS + 1200 :], 0.9 * np.abs(NOISE[1200:]), atol=1e-5)


def test_refused_data_train_nothing_for_the_gate_and_something_for_whoever_does_not_look() -> None:
    steps = [trained(400, off(0.5)), trained(800, off(0.9), ended="refused", reason="A leak.")]

    assert said(walk(steps))[1] == ("00800", "refused", "00400")
    assert said(walk(steps, "always"))[1] == ("00800", "promoted", "00800")


def test_the_refit_serves_unless_it_falls_behind_its_candidate() -> None:
    good = walk([trained(400, off(0.5), refit=off(0.4))])
    bad = walk([trained(400, off(0.5), refit=off(0.6))])
    unwanted = walk([trained(400, off(0.5), refit=off(0.4))], refit="off")

    levels = [served.losses.mean() / np.abs(NOISE[400:]).mean() for served in (good, bad, unwanted)]
    assert np.allclose(levels, [0.4, 0.5, 0.5], atol=1e-3)


def test_a_version_that_cannot_beat_the_constant_predictor_never_serves() -> None:
    served = walk([trained(400, off(3.0)), trained(800, off(0.5))])

    assert said(served) == [("00400", "kept", None), ("00800", "promoted", "00800")]
    assert np.isnan(served.losses[:400]).all()
    assert np.isfinite(served.losses[400:]).all()


def world_turns(at: int, before: float, after: float) -> Answers:
    return off(np.where(np.arange(ROWS) < at, before, after))


def test_labels_lift_what_the_holdout_refused_once_and_from_a_row_on() -> None:
    steps = [trained(400, world_turns(800, 0.5, 1.5)), trained(800, world_turns(800, 0.6, 0.3))]

    served = walk(steps)

    [_, kept, lifted] = said(served)
    assert kept[1:] == ("kept", "00400")
    assert lifted[1:] == ("lifted", "00800")
    switch = int(lifted[0])
    assert 800 < switch < 1200
    assert np.allclose(served.losses[switch - 400 :], 0.3 * np.abs(NOISE[switch:]), atol=1e-5)


def test_labels_bring_back_the_champion_before_when_the_world_turns_against_the_new_one() -> None:
    steps = [trained(400, off(0.5)), trained(800, world_turns(1000, 0.3, 1.5))]

    [_, promoted, back] = said(walk(steps))

    assert promoted[1:] == ("promoted", "00800")
    assert back[1:] == ("rolled back", "00400")
    assert int(back[0]) > 1000


def test_after_a_way_back_nothing_is_promoted_for_a_while_where_rows_have_a_time() -> None:
    clock = np.array([timestamp(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=row)) for row in range(ROWS)])
    past = replace(PAST, clock=clock)
    turning = world_turns(1000, 0.3, 1.5)
    steps = [trained(400, off(0.5)), trained(800, turning), trained(1400, off(0.2)), trained(1900, off(0.1))]
    dated = [replace(step, at=str(clock[step.first])) for step in steps]
    policy = Policy(name="p", promotion=Promotion(), loss=known_loss("regression", None))

    served = serve(past, dated, policy)

    assert [one.did for one in served.decisions] == ["promoted", "promoted", "rolled back", "held back", "promoted"]
    [result], _ = beside(past, [served], "mae")
    assert (result.trained, result.skipped) == (4, 0)


def test_labels_that_come_late_switch_late() -> None:
    steps = [trained(400, world_turns(800, 0.5, 1.5)), trained(800, world_turns(800, 0.6, 0.3))]
    late = [steps[0], trained(800, world_turns(800, 0.6, 0.3), waiting=NOBODY), skipped(1600, waiting=200)]

    prompt, delayed = said(walk([*steps, skipped(1600)])), said(walk(late))

    assert int(delayed[-1][0]) == int(prompt[-1][0]) + 200


def test_labels_that_have_not_arrived_by_the_next_verdict_do_not_speak() -> None:
    steps = [trained(400, world_turns(800, 0.5, 1.5)), trained(800, world_turns(800, 0.6, 0.3))]
    nothing_known = trained(1600, off(0.6), waiting=np.arange(800, 1600))

    served = walk([*steps, nothing_known])

    assert [one[1] for one in said(served)] == ["promoted", "kept", "promoted"]


def skipped(first: int, waiting: int = 0) -> Step:
    places = np.arange(first - waiting, first)
    return Step(at=f"{first:05}", first=first, waiting=places, ended="skipped", reason="few rows")


def test_a_pair_goes_on_over_a_date_at_which_nothing_was_trained() -> None:
    steps = [trained(400, world_turns(800, 0.5, 1.5)), trained(800, world_turns(800, 0.6, 0.3))]
    assert said(walk([*steps, skipped(850)]))[-1][1:] == ("lifted", "00800")


def test_a_switch_counts_before_the_next_candidate_is_judged() -> None:
    """The candidate of 1600 is better than the champion of 400 and worse than the one that labels had lifted."""
    steps = [trained(400, world_turns(800, 0.5, 1.5)), trained(800, world_turns(800, 0.6, 0.3))]

    served = walk([*steps, trained(1600, off(0.6))])

    assert [one[1] for one in said(served)] == ["promoted", "kept", "lifted", "kept"]


def test_a_row_without_an_answer_costs_nothing_and_is_counted() -> None:
    silent = off(0.5)
    silent.outputs[1500:1510] = np.nan
    loud, quiet = walk([trained(400, off(0.6))]), walk([trained(400, silent)])

    (first, second), rows = beside(PAST, [loud, quiet], "mae")

    assert (first.unanswered, second.unanswered, rows) == (0, 10, ROWS - 410)
    assert first.against is None
    assert second.against is not None
    assert second.interval is not None
    assert second.against == pytest.approx(0.5 / 0.6 - 1, abs=1e-3)
    assert second.interval[0] <= second.against <= second.interval[1]
    assert second.metric == pytest.approx(second.loss)


def test_a_policy_that_lets_nothing_serve_does_not_hide_what_the_others_do() -> None:
    nothing, something = walk([trained(400, off(3.0))]), walk([trained(400, off(3.0))], "always")

    (first, second), rows = beside(PAST, [nothing, something], "mae")

    assert (first.loss, first.metric, first.unanswered) == (None, None, ROWS - 400)
    assert (second.unanswered, second.against, rows) == (0, None, ROWS - 400)
    assert beside(PAST, [nothing], "mae")[1] == 0


def test_the_staleness_curve_shows_how_fast_versions_age() -> None:
    """Each version is off by 0.5, and by a tenth of that more for every retrain since."""

    def ages(first: int) -> Answers:
        since = np.maximum(np.arange(ROWS) - first, 0) // STEP
        return off(0.5 * (1 + 0.1 * since))

    steps = [trained(first, ages(first)) for first in range(400, ROWS, STEP)]

    curve = staleness(PAST, steps, known_loss("regression", None), days=[0.0, 7.0, 14.0, 21.0])

    assert [round(age.change, 3) for age in curve] == [0.0, 0.1, 0.2, 0.3]
    assert [age.days for age in curve] == [0.0, 7.0, 14.0, 21.0]
    assert [age.dates for age in curve] == [4, 3, 2, 1]
    assert [age.rows for age in curve] == [1600, 1200, 800, 400]
    assert [age.error is None for age in curve] == [False, False, True, True]


def test_a_row_that_one_of_two_versions_did_not_answer_is_no_part_of_the_curve() -> None:
    silent = off(0.5)
    silent.outputs[900:950] = np.nan

    _, old = staleness(PAST, [trained(400, silent), trained(800, off(0.4))], known_loss("regression", None), days=None)

    assert old.rows == ROWS - 850
    assert old.change == pytest.approx(0.25, abs=1e-3)


def test_a_curve_of_nothing_is_empty() -> None:
    assert staleness(PAST, [skipped(400)], known_loss("regression", None), days=None) == ()


def test_a_loss_that_does_not_fit_is_none() -> None:
    with pytest.raises(ValueError, match="does not fit a regression"):
        known_loss("regression", "brier")
