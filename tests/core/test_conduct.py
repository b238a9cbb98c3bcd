"""What a champion does is judged by the limits that its owner set, and by too little nothing is."""

import numpy as np
import pytest

from understudy.conduct import LONG_SECONDS, OLDEST_S, ROWS, SECONDS, Expected, Look, complaint, expected
from understudy.policy import Limits

NOW_S = 1000.0
DEFAULT, STRICT = Limits(), Limits(error_share=0.05, latency_ms=5, invalid_share=0.02, outputs=(0, 500), class_sd=5)


def every_second(seconds: int, *, until_s: float = NOW_S, **what: object) -> list[Look]:
    return [Look(at_s=until_s - seconds + i, **what) for i in range(1, seconds + 1)]  # type: ignore[arg-type]


def said(limits: Limits, looks: list[Look], known: Expected | None = None) -> str | None:
    return complaint(limits, looks, known, NOW_S)


def test_what_is_within_its_limits_is_not_spoken_of() -> None:
    well = every_second(
        60, answered=1000, failed=9, not_finite=3, rows=500, outside=2, latencies_s=(0.004,) * 50, classes=(5, 5)
    )

    assert said(STRICT, well) is None
    assert said(DEFAULT, well) is None
    assert said(STRICT, []) is None


def test_a_share_of_failures_is_judged_where_the_owner_says_how_large_it_may_be() -> None:
    looks = every_second(SECONDS, answered=90, failed=10)

    assert said(STRICT, looks) == "30 of its last 300 requests failed, and at most 5 % may"
    assert said(DEFAULT, looks) is None, "that is left to the breaker"


def test_answers_that_are_not_finite_are_judged_by_themselves() -> None:
    looks = every_second(SECONDS, answered=98, failed=2, not_finite=2)

    assert said(DEFAULT, looks) == "6 of its last 300 answers were not finite, and at most 1 % may"
    assert said(Limits(invalid_share=None), looks) is None


def test_answers_outside_of_what_can_be_true_are_judged_where_the_owner_says_what_that_is() -> None:
    looks = every_second(SECONDS, answered=100, rows=100, outside=3)

    assert said(STRICT, looks) == "9 of 300 answers were outside of 0 to 500, and at most 2 % may"
    assert said(DEFAULT, looks) is None


def test_a_version_is_slow_by_its_median_and_not_by_what_a_busy_machine_does_to_the_slowest() -> None:
    slow = every_second(LONG_SECONDS, answered=10, latencies_s=(0.004, *(0.006,) * 9))
    disturbed = every_second(LONG_SECONDS, answered=10, latencies_s=(*(0.004,) * 6, *(2.0,) * 4))

    assert said(STRICT, slow) == "the median of its answers took 6 ms, where 5 ms are allowed"
    assert said(STRICT, disturbed) is None


def test_a_pause_of_some_seconds_is_not_held_against_it() -> None:
    well = every_second(6, until_s=NOW_S - 4, answered=50, latencies_s=(0.004,) * 50)
    paused = every_second(4, answered=50, latencies_s=(3.0,) * 50)

    assert said(STRICT, well + paused) is None


@pytest.mark.parametrize(
    "looks",
    [
        every_second(60, until_s=NOW_S - 1, answered=2) + every_second(1, failed=4, not_finite=4),
        every_second(SECONDS, answered=28, failed=5, not_finite=5),
        every_second(SECONDS - 1, answered=1000, failed=1000, not_finite=1000, rows=1000, outside=1000),
        every_second(SECONDS, until_s=NOW_S - OLDEST_S, answered=1000, failed=1000, not_finite=1000),
        every_second(LONG_SECONDS - 1, answered=1000, latencies_s=(1.0,) * 100),
    ],
    ids=["few bad ones", "few requests", "a moment", "long ago", "slow for a moment"],
)
def test_what_may_be_chance_or_one_odd_row_is_not_enough(looks: list[Look]) -> None:
    assert said(STRICT, looks) is None


def test_what_it_did_before_it_went_wrong_does_not_count_for_it() -> None:
    looks = every_second(60, answered=10_000) + every_second(SECONDS, answered=90, failed=10)

    assert said(STRICT, looks) is not None


# Predicted classes


def holdout(share: float, n: int = 800, *, runs: int = 1) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Probabilities of two classes; `runs` rows in a row are alike."""
    is_rain = np.repeat(np.random.default_rng(1).random(n // runs) < share, runs)
    return np.column_stack([1 - is_rain, is_rain]).astype(float)


def predicted(share: float) -> list[Look]:
    return every_second(LONG_SECONDS, answered=100, classes=(round(100 * (1 - share)), round(100 * share)))


def test_a_class_that_is_predicted_far_more_often_than_on_the_holdout_is_noticed() -> None:
    known = expected(holdout(0.2), ("dry", "rain"))

    assert said(STRICT, predicted(0.25), known) is None
    assert said(STRICT, predicted(0.4), known) == (
        "it answers 'dry' to 60 % of 1000 rows, and to 81 % on the holdout: 11.0 standard deviations, where 5 are "
        "allowed"
    )
    assert said(DEFAULT, predicted(0.4), known) is None
    assert said(STRICT, predicted(0.4), None) is None


def test_where_weather_lasts_more_of_the_same_is_no_surprise() -> None:
    independent, lasting = expected(holdout(0.2), ("dry", "rain")), expected(holdout(0.2, runs=20), ("dry", "rain"))
    assert independent is not None
    assert lasting is not None

    assert float(lasting.spread[1]) > 4 * float(independent.spread[1])
    assert said(STRICT, predicted(0.35), independent) is not None
    assert said(STRICT, predicted(0.35), lasting) is None


def test_a_class_that_the_holdout_never_had_may_come_now_and_then_and_not_often() -> None:
    known = expected(holdout(0.0), ("dry", "rain"))

    assert said(STRICT, predicted(0.0), known) is None
    assert said(STRICT, predicted(0.02), known) is not None


def test_of_too_few_rows_nothing_is_expected_and_nothing_is_said() -> None:
    assert expected(holdout(0.2, ROWS - 1), ("dry", "rain")) is None
    few = every_second(LONG_SECONDS, answered=1, classes=(0, ROWS // LONG_SECONDS - 1))
    assert said(STRICT, few, expected(holdout(0.2), ("dry", "rain"))) is None


def test_shares_of_a_version_that_goes_on_as_it_did_lie_within_five_standard_deviations() -> None:
    """A thousand looks at rows like those of the holdout."""
    draws, known = np.random.default_rng(2), expected(holdout(0.3), (0, 1))
    counts = draws.binomial(1000, 0.3, size=1000)

    noticed = [
        said(STRICT, [Look(at_s=NOW_S - i, classes=(100 - int(k) // 10, int(k) // 10)) for i in range(10)][::-1], known)
        for k in counts
    ]

    assert noticed.count(None) == len(noticed)
