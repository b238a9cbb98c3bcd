"""What this process has seen its versions do, looked at once a second beside the limits of their definitions.

The request path does nothing for it. The recorder's thread hands on, for each version that answered since its last
turn, how many requests that were and what some of them were answered; failures are counted by the breakers. Who looks
is the thread of `api/recovery.py`, and what comes of it is an accusation like a breaker's.

What a limit means is in `understudy/conduct.py`.
"""

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from api.breaker import Breaker, Breakers
from api.journal import Journal
from understudy.conduct import OLDEST_S, Expected, Look, complaint, expected
from understudy.errors import BadInput, NotFound, StorageUnavailable
from understudy.evidence import Evidence
from understudy.failures import Tally
from understudy.parity import Answer
from understudy.policy import Limits
from understudy.ports import ArtifactStore
from understudy.state import Registry

if TYPE_CHECKING:
    from api.answered import Answered

EVERY_S = 1.0
TOLD_EVERY_S = 5.0
"""A version that goes on is accused again: going back may not have worked."""
CALLS_AT_ONCE, ROWS_AT_ONCE = 32, 2000
"""So many calls of a version are looked into for each turn of the recorder, and so many rows for each look: answers of
one second are much alike, and the event loop wants its turn."""
MOST_WAITING = 1000
"""Turns of the recorder that wait to be looked at, while the disk holds everybody up."""

Sampled = tuple[Any, Sequence[float], int]
"""An output, what its requests took (s), and its rows."""


@dataclass
class Watched:
    """One loaded version."""

    looks: deque[Look] = field(default_factory=lambda: deque(maxlen=round(OLDEST_S / EVERY_S)))
    tally: Tally = field(default_factory=Tally)
    """The breaker's, as it was last seen: it begins anew once a version is well again."""
    failed: int = 0
    not_finite: int = 0
    told_s: float = float("-inf")
    known: Expected | None = None
    is_known: bool = False
    """Whether `known` has been looked for."""


@dataclass
class Heard:
    """What came of one version since the last look."""

    answered: int = 0
    sampled: list[Sampled] = field(default_factory=list)


