"""Which predictions are closed, so that they may be judged: looked at when somebody asks for them."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from api.journal import Journal
from understudy.errors import UnderstudyError
from understudy.events import AttentionNeeded
from understudy.evidence import Evidence
from understudy.label_quality import doubt
from understudy.maturity import Curve, closed_ms, mostly_late, parts, ripe_ms, slowest
from understudy.ports import ArtifactStore, Labels
from understudy.signature import Value
from understudy.state import Model

log = logging.getLogger(__name__)

MOST_DELAYS = 5_000
LOOK_BACK_MS = 30 * 24 * 3_600_000
LEVEL_FROM = 4
"""The usual share of labels is that of a stretch so many times as long as what may be closed."""
MOST_LABELS = 1_000
"""Labels that are looked at before a cohort is judged."""


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Standing:
    """How far a model's predictions are closed, and what is known of the delay of its labels."""

    closed_ms: int | None
    curve: Curve | None


class Cohorts:
    """Any thread may ask, in any process: what one has closed the others find closed."""

    def __init__(
        self, labels: Labels, journal: Journal, store: ArtifactStore, *, now_ms: Callable[[], int] = wall_ms
    ) -> None:
        self._labels, self._journal, self._store, self._now_ms = labels, journal, store, now_ms
        self._holdouts: dict[str, Sequence[Value]] = {}
        """Labels of evidence, by its digest: the newest only."""

    def look(self, model: str) -> Standing:
        """Close what is mature by now. Raises StorageUnavailable."""
        now_ms = self._now_ms()
        seen = self._labels.delays(model, since_ms=now_ms - LOOK_BACK_MS, now_ms=now_ms, most=MOST_DELAYS)
        if mostly_late(seen):
            self._tell_of_late(model)
        curve = slowest(seen, now_ms=now_ms)
        before, ripe = self._labels.closed_ms(model), ripe_ms(curve, now_ms=now_ms)
        if curve is not None and ripe is not None:
            since_ms = min(one.predicted_ms for one in seen) - 1 if before is None else before
            until_ms = self._mature(model, curve, since_ms, ripe, known=before is not None)
            if until_ms is not None:
                self._close(model, since_ms, until_ms)
        return Standing(self._labels.closed_ms(model), curve)

    def _mature(self, model: str, curve: Curve, since_ms: int, ripe: int, *, known: bool) -> int | None:
        if ripe <= since_ms:
            return None
        cohorts = [self._labels.cohort(model, since_ms=start, until_ms=end) for start, end in parts(since_ms, ripe)]
        level = self._level(model, since_ms, LEVEL_FROM * (ripe - since_ms)) if known else 0.0
        return closed_ms(cohorts, curve, level=level, now_ms=self._now_ms())

    def _level(self, model: str, until_ms: int, length_ms: int) -> float:
        """Share of requests that have a label, in the end of what is closed."""
        usual = self._labels.cohort(model, since_ms=until_ms - length_ms, until_ms=until_ms)
        return min(1.0, usual.labelled / usual.requests) if usual.requests else 0.0

    def _close(self, model: str, since_ms: int, until_ms: int) -> None:
        why = self._doubt(model, since_ms, until_ms)
        if self._labels.close_until(model, until_ms, doubt=why) and why is not None:
            self._tell_of_doubt(model, why)

    def _doubt(self, model: str, since_ms: int, until_ms: int) -> str | None:
        """Why nothing should be judged by the labels of what is closed now."""
        sample, before = self._labels.sample(model, since_ms=since_ms, until_ms=until_ms, most=MOST_LABELS)
        known = self._journal.state.models.get(model)
        holdout = [] if known is None else self._holdout(known)
        numbers = all(isinstance(label, float | int) and not isinstance(label, bool) for label in sample.labels)
        is_regression = numbers and known is not None and task_of(known) == "regression"
        return doubt(sample, [holdout, before], numbers=is_regression)

    def _holdout(self, model: Model) -> Sequence[Value]:
        """The labels that the champion was judged by; none where nothing is known of them."""
        version = None if model.champion is None else self._journal.state.versions.get((model.name, model.champion))
        if version is None or version.judgement is None:
            return []
        digest = version.judgement.evidence
        if digest not in self._holdouts:
            try:
                self._holdouts = {digest: labels_of(Evidence.parse(self._store.get(digest)))}
            except UnderstudyError as error:
                log.warning("The labels of a holdout cannot be read: %s", error, extra={"action": "labels.unread"})
                return []
        return self._holdouts[digest]

    def _tell_of_doubt(self, model: str, why: str) -> None:
        reason = f"Nothing is judged by the newest labels of {model}: {why}."
        remedy = (
            "Find out which source is wrong; what it sends from then on is judged by again. See GET "
            f"/models/{model}/labelled?labels=any."
        )
        self._tell(model, reason, remedy)

    def _tell_of_late(self, model: str) -> None:
        """Once: while a note of it is at hand there is no other."""
        reason = f"Most of the newest labels of {model} came after their rows were closed: nothing is judged by them."
        remedy = "Nothing needs to be done if labels go on to come: how long they take is known by now."
        known = self._journal.state.models.get(model)
        if known is not None and all(note.reason != reason for note in known.attention):
            self._tell(model, reason, remedy)

    def _tell(self, model: str, reason: str, remedy: str) -> None:
        note = AttentionNeeded(model=model, version=None, run=None, reason=reason, remedy=remedy)
        try:
            self._journal.decide(lambda state, now: [note])
        except UnderstudyError as error:  # what it says is so all the same
            log.warning("%s %s", note.reason, error, extra={"action": "labels.untold", "model": model})


def task_of(model: Model) -> str | None:
    return None if model.definition is None else model.definition.get("task")


def labels_of(evidence: Evidence) -> list[Value]:
    if evidence.classes is None:
        return list(np.asarray(evidence.labels, np.float64).tolist())
    return [evidence.classes[code] for code in evidence.labels.tolist() if code >= 0]
