"""How a snapshot becomes a bundle. A run trains by it, and `understudy verify run` does so again with the same bytes.

    ----------------- mature rows, in the order of their clock ----------------->
    [ fitted                                        ] cut [ holdout              ]
                          [ seen by the champion ]  [ judged before ]  ^ after all of these

No clock value stands on both sides of the cut. The holdout is the newest half of what has arrived since the last
verdict, at least 100 and at most 1,000 rows. The refit, which serves once its candidate has passed, is fitted on both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from understudy.adapters import frames, training
from understudy.adapters.frames import Target
from understudy.adapters.snapshot import Snapshot, later
from understudy.errors import BadDefinition, DataRefused
from understudy.evidence import Clock
from understudy.fingerprint import canonical_json, digest_of, training_fingerprint
from understudy.model import Model
from understudy.profile import Profile, profile_columns
from understudy.signature import Task

FEWEST_HELD_OUT, MOST_HELD_OUT = 100, 1_000
FEWEST_FITTED = 100


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All that decides the bytes of a bundle, besides the libraries."""

    source: str
    """Digest of the definition's source."""
    data: str
    """Digest of the snapshot."""
    params: Mapping[str, Any]
    """What the run was given beyond the definition."""
    cut: Clock
    """Clock of the last row that is fitted."""

    @property
    def seed(self) -> int:
        """31 bits that follow from everything else, so that an estimator without a seed is repeatable too."""
        text = canonical_json([self.source, self.data, dict(self.params), self.cut])
        return int(digest_of(text)[:8], 16) >> 1


@dataclass(frozen=True, eq=False)
class Rows:
    """A snapshot, divided."""

    snapshot: Snapshot
    features: pd.DataFrame
    """A `feature_frame` of all rows."""
    task: Task
    fitted: npt.NDArray[np.intp]
    held_out: npt.NDArray[np.intp]
    """Places of the rows, in time order."""

    def labels(self, model: Model, places: npt.NDArray[np.intp]) -> Target:
        return frames.target_of(self.snapshot.frame[model.target].iloc[places], task=self.task)


def fresh(snapshot: Snapshot, after: Clock | None) -> int:
    """How many rows with a label are later than `after`."""
    return int(later(snapshot.mature_clock, after).sum())


