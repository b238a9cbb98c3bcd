"""How often watching without labels rings for nothing, and how soon for something: `python -m bench.watching`.

A stream of ten columns is watched over its whole length: a look each 500 rows at the newest 5,000, against the profile
of 20,000 rows before it. Each column is an autoregression; neighbours are alike by phi. Beside it the daily weather of
`models/rain.csv.gz`, where nobody planted anything: a champion each so many days, watched until the next one, with and
without the rule that what the newest rows of the training did is no news. Whatever rings there rings for seasons and
years that differ.
"""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from understudy.column_drift import column_effects
from understudy.metrics import FloatArray
from understudy.profile import Part, profile_columns

TRAINED, STREAM, EVERY, WINDOW, COLUMNS = 20_000, 12_000, 500, 5_000, 10
MOVES_AT = 6_000
FIRST, DAYS, LOOK = 3_000, (250, 400, 700, 1500), 50
"""The first training on the weather, days between two trainings, and between two looks."""
READINGS = Path(__file__).parents[1] / "models" / "rain.csv.gz"


def rows(rng: np.random.Generator, n: int, phi: float) -> FloatArray:
    """Shape (n, COLUMNS), each column of variance 1."""
    noise = rng.normal(size=(n, COLUMNS)) * np.sqrt(1 - phi**2)
    found = np.empty((n, COLUMNS))
    found[0] = rng.normal(size=COLUMNS)
    for i in range(1, n):
        found[i] = phi * found[i - 1] + noise[i]
    return found


def trained_on(found: FloatArray) -> Part:
    names = [f"c{i}" for i in range(COLUMNS)]
    profile = profile_columns(
        {name: found[:, i] for i, name in enumerate(names)},
        kinds=dict.fromkeys(names, "number"),
        label=np.arange(len(found)) % 2,
        task="binary",
        clock=list(range(len(found))),
        new_from=0,
        fitted_until=len(found),
    )
    return profile.whole


def watched(phi: float, shift: float, seed: int) -> tuple[bool, int | None]:
    """Whether anything rang for nothing, and after how many rows the column that moves was named."""
    found = rows(np.random.default_rng(seed), TRAINED + STREAM, phi)
    then, stream = trained_on(found[:TRAINED]), found[TRAINED:]
    stream[MOVES_AT:, 0] += shift
    false = False
    for end in range(EVERY, STREAM + 1, EVERY):
        recent = stream[max(0, end - WINDOW) : end]
        effects, _ = column_effects({f"c{i}": recent[:, i].tolist() for i in range(COLUMNS)}, then, None)
        named = {one.name for one in effects if one.beyond}
        if shift and end > MOVES_AT and "c0" in named:
            return false, end - MOVES_AT
        false = false or bool(named)
    return false, None


def weather(days: int, *, rule: bool) -> tuple[int, int, Counter[str]]:
    """Trained each so many days and watched until the next training: how many champions rang, of how many, and what."""
    frame = pd.read_csv(READINGS)
    starts = range(FIRST, len(frame) - days + 1, days)
    found = [_rang(frame, trained, days, rule=rule) for trained in starts]
    return sum(map(bool, found)), len(found), Counter(name for names in found for name in names)


def _rang(frame: pd.DataFrame, trained: int, days: int, *, rule: bool) -> set[str]:
    """Columns that any look names, in the days after a training whose newest rows are as many days before."""
    names = [name for name in frame.columns if name != "rain"]
    profile = profile_columns(
        {name: frame[name].to_numpy()[:trained] for name in names},
        kinds=dict.fromkeys(names, "number"),
        label=frame["rain"].to_numpy()[:trained],
        task="binary",
        clock=list(range(trained)),
        new_from=trained - days,
        fitted_until=trained,
    )
    found = set[str]()
    for looked in range(LOOK, days + 1, LOOK):
        recent = frame.iloc[trained : trained + looked]
        columns = {name: [None if value != value else value for value in recent[name]] for name in names}
        effects, _ = column_effects(columns, profile.whole, profile.new if rule else None)
        found |= {one.name for one in effects if one.beyond}
    return found


def main() -> int:
    streams = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    print(f"{streams} streams each, {STREAM} rows, {STREAM // EVERY} looks at {COLUMNS} columns")
    for phi in (0.0, 0.5, 0.9, 0.95, 0.98):
        rang = sum(watched(phi, 0.0, seed)[0] for seed in range(streams))
        print(f"phi {phi:<4}  nothing moves                 {rang} of {streams} streams rang", flush=True)
    for phi in (0.0, 0.9):
        for shift in (0.25, 0.5, 1.0):
            after = [watched(phi, shift, seed)[1] for seed in range(streams)]
            named = sorted(rows for rows in after if rows is not None)
            median = f"median {int(np.median(named))} rows" if named else "never"
            print(
                f"phi {phi:<4}  one column by {shift:<4} sd  named in {len(named)} of {streams}, {median}", flush=True
            )
    for days in DAYS:
        for rule in (True, False):
            rang, champions, columns = weather(days, rule=rule)
            how = "with the rule   " if rule else "without the rule"
            told = ", ".join(f"{name} {count}" for name, count in columns.most_common())
            print(f"weather, {days:>4} days, {how}  {rang} of {champions} champions rang: {told}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
