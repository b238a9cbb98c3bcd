"""The rows of a run: read from the source as of a moment, ordered by their clock, and kept as Parquet in the store.

Training reads them back from those bytes, so that a run and its reproduction meet the very same frame.
"""

import io
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pandas.api import types

from understudy.errors import BadDefinition, DataRefused, SourceFailed, UnderstudyError
from understudy.evidence import Clock
from understudy.model import Model

LEEWAY = timedelta(minutes=5)
"""Clocks of two machines differ by less; a row that is dated later than this is dated in the future."""


@dataclass(frozen=True)
class Taken:
    """What the source gave, cut and ordered."""

    frame: pd.DataFrame
    future: int
    """Labelled rows, left out, that are dated later than the moment of the run."""
    note: str
    """What the source says of itself; empty where it says nothing."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Rows in time order, as they stand in the store."""

    frame: pd.DataFrame
    clock: npt.NDArray[Any]
    """Times as texts, or row numbers."""
    mature: npt.NDArray[np.intp]
    """Places of the rows that have a label."""

    @property
    def mature_clock(self) -> npt.NDArray[Any]:
        return self.clock[self.mature]


def take(
    model: Model, *, as_of: datetime, now: datetime, start: datetime | None = None, end: datetime | None = None
) -> Taken:
    """Ask the model's source for its rows.

    Args:
        as_of: rows are those that had arrived by then.
        now: the moment of the run; later than `as_of` where it looks at the past.
        start, end: first and last time of a row that is taken.

    Raises:
        SourceFailed: the source could not give them.
        DataRefused: no rows, or rows without the columns that the definition names.
    """
    given = _asked(model, as_of)
    note = str(given.attrs.get("note", ""))
    frame = _some(given.reset_index(drop=True))
    frame.attrs = {}
    _check_columns(model, frame)
    if model.time is None:
        if start or end:
            raise BadDefinition(
                "Rows without a time cannot be chosen by date.", remedy="Name the column that is their time: `time=`."
            )
        return Taken(_some(frame), 0, note)
    moments = _moments(frame[model.time])
    frame = frame.assign(**{model.time: moments})
    future = int((frame[model.target].notna() & (moments > max(as_of, now) + LEEWAY)).sum())
    wanted = (moments <= as_of) & (moments >= start if start else True) & (moments <= end if end else True)
    return Taken(_some(frame[wanted].sort_values(model.time, kind="stable", ignore_index=True)), future, note)


def write(frame: pd.DataFrame) -> bytes:
    """A frame as Parquet: the same rows give the same bytes. Raises DataRefused for what no file can hold."""
    file = io.BytesIO()
    try:
        frame.to_parquet(file, engine="pyarrow", index=False, compression="zstd")
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataRefused(
            f"The rows cannot be stored: {' '.join(str(error).split())[:200]}.",
            remedy="Give each column values of one type, and a text as its name.",
        ) from error
    return file.getvalue()


def read(data: bytes, model: Model) -> Snapshot:
    """What `write` wrote, with the clock of each row."""
    return read_columns(data, time=model.time, target=model.target)


def read_columns(data: bytes, *, time: str | None, target: str) -> Snapshot:
    """The same, for whoever has no definition but the names of two columns."""
    frame = pd.read_parquet(io.BytesIO(data), engine="pyarrow")
    clock = np.arange(len(frame)) if time is None else _texts(frame[time])
    return Snapshot(frame, clock, np.flatnonzero(frame[target].notna()))


def later(clock: npt.NDArray[Any], than: Clock | None) -> npt.NDArray[np.bool_]:
    """Which moments are later than `than`: all, where it is None, or was written when the model had another clock."""
    if than is None or isinstance(than, str) != (clock.dtype.kind == "U"):
        return np.ones(len(clock), dtype=np.bool_)
    return np.asarray(clock > than, dtype=np.bool_)


def _asked(model: Model, as_of: datetime) -> pd.DataFrame:
    try:
        given = model.source.get_dataframe(as_of)
    except (UnderstudyError, MemoryError):
        raise
    except Exception as error:
        raise SourceFailed(
            f"The source raised {type(error).__name__}: {' '.join(str(error).split())[:300]}.",
            remedy="See that it can be reached, and what it answers to get_dataframe(as_of).",
        ) from error
    if not isinstance(given, pd.DataFrame):
        raise SourceFailed(
            f"The source gave a {type(given).__name__} instead of a frame.",
            remedy="Return a pandas.DataFrame from get_dataframe.",
        )
    return given


def _check_columns(model: Model, frame: pd.DataFrame) -> None:
    names = [str(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataRefused(f"Two columns are named `{twice[0][:60]}`.", remedy="Give each column a name of its own.")
    for role, name in (("target", model.target), ("time", model.time), ("key", model.key)):
        if name is not None and name not in names:
            raise DataRefused(
                f"The data have no column `{name}`, which the definition names as its {role}; they have "
                f"{', '.join(f'`{other[:60]}`' for other in names[:20])}.",
                remedy="Bring the column back in the source, or correct the definition.",
            )


def _some(frame: pd.DataFrame) -> pd.DataFrame:
    if frame.empty:
        raise DataRefused("The source gave no rows.", remedy="Look at the source; the next run asks it again.")
    return frame


def _moments(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """The time column in UTC, in microseconds."""
    if types.is_numeric_dtype(column.dtype):
        raise DataRefused(
            f"The time column `{column.name}` holds numbers.",
            remedy="Make them times in the source.",
        )
    moments = pd.to_datetime(column, utc=True, errors="coerce", format=None if _is_time(column) else "ISO8601")
    missing = int(moments.isna().sum())
    if missing:
        raise DataRefused(
            f"{missing} of {len(column)} rows have no time in `{column.name}` that can be read.",
            remedy="Write times in ISO 8601, such as 2026-01-31T12:00:00Z.",
        )
    return moments.dt.as_unit("us")


def _is_time(column: "pd.Series[Any]") -> bool:
    return bool(types.is_datetime64_any_dtype(column.dtype))


def _texts(moments: "pd.Series[Any]") -> npt.NDArray[Any]:
    """As `events.timestamp` writes them, a thousand times faster."""
    plain = moments.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(dtype="datetime64[us]")
    return np.char.add(np.datetime_as_string(plain, unit="us"), "Z")
