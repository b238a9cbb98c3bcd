"""Measures the recent rows of one version against its training and its holdout: rows in, a `drift.Report` out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from math import isfinite, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from understudy import shift
from understudy.calibration import confidences
from understudy.drift import Delay, Disagreement, Effect, Measure, Quality, Report
from understudy.metrics import FloatArray, Labels, accuracy
from understudy.profile import ColumnProfile, Part, Profile
from understudy.shift import FEWEST, Shift
from understudy.signature import Task, Value

CERTAIN = 1.645
"""Standard errors on either side of a 90 % interval."""

SIZES = (400, 1_000, 2_500)
"""Newest rows that are looked at on their own, beside all of them. A change that lies within the rows that one looks at
makes them seem to depend on each other for very long, and so to tell little; before long it lies before some of these.
"""
COMMON = 0.01
"""A text that moved by a smaller share of the rows is not named: it may be one person's."""
RARE = 3
"""Of n rows: what has not been seen in them is, with 95 %, no more frequent than 3 / n."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """The newest rows that a version has answered, in the order of its answers."""

    version: str
    since: str | None
    until: str | None
    rows: int
    columns: Mapping[str, Sequence[Value]]
    withheld: frozenset[str]
    outputs: FloatArray | None
    """Shape (n, classes) or (n,); None: the records hold no probabilities."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """What the version was trained on, and what it answered on its holdout."""

    task: Task
    profile: Profile
    names: tuple[str, ...]
    """Of the classes; of a regression, one name for its answers."""
    classes: tuple[Value, ...] | None
    holdout: FloatArray
    """Shape (m, classes) or (m,), finite."""
    labels: Labels


@dataclass(frozen=True, kw_only=True, eq=False)
class Other:
    """What the version in shadow says to the same rows."""

    version: str
    outputs: FloatArray | None
    problem: str = ""


@dataclass
class _Found:
    columns: list[Effect] = field(default_factory=list)
    unmeasured: dict[str, str] = field(default_factory=dict)
    scores: Effect | None = None
    quality: Quality | None = None
    disagreement: Disagreement | None = None


def measure(window: Window, reference: Reference | None, other: Other | None, delay: Delay | None) -> Report:
    """One look. What cannot be measured says why; nothing is raised for too few rows."""
    found = _Found()
    if window.rows < FEWEST:
        found.unmeasured["rows"] = f"{window.rows} rows since it serves; {FEWEST} are needed."
    elif reference is None:
        found.unmeasured["rows"] = "Nothing is known of its training: it serves without a verdict."
    else:
        _columns(window, reference.profile.whole, reference.profile.new, found)
        if window.outputs is None:
            found.unmeasured["scores"] = "The records hold no probabilities."
        else:
            _answers(window.outputs, reference, found)
    if other is not None and window.rows >= FEWEST and reference is not None and window.outputs is not None:
        _disagreement(window.outputs, other, reference.task, found)
    return Report(
        version=window.version,
        rows=window.rows,
        since=window.since,
        until=window.until,
        columns=sorted(found.columns, key=lambda one: (one.threshold - one.low, -one.effect)),
        unmeasured=found.unmeasured,
        scores=found.scores,
        quality=found.quality,
        disagreement=found.disagreement,
        delay=delay,
    )


def _columns(window: Window, then: Part, new: Part | None, found: _Found) -> None:
    known = [name for name in then.columns if name in window.columns and name not in window.withheld]
    for name in sorted({*then.columns} - {*known}):
        found.unmeasured[name] = (
            "Its values are withheld from the records." if name in window.withheld else "No values."
        )
    newest = None if new is None or new.rows < FEWEST or new.rows == then.rows else new
    sizes = sizes_of(window.rows)
    for name in known:
        profile = then.columns[name]
        values = _array(window.columns[name], profile)
        usual = None if newest is None else newest.columns.get(name)
        measures = 2 * len(known) * len(sizes)
        looks = [_effects(name, values[-size:], profile, usual, then.rows, measures=measures) for size in sizes]
        effects = [plainest(list(same)) for same in zip_longest(*looks)]
        found.columns += effects
        if not any(effect.measure == "values" for effect in effects):
            found.unmeasured[name] = f"Fewer than {FEWEST} rows have a value, or none had one in training."


def sizes_of(rows: int) -> list[int]:
    """How many of the newest rows are looked at, the most first."""
    return [rows, *(size for size in reversed(SIZES) if size < rows)]


def plainest(looks: "list[Effect | None]") -> Effect:
    """The look whose interval lies highest; of those that say nothing, the first."""
    return max((one for one in looks if one is not None), key=lambda one: one.low)


def _effects(
    name: str, values: npt.NDArray[Any], then: ColumnProfile, usual: ColumnProfile | None, m: int, *, measures: int
) -> "list[Effect]":
    null = np.array([value is None for value in values]) if then.kind == "text" else np.isnan(values)
    nulls = shift.of_nulls(then.null_share, m, null, measures=measures)
    told = f"null in {then.null_share:.1%} → {float(null.mean()):.1%}"
    usually = 0.0 if usual is None else abs(usual.null_share - then.null_share)
    found = [_effect(name, "nulls", then, nulls, usually, told)]
    there, before = values[~null], m * (1 - then.null_share)
    if len(there) < FEWEST or before < 1:
        return found
    usually = 0.0 if usual is None else _usual(then, usual)
    if then.kind == "text":
        moved = shift.of_texts(then.shares or {}, before, there, measures=measures)
        return [*found, _effect(name, "values", then, moved, usually, _most_moved(then.shares or {}, there))]
    if then.quantiles is None:
        return found
    moved = shift.of_numbers(then.quantiles, before, there, measures=measures)
    return [*found, _effect(name, "values", then, moved, usually, _middle(then, there))]


def _effect(name: str, measure: Measure, then: ColumnProfile, moved: Shift, usual: float, told: str) -> Effect:
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


def _answers(outputs: FloatArray, reference: Reference, found: _Found) -> None:
    then, now = (side if side.ndim == 2 else side[:, None] for side in (reference.holdout, outputs))
    if then.shape[1] != now.shape[1] or len(then) < shift.BLOCKS * 2:
        found.unmeasured["scores"] = "Its answers on the holdout are not known, or of other classes."
        return
    places = [1] if reference.task == "binary" else range(then.shape[1])
    sizes = sizes_of(len(now))
    measures = len(places) * len(sizes)
    moved = {
        (size, place): shift.of_samples(then[:, place], now[-size:, place], measures=measures)
        for size in sizes
        for place in places
    }
    size, place = max(moved, key=lambda one: (moved[one].low, moved[one].effect))
    told = f"median {np.median(then[:, place]):.4g} → {np.median(now[-size:, place]):.4g}"
    number = ColumnProfile(
        kind="number", null_share=0.0, low=None, high=None, quantiles=None, shares=None, association=None
    )
    found.scores = _effect(reference.names[place], "scores", number, moved[size, place], 0.0, told)
    if reference.task == "regression":
        found.unmeasured["quality"] = "A regression has no scores to expect an error from."
    else:
        found.quality = _quality(then, reference.labels, now)


def _quality(then: FloatArray, labels: Labels, now: FloatArray) -> Quality:
    before, after = confidences(then, labels, now)
    lost = float(before.mean() - after.mean())
    around = CERTAIN * sqrt(shift.standard_error(before) ** 2 + shift.standard_error(after) ** 2)
    return Quality(
        now=float(after.mean()),
        then=float(before.mean()),
        measured=accuracy(then, labels),
        lost=lost,
        low=lost - around,
        high=lost + around,
        rows=len(now),
    )


def _disagreement(outputs: FloatArray, other: Other, task: Task, found: _Found) -> None:
    said = other.outputs
    if said is None or said.shape != outputs.shape or not np.isfinite(said).all():
        found.unmeasured["disagreement"] = other.problem or f"Version {other.version} does not answer these rows."
        return
    apart = np.abs(outputs - said) if task == "regression" else (outputs.argmax(1) != said.argmax(1)).astype(float)
    spread = float(np.abs(outputs - outputs.mean()).mean()) if task == "regression" else 0.0
    share = float(apart.mean())
    around = max(CERTAIN * shift.standard_error(apart), RARE / len(apart) * (1 if task != "regression" else 0))
    found.disagreement = Disagreement(
        other=other.version,
        share=share,
        low=max(0.0, share - around),
        high=share + around,
        relative=share / spread if spread and isfinite(share / spread) else None,
        rows=len(apart),
    )
