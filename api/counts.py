"""What this process has answered and refused, counted.

The request path leaves a note, once for each call of a model, and does no more: appending to a deque is one step that
no other thread can come between. Counting is done by whoever calls `fold`, a thread every half second and a scrape
before it reads, for many notes at once. Where both are held up, notes have an end all the same.
"""

import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import chain
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from understudy.errors import Overloaded

if TYPE_CHECKING:
    from api.answered import Answered

BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the latency histogram; what took longer goes into a last bucket without one."""

OK = "ok"
"""The outcome code of a request that was answered."""
NOBODY = ""
"""Stands for every name that the registry does not have: a label that clients could choose would have no end."""
MOST_VERSIONS = 500
"""Of all models together, that a process counts by name; later ones are counted as `NOBODY`."""
MOST_CODES = 100
"""The codes of the errors that there are, twice over."""

AT_ONCE = 256
"""Notes that are folded before other threads get a turn: some 0.1 ms."""
MOST_NOTES = 50_000
"""Of a kind; beyond it, because no thread gets to fold them while the volume stands still, the request path does."""

T = TypeVar("T")

Note = tuple[str, str, int, list[float]]
"""Model, version, rows, seconds that each request took."""


@dataclass
class Latencies:
    """A histogram that grows."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    """Not cumulative: how many fell between one bound and the next."""
    sum_s: float = 0.0

    def add(self, seconds: list[list[float]]) -> int:
        """Count what several calls took; return how many requests that were."""
        if len(seconds) == len(seconds[0]) == 1:  # one client at a time: arrays would cost more than they save
            self.buckets[bisect_left(BOUNDS_S, seconds[0][0])] += 1
            self.sum_s += seconds[0][0]
            return 1
        taken = np.fromiter(chain.from_iterable(seconds), np.float64)
        found = np.bincount(np.searchsorted(BOUNDS_S, taken), minlength=len(self.buckets)).tolist()
        self.buckets = [old + new for old, new in zip(self.buckets, found, strict=True)]
        self.sum_s += float(taken.sum())
        return len(taken)


@dataclass
class Totals:
    """Since the process began; nothing here ever goes down."""

    requests: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """By model, version and outcome code."""
    rows: Counter[str] = field(default_factory=Counter)
    errors: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """By model and code."""
    shed: Counter[str] = field(default_factory=Counter)
    """Requests that were turned away because a queue was full; they are among the errors too."""
    latencies: dict[str, Latencies] = field(default_factory=dict)


class Counts:
    """One for each process. Any thread may call anything here.

    Args:
        known: the names of models that exist.
    """

    def __init__(self, known: Callable[[], Collection[str]]) -> None:
        self.totals = Totals()
        self._known = known
        self._answered: deque[Note] = deque()
        self._refused: deque[tuple[str, str]] = deque()
        self._versions: set[tuple[str, str]] = set()
        self._codes: set[str] = set()
        self._folding = Lock()

    def answered(self, call: "Answered") -> None:
        """One call of a model was answered, and with it all of its requests."""
        served = call.served
        self._answered.append((served.model, served.version, call.n, call.latencies_s))
        if len(self._answered) > MOST_NOTES:
            self._relieve()

    def refused(self, model: str, code: str) -> None:
        """One request for `model`, a name as it was sent, failed with an error of that `code`."""
        self._refused.append((model, code))
        if len(self._refused) > MOST_NOTES:
            self._relieve()

    def _relieve(self) -> None:
        """Fold a few notes, unless somebody is at it."""
        if self._folding.acquire(blocking=False):
            try:
                known = self._known()
                self._fold_answered(first(self._answered, AT_ONCE), known)
                self._fold_refused(first(self._refused, AT_ONCE), known)
            finally:
                self._folding.release()

    def fold(self) -> Totals:
        """Count what was noted before this call."""
        with self._folding:
            known = self._known()
            for left in range(len(self._answered), 0, -AT_ONCE):
                self._fold_answered(first(self._answered, min(left, AT_ONCE)), known)
                time.sleep(0)
            for left in range(len(self._refused), 0, -AT_ONCE):
                self._fold_refused(first(self._refused, min(left, AT_ONCE)), known)
                time.sleep(0)
            return self.totals

    def _fold_answered(self, notes: list[Note], known: Collection[str]) -> None:
        found: dict[tuple[str, str], list[list[float]]] = {}
        for model, version, rows, seconds in notes:
            found.setdefault((model, version), []).append(seconds)
            self.totals.rows[named(model, known)] += rows
        for (model, version), taken in found.items():
            name = named(model, known)
            requests = self.totals.latencies.setdefault(name, Latencies()).add(taken)
            label = version if name and bounded(self._versions, (name, version), MOST_VERSIONS) else NOBODY
            self.totals.requests[name, label, OK] += requests

    def _fold_refused(self, notes: list[tuple[str, str]], known: Collection[str]) -> None:
        for model, code in notes:
            name, label = named(model, known), code if bounded(self._codes, code, MOST_CODES) else NOBODY
            self.totals.requests[name, NOBODY, label] += 1
            self.totals.errors[name, label] += 1
            if code == Overloaded.code:
                self.totals.shed[name] += 1


def first(notes: deque[T], n: int) -> list[T]:
    """Take so many away, or what there is; one thread at a time."""
    return [notes.popleft() for _ in range(min(n, len(notes)))]


def named(model: str, known: Collection[str]) -> str:
    return model if model in known else NOBODY


def bounded(seen: set[T], one: T, most: int) -> bool:
    """Whether `one` is among the first `most` that were seen."""
    if one not in seen and len(seen) < most:
        seen.add(one)
    return one in seen
