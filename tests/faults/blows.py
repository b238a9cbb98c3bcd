"""What befalls an installation, drawn by a seed: each round has one kill, and often a pause or a cut around it."""

import random
from dataclasses import dataclass
from typing import Literal, get_args

from tests.faults.cuts import Cut

Kill = Literal["worker", "parent", "api", "scheduler", "training"]
"""One worker of several; the process that started them; all of them at once; a scheduler; a run's own process."""

PAUSES_S = ((0.5, 3.0), (6.0, 8.0), (11.0, 13.0))
"""Shorter than any patience; longer than a worker goes without a look at the log; longer than silence means death."""


@dataclass(frozen=True)
class Disturbance:
    """Something that passes by itself."""

    kind: Literal["pause worker", "pause scheduler", "drop", "reset", "stall"]
    lasts_s: float


@dataclass(frozen=True)
class Round:
    """`which` in 0 … 1 chooses among several victims of a kind."""

    number: int
    wait_s: float
    disturbance: Disturbance | None
    kill: Kill
    which: float
    recovers: bool
    """Everything is back to full strength before the next round."""


def round_of(seed: int, number: int, *, workers: int) -> Round:
    """The same for the same arguments: a failure can be looked at again without all that went before."""
    draw = random.Random(f"{seed}/{number}")
    several: dict[Kill, int] = {"worker": 4, "parent": 2, "api": 2, "scheduler": 2, "training": 2}
    one: dict[Kill, int] = {"api": 5, "scheduler": 2, "training": 2}
    weights = one if workers == 1 else several
    return Round(
        number=number,
        wait_s=draw.uniform(0.1, 1.5),
        disturbance=disturbance_of(draw) if draw.random() < 0.4 else None,
        kill=draw.choices(list(weights), list(weights.values()))[0],
        which=draw.random(),
        recovers=draw.random() < 0.7,
    )


def disturbance_of(draw: random.Random) -> Disturbance:
    if draw.random() < 0.5:
        return Disturbance(draw.choice(get_args(Cut)), draw.uniform(0.3, 2.0))
    kind: Literal["pause worker", "pause scheduler"] = draw.choice(("pause worker", "pause scheduler"))
    shortest, longest = draw.choice(PAUSES_S)
    return Disturbance(kind, draw.uniform(shortest, longest))
