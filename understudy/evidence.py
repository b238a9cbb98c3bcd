"""Evidence: what both models answered on the same fresh rows. Row by row, in time order, and never a conclusion.

The scheduler writes it, the API reads it and computes everything else itself. Members that are not listed here are
ignored, a p-value, a mean or a `passed` among them. `groups` and `own` are there where the definition wants them.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from understudy.errors import BadInput
from understudy.metrics import FloatArray, Labels
from understudy.signature import Task, Value

Clock = str | int
"""When a row happened: a time as `events.timestamp` writes it, or a row number where the model has no clock."""

Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
RowDigest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}$")]
Moment = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")]
RowNumber = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Outputs = list[list[float | None] | float | None]
"""Probabilities in class order, or one number, per row. null: the model gave no finite number."""


Group = Annotated[str, msgspec.Meta(max_length=100)] | None
"""What one row says in a column that rows are grouped by; null where it says nothing."""


class _Own(msgspec.Struct, kw_only=True):
    """The losses of the rows by a function of the owner's. null: the model gave no answer to that row."""

    name: Name
    candidate: list[float | None]
    champion: list[float | None] | None
    constant: list[float | None]


class _Document(msgspec.Struct, kw_only=True):
    """The JSON as it stands in the store."""

    format: Literal[1]
    model: Name
    candidate: Digest
    champion: Digest | None
    task: Task
    classes: list[str | bool | int | float] | None
    clock: list[Moment | RowNumber]
    rows: list[RowDigest]
    labels: list[str | bool | int | float]
    candidate_out: Outputs
    champion_out: Outputs | None
    times_measured: Moment
    profile: Digest
    groups: dict[Name, list[Group]] = {}
    own: _Own | None = None