class Conduct:
    """One for each process."""

    def __init__(self, breakers: Breakers, journal: Journal, store: ArtifactStore) -> None:
        self._breakers, self._journal, self._store = breakers, journal, store
        self._waiting: deque[tuple[Breaker, int, list[Sampled]]] = deque(maxlen=MOST_WAITING)
        self._watched: WeakKeyDictionary[Breaker, Watched] = WeakKeyDictionary()
        self._limits: dict[str, tuple[Mapping[str, Any] | None, Limits]] = {}
        self._looked_into: frozenset[str] = frozenset()
        """Models whose answers are looked into; of others failures alone are counted."""
        self._looked_s = float("-inf")

    def seen(self, calls: "Sequence[Answered]", requests: int) -> None:
        """Take calls of one version that were answered; for the recorder's thread."""
        served = calls[0].served
        some = calls[:: -(-len(calls) // CALLS_AT_ONCE)] if served.model in self._looked_into else ()
        sampled: list[Sampled] = [(call.output, call.latencies_s, call.n) for call in some]
        self._waiting.append((served.breaker, requests, sampled))

    def look(self) -> None:
        """Look at what came since the last time, if that was a second ago; accuse whoever is beyond a limit."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= EVERY_S:
            self._looked_s = now_s
            self.look_at(self._journal.state, now_s)

    def look_at(self, state: Registry, now_s: float) -> None:
        heard = self._heard()
        limits = {name: self._limits_of(state, name) for name in state.models}
        self._looked_into = frozenset(name for name, one in limits.items() if looks_into(one))
        for breaker in self._breakers.all():
            if breaker.model in limits:
                self._judge(state, breaker, limits[breaker.model], heard.get(breaker, Heard()), now_s)

    def _heard(self) -> Mapping[Breaker, Heard]:
        found: dict[Breaker, Heard] = {}
        while self._waiting:
            breaker, requests, sampled = self._waiting.popleft()
            here = found.setdefault(breaker, Heard())
            here.answered += requests
            here.sampled += sampled
        return found

    def _limits_of(self, state: Registry, model: str) -> Limits:
        definition = state.models[model].definition
        known = self._limits.get(model)
        if known is None or known[0] is not definition:
            given = (definition or {}).get("promotion", {}).get("limits", {})
            known = self._limits[model] = (definition, Limits(**given))
        return known[1]

    def _judge(self, state: Registry, breaker: Breaker, limits: Limits, heard: Heard, now_s: float) -> None:
        watched = self._watched.setdefault(breaker, Watched())
        failed, not_finite = failures_since(watched, breaker.tally)
        if not (heard.answered or failed):
            return
        measured = measure(limits, heard.sampled)
        watched.looks.append(
            Look(at_s=now_s, answered=heard.answered, failed=failed, not_finite=not_finite, **measured)
        )
        if limits.class_sd is not None and not watched.is_known:
            with suppress(StorageUnavailable):  # then the next look tries
                watched.known, watched.is_known = self._expected(state, breaker.model, breaker.version), True
        why = complaint(limits, watched.looks, watched.known, now_s)
        if why is not None and now_s - watched.told_s >= TOLD_EVERY_S:
            watched.told_s = now_s
            self._breakers.heard.put((breaker.model, breaker.version, why))

    def _expected(self, state: Registry, model: str, version: str) -> Expected | None:
        """What a version predicted on the holdout of its verdict, or its candidate did. Raises StorageUnavailable."""
        found = state.versions.get((model, version))
        if found is None or found.judgement is None:
            return None
        try:
            evidence = Evidence.parse(self._store.get(found.judgement.evidence))
        except (NotFound, BadInput):
            return None
        outputs = evidence.champion_out if found.digest == evidence.champion else evidence.candidate_out
        return None if outputs is None or evidence.classes is None else expected(outputs, evidence.classes)


def looks_into(limits: Limits) -> bool:
    return (limits.outputs, limits.latency_ms, limits.class_sd) != (None, None, None)


def failures_since(watched: Watched, tally: Tally) -> tuple[int, int]:
    """Calls that failed since the last look, and those of them that were not finite."""
    if tally is not watched.tally:
        watched.tally, watched.failed, watched.not_finite = tally, 0, 0
    failed, not_finite = tally.failed - watched.failed, tally.not_finite - watched.not_finite
    watched.failed, watched.not_finite = watched.failed + failed, watched.not_finite + not_finite
    return failed, not_finite


def measure(limits: Limits, sampled: Sequence[Sampled]) -> dict[str, Any]:
    """The members of a `Look` that come from answers."""
    singles = [latencies for _, latencies, rows in sampled if rows == len(latencies)]
    measured: dict[str, Any] = {"latencies_s": tuple(latency for latencies in singles for latency in latencies)}
    if limits.outputs is None and limits.class_sd is None:
        return measured
    arrays = [*some(sampled)]
    if not arrays or len({array.shape[1] for array in arrays}) != 1:
        return measured
    numbers = np.concatenate(arrays)
    if numbers.shape[1] > 1:
        counts = np.bincount(numbers.argmax(axis=1), minlength=numbers.shape[1])
        return {**measured, "classes": tuple(counts.tolist())}
    low, high = limits.outputs or (-np.inf, np.inf)
    outside = int(((numbers < low) | (numbers > high)).sum())
    return {**measured, "rows": len(numbers), "outside": outside}


def some(sampled: Sequence[Sampled]) -> "Iterator[np.ndarray[Any, Any]]":
    """Outputs as arrays, (n, classes) or (n, 1), until there are enough rows."""
    left = ROWS_AT_ONCE
    for output, _, _ in sampled:
        if left <= 0:
            return
        array = as_array(output, left)
        left -= len(array)
        yield array
        time.sleep(0)  # others want their turn


def as_array(output: Any, most: int) -> "np.ndarray[Any, Any]":
    if not isinstance(output, Answer):
        return np.asarray(output[:most])
    if output.probabilities is None:
        return np.asarray(output.predictions[:most], float).reshape(-1, 1)
    return np.asarray(output.probabilities[:most], float)
