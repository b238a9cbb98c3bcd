"""Which blocks a slice is judged on: the product's, against 20 as in the comparison. Prints one table.

    python -m bench.slice_blocks [TRIALS]

Ten slices of 300 rows. `stopped`: share of candidates equal to the champion that are stopped in some slice, nominally
5 %. `found`: share of candidates that are stopped where they have lost ten points of accuracy in one slice.
"""

import sys
from collections.abc import Callable, Sequence

import numpy as np
from scipy.signal import lfilter

from bench.worlds import SLICE_ROWS, SLICES, Rng, sliced
from understudy.compare import BLOCKS, block_means, p_of
from understudy.metrics import FloatArray
from understudy.slices import LEVEL, by_slice

DEPENDENT = 0.95
"""Correlation of a row with the one before it."""
Drawn = tuple[FloatArray, FloatArray, Sequence[str]]
"""Losses of candidate and champion, and each row's slice."""
Draw = Callable[[Rng], Drawn]
Rule = Callable[[FloatArray, FloatArray, Sequence[str]], bool]


def ours(candidate: FloatArray, champion: FloatArray, slices: Sequence[str]) -> bool:
    return any(one.harmed for one in by_slice(candidate, champion, {"slice": slices}))


def twenty(candidate: FloatArray, champion: FloatArray, slices: Sequence[str]) -> bool:
    """Holm stops something where the smallest p lies at or below its limit."""
    names = np.array(slices)
    means = [block_means((candidate - champion)[names == name]) for name in np.unique(names)]
    p = min(p_of(float(one.mean()), float(one.std(ddof=1)) / BLOCKS**0.5) for one in means)
    return p <= LEVEL / len(means)


def wave(rng: Rng, dependent: float) -> FloatArray:
    """SLICES × SLICE_ROWS values of variance 1, each depending on the one before."""
    drawn = rng.normal(size=SLICES * SLICE_ROWS)
    drawn[1:] *= (1 - dependent**2) ** 0.5
    return np.asarray(lfilter([1.0], [1.0, -dependent], drawn))


def equal(rng: Rng, dependent: float) -> tuple[FloatArray, FloatArray]:
    """Brier losses of two models that both misjudge the log-odds alike."""
    odds = 1.5 * wave(rng, dependent)
    label = rng.random(len(odds)) < 1 / (1 + np.exp(-odds))
    p, q = (1 / (1 + np.exp(-(odds + 0.9 * wave(rng, dependent)))) for _ in range(2))
    return (p - label) ** 2, (q - label) ** 2


def share(rule: Rule, trials: int, draw: Draw) -> float:
    rng = np.random.default_rng(7)
    return sum(rule(*draw(rng)) for _ in range(trials)) / trials


def drawn(dependent: float, slices: Sequence[str]) -> Draw:
    return lambda rng: (*equal(rng, dependent), slices)


def ten_points_worse(rng: Rng) -> Drawn:
    champion, candidate, slices = sliced(rng, 0.1)
    return candidate, champion, slices


def main(trials: int) -> None:
    spread = [str(row % SLICES) for row in range(SLICES * SLICE_ROWS)]
    stretches = [str(row // SLICE_ROWS) for row in range(SLICES * SLICE_ROWS)]
    worlds = {
        "stopped, independent rows": drawn(0.0, spread),
        "stopped, dependent rows, slices all over": drawn(DEPENDENT, spread),
        "stopped, dependent rows, each slice one stretch": drawn(DEPENDENT, stretches),
        "found": ten_points_worse,
    }
    print(f"{f'share of {trials} candidates':<50}  ours  20 blocks")
    for title, draw in worlds.items():
        print(f"{title:<48}  {share(ours, trials, draw):>6.1%}  {share(twenty, trials, draw):>9.1%}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
