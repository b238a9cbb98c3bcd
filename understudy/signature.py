"""What a model takes and gives: named, typed columns in a fixed order.

A signature is learnt from the training frame (`adapters/frames.py` does that) and then never guessed again: the
request schema, the row validation, the example at `/docs` and the dtypes of a request's frame all come from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

ColumnKind = Literal["number", "integer", "boolean", "text"]
Task = Literal["binary", "multiclass", "regression"]
Value = float | int | bool | str | None

#: Names that the request body uses for itself, so that a one-row record can be told from a batch.
RESERVED_NAMES = frozenset({"records", "values"})


@dataclass(frozen=True, kw_only=True)
class Column:
    """One input column."""

    name: str
    kind: ColumnKind
    dtype: str
    """pandas dtype that training saw and every request frame is cast to, for example "float64" or "str"."""
    nullable: bool
    """True where the fitted model itself answers a null in this column (tried when the bundle was made)."""
    example: Value
    """Median of numbers, most frequent of the others, in the training rows."""
    categories: tuple[str | int, ...] | None = None
    """The only texts or integers allowed, where the fitted model raises on any other; None: any."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """Input columns in order, and what comes out."""

    columns: tuple[Column, ...]
    target: str
    task: Task
    classes: tuple[Value, ...] | None
    """Class labels in the order of the probabilities; None for a regression."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def to_json(self) -> dict[str, Any]:
        """The signature as it stands in a manifest."""
        return {
            "columns": [
                {
                    "name": c.name,
                    "kind": c.kind,
                    "dtype": c.dtype,
                    "nullable": c.nullable,
                    "example": c.example,
                    "categories": None if c.categories is None else list(c.categories),
                }
                for c in self.columns
            ],
            "target": self.target,
            "task": self.task,
            "classes": None if self.classes is None else list(self.classes),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Signature":
        """Read a signature back; raises KeyError or TypeError on anything else."""
        return cls(
            columns=tuple(
                Column(**{**c, "categories": None if c["categories"] is None else tuple(c["categories"])})
                for c in data["columns"]
            ),
            target=data["target"],
            task=data["task"],
            classes=None if data["classes"] is None else tuple(data["classes"]),
        )
