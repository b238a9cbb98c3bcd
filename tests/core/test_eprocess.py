"""The comparison that may be looked at after every row: what it promises, and what it does with poor rows."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.eprocess import BETS, ENOUGH, MIN_BLOCKS, MOST, Standing, block_length, follow
from understudy.metrics import FloatArray


def apart(seed: int, n: int, worse: float = 0.0) -> FloatArray:
    """Differences of 0/1 losses: on 8 % of the rows one of two models is right, and the serving one loses `worse`."""
    u = np.random.default_rng(seed).random(n)
    return np.where(u < 0.04, -1.0, np.where(u < 0.08 + worse, 1.0, 0.0))


def wavy(seed: int, n: int, memory: float = 0.9) -> FloatArray:
    """Noise in which each row resembles the one before."""
    shocks = np.random.default_rng(seed).normal(size=n)
    for row in range(1, n):
        shocks[row] += memory * shocks[row - 1]
    return shocks


@given(seed=st.integers(0, 2**32), n=st.integers(0, 400), worse=st.sampled_from([0.0, 0.05, 0.5]))
def test_the_first_rows_alone_give_the_same_answer(seed: int, n: int, worse: float) -> None:
    reference, live = apart(seed, 300), apart(seed + 1, 400, worse)
    whole, part = follow(reference, live), follow(reference, live[:n])

    assert part.crossed == (whole.crossed if whole.crossed is not None and whole.crossed <= n else None)
    assert part.rows <= n < part.rows + (part.block or 0)


def test_it_crosses_with_the_block_that_makes_the_capital_enough() -> None:
    reference = np.array([-1.0, 1.0] * 24)  # unit: two standard deviations, a little more than 2
    unit = 2 * float(reference.std(ddof=1))
    needed = next(n for n in range(1, 99) if np.mean([(1 + bet / unit) ** n for bet in BETS]) >= ENOUGH)

    enough, one_less = (follow(reference, np.ones(rows)) for rows in (needed, needed - 1))

    assert enough.block == 1
    assert enough.scale == pytest.approx(unit)
    assert (enough.crossed, one_less.crossed) == (needed, None)
    assert one_less.capital < ENOUGH <= enough.capital


def test_a_serving_model_that_became_worse_is_found_and_stays_found() -> None:
    live = np.concatenate([apart(2, 40, worse=0.3), apart(3, 4000, worse=-0.04)])

    standing = follow(apart(1, 300), live)

    assert standing.crossed is not None
    assert standing.crossed <= 40
    assert standing.capital < ENOUGH  # the crossing is a fact, whatever came after it


def test_a_serving_model_that_is_better_stays() -> None:
    standing = follow(apart(1, 300), apart(2, 4000, worse=-0.03))

    assert standing.crossed is None
    assert standing.capital < 1


def test_equal_models_change_places_in_at_most_one_of_twenty_comparisons() -> None:
    crossed = [follow(apart(2 * seed, 300), apart(2 * seed + 1, 4000)).crossed for seed in range(200)]

    assert sum(row is not None for row in crossed) <= 10


def test_rare_large_losses_of_the_other_model_are_not_cut_off() -> None:
    def often_a_little_better(seed: int, n: int) -> FloatArray:
        return np.where(np.random.default_rng(seed).random(n) < 0.1, -0.9, 0.1)  # 0 on average

    pairs = [(often_a_little_better(2 * seed, 300), often_a_little_better(2 * seed + 1, 4000)) for seed in range(60)]

    assert sum(follow(reference, live).crossed is not None for reference, live in pairs) <= 6


def test_one_absurd_block_decides_nothing() -> None:
    live = apart(2, 100)
    live[50] = 1e9

    assert follow(apart(1, 300), live).crossed is None


def test_rows_that_resemble_their_neighbours_are_counted_in_blocks() -> None:
    assert block_length(wavy(1, 1600)) >= 16
    assert block_length(wavy(1, 1600, memory=0.0)) == 1
    assert block_length(wavy(1, 2 * MIN_BLOCKS - 1)) == 1  # too few to halve their number


def test_the_unit_of_the_loss_does_not_matter() -> None:
    reference, live = wavy(1, 400), wavy(2, 800) + 0.1

    euros, cents = follow(reference, live), follow(100 * reference, 100 * live)

    assert (euros.block, euros.crossed) == (cents.block, cents.crossed)
    assert euros.capital == pytest.approx(cents.capital)
    assert cents.scale == pytest.approx(100 * (euros.scale or 0))


@pytest.mark.parametrize("poor", [np.nan, np.inf, -np.inf])
def test_a_block_that_nobody_can_compare_speaks_for_the_model_that_serves(poor: float) -> None:
    reference, live = apart(1, 300), apart(2, 1000, worse=0.3)
    holed, worst = live.copy(), live.copy()
    holed[5], worst[5] = poor, -1.0  # a row by itself is a block here, and 1 is the largest difference there is

    assert follow(reference, holed) == follow(reference, worst)


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        (np.zeros(300), "differ by the same"),
        (np.full(300, 0.2), "differ by the same"),
        (np.full(300, np.nan), "finite numbers"),
        (np.array([1e200, -1e200] * 50), "finite numbers"),
        (apart(1, MIN_BLOCKS - 1), f"has {MIN_BLOCKS - 1} rows"),
        (np.array([]), "has 0 rows"),
    ],
)
def test_a_pair_without_a_unit_is_not_followed_and_says_why(reference: FloatArray, why: str) -> None:
    standing = follow(reference, np.ones(500))

    assert (standing.block, standing.crossed, standing.capital) == (None, None, 1.0)
    assert standing.reason is not None
    assert why in standing.reason


def test_before_the_first_row_the_capital_is_one() -> None:
    assert follow(apart(1, 300), np.array([])).capital == 1.0


def test_a_standing_is_plain_json_even_when_the_capital_has_no_end() -> None:
    standing = follow(apart(1, 300), np.ones(20_000))

    assert standing.capital == MOST
    assert Standing.from_json(json.loads(json.dumps(standing.to_json(), allow_nan=False))) == standing
