"""The losses of the pairs that labels compare, and how they stand, kept in memory: who asks pays for what is new."""

from dataclasses import dataclass
from threading import Lock

import numpy as np

from understudy import live
from understudy.eprocess import Standing
from understudy.live import Decline, Reference, Scored
from understudy.metrics import FloatArray
from understudy.ports import ScoredRow, Scores


@dataclass(frozen=True, eq=False)
class Weighed:
    """What the rows of a pair say."""

    scored: Scored
    standing: Standing | None
    decision: Standing | None
    decline: Decline | None


class Tally:
    """Any thread may ask. What is stored for a pair only grows, and another pair begins anew."""

    def __init__(self, scores: Scores) -> None:
        self._scores, self._lock = scores, Lock()
        self._known: dict[str, tuple[int, FloatArray]] = {}
        self._weighed: dict[str, tuple[tuple[int, int, Reference | None, Reference | None], Weighed]] = {}

    def weigh(self, model: str, pair: int, known: Reference | None, gate: Reference | None) -> Weighed:
        """All rows so far, by what both lost on the holdout of the pair, and the champion on that of its own verdict.

        Raises StorageUnavailable.
        """
        with self._lock:
            losses = self._losses(model, pair)
            key = pair, len(losses), known, gate
            before = self._weighed.get(model)
            if before is None or before[0] != key:
                self._weighed[model] = before = key, weighed(losses, known, gate)
            return before[1]

    def _losses(self, model: str, pair: int) -> FloatArray:
        known, losses = self._known.get(model, (pair, EMPTY))
        if known != pair or self._scores.cursor(model, pair) is None:
            losses = EMPTY
        new = self._scores.read(model, pair, since=len(losses))
        losses = np.concatenate([losses, array(new)]) if new else losses
        self._known[model] = pair, losses
        return losses


def weighed(losses: FloatArray, known: Reference | None, gate: Reference | None) -> Weighed:
    serving, other = losses[:, 0], losses[:, 1]
    scored = Scored(serving, None if np.isnan(other).all() else other)
    return Weighed(scored, live.standing(known, scored), live.decision(known, scored), live.decline(gate, scored))


def array(rows: list[ScoredRow]) -> FloatArray:
    """Shape (n, 2), NaN where there was no answer."""
    return np.array([(serving, other) for _, serving, other in rows], dtype=np.float64)


EMPTY: FloatArray = np.empty((0, 2))
