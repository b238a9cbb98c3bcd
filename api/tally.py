"""The losses of the pairs that labels compare, kept in memory: whoever asks how they stand reads only what is new."""

from threading import Lock

import numpy as np

from understudy.live import Scored
from understudy.metrics import FloatArray
from understudy.ports import ScoredRow, Scores


class Tally:
    """Any thread may ask. What is stored for a pair only grows, and another pair begins anew."""

    def __init__(self, scores: Scores) -> None:
        self._scores, self._lock = scores, Lock()
        self._known: dict[str, tuple[int, FloatArray]] = {}

    def of(self, model: str, pair: int) -> Scored:
        """Both losses of all rows so far. Raises StorageUnavailable."""
        with self._lock:
            known, losses = self._known.get(model, (pair, EMPTY))
            if known != pair or self._scores.cursor(model, pair) is None:
                losses = EMPTY
            new = self._scores.read(model, pair, since=len(losses))
            losses = np.concatenate([losses, array(new)]) if new else losses
            self._known[model] = pair, losses
        serving, other = losses[:, 0], losses[:, 1]
        return Scored(serving, None if np.isnan(other).all() else other)


def array(rows: list[ScoredRow]) -> FloatArray:
    """Shape (n, 2), NaN where there was no answer."""
    return np.array([(serving, other) for _, serving, other in rows], dtype=np.float64)


EMPTY: FloatArray = np.empty((0, 2))
