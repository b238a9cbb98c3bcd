"""The rows of two versions, side by side: which came and went, and which columns moved."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from understudy.adapters.snapshot import Snapshot, later
from understudy.adapters.stored_version import Roles, StoredVersion
from understudy.errors import UnderstudyError
from understudy.evidence import Clock
from understudy.movement import Columns, Identities, Overlap, overlap
from understudy.profile import Part, profile_columns
from understudy.signature import ColumnKind, Signature

LARGEST_EXACT = 2**53
"""float64 holds every integer up to here."""


@dataclass(frozen=True)
class Learnt:
    """What a version has learnt from."""

    whole: Part
    """All of it, measured."""
    new: Columns | None
    """The rows of it that are later than a moment; None: there are none."""


def overlap_of(then: pd.DataFrame, now: pd.DataFrame, roles: Roles) -> Overlap:
    """Count the rows of two frames, by the columns that both have.

    A row is known by its key; without one, by everything but its label, which may arrive later.
    """
    both = [name for name in map(str, then.columns) if name in now.columns]
    known_by = [roles.key] if roles.key in both else [name for name in both if name != roles.target]
    return overlap(identities(then, known_by), identities(now, known_by), identities(then, both), identities(now, both))


def identities(frame: pd.DataFrame, names: Sequence[str]) -> Identities:
    """A number for each row, from its values and not from the dtype that holds them: a null makes integers floats."""
    plain = pd.DataFrame({name: _plain(frame[name]) for name in names}, index=frame.index)
    return np.asarray(pd.util.hash_pandas_object(plain, index=False), dtype=np.uint64)


def _plain(column: "pd.Series[Any]") -> "pd.Series[Any]":
    if types.is_datetime64_any_dtype(column.dtype):
        moments: pd.Series[Any] = column.dt.as_unit("us")
        return moments
    if types.is_integer_dtype(column.dtype) and column.abs().max() >= LARGEST_EXACT:
        return column.astype("str")  # keys that float64 cannot tell from their neighbours
    if types.is_numeric_dtype(column.dtype) or types.is_bool_dtype(column.dtype):
        return column.astype("float64")
    return column.astype("str")


def fitted(version: StoredVersion, rows: Snapshot) -> npt.NDArray[np.intp]:
    """Places of the rows that a version has learnt from."""
    mature = rows.mature_clock
    found: npt.NDArray[np.intp] = rows.mature[~later(mature, version.summary["data"]["cut"])]
    return found


def learnt(version: StoredVersion, rows: Snapshot, signature: Signature, *, than: Clock | None) -> Learnt | None:
    """Measure the rows that a version has learnt from, in the columns of `signature`.

    Args:
        than: what is later than this is given as well; None: nothing is.
    """
    places = fitted(version, rows)
    clock, frame = rows.clock[places], rows.frame.iloc[places]
    late = np.zeros(len(places), dtype=np.bool_) if than is None else later(clock, than)
    try:
        profile = profile_columns(
            {column.name: frame[column.name].to_numpy() for column in signature.columns},
            kinds={column.name: column.kind for column in signature.columns},
            label=frame[signature.target].to_numpy(),
            task=signature.task,
            clock=clock.tolist(),
            new_from=len(places),
            fitted_until=0,
        )
        new = {column.name: plain_values(frame[column.name][late], column.kind) for column in signature.columns}
    except (UnderstudyError, KeyError, ValueError, TypeError) as error:
        version.gone["columns"] = f"Its rows cannot be measured ({type(error).__name__})."
        return None
    return Learnt(profile.whole, new if late.any() else None)


def plain_values(column: "pd.Series[Any]", kind: ColumnKind) -> npt.NDArray[Any]:
    """As `profile_columns` measures them: texts with None for null, or floats with NaN for null and infinities."""
    if kind == "text":
        texts = [None if gone else str(value) for value, gone in zip(column, column.isna(), strict=True)]
        return np.array(texts, dtype=object)
    numbers = column.to_numpy(dtype="float64", na_value=np.nan)
    return np.where(np.isfinite(numbers), numbers, np.nan)