def choose_cut(snapshot: Snapshot, after: Clock | None) -> Clock:
    """The clock of the last row to fit, for a snapshot of which everything later than `after` is fresh.

    Raises DataRefused where too few rows would be left to fit.
    """
    clock = snapshot.mature_clock
    held_out = min(max(fresh(snapshot, after) // 2, FEWEST_HELD_OUT), MOST_HELD_OUT)
    first = len(clock) - held_out
    if first > 0:
        first = int(np.searchsorted(clock, clock[first]))  # rows of one moment stay together
    if first < FEWEST_FITTED:
        raise DataRefused(
            f"The data hold {len(clock)} rows with a label; {FEWEST_FITTED} to fit and {FEWEST_HELD_OUT} to judge by "
            "are the least.",
            remedy="Wait until more rows have their label.",
        )
    return as_clock(clock[first - 1])


def divide(model: Model, snapshot: Snapshot, cut: Clock) -> Rows:
    """Put each mature row on its side of the cut.

    Raises BadDefinition for columns that no model can be fitted on, and for tags that protect none.
    """
    frame, places = snapshot.frame, snapshot.mature
    check_tags(model, frame)
    after = later(snapshot.mature_clock, cut)
    names = [name for name in map(str, frame.columns) if name not in model.not_features]
    task = model.task_for(frame[model.target].iloc[places[~after]].nunique())
    return Rows(snapshot, frames.feature_frame(frame, names), task, places[~after], places[after])


def check_tags(model: Model, frame: pd.DataFrame) -> None:
    """Raises BadDefinition where `tags` names no column: what it was meant for would be recorded in clear."""
    unknown = sorted(set(model.tags).difference(map(str, frame.columns)))
    if unknown:
        raise BadDefinition(
            f"`tags` names a column `{unknown[0]}` that the source does not give.",
            remedy="Correct the name, or leave it out: a tag protects the column that has exactly its name.",
        )


def profile(model: Model, rows: Rows, *, reference: Profile | None, future: int) -> Profile:
    """Measure the divided snapshot, for `quality.check`."""
    columns = frames.learn_columns(rows.features)
    label = np.full(len(rows.features), None, dtype=object)
    label[rows.snapshot.mature] = rows.labels(model, rows.snapshot.mature).values.tolist()
    clock = rows.snapshot.clock
    known = ~later(clock, None if reference is None else reference.end)
    return profile_columns(
        {column.name: rows.features[column.name].to_numpy() for column in columns},
        kinds={column.name: column.kind for column in columns},
        label=label,
        task=rows.task,
        clock=clock.tolist(),
        new_from=int(known.sum()),
        fitted_until=int(rows.held_out[0]) if len(rows.held_out) else len(clock),
        future=future,
    )


def make(model: Model, rows: Rows, inputs: Inputs) -> bytes:
    """Fit the rows before the cut and bundle the result.

    Raises BadDefinition, ModelFailed; and whatever the estimator raises.
    """
    fitted, held_out = rows.features.iloc[rows.fitted], rows.features.iloc[rows.held_out]
    labels = rows.labels(model, rows.fitted)
    estimator = training.fit(model.estimator, fitted, labels, seed=inputs.seed, params=inputs.params)
    return training.make_bundle(
        estimator,
        facts=_facts(model, rows, inputs),
        task=rows.task,
        target=model.target,
        features=fitted,
        labels=labels,
        holdout=held_out,
        holdout_labels=rows.labels(model, rows.held_out),
    )


def refit(model: Model, rows: Rows, inputs: Inputs, metrics: Mapping[str, float]) -> bytes:
    """Fit all mature rows with the seed of the candidate that `make` made, and bundle the result.

    `metrics`: the candidate's, since on the rows that it was judged by this one would only repeat what it has learnt.
    Raises as `make` does.
    """
    mature, held_out = rows.snapshot.mature, rows.features.iloc[rows.held_out]
    features, labels = rows.features.iloc[mature], rows.labels(model, mature)
    estimator = training.fit(model.estimator, features, labels, seed=inputs.seed, params=inputs.params)
    data = {"train_rows": len(mature), "cut": as_clock(rows.snapshot.mature_clock[-1]), "judged_cut": inputs.cut}
    return training.make_bundle(
        estimator,
        facts=_facts(model, rows, inputs, metrics, **data),
        task=rows.task,
        target=model.target,
        features=features,
        labels=labels,
        holdout=held_out,
        holdout_labels=rows.labels(model, rows.held_out),
    )


def as_clock(moment: Any) -> Clock:
    """One entry of a clock array as a plain value."""
    return str(moment) if isinstance(moment, str) else int(moment)


def _facts(
    model: Model, rows: Rows, inputs: Inputs, metrics: Mapping[str, float] | None = None, **fitted: Any
) -> training.Facts:
    """`fitted`: what the manifest says of the rows that were fitted, where these are not those before the cut."""
    clock = rows.snapshot.clock
    data = {
        "digest": inputs.data,
        "rows": len(clock),
        "train_rows": len(rows.fitted),
        "cut": inputs.cut,
        "end": as_clock(clock[-1]),
        **fitted,
    }
    return training.Facts(
        model=model.name,
        metric=model.metric,
        params=inputs.params,
        seed=inputs.seed,
        data=data,
        metrics=metrics,
        fingerprint=training_fingerprint(
            source=inputs.source,
            data=data,
            params=inputs.params,
            seed=inputs.seed,
            libraries=training.libraries(),
        ),
    )
