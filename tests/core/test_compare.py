"""The paired comparison: its losses, its three answers, and what it promises."""

import re
import time
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri, stdtr, stdtrit
from scipy.stats import nct

from understudy.compare import (
    BLOCKS,
    LOSSES,
    MIN_ROWS,
    Comparison,
    block_means,
    compare,
    constant_outputs,
    row_losses,
)
from understudy.metrics import FloatArray
from understudy.policy import CannotTell, Loss

BINARY = np.array([[0.2, 0.8], [0.6, 0.4]])
THREE = np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
NUMBERS = np.array([1.0, 5.0])

OPPOSITE = {"better": "worse", "worse": "better", "cannot_tell": "cannot_tell"}


@st.composite
def pairs(draw: st.DrawFn) -> tuple[FloatArray, FloatArray]:
    """Losses of two models on the same rows."""
    n = draw(st.integers(MIN_ROWS, 400))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    ease = rng.gamma(1.0, draw(st.floats(0.01, 10)), n)
    shift, noise = draw(st.floats(-0.5, 0.5)), draw(st.floats(0.01, 1))
    return ease, ease * (1 + shift) + rng.normal(0, noise, n) ** 2


@pytest.mark.parametrize(
    ("loss", "outputs", "labels", "expected"),
    [
        ("brier", BINARY, [1, 1], [0.04, 0.36]),
        ("brier", THREE, [2, 1], [0.04 + 0.09 + 0.25, 2.0]),
        ("log_loss", BINARY, [1, 0], [-np.log(0.8), -np.log(0.6)]),
        ("log_loss", THREE, [2, 1], [-np.log(0.5), -np.log(0.001)]),
        ("absolute", NUMBERS, [3.0, 1.0], [2.0, 4.0]),
        ("squared", NUMBERS, [3.0, 1.0], [4.0, 16.0]),
    ],
)
def test_each_loss_is_what_it_says(loss: Loss, outputs: FloatArray, labels: Any, expected: list[float]) -> None:
    assert row_losses(loss, outputs, np.array(labels)) == pytest.approx(expected)


@pytest.mark.parametrize("loss", LOSSES["multiclass"])
@given(
    truth=st.lists(st.floats(0.05, 1), min_size=3, max_size=3),
    other=st.lists(st.floats(0.05, 1), min_size=3, max_size=3),
)
def test_on_average_no_other_probabilities_beat_the_true_ones(
    loss: Loss, truth: list[float], other: list[float]
) -> None:
    true, told = (np.array(weights) / sum(weights) for weights in (truth, other))
    every_label = np.arange(3)

    expected = {
        name: float(true @ row_losses(loss, np.tile(p, (3, 1)), every_label))
        for name, p in (("true", true), ("told", told))
    }

    assert expected["true"] <= expected["told"] + 1e-12


def test_every_loss_that_an_owner_may_name_judges_some_task() -> None:
    assert {loss for losses in LOSSES.values() for loss in losses} == set(get_args(Loss))


def test_the_constant_predictor_answers_shares_or_the_median() -> None:
    assert constant_outputs("binary", {"shares": [0.7, 0.3]}, 2).tolist() == [[0.7, 0.3], [0.7, 0.3]]
    assert constant_outputs("regression", {"median": 4}, 3).tolist() == [4.0, 4.0, 4.0]


@given(n=st.integers(MIN_ROWS, 500))
def test_blocks_are_contiguous_and_of_nearly_one_size(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)

    blocks = np.array_split(values, BLOCKS)

    assert block_means(values) == pytest.approx([block.mean() for block in blocks])
    assert min(map(len, blocks)) >= 5


def test_a_clearly_lower_loss_is_better_and_a_clearly_higher_one_worse() -> None:
    losses = np.random.default_rng(0).gamma(1.0, 1.0, 400)

    better, worse = compare(losses * 0.8, losses), compare(losses, losses * 0.8)

    assert (better.answer, worse.answer) == ("better", "worse")
    assert "lower" in better.reason
    assert "higher" in worse.reason


def test_models_that_answer_alike_cannot_be_told_apart_at_any_bar() -> None:
    losses = np.random.default_rng(0).gamma(1.0, 1.0, 400)

    found = {bar: compare(losses, losses * (1 + 1e-12), bar=bar) for bar in (0.5, 0.8, 0.95)}

    assert {one.answer for one in found.values()} == {"cannot_tell"}
    assert found[0.8].reason == "The two models answer alike."


