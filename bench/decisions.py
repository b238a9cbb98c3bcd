"""How good the decisions are, where the truth is known; writes `docs/decision_quality.md`.

    .venv/bin/python -m bench.decisions             takes about five minutes on one core
    .venv/bin/python -m bench.decisions --quick     a tenth of the repetitions: too few to judge by, nothing is written

The gate, the slices, the verdict and the live comparison are the service's own. The whole run ends with 1 where a goal
is missed. Every draw has its seed, so that two runs differ only in what took how long.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any, get_args

import numpy as np
from scipy.stats import ttest_rel

from bench import drifting, machine
from bench.decision_page import GOALS, line, render
from bench.other_games import GAMES, Game, alarms
from bench.worlds import HELD, MEMORY, Window, lives, seldom_worse, sliced, window
from bench.yardstick import losses, monitor
from tests.core.cases import case, evidence
from tests.core.worlds import CUT, snapshot, world
from understudy.compare import compare
from understudy.eprocess import follow
from understudy.gates import judge
from understudy.metrics import FloatArray
from understudy.slices import by_slice

PAGE = Path(__file__).parents[1] / "docs" / "decision_quality.md"

RETRAINS = 200
WATCHED = 20_000
LATE, STEP = 8_000, 2_000
"""Row of a late drop, and rows between two retrains, at each of which a comparison starts anew."""
GATE_ROWS = 10_000

KINDS = [(drift, task) for task in get_args(drifting.Task) for drift in get_args(drifting.Drift)]

Decide = Callable[[Window], bool]


@dataclass(frozen=True)
class Size:
    """How many repetitions of each thing."""

    sequences: int
    """Of 200 retrains."""
    windows: int
    lives: int
    sliced: int
    streams: int
    rounds: int


FULL = Size(sequences=40, windows=4000, lives=1000, sliced=1000, streams=8, rounds=15)
QUICK = Size(sequences=2, windows=200, lives=60, sliced=100, streams=1, rounds=3)


def better(candidate: FloatArray, champion: FloatArray) -> bool:
    """What the gate's comparison says of losses, with the bar that holds where an owner names none."""
    return compare(candidate, champion).answer == "better"


def promoted(given: Window) -> bool:
    own, other = (losses("binary", given.labels, answers) for answers in (given.candidate, given.champion))
    return better(own, other)


def equal_promoted(size: Size, decide: Decide = promoted) -> dict[str, float]:
    """Promotions of equal models in 200 retrains, by the memory of the rows."""
    found = {}
    for name, memory in (("independent", 0.0), ("dependent", MEMORY)):
        rng = np.random.default_rng([1, int(100 * memory)])
        count = sum(decide(window(rng, memory=memory)) for _ in range(RETRAINS * size.sequences))
        found[name] = count / size.sequences
    return found


def power(size: Size, decide: Decide = promoted) -> dict[str, float]:
    """Share of candidates that are promoted, by how much worse they are (below 0: better)."""
    found = {}
    for worse in (0.05, 0.02, -0.02, -0.05, -0.1):
        rng = np.random.default_rng([2, round(100 * (1 + worse))])
        found[f"{worse:g}"] = sum(decide(window(rng, worse)) for _ in range(size.windows)) / size.windows
    return found


def false_alarms(size: Size) -> dict[str, float]:
    """Share of comparisons of equal models that end in a switch within 20,000 rows."""
    found = {}
    for place, (name, draw) in enumerate((("alike", lives), ("seldom much worse", seldom_worse))):
        rng = np.random.default_rng([3, place])
        pairs = ((draw(rng, HELD), draw(rng, WATCHED)) for _ in range(size.lives))
        found[name] = sum(monitor(*pair) is not None for pair in pairs) / size.lives
    return found


def rows_needed(size: Size, drop: float, game: Game = monitor) -> dict[str, float | None]:
    """Rows from a drop to the switch: where the comparison starts with it, and where it comes late in life."""
    rng = np.random.default_rng([4, round(1000 * drop)])
    at_once = [game(lives(rng, HELD), lives(rng, WATCHED, drop)) for _ in range(size.lives)]
    late = [_late(rng, drop, game) for _ in range(size.lives)]
    return {
        "median": _middle(at_once),
        "p90": _middle(at_once, 0.9),
        "late": _middle(late),
        "late p90": _middle(late, 0.9),
    }


def _late(rng: np.random.Generator, drop: float, game: Game) -> int | None:
    """Rows after row 8,000, somewhere between two retrains; each retrain starts the comparison anew."""
    start = LATE - int(rng.integers(STEP))
    while start < LATE + WATCHED:
        reference = lives(rng, HELD, drop if start > LATE else 0.0)
        row = game(reference, lives(rng, STEP, drop, since=LATE - start))
        if row is not None and start + row > LATE:
            return start + row - LATE
        start += STEP
    return None


