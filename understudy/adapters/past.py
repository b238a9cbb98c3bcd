"""A model's own past, as it is known by the end of a replay: every row that has a label, in time order.

A row is found again by its key and time, or by its time and features: a past state of the data has the same row,
perhaps without its label.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from understudy.adapters import frames, recipe, snapshot
from understudy.adapters.definitions import Definition
from understudy.adapters.rows_apart import identities
from understudy.adapters.snapshot import Snapshot
from understudy.errors import DataRefused
from understudy.events import moment
from understudy.evidence import Clock
from understudy.fingerprint import digest_of
from understudy.model import Model
from understudy.replay import Past, Places
from understudy.spans import Span

FEWEST = recipe.FEWEST_FITTED + recipe.FEWEST_HELD_OUT
"""Rows with a label, without which nothing can be trained and judged."""
ODD = np.uint64(0x9E3779B97F4A7C15)
"""Tells equal rows of one moment apart, by their number."""


@dataclass(frozen=True, eq=False)
class Known:
    """The past of one definition."""

    definition: Definition
    source: str
    """Digest of the definition's text."""
    all_rows: pd.DataFrame
    frame: pd.DataFrame
    """Those that have a label; a *place* is a number in here."""
    clock: npt.NDArray[Any]
    past: Past
    digest: str
    """Of all rows."""
    now: datetime
    _named: dict[tuple[str, ...], npt.NDArray[np.uint64]] = field(default_factory=dict, init=False)
    _asked: dict[tuple[str, ...], pd.DataFrame] = field(default_factory=dict, init=False)

    def until(self, row: int) -> "Known":
        """The same without the rows after that number, where rows are the clock."""
        n = int(np.searchsorted(self.clock, row, side="right"))
        rows, frame, clock = self.all_rows.head(row + 1), self.frame.head(n), self.clock[:n]
        past = replace(self.past, labels=self.past.labels[:n], clock=clock)
        return replace(self, all_rows=rows, frame=frame, clock=clock, past=past, digest=f"{self.digest}:{row}")

    @property
    def model(self) -> Model:
        return self.definition.model

    def at(self, date: Clock, window: Span | None) -> tuple[bytes, Snapshot, int]:
        """The data as of a date: their bytes, the same in order, and how many labelled rows are dated later."""
        if isinstance(date, int):
            frame, future = self.all_rows.head(date + 1), 0
        else:
            as_of = moment(date)
            start = None if window is None or window.time is None else as_of - window.time
            taken = snapshot.take(self.model, as_of=as_of, now=self.now, start=start)
            frame, future = taken.frame, taken.future
        if window is not None and window.rows is not None:
            frame = frame.tail(window.rows).reset_index(drop=True)
        data = snapshot.write(frame)
        return data, snapshot.read(data, self.model), future

    def places(self, frame: pd.DataFrame) -> Places:
        """Where the rows of a past state stand here; −1 for one that is not found."""
        shared = [name for name in map(str, frame.columns) if name in self.frame.columns]
        names = pd.Series(names_of(self.model, frame, shared))
        return np.asarray(pd.Index(self._names(tuple(shared))).get_indexer(pd.Index(names)), dtype=np.intp)

    def _names(self, columns: tuple[str, ...]) -> npt.NDArray[np.uint64]:
        if columns not in self._named:
            self._named[columns] = names_of(self.model, self.frame, columns)
        return self._named[columns]

    def features(self, names: Sequence[str]) -> pd.DataFrame:
        """All rows as a fitted estimator is asked about them."""
        if tuple(names) not in self._asked:
            self._asked[tuple(names)] = frames.feature_frame(self.frame, names)
        return self._asked[tuple(names)]


def look(definition: Definition, *, as_of: datetime, now: datetime) -> Known:
    """Ask the source for everything that had arrived by `as_of`.

    Raises what `snapshot.take` raises, and DataRefused for too few rows.
    """
    model = definition.model
    data = snapshot.write(snapshot.take(model, as_of=as_of, now=now).frame)
    rows = snapshot.read(data, model)
    recipe.check_tags(model, rows.frame)
    if len(rows.mature) <= FEWEST:
        raise DataRefused(
            f"The data hold {len(rows.mature)} rows with a label; a replay needs more than {FEWEST}, with which the "
            "first model is trained and judged.",
            remedy="Wait until more have arrived.",
        )
    mature = rows.frame.iloc[rows.mature].reset_index(drop=True)
    task = model.task_for(mature[model.target].nunique())
    target = frames.target_of(mature[model.target], task=task)
    return Known(
        definition=definition,
        source=digest_of(definition.source_bytes()),
        all_rows=rows.frame,
        frame=mature,
        clock=rows.mature_clock,
        past=Past(
            model=model.name,
            task=task,
            classes=target.classes,
            labels=_codes(target),
            clock=rows.mature_clock,
            ranges=model.ranges,
            slices=model.slices,
            protected=model.protected,
        ),
        digest=digest_of(data),
        now=now,
    )


def names_of(model: Model, frame: pd.DataFrame, columns: Sequence[str]) -> npt.NDArray[np.uint64]:
    """A number for each row, shape (n,), that is the same in every state of the data with these columns."""
    named = [model.time, model.key] if model.key else [name for name in columns if name not in _changing(model)]
    hashes = identities(frame, [name for name in named if name is not None])
    again = pd.Series(hashes).groupby(hashes).cumcount().to_numpy(dtype=np.uint64)
    return np.asarray(hashes + again * ODD)


def _changing(model: Model) -> frozenset[str]:
    """Columns that may say something else later."""
    return model.not_features - {model.time}


def _codes(target: frames.Target) -> npt.NDArray[Any]:
    if target.classes is None:
        return target.values
    places = {label: i for i, label in enumerate(target.classes)}
    return np.array([places[label] for label in target.values.tolist()], dtype=np.int64)


@contextmanager
def home_of_sources(home: Path, *, in_use: bool) -> Iterator[None]:
    """Let sources that remember something find it below `home`; where nothing has run yet, let them forget it again.

    A look at the past must not be what starts a feed.
    """
    kept = os.environ.get("UNDERSTUDY_HOME")
    with TemporaryDirectory() as folder:
        os.environ["UNDERSTUDY_HOME"] = str(home.absolute()) if in_use else folder
        try:
            yield
        finally:
            del os.environ["UNDERSTUDY_HOME"]
            if kept is not None:
                os.environ["UNDERSTUDY_HOME"] = kept