def test_fewer_than_a_hundred_rows_tell_nothing() -> None:
    found = compare(np.zeros(99), np.ones(99))

    assert (found.answer, found.reason) == ("cannot_tell", "Too little data: 99 rows, at least 100 are needed.")
    assert compare(np.zeros(100), np.ones(100)).answer == "better"


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_loss_that_is_no_number_is_never_better(broken: float) -> None:
    losses, other = np.zeros(200), np.ones(200)
    losses[7] = broken

    assert compare(losses, other).answer == "cannot_tell"
    assert compare(other, losses).answer == "cannot_tell"


@pytest.mark.parametrize("bar", [0.49, 1.0, -1.0, float("nan")])
def test_a_bar_that_is_no_confidence_is_refused(bar: float) -> None:
    with pytest.raises(ValueError, match=r"0\.5 <= bar < 1"):
        compare(np.zeros(200), np.ones(200), bar=bar)


def test_rows_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="same rows"):
        compare(np.zeros(200), np.ones(201))


@given(pair=pairs(), bar=st.floats(0.5, 0.99))
def test_changing_sides_turns_the_answer_round(pair: tuple[FloatArray, FloatArray], bar: float) -> None:
    here, there = compare(*pair, bar=bar), compare(*pair[::-1], bar=bar)

    assert there.answer == OPPOSITE[here.answer]
    assert here.gain is not None
    assert there.gain == pytest.approx(-here.gain)


@given(pair=pairs())
def test_the_interval_contains_the_gain_and_widens_with_nothing_else(pair: tuple[FloatArray, FloatArray]) -> None:
    found = compare(*pair)

    assert found.gain is not None
    assert found.interval is not None
    assert found.interval[0] <= found.gain <= found.interval[1]
    assert found.interval == compare(*pair, bar=0.95).interval


@given(pair=pairs(), scale=st.floats(0.001, 1000))
def test_the_unit_of_the_loss_does_not_matter(pair: tuple[FloatArray, FloatArray], scale: float) -> None:
    here, there = compare(*pair), compare(pair[0] * scale, pair[1] * scale)

    assert here.answer == there.answer
    assert here.p == pytest.approx(there.p, abs=1e-6)


@given(pair=pairs())
def test_a_comparison_survives_its_json(pair: tuple[FloatArray, FloatArray]) -> None:
    found = compare(*pair)

    assert Comparison.from_json(found.to_json()) == found


def test_the_record_says_which_harm_would_have_been_stopped() -> None:
    rng = np.random.default_rng(1)
    champion = rng.gamma(1.0, 1.0, 1000)
    candidate = champion + rng.normal(0, 0.3, 1000)

    found = compare(candidate, champion)

    assert found.interval is not None
    assert found.champion_loss is not None
    error = (found.interval[1] - found.interval[0]) / 2 / stdtrit(BLOCKS - 1, 0.9)
    harm = (ndtri(0.95) - ndtri(0.8)) * error
    assert found.stops == f"Would have stopped a model ≥ {100 * harm / found.champion_loss:.1f} % worse with 95 %."


def test_a_high_bar_stops_any_worse_model() -> None:
    losses = np.random.default_rng(0).gamma(1.0, 1.0, 400)

    assert compare(losses, losses[::-1], bar=0.95).stops == "Would have stopped any worse model with 95 %."


