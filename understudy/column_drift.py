"""Each column of the recent rows against the profile of a training: effects, and what they were and are in words."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from understudy import shift
from understudy.drift import Effect, Measure
from understudy.metrics import FloatArray
from understudy.profile import ColumnProfile, Part
from understudy.shift import FEWEST, Shift
from understudy.signature import Value

SIZES = (400, 1_000, 2_500)
"""Newest rows that are looked at on their own, beside all of them. A change that lies within the rows that one looks at
makes them seem to depend on each other for very long, and so to tell little; before long it lies before some of these.
"""
COMMON = 0.01
"""A text that moved by a smaller share of the rows is not named: it may be one person's."""


def column_effects(
    recent: Mapping[str, Sequence[Value]], then: Part, new: Part | None
) -> tuple[list[Effect], dict[str, str]]:
    """Each column, values and nulls; and why of some nothing is said.

    Args:
        recent: column -> its values in the order of the answers, as many of each.
        then, new: all rows of the training, and those of them that were new to it.
    """
    known = [name for name in then.columns if name in recent]
    found: list[Effect] = []
    unmeasured = {name: "It is not on record." for name in then.columns if name not in recent}
    newest = None if new is None or new.rows < FEWEST or new.rows == then.rows else new
    sizes = sizes_of(max((len(recent[name]) for name in known), default=0))
    for name in known:
        profile = then.columns[name]
        values = _array(recent[name], profile)
        usual = None if newest is None else newest.columns.get(name)
        measures = 2 * len(known) * len(sizes)
        looks = [_effects(name, values, size, profile, usual, then.rows, measures=measures) for size in sizes]
        effects = [plainest(list(same)) for same in zip_longest(*looks)]
        found += effects
        if not any(effect.measure == "values" for effect in effects):
            unmeasured[name] = f"Fewer than {FEWEST} rows have a value, or none had one in training."
    return found, unmeasured


def sizes_of(rows: int) -> list[int]:
    """How many of the newest rows are looked at, the most first."""
    return [rows, *(size for size in reversed(SIZES) if size < rows)]


def plainest(looks: "list[Effect | None]") -> Effect:
    """The look whose interval lies highest; of those that say nothing, the first."""
    return max((one for one in looks if one is not None), key=lambda one: one.low)


def _effects(
    name: str,
    values: npt.NDArray[Any],
    newest: int,
    then: ColumnProfile,
    usual: ColumnProfile | None,
    m: int,
    *,
    measures: int,
) -> list[Effect]:
    """Values and nulls of the newest rows of a column; what came before them says how much they depend."""
    gone = np.array([value is None for value in values]) if then.kind == "text" else np.isnan(values)
    past, null = np.split(gone, [len(gone) - newest])
    nulls = shift.of_nulls(then.null_share, m, null, measures=measures, older=past)
    told = f"null in {then.null_share:.1%} → {float(null.mean()):.1%}"
    usually = 0.0 if usual is None else abs(usual.null_share - then.null_share)
    found = [effect_of(name, "nulls", then, nulls, usually, told)]
    older, there = (part[~flags] for part, flags in zip(np.split(values, [len(past)]), (past, null), strict=True))
    before = m * (1 - then.null_share)
    if len(there) < FEWEST or before < 1:
        return found
    usually = 0.0 if usual is None else _usual(then, usual)
    if then.kind == "text":
        moved = shift.of_texts(then.shares or {}, before, there, measures=measures, older=older)
        return [*found, effect_of(name, "values", then, moved, usually, _most_moved(then.shares or {}, there))]
    if then.quantiles is None:
        return found
    moved = shift.of_numbers(then.quantiles, before, there, measures=measures, older=older)
    return [*found, effect_of(name, "values", then, moved, usually, _middle(then, there))]


def effect_of(name: str, measure: Measure, then: ColumnProfile, moved: Shift, usual: float, told: str) -> Effect:
    return Effect(
        name=name,
        measure=measure,
        kind=then.kind,
        effect=moved.effect,
        low=moved.low,
        high=moved.high,
        usual=usual,
        rows=moved.rows,
        effective=moved.effective,
        told=told,
    )


def _usual(then: ColumnProfile, new: ColumnProfile) -> float:
    """Distance of the newest rows of a training from all of them."""
    if then.kind == "text":
        before, after = then.shares or {}, new.shares or {}
        return sum(abs(before.get(text, 0.0) - after.get(text, 0.0)) for text in {*before, *after}) / 2
    if then.quantiles is None or new.quantiles is None:
        return 0.0
    return shift.kolmogorov(then.quantiles, np.array(new.quantiles))


def _array(values: Sequence[Value], then: ColumnProfile) -> npt.NDArray[Any]:
    if then.kind == "text":
        return np.array([None if value is None else str(value) for value in values], dtype=object)
    numbers = np.array([np.nan if value is None or isinstance(value, str) else value for value in values], dtype=float)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _most_moved(then: Mapping[str, float], texts: npt.NDArray[Any]) -> str:
    names, counts = np.unique(texts.astype(str), return_counts=True)
    now = dict(zip(names.tolist(), (counts / len(texts)).tolist(), strict=True))
    text = max({*then, *now}, key=lambda one: (abs(now.get(one, 0.0) - then.get(one, 0.0)), one))
    if abs(now.get(text, 0.0) - then.get(text, 0.0)) < COMMON:
        return f"{len(then)} frequent texts of old → {len(names)} texts"
    return f"{text[:40]!r} in {then.get(text, 0.0):.1%} → {now.get(text, 0.0):.1%}"


def _middle(then: ColumnProfile, numbers: FloatArray) -> str:
    assert then.quantiles is not None
    if then.kind == "boolean":
        share = 1 - sum(value < 0.5 for value in then.quantiles) / len(then.quantiles)
        return f"true in {share:.0%} → {float(numbers.mean()):.0%}"
    return f"median {then.quantiles[len(then.quantiles) // 2]:.4g} → {float(np.median(numbers)):.4g}"
