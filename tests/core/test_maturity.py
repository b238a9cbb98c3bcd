"""When labels are complete enough: the curve that is learnt, and what is closed by it."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from understudy.labels import MODEL_SOURCE
from understudy.maturity import (
    COHORTS,
    FEWEST,
    HISTORY,
    LACKING_MS,
    LEAST_AGE_MS,
    Cohort,
    Curve,
    Delay,
    closed_ms,
    is_complete,
    lacks,
    learn,
    mostly_late,
    parts,
    ripe_ms,
    slowest,
)

HOUR = 3_600_000
DAY = 24 * HOUR


def seen(
    n: int, until_ms: int, delay: Callable[[np.random.Generator, int], np.ndarray], seed: int = 1
) -> list[tuple[int, int]]:
    """Of `n` predictions, evenly over the time until then, the labels that have come by then."""
    predicted = np.linspace(0, until_ms, n, endpoint=False).astype(np.int64)
    arrived = predicted + delay(np.random.default_rng(seed), n).astype(np.int64)
    return [(int(p), int(a)) for p, a in zip(predicted, arrived, strict=True) if a <= until_ms]


def exponential(mean_ms: float) -> Callable[[np.random.Generator, int], np.ndarray]:
    return lambda chance, n: chance.exponential(mean_ms, n)


def curve_of(labels: list[tuple[int, int]], now_ms: int) -> Curve:
    found = learn(labels, now_ms=now_ms)
    assert found is not None
    return found


@pytest.mark.parametrize("history", [4, 8, 30])
def test_the_curve_of_young_predictions_is_not_too_steep(history: int) -> None:
    """Exponential delays of an hour: 90 % have come after 2.3 hours, though most predictions are younger."""
    now = history * HOUR
    labels = seen(20_000, now, exponential(HOUR))
    naive = np.quantile([arrived - predicted for predicted, arrived in labels], 0.9)

    found = curve_of(labels, now).age_ms(0.9)

    assert abs(found / (2.303 * HOUR) - 1) < (0.15 if history == 4 else 0.08)
    assert history > 8 or naive < 0.93 * found


def test_shares_rise_to_one_and_a_lone_label_gives_a_curve_too() -> None:
    labels = seen(500, DAY, exponential(HOUR))
    found = curve_of(labels, DAY)

    assert np.all(np.diff(found.shares) >= 0)
    assert found.shares[-1] == 1.0
    assert found.age_ms(1.0) == max(arrived - predicted for predicted, arrived in labels)
    assert curve_of([(0, 5)], 10).age_ms(0.5) == 5
    assert learn([], now_ms=0) is None


def test_labels_that_come_once_a_day_are_waited_for_a_day() -> None:
    """Nightly batches: the delay of a label is anything up to a day."""
    predicted = np.arange(0, 10 * DAY, DAY // 500)
    arrived = (predicted // DAY + 1) * DAY
    now = 10 * DAY + HOUR

    found = curve_of([(int(p), int(a)) for p, a in zip(predicted, arrived, strict=True) if a <= now], now)

    assert abs(found.age_ms(0.9) / DAY - 0.9) < 0.02
    assert found.is_settled()


def test_nothing_is_ripe_before_enough_labels_and_enough_time_have_shown_how_long_they_take() -> None:
    now = 100 * HOUR
    few, young = seen(FEWEST - 1, now, exponential(1.0)), seen(1000, 2 * HOUR, exponential(HOUR))
    enough = curve_of(seen(1000, now, exponential(HOUR)), now)

    assert ripe_ms(None, now_ms=now) is None
    assert ripe_ms(curve_of(few, now), now_ms=now) is None
    assert ripe_ms(curve_of(young, 2 * HOUR), now_ms=2 * HOUR) is None
    assert ripe_ms(enough, now_ms=now) == now - enough.age_ms(0.9)
    assert enough.history_ms >= HISTORY * enough.age_ms(0.9)


def test_labels_that_come_at_once_are_waited_for_as_long_as_a_record_takes() -> None:
    at_once = curve_of([(i * 100, i * 100) for i in range(100)], 10_000)

    assert ripe_ms(at_once, now_ms=10_000) == 10_000 - LEAST_AGE_MS


def test_a_mature_cohort_has_nine_tenths_of_the_labels_that_it_will_have() -> None:
    """What the rule promises, on a stream whose future is known."""
    chance = np.random.default_rng(3)
    predicted = np.arange(0, 20 * DAY, DAY // 2_000)
    arrived = predicted + chance.lognormal(np.log(6 * HOUR), 1.0, len(predicted)).astype(np.int64)
    shares = []
    for now in range(10 * DAY, 20 * DAY, DAY):
        by_now = arrived <= now
        ripe = ripe_ms(
            curve_of(list(zip(predicted[by_now].tolist(), arrived[by_now].tolist(), strict=True)), now), now_ms=now
        )
        assert ripe is not None
        newest = (predicted <= ripe) & (predicted > ripe - HOUR)
        shares.append(by_now[newest].mean())

    assert 0.88 < np.mean(shares) < 0.92


def cohort(number: int, labelled: int, requests: int = 100) -> Cohort:
    return Cohort(number * HOUR, (number + 1) * HOUR, requests, labelled, rows=labelled)


SHORT = curve_of(seen(1000, 100 * HOUR, exponential(HOUR / 2)), 100 * HOUR)


def test_a_cohort_whose_labels_stay_away_is_waited_for_and_those_behind_it_too() -> None:
    now = 5 * HOUR
    cohorts = [cohort(0, 80), cohort(1, 10), cohort(2, 80)]

    assert closed_ms(cohorts, SHORT, level=0.8, now_ms=now) == HOUR
    assert closed_ms(cohorts, SHORT, level=0.0, now_ms=now) == 3 * HOUR


def test_a_cohort_whose_labels_never_come_blocks_nobody_for_ever() -> None:
    cohorts = [cohort(0, 80), cohort(1, 0), cohort(2, 80)]

    assert closed_ms(cohorts, SHORT, level=0.8, now_ms=2 * HOUR + 4 * SHORT.age_ms(0.99)) == HOUR
    assert closed_ms(cohorts, SHORT, level=0.8, now_ms=2 * HOUR + LACKING_MS) == 3 * HOUR


def delays(n: int, after_ms: int, source: str, *, late: bool = False, first_ms: int = 0) -> list[Delay]:
    """One a second."""
    return [Delay(source, first_ms + i * 1_000, first_ms + i * 1_000 + after_ms, late) for i in range(n)]


@pytest.mark.fault(75)
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_labels_that_come_a_day_later_are_on_time_after_twenty_that_came_at_once(level: float) -> None:
    """A smoke test, and then a day of traffic without a label; looked at by the way, and after a pause."""
    at_once = delays(20, 100, "feedback")
    for now in (60_000, HOUR, DAY):
        curve = slowest(at_once, now_ms=now)
        assert curve is not None
        assert curve.is_settled()
        for since in (19_000, now - 10_000):
            for requests in (3, 1_000):
                unlabelled = [Cohort(a, b, requests, 0, 0) for a, b in parts(since, now - LEAST_AGE_MS)]
                assert closed_ms(unlabelled, curve, level=level, now_ms=now) is None


def test_some_requests_that_nobody_labels_hold_up_nobody() -> None:
    cohorts = [cohort(0, 0, requests=3), cohort(1, 60), cohort(2, 0, requests=3)]

    assert closed_ms(cohorts, SHORT, level=1.0, now_ms=3 * HOUR + 4 * SHORT.age_ms(0.99)) == 2 * HOUR


def test_a_cohort_that_has_half_as_many_labels_as_usual_is_waited_for_for_days_only_below_that() -> None:
    assert lacks(cohort(0, 39), 0.8)
    assert not lacks(cohort(0, 41), 0.8)
    assert not lacks(cohort(0, 1), 0.0)
    assert lacks(cohort(0, 0), 0.0)


def test_cohorts_are_held_open_until_there_are_labels_enough_to_be_looked_at_or_patience_is_over() -> None:
    few, enough = [cohort(0, 20, requests=20), cohort(1, 20, requests=20)], [cohort(0, 30), cohort(1, 30)]
    over = 2 * HOUR + 4 * SHORT.age_ms(0.99)

    assert closed_ms(few, SHORT, level=0.0, now_ms=2 * HOUR) is None
    assert closed_ms(few, SHORT, level=0.0, now_ms=over) == 2 * HOUR
    assert closed_ms(enough, SHORT, level=0.0, now_ms=2 * HOUR) == 2 * HOUR


@pytest.mark.parametrize(("slow", "decides"), [(10, False), (49, False), (60, True)])
def test_the_slowest_source_decides_that_has_a_twentieth_of_the_labels(slow: int, decides: bool) -> None:
    seen = delays(950, 100, "shop") + delays(slow, DAY, "lab")

    curve = slowest(seen, now_ms=10 * DAY)

    assert curve is not None
    assert (curve.age_ms(0.9) >= DAY) is decides
    assert slowest([], now_ms=0) is None


def test_a_crowd_of_sources_does_not_close_what_the_models_own_source_has_yet_to_tell() -> None:
    seen = delays(20, HOUR, MODEL_SOURCE) + [one for i in range(31) for one in delays(20, 100, f"source {i}")]

    curve = slowest(seen, now_ms=10 * DAY)

    assert curve is not None
    assert curve.age_ms(0.9) >= HOUR


def test_sources_with_few_labels_are_one_source_together() -> None:
    seen = [one for i in range(4) for one in delays(6, HOUR + i, f"source {i}")]

    curve = slowest(seen, now_ms=DAY)

    assert curve is not None
    assert curve.labels == 24
    assert curve.is_settled()


def test_most_labels_are_late_where_most_of_those_are_that_came_last() -> None:
    before = delays(1_000, 100, "shop")

    assert mostly_late(delays(20, 100, "shop") + delays(60, DAY, "shop", late=True))
    assert mostly_late(before + delays(60, DAY, "shop", late=True))
    assert not mostly_late(before + delays(40, DAY, "shop", late=True))
    assert not mostly_late(delays(19, 100, "shop", late=True))


def test_a_share_that_chance_explains_is_complete_and_few_requests_say_nothing() -> None:
    assert is_complete(cohort(0, 66), 0.8)
    assert not is_complete(cohort(0, 60), 0.8)
    assert is_complete(cohort(0, 0, requests=20), 0.8)
    assert is_complete(cohort(0, 3), 0.03)


def test_what_may_be_closed_is_cut_into_cohorts_without_gaps() -> None:
    cut = parts(10, 1_003)

    assert len(cut) <= COHORTS
    assert (cut[0][0], cut[-1][1]) == (10, 1_003)
    assert all(before[1] == after[0] for before, after in pairwise(cut))
    assert parts(10, 11) == [(10, 11)]
    assert closed_ms([], SHORT, level=0.5, now_ms=0) is None
