"""Rows that nobody should learn from: one fault at a time in a snapshot that is otherwise fit to train on.

Each fault is put where it would stand in life, among the rows that have arrived since the last accepted snapshot. Where
a column has to be chosen it is the one in which the fault is plain, and never the one in which a check finds it.

    ------------------ rows with a label, in the order of their clock ------------------>
    [ known: the last accepted snapshot       ] known [ arrived since          ]
    [ fitted                                                ] cut [ holdout    ]
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import structs

from understudy.evidence import Clock
from understudy.profile import Profile, Values, profile_columns
from understudy.quality import Ranges
from understudy.signature import ColumnKind, Task

APART = 0.5
"""Kolmogorov's distance from which on two columns cannot be taken for each other."""
VARIED = 20
"""Different quantiles of a column that would be expected to go on varying."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """The rows of a snapshot that have a label, as a profile measures them."""

    columns: Mapping[str, Values]
    kinds: Mapping[str, ColumnKind]
    label: npt.NDArray[Any]
    task: Task
    clock: Sequence[Clock]
    known: int
    """Rows of the last accepted snapshot."""
    cut: int
    """Rows that are fitted."""

    @property
    def n(self) -> int:
        return len(self.label)

    def profile(self, *, future: int = 0) -> Profile:
        return _measured(self, self.known, self.cut, future)

    def reference(self) -> Profile:
        """The profile of the last accepted snapshot."""
        known, arrived = self.known, self.n - self.known
        columns = {name: values[:known] for name, values in self.columns.items()}
        before = replace(self, columns=columns, label=self.label[:known], clock=self.clock[:known])
        return _measured(before, max(0, known - arrived), max(1, known - arrived // 2), 0)

    def changed(self, rows: slice, **columns: Any) -> "Table":
        """Other values in some rows of some columns."""
        return replace(
            self, columns={**self.columns, **{n: _set(self.columns[n], rows, v) for n, v in columns.items()}}
        )


def _measured(table: Table, known: int, cut: int, future: int) -> Profile:
    return profile_columns(
        table.columns,
        kinds=table.kinds,
        label=table.label,
        task=table.task,
        clock=table.clock,
        new_from=known,
        fitted_until=cut,
        future=future,
    )


def _set(column: Values, rows: slice, values: Any) -> npt.NDArray[Any]:
    array = np.array(column, dtype=object if np.asarray(column).dtype.kind in "OUT" else np.float64)
    array[rows] = values
    return array


def sabotaged_rows(table: Table, ranges: Ranges) -> dict[str, Profile | None]:
    """What was done to the rows -> their profile; None: it cannot be done to these."""
    honest = table.profile()
    makers: dict[str, Callable[[], Profile | None]] = {
        "a column that repeats the label": lambda: _leaking(table, honest),
        "two columns exchanged": lambda: _swapped(table, honest),
        "a column null in all new rows": lambda: _null(table, honest),
        "a column stuck at one value": lambda: _stuck(table),
        "a column renamed in the source": lambda: _renamed(table),
        "a value outside its declared range": lambda: _outside(table, ranges),
        "most of the rows gone": lambda: _tiny(table),
        "rows from the future": lambda: table.profile(future=50) if _has_time(table) else None,
        "all new rows at one time": lambda: _repeated(table, honest),
        "labels of another kind": lambda: _relabelled(table),
        "the profile of another snapshot": lambda: structs.replace(honest, end=table.clock[table.known]),
    }
    return {name: make() for name, make in makers.items()}


def _leaking(table: Table, honest: Profile) -> Profile | None:
    """The column that tells least about the label says it from now on."""
    known = {name: column.association for name, column in honest.whole.columns.items()}
    able = [name for name in known if table.kinds[name] != "text" or table.task != "regression"]
    blind = sorted((value, name) for name in able if (value := known[name]) is not None and value < 0.9)
    if not blind:
        return None
    new, name = slice(table.known, None), blind[0][1]
    text = table.kinds[name] == "text"
    says = [f"{label}" for label in table.label[new]] if text else _codes(table)[new]
    return table.changed(new, **{name: says}).profile()


def _codes(table: Table) -> npt.NDArray[Any]:
    if table.task == "regression":
        return table.label
    return np.unique(table.label.astype(str), return_inverse=True)[1]


def _swapped(table: Table, honest: Profile) -> Profile | None:
    """The two columns of numbers whose distributions lie furthest apart; in the rows to fit alone."""
    columns = {name: one.quantiles for name, one in honest.whole.columns.items() if one.quantiles is not None}
    pairs = [(_apart(columns[a], columns[b]), a, b) for a, b in combinations(columns, 2)]
    distance, a, b = max(pairs, default=(0.0, "", ""))
    if distance < APART:
        return None
    new = slice(table.known, table.cut)
    return table.changed(new, **{a: table.columns[b][new], b: table.columns[a][new]}).profile()


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    """Kolmogorov's distance of two columns, given by their quantiles."""
    every = np.array([*one, *other])
    below = [np.searchsorted(np.array(side), every, side="right") / len(side) for side in (one, other)]
    return float(abs(below[0] - below[1]).max())


