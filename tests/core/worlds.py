"""A small world with a known truth: days at a weather station, and what is measured of them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from understudy.metrics import FloatArray
from understudy.profile import Profile, profile_columns

KNOWN, END, CUT = 1000, 1600, 1300
"""Rows of the last accepted snapshot and of this one; rows before the cut."""

Columns = dict[str, Any]


@dataclass(frozen=True)
class World:
    """Days at a weather station, with seasons: rows, whether it rained, and how probable that truly was."""

    columns: Columns
    label: Any
    truth: FloatArray


def world(n: int = END, *, seed: int = 0) -> World:
    rng = np.random.default_rng(seed)
    season = np.sin(np.arange(n) / 58)
    low = 40 + 20 * season + rng.normal(0, 6, n)
    columns = {
        "low": low,
        "high": low + 6 + rng.gamma(3, 3, n),
        "wind": rng.gamma(2, 4, n),
        "humidity": np.clip(60 + 15 * rng.normal(size=n), 0, 100),
        "sky": np.array(["clear", "clouds", "fog"])[rng.integers(0, 3, n)],
    }
    odds = 0.12 * (columns["humidity"] - 65) + 0.1 * (columns["wind"] - 8) + (columns["sky"] == "clouds") - 0.8
    truth = 1 / (1 + np.exp(-odds))
    return World(columns, (rng.uniform(size=n) < truth).astype(int), truth)


def kinds(columns: Columns) -> dict[str, Any]:
    return {name: "number" if np.asarray(values).dtype.kind in "fiu" else "text" for name, values in columns.items()}


def profile(
    columns: Columns, label: Any, *, known: int = KNOWN, cut: int = CUT, task: Any = "binary", **more: Any
) -> Profile:
    clock = more.pop("clock", [*range(len(label))])
    return profile_columns(
        columns,
        kinds=more.pop("kinds", kinds(columns)),
        label=label,
        task=task,
        clock=clock,
        new_from=known,
        fitted_until=cut,
        **more,
    )


def reference(given: World) -> Profile:
    """The profile of the snapshot before."""
    columns = {name: values[:KNOWN] for name, values in given.columns.items()}
    return profile(columns, given.label[:KNOWN], known=700, cut=850)


def snapshot(given: World, **more: Any) -> Profile:
    return profile(given.columns, given.label, **more)


def changed(given: World, rows: slice, **columns: Any) -> World:
    """Other values for some rows of some columns; `label` is one of them."""
    copies = {
        name: np.array(values, dtype=object if name == "sky" else float) for name, values in given.columns.items()
    }
    label = np.array(given.label)
    for name, values in columns.items():
        (label if name == "label" else copies[name])[rows] = np.asarray(values)[rows] if np.ndim(values) else values
    return replace(given, columns=copies, label=label)
