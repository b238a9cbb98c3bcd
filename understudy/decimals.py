"""The shortest decimals of float32 numbers, as Python's floats: a client that wrote 0.1 finds 0.1 again.

The same as `float(str(x))` says of each, a column at a time: one number after another, a large request would keep the
interpreter busy for seconds.
"""

from typing import Any

import numpy as np

FEWEST, MOST = 6, 9
"""Digits: every decimal of six comes back from float32, and nine tell all float32 apart."""
EXACT = 22
"""Powers of ten up to this one are exact in a double, so that one division rounds as reading the decimal does."""

Column = np.ndarray[Any, Any]


def shortest(column: Column) -> Column:
    """For float32 numbers of shape (n,) the float64 of their shortest decimals, shape (n,). NaN and infinity stay."""
    with np.errstate(invalid="ignore"):  # some NaN are meant to be heard
        said = column.astype(np.float64)
    left = np.flatnonzero(np.isfinite(said) & (said != 0))
    size = np.zeros(len(said), np.int64)
    size[left] = np.floor(np.log10(np.abs(said[left])))
    far = (MOST - 1 - size[left] > EXACT) | (size[left] > EXACT)
    for i in left[far]:
        said[i] = float(str(column[i]))
    left = left[~far]
    exact = said.copy()
    for digits in range(FEWEST, MOST + 1):
        said[left] = rounded(exact[left], digits - 1 - size[left])
        left = left[said[left].astype(np.float32) != column[left]]
    return said


def rounded(exact: Column, places: Column) -> Column:
    """Numbers with so many digits behind the point; where `places` is negative, before it."""
    up, down = 10.0 ** np.maximum(places, 0), 10.0 ** np.maximum(-places, 0)
    return np.asarray(np.rint(exact * up / down) * down / up)
