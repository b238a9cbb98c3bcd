"""The measure of a snapshot: what `quality.py` compares with the last accepted one, long after the rows are gone.

Four parts of the snapshot are measured alike. Newly arrived rows are judged on their own, since a fault in them
vanishes among all the others; and so are the rows that are fitted, since only there does it reach the model.

    whole        all mature rows
    fitted       those before the cut
    new          those that arrived since the last accepted snapshot
    new_fitted   those of them before the cut
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from understudy.association import Target, of_numbers, of_texts, targets_of
from understudy.errors import BadInput
from understudy.evidence import Clock
from understudy.metrics import FloatArray, ranks
from understudy.signature import ColumnKind, Task

Values = Sequence[Any] | npt.NDArray[Any]
"""One column: numbers, booleans or text; None or NaN is null."""

QUANTILES = 101
SHARES = 50
"""Most frequent values of a text column that are kept."""
PAIR_ROWS = 2_000
"""Rows, evenly spaced, that pairs of columns are measured on."""


class ColumnProfile(msgspec.Struct, frozen=True, kw_only=True):
    """One column in one part."""

    kind: ColumnKind
    null_share: float
    low: float | None
    high: float | None
    """Smallest and largest finite number."""
    quantiles: list[float] | None
    """At 0 %, 1 % … 100 %, of numbers and booleans; None where all are null."""
    shares: dict[str, float] | None
    """Of the most frequent texts."""
    association: float | None
    """How well this column alone orders the label: AUC (0.5 to 1) or |rank correlation|; None: too few rows to tell."""


class LabelProfile(msgspec.Struct, frozen=True, kw_only=True):
    """The label in one part."""

    counts: dict[str, int] | None
    """Rows per class."""
    quantiles: list[float] | None
    """Of a regression's label."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Some rows of the snapshot."""

    rows: int
    duplicates: float
    """Share of rows whose clock says the same as the row before."""
    columns: dict[str, ColumnProfile]
    label: LabelProfile
    numbers: list[str]
    """Columns that the two tables are about: numbers and booleans."""
    below: list[list[float]]
    """below[a][b]: share of rows in which column a is smaller than column b."""
    correlations: list[list[float]]
    """Rank correlations of those columns and, last, of the label."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A measured snapshot."""

    format: Literal[1] = 1
    task: Task
    start: Clock
    end: Clock
    """Clock of the first and of the last row."""
    future: int
    """Labelled rows that the source dated later than the run itself."""
    whole: Part
    fitted: Part | None
    new: Part | None
    new_fitted: Part | None
    """None: there are no such rows."""

    def encode(self) -> bytes:
        """Canonical JSON."""
        return msgspec.json.encode(self, order="deterministic")

    @classmethod
    def parse(cls, data: bytes) -> "Profile":
        """Raises BadInput."""
        try:
            return PROFILES.decode(data)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise BadInput(
                f"This is no profile of a snapshot: {str(error)[:200]}.",
                remedy="Send what `Profile.encode` writes.",
            ) from error


PROFILES = msgspec.json.Decoder(Profile)
"""Made with this module: msgspec crashes where two threads are the first to decode a type at the same time."""


def profile_columns(
    columns: Mapping[str, Values],
    *,
    kinds: Mapping[str, ColumnKind],
    label: Values,
    task: Task,
    clock: Sequence[Clock],
    new_from: int,
    fitted_until: int,
    future: int = 0,
) -> Profile:
    """Measure a snapshot.

    Args:
        columns: the features, each of shape (n,), rows in time order.
        label: shape (n,); rows where it is null are left out.
        clock: shape (n,).
        new_from: index of the first row later than the last accepted snapshot's `end`; 0 where there was none.
        fitted_until: how many rows lie before the cut.
        future: labelled rows, not among these, that the source dated later than the moment of the run.

    Raises BadInput where no row has a label, or a label is infinite.
    """
    mature = ~_is_null(label)
    if not mature.any():
        raise BadInput("No row has a label yet.", remedy="Wait until labels arrive, or name another target.")
    where = np.flatnonzero(mature)
    new_from, fitted_until = int(np.searchsorted(where, new_from)), int(np.searchsorted(where, fitted_until))
    table = _Table(
        {name: _column(values, kinds[name])[mature] for name, values in columns.items()},
        dict(kinds),
        _labels(np.asarray(label)[mature], task),
        task,
        np.asarray(clock)[mature],
    )
    n = len(where)
    return Profile(
        task=task,
        start=table.clock[0].item(),
        end=table.clock[-1].item(),
        future=future,
        whole=_part(table, slice(0, n)),
        fitted=_part(table, slice(0, fitted_until)) if fitted_until else None,
        new=_part(table, slice(new_from, n)) if new_from < n else None,
        new_fitted=_part(table, slice(new_from, fitted_until)) if new_from < fitted_until else None,
    )