@pytest.mark.parametrize("bar", [0.5, 0.6, 0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("cannot_tell", ["shadow", "promote"])
def test_a_model_as_much_worse_as_the_record_says_passes_in_five_of_a_hundred_cases(
    bar: float, cannot_tell: CannotTell
) -> None:
    rng = np.random.default_rng(1)
    champion = rng.gamma(1.0, 1.0, 1000)
    found = compare(champion + rng.normal(0, 0.3, 1000), champion, bar=bar, cannot_tell=cannot_tell)
    assert found.interval is not None
    assert found.champion_loss is not None
    error = (found.interval[1] - found.interval[0]) / 2 / stdtrit(BLOCKS - 1, 0.9)
    said = re.search(r"≥ ([\d.]+) %", found.stops)
    harm = float(said[1]) / 100 * found.champion_loss / error if said else 0.0

    needed = stdtrit(BLOCKS - 1, bar if cannot_tell == "shadow" else 1 - bar)
    passes = nct.sf(needed, BLOCKS - 1, -harm) if harm else stdtr(BLOCKS - 1, -needed)

    assert passes < 0.056  # of a harm that the record rounds to a tenth of a percent


def test_where_it_cannot_tell_the_record_says_how_many_rows_would_settle_it() -> None:
    rng = np.random.default_rng(2)
    champion = rng.gamma(1.0, 1.0, 700)
    noise = rng.normal(0, 0.3, 700)
    noise -= block_means(noise).mean() + 0.6 * block_means(noise).std(ddof=1) / BLOCKS**0.5  # a gain of 0.6 errors

    found = compare(champion + noise, champion)

    assert found.answer == "cannot_tell"
    assert found.settles_rows == pytest.approx(700 * ((ndtri(0.8) + ndtri(0.8)) / 0.6) ** 2, rel=0.05)
    assert re.fullmatch(
        r"About 5,500 rows would settle a difference of this size \(\d\.\d %\), four times in five; "
        r"this holdout had 700\.",
        str(found.settles),
    )


def test_so_many_rows_do_settle_it_four_times_in_five() -> None:
    rng, size = np.random.default_rng(3), 0.1
    error = 1.0 / 700**0.5
    rows = round(700 * ((ndtri(0.8) + ndtri(0.8)) * error / size) ** 2)

    found = [compare(rng.normal(-size, 1.0, rows), np.zeros(rows)).answer for _ in range(1000)]

    assert found.count("better") / 1000 == pytest.approx(0.8, abs=0.04)


def test_where_there_is_nothing_to_settle_the_record_promises_no_number_of_rows() -> None:
    rng = np.random.default_rng(0)
    losses, noise = rng.gamma(1.0, 1.0, 400), rng.normal(0, 0.1, 400)
    tiny = losses + noise - block_means(noise).mean() + 1e-9

    alike, clear, hardly = compare(losses, losses), compare(losses * 0.8, losses), compare(tiny, losses)

    assert (alike.settles, clear.settles, clear.settles_rows) == (None, None, None)
    assert "settles" not in clear.to_json()
    assert (hardly.settles_rows, hardly.answer) == (None, "cannot_tell")
    assert "No number of rows would settle so small a difference" in str(hardly.settles)


def test_a_champion_without_any_loss_is_no_division_by_zero() -> None:
    found = compare(np.random.default_rng(0).gamma(1.0, 1.0, 400), np.zeros(400))

    assert found.answer == "worse"
    assert "in loss per row" in found.stops


def test_ten_thousand_rows_take_less_than_twenty_milliseconds() -> None:
    rng = np.random.default_rng(0)
    outputs, labels = rng.uniform(size=(10_000, 2)), rng.integers(0, 2, 10_000)
    took = []

    for _ in range(5):
        start = time.perf_counter()
        compare(row_losses("brier", outputs, labels), row_losses("brier", outputs[::-1], labels))
        took.append(time.perf_counter() - start)

    assert min(took) < 0.020


# ── what it promises, by simulation with a known truth ───────────────────────────────────────────

ROWS, TIMES = 700, 1500


def brier_of_pair(rng: np.random.Generator, noise: float, *, dependent: float = 0.0) -> tuple[FloatArray, FloatArray]:
    """Brier losses of a candidate and a champion that both misjudge the log-odds, the candidate by `noise`."""
    innovations = rng.normal(size=ROWS)
    signal = innovations.copy()
    for i in range(1, ROWS):
        signal[i] = dependent * signal[i - 1] + (1 - dependent**2) ** 0.5 * innovations[i]
    odds = 1.5 * signal - 0.8
    labels = rng.uniform(size=ROWS) < 1 / (1 + np.exp(-odds))
    blur = rng.normal(size=(2, ROWS))
    p = 1 / (1 + np.exp(-(odds + np.array([[noise], [0.5]]) * blur)))
    return (p[0] - labels) ** 2, (p[1] - labels) ** 2


def passing(noise: float, *, dependent: float = 0.0) -> tuple[float, float]:
    """Share of candidates that are called better; and how much worse they truly are, relative to the champion."""
    rng = np.random.default_rng(11)
    drawn = [brier_of_pair(rng, noise, dependent=dependent) for _ in range(TIMES)]
    worse = sum(candidate.mean() for candidate, _ in drawn) / sum(champion.mean() for _, champion in drawn) - 1
    return sum(compare(*pair).answer == "better" for pair in drawn) / TIMES, worse


@pytest.mark.fault(68)
def test_an_equal_model_passes_about_one_time_in_five_as_the_bar_says() -> None:
    share, worse = passing(0.5)

    assert abs(worse) < 0.002
    assert 0.17 < share < 0.23


@pytest.mark.fault(68)
def test_an_equal_model_passes_hardly_more_often_where_rows_depend_on_each_other() -> None:
    share, _ = passing(0.5, dependent=0.95)

    assert 0.17 < share < 0.25


@pytest.mark.fault(68)
def test_a_model_that_is_five_percent_worse_passes_in_less_than_two_of_a_hundred_cases() -> None:
    share, worse = passing(0.745)

    assert 0.045 < worse < 0.055
    assert share < 0.02
