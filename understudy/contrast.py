"""What two versions say of themselves, side by side: settings by name, metrics with their direction, lines of source.

`then` is the version that is looked at first, and `now` the other; neither needs to be the newer one.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from understudy.metrics import METRICS, FloatArray

LONGEST_VALUE = 120
"""Characters of a value that are shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A named value that is not the same; None: the version has none of that name."""

    name: str
    then: str | None
    now: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricChange:
    """One metric of both versions; None: the version has it not."""

    name: str
    then: float | None
    now: float | None
    better: Literal["higher", "lower"] | None
    """Which way is better; None: this release does not know the metric."""
    says: Literal["better", "worse", "same"] | None
    """What that makes of the second version."""


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[Change, ...]:
    """Values that differ, by name; one that is only on one side is shown beside None."""
    both = {name: (_text(then, name), _text(now, name)) for name in sorted({*then, *now})}
    return tuple(Change(name=name, then=one, now=other) for name, (one, other) in both.items() if one != other)


def metric_changes(then: Mapping[str, float], now: Mapping[str, float]) -> tuple[MetricChange, ...]:
    """Every metric that one of the two has."""
    return tuple(_metric(name, then.get(name), now.get(name)) for name in sorted({*then, *now}))


def source_changes(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """A unified diff of all files of two definitions; empty where they say the same."""
    lines: list[str] = []
    for file in sorted({*then, *now}):
        before, after = (f"{side}/{file}" if file in files else "/dev/null" for side, files in _sides(then, now))
        texts = (then.get(file, "").splitlines(), now.get(file, "").splitlines())
        lines += difflib.unified_diff(*texts, before, after, n=1, lineterm="")
    return tuple(lines)


def answer_changes(then: FloatArray, now: FloatArray) -> FloatArray:
    """How far the two answers to each row are apart, shape (n,); NaN where one of the two gave none.

    Args:
        then, now: shape (n,), numbers of a regression; or (n, classes), probabilities in the same order. Of these it
            is the share that has moved from one class to others: 0.0 the same, 1.0 nothing in common.
    """
    apart: FloatArray = np.abs(now - then)
    return apart if apart.ndim == 1 else apart.sum(axis=1) / 2


def _sides(then: Mapping[str, str], now: Mapping[str, str]) -> tuple[tuple[str, Mapping[str, str]], ...]:
    return ("then", then), ("now", now)


def _text(values: Mapping[str, Any], name: str) -> str | None:
    if name not in values:
        return None
    value = values[name]
    try:
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    except (TypeError, ValueError):  # what no JSON holds: an estimator's own object, or NaN inside a set
        text = repr(value)
    return " ".join(text.split())


def _metric(name: str, then: float | None, now: float | None) -> MetricChange:
    known = METRICS.get(name)
    better = None if known is None else _direction(known.higher_is_better)
    return MetricChange(name=name, then=then, now=now, better=better, says=_says(then, now, better))


def _direction(higher: bool) -> Literal["higher", "lower"]:
    return "higher" if higher else "lower"


def _says(then: float | None, now: float | None, better: str | None) -> Literal["better", "worse", "same"] | None:
    if then is None or now is None or better is None:
        return None
    if then == now:
        return "same"
    return "better" if (now > then) == (better == "higher") else "worse"