@dataclass(frozen=True, slots=True)
class _Table:
    columns: dict[str, npt.NDArray[Any]]
    kinds: dict[str, ColumnKind]
    label: npt.NDArray[Any]
    task: Task
    clock: npt.NDArray[Any]


def _is_null(values: Values) -> npt.NDArray[np.bool_]:
    array = np.asarray(values)
    if array.dtype == object:
        return np.array([value is None or value != value for value in array], dtype=bool)
    return np.isnan(array) if array.dtype.kind == "f" else np.zeros(len(array), dtype=bool)


def _column(values: Values, kind: ColumnKind) -> npt.NDArray[Any]:
    """Floats with NaN for null and for infinities; or texts with None for null."""
    if kind == "text":
        null = _is_null(values)
        return np.array([None if gone else str(value) for value, gone in zip(values, null, strict=True)], dtype=object)
    numbers = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _labels(label: npt.NDArray[Any], task: Task) -> npt.NDArray[Any]:
    if task != "regression":
        return np.array([str(one) for one in label.tolist()])
    numbers = label.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise BadInput("A label is infinite.", remedy="Let the source leave it out, or make it null.")
    return numbers


def _part(table: _Table, rows: slice) -> Part:
    columns = {name: values[rows] for name, values in table.columns.items()}
    label, clock = table.label[rows], table.clock[rows]
    targets = targets_of(label, table.task)
    numbers = [name for name in columns if table.kinds[name] != "text"]
    below, correlations = _pairs([columns[name] for name in numbers], label)
    return Part(
        rows=len(label),
        duplicates=float(np.mean(clock[1:] == clock[:-1])) if len(clock) > 1 else 0.0,
        columns={name: _profile(values, table.kinds[name], targets) for name, values in columns.items()},
        label=_label_profile(label, table.task),
        numbers=numbers,
        below=below,
        correlations=correlations,
    )


def _profile(values: npt.NDArray[Any], kind: ColumnKind, targets: list[Target]) -> ColumnProfile:
    null = _is_null(values)
    there = values[~null]
    association = of_texts if kind == "text" else of_numbers
    return ColumnProfile(
        kind=kind,
        null_share=float(null.mean()),
        low=float(there.min()) if kind != "text" and len(there) else None,
        high=float(there.max()) if kind != "text" and len(there) else None,
        quantiles=_quantiles(there) if kind != "text" and len(there) else None,
        shares=_shares(there) if kind == "text" else None,
        association=association(values, targets),
    )


def _label_profile(label: npt.NDArray[Any], task: Task) -> LabelProfile:
    if task == "regression":
        return LabelProfile(counts=None, quantiles=_quantiles(label))
    classes, counts = np.unique(label, return_counts=True)
    return LabelProfile(counts=dict(zip(classes.tolist(), counts.tolist(), strict=True)), quantiles=None)


def _quantiles(values: FloatArray) -> list[float]:
    found: list[float] = np.quantile(values, np.linspace(0, 1, QUANTILES), method="inverted_cdf").tolist()
    return found


def _shares(texts: npt.NDArray[Any]) -> dict[str, float]:
    values, counts = np.unique(texts.astype(str), return_counts=True)
    top = np.argsort(-counts, kind="stable")[:SHARES]
    return {str(values[place]): float(counts[place] / len(texts)) for place in top}


def _pairs(columns: list[FloatArray], label: npt.NDArray[Any]) -> tuple[list[list[float]], list[list[float]]]:
    step = -(-len(label) // PAIR_ROWS)
    thin = [column[::step] for column in columns]
    below = [[round(float(np.mean(a < b)), 3) for b in thin] for a in thin]
    _, codes = np.unique(label[::step], return_inverse=True)
    centred = np.stack([_centred(column) for column in [*thin, codes.astype(np.float64)]])
    scale = np.sqrt(np.sum(centred**2, axis=1))
    scale[scale == 0] = 1.0
    matrix = centred @ centred.T / np.outer(scale, scale)
    return below, np.round(matrix, 3).tolist()


def _centred(values: FloatArray) -> FloatArray:
    """Ranks around 0; a null stands in the middle."""
    there = ~np.isnan(values)
    centred = np.zeros(len(values))
    if there.any():
        ranked = ranks(values[there])
        centred[there] = ranked - ranked.mean()
    return centred
