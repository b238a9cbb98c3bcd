"""What the rows hold in the columns that they are grouped by, as texts: the groups of the evidence.

A number with many different values is no group for anybody, so it is cut into quarters of the fitted rows: these are
known before the holdout is, so that no candidate chooses where it is judged. Drifting data fill the quarters unevenly,
and that is worth seeing. Null stays null, which is a group too.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from understudy.adapters.recipe import Rows
from understudy.errors import BadDefinition
from understudy.model import Model

FEW_NUMBERS = 20
"""Up to so many different numbers are groups as they are: counts, grades, codes."""
LONGEST = 100
"""Characters of a value that the evidence keeps."""


def groups(model: Model, rows: Rows) -> dict[str, list[str | None]]:
    """Column -> what each held-out row says in it, for the columns in `slices` and `protected`.

    Raises BadDefinition where the source does not give one of them.
    """
    columns = (*model.slices, *model.protected)
    return {column: _texts(_column(rows.snapshot.frame, column), rows) for column in columns}


def _column(frame: pd.DataFrame, name: str) -> "pd.Series[Any]":
    if name not in frame.columns:
        raise BadDefinition(
            f"The model is judged by the column `{name}`, which the source does not give.",
            remedy="Bring it back in the source, or take it out of `slices` and `protected`.",
        )
    return frame[name]


def _texts(column: "pd.Series[Any]", rows: Rows) -> list[str | None]:
    held_out, fitted = column.iloc[rows.held_out], column.iloc[rows.fitted]
    numbers = types.is_numeric_dtype(column.dtype) and not types.is_bool_dtype(column.dtype)
    if numbers and fitted.nunique() > FEW_NUMBERS:
        return _quarters(_floats(held_out), _floats(fitted))
    null = held_out.isna().tolist()
    return [None if gone else _shown(value) for value, gone in zip(held_out.tolist(), null, strict=True)]


def _floats(column: "pd.Series[Any]") -> npt.NDArray[np.float64]:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _shown(value: object) -> str:
    text = f"{value:.15g}" if isinstance(value, float) else str(value)  # 3 stays 3 where a null has made it 3.0
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _quarters(values: npt.NDArray[np.float64], fitted: npt.NDArray[np.float64]) -> list[str | None]:
    """The quarter of the fitted values in which each value lies, such as `12.5 to 17`, the upper end not in it."""
    known = fitted[np.isfinite(fitted)]
    edges = np.unique([float(f"{edge:.4g}") for edge in np.quantile(known, [0.25, 0.5, 0.75])])
    ends = [f"{edge:.4g}" for edge in edges]
    middle = [f"{low} to {high}" for low, high in pairwise(ends)]
    names = [f"below {ends[0]}", *middle, f"{ends[-1]} or more"]
    places = np.searchsorted(edges, values, side="right")
    return [None if np.isnan(value) else names[place] for value, place in zip(values, places.tolist(), strict=True)]