def _middle(rows: Sequence[int | None], share: float = 0.5) -> float | None:
    """A quantile; a comparison that never ended took for ever."""
    found = float(np.quantile([np.inf if row is None else row for row in rows], share, method="lower"))
    return found if np.isfinite(found) else None


def slices(size: Size) -> dict[str, float]:
    """Share of equal candidates that some slice vetoes, and of those 10 points worse in one that this one does."""
    found = {}
    for place, (name, drop) in enumerate((("vetoed", 0.0), ("caught", 0.1))):
        rng = np.random.default_rng([5, place])
        count = 0
        for _ in range(size.sliced):
            champion, candidate, groups = sliced(rng, drop)
            harmed = {one.value for one in by_slice(candidate, champion, {"slice": groups}) if one.harmed}
            count += "0" in harmed if drop else bool(harmed)
        found[name] = count / size.sliced
    return found


def gate_cost(size: Size) -> dict[str, float]:
    """Milliseconds of a whole verdict at 10,000 rows, ten slices among them; and of one t-test of the same losses."""
    given = world(CUT + GATE_ROWS)
    groups = {"ten": [str(row % 10) for row in range(GATE_ROWS)]}
    whole = case(evidence=evidence(given, groups=groups), slices=("ten",), profile=snapshot(given))
    assert judge(whole).passed, "a gate that says no at once costs nothing"
    rng = np.random.default_rng(6)
    own, other = rng.random(GATE_ROWS), rng.random(GATE_ROWS)
    reference, live = rng.normal(size=HELD), rng.normal(size=GATE_ROWS)
    timed = {
        "judge": lambda: judge(whole),
        "comparison": lambda: compare(own, other),
        "live": lambda: follow(reference, live),
        "t-test": lambda: ttest_rel(own, other),
    }
    rounds = [{name: _ms(run) for name, run in timed.items()} for _ in range(size.rounds)]
    found = {name: median(each[name] for each in rounds) for name in timed}
    return {**found, "ratio": median(each["judge"] / each["t-test"] for each in rounds)}


def _ms(run: Callable[[], object]) -> float:
    """Of processor time: others may use the machine, too."""
    start = time.thread_time()
    run()
    return 1000 * (time.thread_time() - start)


POLICIES: dict[str, tuple[drifting.Gate, drifting.Monitor | None]] = {
    "never": (lambda candidate, champion: False, None),
    "always": (lambda candidate, champion: True, None),
    "gate": (better, None),
    "whole": (better, monitor),
}


def streams(size: Size) -> list[dict[str, Any]]:
    """What each policy cost above the least possible, in per cent of loss; one object for each task and drift."""
    return [_stream(drift, task, size.streams) for drift, task in KINDS]


def _stream(drift: drifting.Drift, task: drifting.Task, count: int) -> dict[str, Any]:
    given = _drawn(drift, task, count)
    found = {name: drifting.summed(given, *policy) for name, policy in POLICIES.items()}
    excess = {name: each["excess"] for name, each in found.items()}
    return {"drift": drift, "task": task, **found["whole"], "excess": excess}


def games(size: Size) -> dict[str, dict[str, float | None]]:
    """What other ways to play the live comparison would give: alarms, rows to roll back, and on the same streams."""
    few = replace(size, lives=min(size.lives, 300))
    given = [one for drift, task in KINDS for one in _drawn(drift, task, size.streams)]
    found = {}
    for name, game in GAMES.items():
        needed = {f"{drop:g}": rows_needed(few, drop, game)["median"] for drop in (0.05, 0.02)}
        found[name] = {**alarms(game, few.lives, WATCHED), **needed, **drifting.summed(given, better, game)}
    return found


@cache
def _drawn(drift: drifting.Drift, task: drifting.Task, count: int) -> list[drifting.Stream]:
    return [drifting.stream(drift, task, seed) for seed in range(100, 100 + count)]


def measured(size: Size) -> dict[str, Any]:
    """Every figure, as plain JSON values."""
    parts: dict[str, Callable[[], Any]] = {
        "equal": partial(equal_promoted, size),
        "power": partial(power, size),
        "alarms": partial(false_alarms, size),
        "rows": lambda: {f"{drop:g}": rows_needed(size, drop) for drop in (0.05, 0.02)},
        "slices": partial(slices, size),
        "gate": partial(gate_cost, size),
        "streams": partial(streams, size),
        "games": partial(games, size),
    }
    figures: dict[str, Any] = {"taken": machine.described()}
    for name, part in parts.items():
        start = time.perf_counter()
        figures[name] = part()
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return figures


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help="fewer repetitions; write nothing")
    quick = arguments.parse_args().quick
    figures = measured(QUICK if quick else FULL)
    figures["taken"]["command"] = shlex.join(["python", "-m", "bench.decisions", *sys.argv[1:]])
    for goal in GOALS:
        print(line(goal, figures))
    if not quick:
        PAGE.write_text(render(figures))
    return 0 if quick or all(goal.met(figures) for goal in GOALS) else 1


if __name__ == "__main__":
    sys.exit(main())
