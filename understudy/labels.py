"""Labels of recorded predictions: where they belong, what may be one, and what becomes of one that arrives.

A label is a fact about one row of one prediction, told by a source. Nothing is overwritten: another label for the same
row is kept beside the first, and the latest counts, of those of the model's own source where there are any. What
arrives when its cohort is closed (`understudy/maturity.py`) is late: kept and marked, and nothing is judged by it.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from understudy.errors import BadLabel, Conflict, Expired, NotFound, UnderstudyError
from understudy.records import Identity, moment_of
from understudy.signature import Value

MODEL_SOURCE = "source"
"""The name under which the scheduler tells what the source of a model says. It counts before all others."""
MOST_FACTS = 8
"""Labels that one source may give to one row: who changes his mind more often does not know."""
MOST_OF_ALL = 32
"""The same for all sources together, whose names anybody may invent; the model's own is heard nevertheless."""
LEEWAY_MS = 5 * 60_000
"""Clocks of two machines differ by less; a prediction that is younger than now is not ours."""
LARGEST = 1e15

Outcome = Literal["accepted", "known", "changed", "late"]
"""New; the same again; new, and another than the one that counted; new, and too late to be judged by."""


Request = tuple[str, int, int]
"""Process, time in ms and number of a prediction."""


def request_of(asked: Identity) -> Request:
    """Which prediction is meant, whatever row of it."""
    return asked.process, asked.ms, asked.number


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One row of one prediction. Places are ordered as the predictions were answered."""

    ms: int
    process: str
    number: int
    row: int

    @classmethod
    def parse(cls, text: str) -> "Place | None":
        """Of `ID/i`; None where it is anything else."""
        found = Identity.parse(text)
        if found is None or found.row is None:
            return None
        return cls(found.ms, found.process, found.number, found.row)

    @property
    def request(self) -> Identity:
        return Identity(self.ms, self.number, self.process)

    def __str__(self) -> str:
        return f"{self.request}/{self.row}"


@dataclass(frozen=True, slots=True)
class Answered:
    """What is on record of a request that a label names."""

    model: str
    version: str
    rows: int
    classes: tuple[Value, ...] | None


@dataclass(frozen=True, slots=True)
class Given:
    """A label that may be stored."""

    model: str
    place: Place
    source: str
    label: str
    """JSON; the same text for the same label."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A label that is stored."""

    source: str
    label: str
    late: bool = False


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """One recorded row with the label that counts."""

    place: Place
    version: str
    columns: tuple[str, ...]
    withheld: tuple[str, ...]
    values: list[Value]
    prediction: Value
    probabilities: list[float] | None
    label: Value = None
    """None: there is none, where those were asked for too."""
    labelled_at: datetime | None = None
    source: str | None = None

    @property
    def time(self) -> datetime:
        return moment_of(self.place.ms)


def weigh(facts: Sequence[Fact], given: Given, closed_ms: int) -> Outcome:
    """What becomes of a label, beside those that its row has already, in the order of their arrival.

    Raises Conflict where there are too many.
    """
    same = [fact for fact in facts if fact.source == given.source]
    if same and same[-1].label == given.label:
        return "known"
    crowded = len(facts) >= MOST_OF_ALL and given.source != MODEL_SOURCE
    if len(same) >= MOST_FACTS or crowded:
        raise Conflict(
            "This row has been given another label too often.",
            remedy=f"A source may give a row {MOST_FACTS} labels, all together {MOST_OF_ALL}; find out which is true.",
        )
    if given.place.ms <= closed_ms:
        return "late"
    before, after = counting(facts), counting([*facts, Fact(given.source, given.label)])
    return "changed" if before and after and before.label != after.label else "accepted"


def counting(facts: Sequence[Fact]) -> Fact | None:
    """Which of a row's labels, in the order of their arrival, counts: the latest of the model's source, or of all."""
    told = [fact for fact in facts if fact.source == MODEL_SOURCE] or facts
    return told[-1] if told else None


def written(label: object, classes: tuple[Value, ...] | None) -> str:
    """A label as it is stored. Raises BadLabel where a model of these classes (None: a regression) has no such one."""
    if classes is None:
        return json.dumps(_number(label))
    for one in classes:
        if one == label and is_number(one) == is_number(label) and isinstance(one, bool) == isinstance(label, bool):
            return json.dumps(one)
    raise BadLabel("This is none of the model's classes.", remedy=f"Send one of {_listed(classes)}.")


def read(text: str) -> Value:
    """What `written` wrote."""
    label: Value = json.loads(text)
    return label


def place_of(asked: Identity, known: Answered, model: str | None) -> Place:
    """The row that a label is for. Raises BadLabel where it is another model's, or no row is named of many."""
    if model is not None and model != known.model:
        raise BadLabel("This prediction is another model's.", remedy="Name the model that gave it, or none.")
    if asked.row is None and known.rows > 1:
        raise BadLabel(f"This prediction has {known.rows} rows.", remedy="Name one of them: `ID/0` is the first.")
    row = asked.row or 0
    if row >= known.rows:
        raise NotFound("This prediction has no such row.", remedy=f"It has {known.rows}; the first of them is `ID/0`.")
    return Place(asked.ms, asked.process, asked.number, row)


def not_on_record(asked: Identity, *, now_ms: int, oldest_ms: int) -> UnderstudyError:
    """Why there is no record of what a label names: it is too old, or from the future, or nobody knows."""
    if asked.ms < oldest_ms:
        return Expired(
            "This prediction is older than the records that are kept.", remedy="See UNDERSTUDY_RECORDS_DAYS."
        )
    if asked.ms > now_ms + LEEWAY_MS:
        return BadLabel("This prediction is dated in the future.", remedy="Use the `prediction_id` of an answer.")
    return NotFound(
        "No prediction with that id is on record.",
        remedy="It is there half a second after its answer, unless it was lost, or trimmed for its size.",
    )


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(label: object) -> float | int:
    if isinstance(label, bool) or not isinstance(label, int | float) or not abs(label) <= LARGEST:
        raise BadLabel("This is no number, which a regression's label is.", remedy="Send a finite number below 1e15.")
    return int(label) if math.floor(label) == label else label


def _listed(classes: tuple[Value, ...]) -> str:
    shown = ", ".join(json.dumps(one)[:40] for one in classes[:10])
    return shown + (", …" if len(classes) > 10 else "")
