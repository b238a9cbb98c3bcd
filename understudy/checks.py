"""The promises that every definition keeps about its columns, and what to write where one does not.

Pure: `adapters/check.py` asks the source, describes what it gave as `Described`, and tries the estimator afterwards.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from understudy.model import Model
from understudy.signature import RESERVED_NAMES, ColumnKind

FEWEST_ROWS = 200
"""Rows with a label: 100 to fit and 100 to judge by."""
MANY_CLASSES = 50


@dataclass(frozen=True)
class Complaint:
    """Something that a person should change, in plain words."""

    problem: str
    remedy: str
    stops: bool = True
    """False: the model can be trained all the same."""


@dataclass(frozen=True, kw_only=True)
class DescribedColumn:
    """One column of what the source gave."""

    name: object
    """A text, if all is well."""
    kind: ColumnKind | None
    """None: nothing that a request could send."""
    dtype: str
    nulls: int
    distinct: int
    """Different values that are not null."""
    counts: bool
    """True: whole numbers that only ever go up by one."""


@dataclass(frozen=True, kw_only=True)
class Described:
    """What the source gave."""

    rows: int
    columns: tuple[DescribedColumn, ...]

    def column(self, name: str) -> DescribedColumn | None:
        return next((column for column in self.columns if column.name == name), None)


def check_columns(model: Model, described: Described) -> list[Complaint]:
    """Everything that can be said of a definition and its data before anything is fitted."""
    return [
        *_names(described),
        *_roles(model, described),
        *_target(model, described),
        *_features(model, described),
    ]


def _names(described: Described) -> Iterator[Complaint]:
    names = [column.name for column in described.columns]
    for name in dict.fromkeys(names):
        if not isinstance(name, str) or not name:
            yield Complaint(f"A column is named {name!r}.", "Name every column with a text, in the source.")
        elif names.count(name) > 1:
            yield Complaint(f"Two columns are named `{name}`.", "Give each column a name of its own, in the source.")


def _roles(model: Model, described: Described) -> Iterator[Complaint]:
    have = _listed([str(column.name) for column in described.columns])
    named = {"target": model.target, "time": model.time, "key": model.key}
    for role, name in named.items():
        if name is not None and described.column(name) is None:
            yield Complaint(f"The source gives no column `{name}`, the model's {role}.", f"It gives {have}: name one.")
    lists = {"drop": model.drop, "ranges": tuple(model.ranges), "tags": tuple(model.tags)}
    for what, names in {**lists, "slices": model.slices, "protected": model.protected}.items():
        for name in names:
            if described.column(name) is None:
                yield Complaint(
                    f"`{what}` names a column `{name}` that the source does not give.",
                    f"It gives {have}: correct the name, or leave it out.",
                    stops=what not in ("drop", "ranges"),  # it would be recorded in clear, or not be judged by
                )


def _target(model: Model, described: Described) -> Iterator[Complaint]:
    target = described.column(model.target)
    if target is None:
        return
    labelled = described.rows - target.nulls
    if labelled < FEWEST_ROWS:
        yield Complaint(
            f"{labelled} rows have a label, {FEWEST_ROWS} are the least: half to fit, half to judge by.",
            "Wait for more rows, or let the source give older ones.",
        )
    if labelled and target.distinct == 1:
        yield Complaint(f"The target `{target.name}` always says the same.", "Predict something that varies.")
    if model.task == "regression" and target.kind not in ("number", "integer", "boolean"):
        yield Complaint(
            f"The target `{target.name}` of a regression holds {target.dtype}, not numbers.",
            "Make it numbers in the source, or choose a classifier.",
        )
    if model.task != "regression" and target.distinct > MANY_CLASSES:
        yield Complaint(
            f"The target `{target.name}` has {target.distinct} different values, each of them a class.",
            "If it is a quantity, choose a regressor; otherwise put rare classes together, in the source.",
            stops=False,
        )


def _features(model: Model, described: Described) -> Iterator[Complaint]:
    features = [column for column in described.columns if column.name not in model.not_features]
    if not features:
        yield Complaint("No column is left to learn from.", "Let the source give more than target, time and key.")
    for column in features:
        yield from _feature(column, described.rows)


def _feature(column: DescribedColumn, rows: int) -> Iterator[Complaint]:
    if column.name in RESERVED_NAMES:
        yield Complaint(
            f"A feature is named `{column.name}`, a word that a request uses for itself.",
            "Rename the column in the source.",
        )
    if rows and column.nulls == rows:
        yield Complaint(f"`{column.name}` is null in every row.", "Fill it in the source, or list it in `drop`.")
    elif column.kind is None:
        yield Complaint(
            f"`{column.name}` holds {column.dtype}, which no request can send.",
            "Make it numbers or text in the source, or list it in `drop`.",
        )
    elif column.counts and rows > 2:
        yield Complaint(
            f"`{column.name}` counts the rows: nothing can be learnt from it about rows to come.",
            "List it in `drop`, or name it as the `key`.",
            stops=False,
        )
    elif column.kind == "text" and column.distinct > rows / 2 > MANY_CLASSES:
        yield Complaint(
            f"The text `{column.name}` is different in most rows: it names rows rather than describing them.",
            "List it in `drop`, or name it as the `key`.",
            stops=False,
        )
    elif column.distinct == 1 and not column.nulls:
        yield Complaint(f"`{column.name}` always says the same.", "List it in `drop`.", stops=False)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name[:60]}`" for name in names[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"
