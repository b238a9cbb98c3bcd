"""Decimals of whole columns of float32 are those that Python writes of each number."""

import numpy as np
import pytest

from understudy.decimals import shortest

ODD = np.array(
    [0.0, -0.0, np.nan, np.inf, -np.inf, 0.1, 3.4028235e38, 1e-45, 16777216.5, 1e10, 9.999999e-5], np.float32
)
TENS = np.array([10.0**power for power in range(-45, 39)], np.float32)
TWOS = np.float32(2) ** np.arange(-149, 128, dtype=np.float32)
ANY = np.random.default_rng(1).integers(0, 2**32, 20_000, dtype=np.uint32).view(np.float32)
USUAL = (np.random.default_rng(2).integers(-(10**7), 10**7, 20_000) / 1_000).astype(np.float32)


@pytest.mark.parametrize(
    "column", [ODD, TENS, TWOS, ANY, USUAL, ODD[:0]], ids=["odd", "tens", "twos", "any", "usual", "none"]
)
def test_a_column_has_the_shortest_decimals_of_each_of_its_numbers(column: np.ndarray) -> None:
    one_by_one = [float(str(number)) for number in column]

    assert list(map(repr, shortest(column).tolist())) == list(map(repr, one_by_one))
