"""Other ways to play the game of `understudy.eprocess`, which were tried and are not played; and what each would give.

cut off       blocks count at most two standard deviations, and six bets from 0.01 to 0.9
more bets     these six bets, and nothing cut off
head start    half of the capital has been in the game since the first row of the holdout
discounted    what the means of neighbouring blocks still have in common is taken off each gain
aimed         bets for what would be 2.4 and 4.9 standard errors by the next retrain
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from bench.worlds import HELD, Rng, lives, remembering, seldom_worse
from bench.yardstick import monitor
from understudy.eprocess import BETS, CORRELATED, ENOUGH, MOST_LOST, MOST_WON, SPREADS, block_length, means, unit
from understudy.metrics import FloatArray

Game = Callable[[FloatArray, FloatArray], int | None]

SIX = (0.01, 0.03, 0.1, 0.3, 0.6, 0.9)


def cut_off(reference: FloatArray, live: FloatArray) -> int | None:
    block = block_length(reference)
    scale = SPREADS * float(means(reference, block).std(ddof=1))
    return _first(np.log1p(np.outer(SIX, np.clip(means(live, block) / scale, -1, 1))), block)


def bold(
    reference: FloatArray, live: FloatArray, bets: tuple[float, ...], head: float = 0.0, discount: str = "no"
) -> int | None:
    """The game as it is played, but for what is named."""
    block = block_length(reference)
    before, scale = means(reference, block), unit(means(reference, block))
    weight = (1 - head) + head * np.exp(_gains(before / scale, bets).sum(axis=1))
    gains = _gains(means(live, block) / scale, bets)
    return _first(gains / (in_common(before) if discount == "yes" else 1.0), block, weight)


def aimed(reference: FloatArray, live: FloatArray) -> int | None:
    """Until the next retrain there come about twice the rows of the holdout; after that, bets shrink with time."""
    block = block_length(reference)
    before = means(reference, block)
    scale = unit(before)
    spread = float(before.std(ddof=1)) / scale
    blocks = np.maximum(2 * len(before), np.arange(1, len(live) // block + 1))
    sure = (2 * np.log(ENOUGH)) ** 0.5
    bets = np.minimum(np.array([[sure], [2 * sure]]) / np.sqrt(blocks) / spread, 0.9)
    return _first(np.log1p(np.clip(bets * means(live, block) / scale, -MOST_LOST, MOST_WON)), block)


def in_common(blocks: FloatArray) -> float:
    """How many blocks say as much as one that is independent, if each remembers the one before."""
    off = blocks - blocks.mean()
    memory = float(off[1:] @ off[:-1]) / float(off @ off)
    return (1 + memory) / (1 - memory) if memory > max(CORRELATED, len(blocks) ** -0.5) else 1.0


def _gains(x: FloatArray, bets: tuple[float, ...]) -> FloatArray:
    return np.asarray(np.log1p(np.clip(np.outer(bets, x), -MOST_LOST, MOST_WON)))


def _first(gains: FloatArray, block: int, weight: FloatArray | float = 1.0) -> int | None:
    """The row of the first crossing, from the logarithm of what each block makes of each bet."""
    with np.errstate(over="ignore"):
        capital = (np.exp(gains.cumsum(axis=1)) * np.reshape(weight, (-1, 1))).mean(axis=0)
    reached = np.flatnonzero(capital >= ENOUGH)
    return (int(reached[0]) + 1) * block if len(reached) else None


GAMES: Mapping[str, Game] = {
    "as it is played": monitor,
    "cut off": cut_off,
    "more bets": partial(bold, bets=SIX),
    "head start": partial(bold, bets=BETS, head=0.5),
    "discounted": partial(bold, bets=BETS, discount="yes"),
    "aimed": aimed,
}


def alarms(game: Game, count: int, rows: int) -> dict[str, float]:
    """Per cent of comparisons of equal models that end in a switch, by what their rows are like."""
    worlds: Mapping[str, Callable[[Rng, int], FloatArray]] = {
        "alike": lives,
        "seldom much worse": seldom_worse,
        "with a memory": remembering,
    }
    found = {}
    for place, (name, draw) in enumerate(worlds.items()):
        rng = np.random.default_rng([7, place])
        pairs = [(draw(rng, HELD), draw(rng, rows)) for _ in range(count)]
        found[name] = 100 * sum(game(*pair) is not None for pair in pairs) / count
    return found
