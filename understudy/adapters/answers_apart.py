"""Two versions asked the same rows: how far their answers are apart, and on which rows most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from understudy.adapters import frames, scoring
from understudy.adapters.recipe import MOST_HELD_OUT, as_clock
from understudy.adapters.runtime import Runtime
from understudy.adapters.snapshot import Snapshot, later
from understudy.adapters.stored_version import Roles
from understudy.contrast import answer_changes, metric_changes
from understudy.errors import UnderstudyError
from understudy.metrics import FloatArray, measure
from understudy.signature import Value

FEWEST = 20
"""Held-out rows below which the newest of all are asked instead."""


@dataclass(frozen=True)
class Asked:
    """The rows that both are asked."""

    places: npt.NDArray[np.intp]
    which: str
    """What rows these are, in words."""


def rows_to_ask(rows: Snapshot, data: Mapping[str, Any], newer: str) -> Asked:
    """Rows with a label that the newer version was held back from; of a refit, those that its candidate was.

    Where there are hardly any, the newest of all. `data`: what the newer version's manifest says of its rows.
    """
    for cut, which in (
        (data["cut"], f"rows that version {newer} was held back from"),
        (data.get("judged_cut"), f"rows on which the candidate was judged that version {newer} is the refit of"),
    ):
        held_out = rows.mature[:0] if cut is None else rows.mature[later(rows.mature_clock, cut)]
        if len(held_out) >= FEWEST:
            return Asked(held_out[-MOST_HELD_OUT:], which)
    return Asked(rows.mature[-MOST_HELD_OUT:], f"the newest rows of version {newer}")


def answers_apart(
    then: Runtime, now: Runtime, rows: Snapshot, asked: Asked, roles: Roles, *, most: int
) -> dict[str, Any]:
    """Ask both about the same rows, and show those whose answer changed most.

    Args:
        most: how many rows are shown.
    """
    frame = rows.frame.iloc[asked.places]
    classes = _classes(then, now)
    before, after = (scoring.score(runtime, frame, classes) for runtime in (then, now))
    problem = before.problem or after.problem
    facts: dict[str, Any] = {"rows": len(frame), "which": asked.which, "classes": classes, "problem": problem}
    apart = answer_changes(_array(before.outputs, classes), _array(after.outputs, classes))
    answered = np.flatnonzero(np.isfinite(apart))
    if not len(answered):
        return {**facts, "mean": None, "largest": None, "other_class": None, "metrics": [], "most": []}
    outputs = _array(before.outputs, classes)[answered], _array(after.outputs, classes)[answered]
    first = answered[np.argsort(-apart[answered], kind="stable")[:most]]
    return {
        **facts,
        "mean": float(apart[answered].mean()),
        "largest": float(apart[answered].max()),
        "other_class": None if classes is None else float(np.mean(_likeliest(outputs[0]) != _likeliest(outputs[1]))),
        "metrics": _metrics(then, now, rows, asked.places[answered], outputs, classes),
        "most": [_shown(place, before, after, apart, rows, asked, (then, now), roles, classes) for place in first],
    }


def _classes(then: Runtime, now: Runtime) -> list[Value] | None:
    """All classes of the two, in the order of the second; None for a regression, or where the tasks differ."""
    ours, theirs = then.signature.classes, now.signature.classes
    return None if theirs is None else list(dict.fromkeys([*theirs, *(ours or ())]))


def _array(outputs: scoring.Outputs, classes: Sequence[Value] | None) -> FloatArray:
    """(n, classes) or (n,), NaN where there is no answer."""
    if classes is None:
        return np.array(outputs, dtype=np.float64)
    return np.array([[np.nan] * len(classes) if row is None else row for row in outputs], dtype=np.float64)


def _likeliest(outputs: FloatArray) -> npt.NDArray[np.intp]:
    return np.asarray(outputs.argmax(axis=1), dtype=np.intp)


def _metrics(
    then: Runtime,
    now: Runtime,
    rows: Snapshot,
    places: npt.NDArray[np.intp],
    outputs: tuple[FloatArray, FloatArray],
    classes: Sequence[Value] | None,
) -> list[Any]:
    """Metrics of both on the very same rows; none where the labels are not those of the task."""
    task = now.signature.task
    if task == "binary" and len(classes or ()) != 2:
        task = "multiclass"
    try:
        labels = frames.target_of(rows.frame[now.signature.target].iloc[places], task=task).values
    except (UnderstudyError, KeyError):
        return []
    if classes is not None:
        codes: Mapping[Value, int] = {label: code for code, label in enumerate(classes)}
        labels = np.array([codes.get(label, -1) for label in labels.tolist()], dtype=np.int64)
    return list(metric_changes(*(measure(task, side, labels) for side in outputs)))


def _shown(
    place: int,
    before: scoring.Scored,
    after: scoring.Scored,
    apart: FloatArray,
    rows: Snapshot,
    asked: Asked,
    both: tuple[Runtime, Runtime],
    roles: Roles,
    classes: Sequence[Value] | None,
) -> dict[str, Any]:
    """One row: what it says where that may be shown, and what both answered."""
    row = rows.frame.iloc[asked.places[place]]
    names = dict.fromkeys([*both[1].signature.names, *both[0].signature.names])
    shown = [name for name in names if name in row.index and name not in roles.withheld]
    target = both[1].signature.target
    has_key = roles.key is not None and roles.key in row.index and roles.key not in roles.withheld
    return {
        "clock": None if roles.time in roles.withheld else as_clock(rows.clock[asked.places[place]].item()),
        "key": _value(row[str(roles.key)]) if has_key else None,
        "values": {name: _value(row[name]) for name in shown},
        "then": _said(before.outputs[place], classes),
        "now": _said(after.outputs[place], classes),
        "label": None if target in roles.withheld else _value(row[target]),
        "change": float(apart[place]),
    }


def _said(output: Any, classes: Sequence[Value] | None) -> dict[str, Any]:
    """An answer: the prediction, and how likely the model held it."""
    if classes is None:
        return {"prediction": output, "probabilities": None}
    return {"prediction": classes[int(np.argmax(output))], "probabilities": output}


def _value(value: Any) -> Any:
    """A value of a frame as JSON has it."""
    plain = value.item() if isinstance(value, np.generic) else value
    if plain is None or isinstance(plain, bool | int | str):
        return plain
    if isinstance(plain, float):
        return plain if np.isfinite(plain) else None
    return str(plain)