def _null(table: Table, honest: Profile) -> Profile | None:
    names = [name for name, column in honest.whole.columns.items() if column.null_share < 0.5]
    if not names:
        return None
    nothing = None if table.kinds[names[0]] == "text" else np.nan
    return table.changed(slice(table.known, None), **{names[0]: nothing}).profile()


def _stuck(table: Table) -> Profile | None:
    reference = table.reference()
    parts = [part for part in (reference.whole, reference.new) if part is not None]
    for name in table.columns:
        quantiles = [part.columns[name].quantiles or [] for part in parts]
        if all(len(set(each)) >= VARIED for each in quantiles):
            return table.changed(slice(table.known, None), **{name: quantiles[0][50]}).profile()
    return None


def _renamed(table: Table) -> Profile:
    old = next(iter(table.columns))
    names = {name: f"{name} (new)" if name == old else name for name in table.columns}
    columns = {names[name]: values for name, values in table.columns.items()}
    kinds = {names[name]: table.kinds[name] for name in table.columns}
    return replace(table, columns=columns, kinds=kinds).profile()


def _outside(table: Table, ranges: Ranges) -> Profile | None:
    for name, (low, high) in ranges.items():
        if table.kinds.get(name) in ("number", "integer"):
            beyond = high + 1 + abs(high) if high is not None else (low or 0.0) - 1 - abs(low or 0.0)
            return table.changed(slice(table.n - 1, None), **{name: beyond}).profile()
    return None


def _tiny(table: Table) -> Profile:
    """The newest rows alone, fewer than half of those that were known."""
    gone = table.n - int(0.4 * table.known)
    columns = {name: values[gone:] for name, values in table.columns.items()}
    left = replace(table, columns=columns, label=table.label[gone:], clock=table.clock[gone:])
    return replace(left, known=max(0, table.known - gone), cut=max(1, table.cut - gone)).profile()


def _has_time(table: Table) -> bool:
    return isinstance(table.clock[0], str)


def _repeated(table: Table, honest: Profile) -> Profile | None:
    if not _has_time(table) or honest.whole.duplicates > 0.5:
        return None
    last = table.clock[-1]
    return replace(table, clock=[*table.clock[: table.known], *[last] * (table.n - table.known)]).profile()


def _relabelled(table: Table) -> Profile:
    """A class that nobody has seen, among the rows of the holdout; or numbers in another unit."""
    if table.task == "regression":
        spread = float(np.ptp(table.label)) or 1.0
        label = table.label.astype(np.float64)
        label[table.known :] += 10 * spread
        return replace(table, label=label).profile()
    label = table.label.astype(object)
    label[table.cut :][:: max(1, (table.n - table.cut) // 50)] = "a class that nobody has seen"
    return replace(table, label=label).profile()
