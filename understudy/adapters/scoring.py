"""Evidence: candidate and champion asked about the same held-out rows, each through the form that would serve.

A row that a model cannot answer stands in the evidence as null, and the gates say what that means.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
from pandas.api import types

from understudy import evidence
from understudy.adapters import frames
from understudy.adapters.groups import groups
from understudy.adapters.own_loss import own_losses
from understudy.adapters.recipe import Rows
from understudy.adapters.runtime import Runtime
from understudy.errors import BadDefinition, ModelFailed
from understudy.events import timestamp
from understudy.model import Model
from understudy.signature import Column, Value

Outputs = list[list[float] | float | None]
"""Per row: probabilities in class order, or a number; None: no answer."""


@dataclass(frozen=True)
class Scored:
    """What a model said to the held-out rows."""

    outputs: Outputs
    problem: str | None
    """Why some or all rows have no answer."""


@dataclass(frozen=True)
class Champion:
    """The version that serves now."""

    digest: str
    runtime: Runtime | None
    """None: it cannot be loaded here, so it answers nothing."""
    problem: str | None = None


def gather(
    model: Model, rows: Rows, *, candidate: Runtime, champion: Champion | None, profile: str, now: datetime
) -> tuple[bytes, str | None]:
    """Ask both models; return the evidence, and why the champion could not answer every row, if it could not.

    `profile`: digest of the snapshot's profile. `now`: when they were asked. Raises BadDefinition where the source does
    not give a column that the model is judged by, or a loss of the owner's is none.
    """
    held_out = rows.features.iloc[rows.held_out]
    labels = rows.labels(model, rows.held_out).values.tolist()
    asked = frames.rows_of(held_out)
    classes = candidate.signature.classes
    answered = None if champion is None else _score_champion(champion, rows, classes)
    outputs = ask_rows(candidate, asked, classes).outputs, None if answered is None else answered.outputs
    document = evidence.build(
        model=model.name,
        candidate=candidate.digest,
        champion=None if champion is None else champion.digest,
        task=candidate.signature.task,
        classes=classes,
        clock=rows.snapshot.clock[rows.held_out].tolist(),
        rows=[evidence.row_digest([*row, label]) for row, label in zip(asked, labels, strict=True)],
        labels=labels,
        candidate_out=outputs[0],
        champion_out=outputs[1],
        times_measured=timestamp(now),
        profile=profile,
        groups=groups(model, rows),
        own=own_losses(model, rows, classes=classes, candidate=outputs[0], champion=outputs[1]),
    )
    return document, None if answered is None else answered.problem


def _score_champion(champion: Champion, rows: Rows, classes: Sequence[Value] | None) -> Scored:
    if champion.runtime is None:
        return Scored([None] * len(rows.held_out), champion.problem)
    return score(champion.runtime, rows.snapshot.frame.iloc[rows.held_out], classes)


def score(runtime: Runtime, frame: pd.DataFrame, classes: Sequence[Value] | None) -> Scored:
    """Ask a version about the rows of a frame that another version was made from.

    Args:
        frame: raw rows, with more columns than it knows, or fewer.
        classes: order of the probabilities that are returned.
    """
    columns = runtime.signature.columns
    if (runtime.signature.classes is None) != (classes is None):
        return Scored([None] * len(frame), "it does another task")
    try:
        features = frames.feature_frame(frame, [column.name for column in columns])
    except BadDefinition as error:
        return Scored([None] * len(frame), error.problem)
    for column in columns:
        if (column.kind == "text") != types.is_string_dtype(features[column.name].dtype):
            return Scored([None] * len(frame), f"it expects `{column.name}` as {column.kind}")
    fitting = pd.DataFrame({column.name: _fit(features[column.name], column) for column in columns})
    return ask_rows(runtime, frames.rows_of(fitting), classes)


def _fit(values: "pd.Series[Any]", column: Column) -> "pd.Series[Any]":
    """Cast to the dtype that the version knows, where no value is lost by it."""
    if column.kind == "text" or values.dtype == column.dtype or values.isna().any():
        return values
    cast = values.astype(column.dtype)  # type: ignore[call-overload]  # the stubs list literal dtypes only
    return cast if (cast == values).all() else values


def ask_rows(runtime: Runtime, rows: list[list[Value]], classes: Sequence[Value] | None) -> Scored:
    """Ask about all rows at once; where that fails, one by one."""
    try:
        return Scored(_outputs(runtime, rows, classes), None)
    except ModelFailed:
        pass
    outputs: Outputs = []
    problem = None
    for row in rows:
        try:
            outputs += _outputs(runtime, [row], classes)
        except ModelFailed as error:
            outputs.append(None)
            problem = error.problem
    return Scored(outputs, problem)


def _outputs(runtime: Runtime, rows: list[list[Value]], classes: Sequence[Value] | None) -> Outputs:
    answer = runtime.predict(rows)
    if answer.probabilities is None or classes is None:
        return [float(value) for value in answer.predictions]
    own = runtime.signature.classes or ()
    if tuple(own) == tuple(classes):
        return list(answer.probabilities)
    place = {label: i for i, label in enumerate(own)}
    return [[row[place[label]] if label in place else 0.0 for label in classes] for row in answer.probabilities]