DOCUMENTS = msgspec.json.Decoder(_Document)
"""Made with this module: msgspec crashes where two threads are the first to decode a type at the same time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnLosses:
    """The loss of each row by a function of the owner's, each of shape (n,); NaN where the model gave no answer."""

    name: str
    candidate: FloatArray
    champion: FloatArray | None
    """None without a champion."""
    constant: FloatArray
    """The constant predictor's."""

    def to_json(self) -> dict[str, Any]:
        """As `Evidence` holds it."""
        return {
            "name": self.name,
            "candidate": _plain(self.candidate),
            "champion": None if self.champion is None else _plain(self.champion),
            "constant": _plain(self.constant),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Both models' answers to n rows, as arrays."""

    model: str
    candidate: str
    """Digest of the candidate's bundle."""
    champion: str | None
    """Digest of the champion's bundle; None: there was none."""
    task: Task
    classes: tuple[Value, ...] | None
    clock: tuple[Clock, ...]
    rows: tuple[str, ...]
    """Digest of each row."""
    labels: Labels
    """Shape (n,): codes into `classes`, -1 for a label that is none of them; or the numbers of a regression."""
    candidate_out: FloatArray
    """Shape (n, classes) or (n,); NaN where the model gave no finite number."""
    champion_out: FloatArray | None
    """The same, in the candidate's class order; None without a champion."""
    times_measured: str
    """When both models answered."""
    profile: str
    """Digest of the profile of the snapshot that the candidate was trained on."""
    groups: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    """Column -> what each of the n rows says in it, for the columns that rows are grouped by."""
    own: OwnLosses | None = None

    @property
    def n(self) -> int:
        return len(self.rows)

    @property
    def start(self) -> Clock:
        """Clock of the first row."""
        return self.clock[0]

    @property
    def end(self) -> Clock:
        """Clock of the last row."""
        return self.clock[-1]

    @property
    def row_set(self) -> str:
        """sha256 that names these rows in this order."""
        return hashlib.sha256("\n".join(self.rows).encode()).hexdigest()

    @classmethod
    def parse(cls, data: bytes) -> "Evidence":
        """Read evidence. Raises BadInput, which says what is wrong with it."""
        try:
            return _checked(DOCUMENTS.decode(data))
        except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
            raise BadInput(
                f"This is no evidence: {str(error)[:200]}.",
                remedy="Send what `understudy.evidence.build` writes: one row of answers per row of the holdout.",
            ) from error


def build(
    *,
    model: str,
    candidate: str,
    champion: str | None,
    task: Task,
    classes: Sequence[Value] | None,
    clock: Sequence[Clock],
    rows: Sequence[str],
    labels: Any,  # a sequence or an array of class labels or numbers
    candidate_out: Any,  # a sequence or an array, shape (n, classes) or (n,)
    champion_out: Any,  # the same, or None
    times_measured: str,
    profile: str,
    groups: Mapping[str, Sequence[str | None]] | None = None,
    own: OwnLosses | None = None,
) -> bytes:
    """Write evidence as canonical JSON. A NaN, an infinity or a None among the outputs is written as null.

    A row that a model could not answer at all may stand as one None. Raises BadInput where the parts do not fit.
    """
    document = {
        "format": 1,
        "model": model,
        "candidate": candidate,
        "champion": champion,
        "task": task,
        "classes": None if classes is None else _plain(list(classes)),
        "clock": _plain(clock),
        "rows": list(rows),
        "labels": _plain(labels),
        "candidate_out": _plain(candidate_out),
        "champion_out": None if champion_out is None else _plain(champion_out),
        "times_measured": times_measured,
        "profile": profile,
        **({"groups": {column: list(values) for column, values in groups.items()}} if groups else {}),
        **({} if own is None else {"own": own.to_json()}),
    }
    data = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    Evidence.parse(data)
    return data


def row_digest(values: Sequence[Value]) -> str:
    """Name a row by its features in signature order and its label: 16 hex digits. NaN counts as null."""
    text = json.dumps(_plain(values), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Python's own numbers and lists instead of numpy's; None instead of NaN and infinities."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _checked(document: _Document) -> Evidence:
    n = len(document.rows)
    _require(n > 0, "it has no rows")
    for name in ("clock", "labels", "candidate_out", "champion_out"):
        member = getattr(document, name)
        _require(member is None or len(member) == n, f"`{name}` has not one entry for each of its {n} rows")
    _require((document.champion is None) == (document.champion_out is None), "`champion_out` is not the champion's")
    _require(len({type(moment) for moment in document.clock}) == 1, "its clock mixes times and row numbers")
    for column, values in document.groups.items():
        _require(len(values) == n, f"`groups` has not one entry for each of its {n} rows in `{column}`")
    moments = np.array(document.clock)
    _require(bool(np.all(moments[:-1] <= moments[1:])), "its rows are not in time order")
    width = _width(document)
    champion_out = document.champion_out
    return Evidence(
        model=document.model,
        candidate=document.candidate,
        champion=document.champion,
        task=document.task,
        classes=None if document.classes is None else tuple(document.classes),
        clock=tuple(document.clock),
        rows=tuple(document.rows),
        labels=_labels(document),
        candidate_out=_outputs("candidate_out", document.candidate_out, width),
        champion_out=None if champion_out is None else _outputs("champion_out", champion_out, width),
        times_measured=document.times_measured,
        profile=document.profile,
        groups=document.groups,
        own=None if document.own is None else _own(document.own, document, n),
    )


def _own(own: _Own, document: _Document, n: int) -> OwnLosses:
    _require((own.champion is None) == (document.champion is None), "`own.champion` is not the champion's")
    parts = {"candidate": own.candidate, "champion": own.champion, "constant": own.constant}
    for name, losses in parts.items():
        _require(losses is None or len(losses) == n, f"`own.{name}` has not one loss for each of its {n} rows")
    return OwnLosses(
        name=own.name,
        candidate=np.array(own.candidate, dtype=np.float64),
        champion=None if own.champion is None else np.array(own.champion, dtype=np.float64),
        constant=np.array(own.constant, dtype=np.float64),
    )


def _width(document: _Document) -> int | None:
    if document.task == "regression":
        _require(document.classes is None, "a regression has no classes")
        return None
    classes = document.classes or []
    _require(len(classes) >= 2 and len(set(classes)) == len(classes), "it does not name each of its classes once")
    _require(document.task != "binary" or len(classes) == 2, "a binary task has two classes")
    return len(classes)


def _labels(document: _Document) -> Labels:
    if document.classes is not None:
        code = {label: place for place, label in enumerate(document.classes)}
        return np.array([code.get(label, -1) for label in document.labels], dtype=np.int64)
    numbers = all(isinstance(label, int | float) and not isinstance(label, bool) for label in document.labels)
    _require(numbers, "the labels of a regression are not all numbers")
    return np.array(document.labels, dtype=np.float64)


def _outputs(name: str, outputs: Outputs, width: int | None) -> FloatArray:
    if width is None:
        _require(
            not any(isinstance(row, list) for row in outputs), f"`{name}` holds lists, and a regression answers numbers"
        )
        return np.array(outputs, dtype=np.float64)
    rows = [[None] * width if row is None else row for row in outputs]
    fits = all(isinstance(row, list) and len(row) == width for row in rows)
    _require(fits, f"`{name}` has not {width} probabilities in each row, one per class")
    return np.array(rows, dtype=np.float64)


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise ValueError(problem)
