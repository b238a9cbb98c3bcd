"""Measures the recent rows of one version against its training and its holdout: rows in, a `drift.Report` out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, sqrt

import numpy as np

from understudy import shift
from understudy.calibration import confidences
from understudy.column_drift import column_effects, effect_of, sizes_of
from understudy.drift import Delay, Disagreement, Effect, Quality, Report
from understudy.metrics import FloatArray, Labels, accuracy
from understudy.profile import ColumnProfile, Profile
from understudy.shift import FEWEST
from understudy.signature import Task, Value

CERTAIN = 1.645
"""Standard errors on either side of a 90 % interval."""

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
        known = {name: values for name, values in window.columns.items() if name not in window.withheld}
        found.columns, silent = column_effects(known, reference.profile.whole, reference.profile.new)
        withheld = "Its values are withheld from the records."
        found.unmeasured |= {name: withheld if name in window.withheld else why for name, why in silent.items()}
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
        columns=sorted(found.columns, key=lambda one: (not one.beyond, -one.effect, one.name)),
        unmeasured=found.unmeasured,
        scores=found.scores,
        quality=found.quality,
        disagreement=found.disagreement,
        delay=delay,
    )


def _answers(outputs: FloatArray, reference: Reference, found: _Found) -> None:
    then, now = (side if side.ndim == 2 else side[:, None] for side in (reference.holdout, outputs))
    if then.shape[1] != now.shape[1] or len(then) < shift.BLOCKS * 2:
        found.unmeasured["scores"] = "Its answers on the holdout are not known, or of other classes."
        return
    places = [1] if reference.task == "binary" else range(then.shape[1])
    sizes = sizes_of(len(now))
    measures = len(places) * len(sizes)
    moved = {
        (size, place): shift.of_samples(then[:, place], now[-size:, place], measures=measures, older=now[:-size, place])
        for size in sizes
        for place in places
    }
    size, place = max(moved, key=lambda one: (moved[one].low, moved[one].effect))
    told = f"median {np.median(then[:, place]):.4g} → {np.median(now[-size:, place]):.4g}"
    number = ColumnProfile(
        kind="number", null_share=0.0, low=None, high=None, quantiles=None, shares=None, association=None
    )
    found.scores = effect_of(reference.names[place], "scores", number, moved[size, place], 0.0, told)
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
