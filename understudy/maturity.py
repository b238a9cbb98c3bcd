"""When the labels of a cohort are complete enough to be judged by: the maturity curve, and what is closed.

Judged at once, early labels are biased: fast outcomes come first. So a cohort, the predictions of one stretch of time,
waits until it has 90 % of the labels that it will ever have. How long that takes is learnt from the delays of the
labels that have come. Of young predictions only short delays can have been seen, which would make the curve too steep;
so each delay counts among those predictions alone that are old enough to have shown it (the estimator for truncated
data of Lynden-Bell, 1971; actuaries call it the chain ladder). Of labels that never come nothing is seen: the curve
speaks of those that do come, and nobody waits for the others for ever.

Each source has its own delay, and the slowest of them decides: fast labels, of a smoke test or of a client that
labels its own answers, say nothing about when the others come.

A second look is taken at the cohort itself: where labels stay away that used to come, it waits on, up to a limit. Where
hardly any has come, no delay of other labels says for how long. Closed once is closed: what was judged does not change.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from understudy.label_quality import FEWEST as LOOKED_AT
from understudy.labels import MODEL_SOURCE

MATURE = 0.9
"""Share of its final labels with which a cohort is judged."""
FEWEST = 20
"""Labels from which a curve is learnt, and which must have been able to show the delay that it is asked for."""
HISTORY = 3.0
"""Predictions must reach back so many times the age at which they are mature: or the slowest were not seen yet."""
PATIENCE = 3.0
"""Times the age at which 99 % of the labels are there: then a cohort without its labels is closed all the same."""
LACKING_MS = 2 * 24 * 3_600_000
"""A cohort that has no label, or less than half as many as usual, is waited for so long at least: what the labels of
other cohorts took says nothing of these. The labels of a day that a nightly batch brings are less than two days old."""
OWN_CURVE = 0.05
"""Share of the labels from which a source has a curve of its own."""
OTHERS = ""
"""Stands for the sources that have too few; no source is named so."""
LEAST_AGE_MS = 500
"""A record is written by then."""
FEWEST_REQUESTS = 30
"""Requests of which a share says something."""
COHORTS = 8
"""Into how many parts is cut what may be closed."""

Milliseconds = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cohort:
    """The requests of a stretch of time, without its first millisecond."""

    since_ms: int
    until_ms: int
    requests: int
    labelled: int
    """Of them, so far."""
    rows: int
    """That have a label; a request may have many."""


class Delay(NamedTuple):
    """The first label that a source gave to a row."""

    source: str
    predicted_ms: int
    arrived_ms: int
    late: bool


@dataclass(frozen=True, eq=False)
class Curve:
    """Which share of its labels a prediction has at which age."""

    delays_ms: Milliseconds
    """Rising, each once."""
    shares: npt.NDArray[np.float64]
    """That come within this delay; the last is 1."""
    able: npt.NDArray[np.int64]
    """Labels whose predictions are old enough to have shown it, of those that came within it."""
    history_ms: int
    """Age of the oldest prediction that has a label."""
    labels: int

    def age_ms(self, share: float) -> int:
        """Age at which a prediction has that share of its labels."""
        return int(self.delays_ms[self._place(share)])

    def is_settled(self) -> bool:
        """Whether it can be trusted to say when predictions are mature."""
        if self.labels < FEWEST:
            return False
        place = self._place(MATURE)
        long_enough = self.history_ms >= HISTORY * max(int(self.delays_ms[place]), LEAST_AGE_MS)
        return long_enough and int(self.able[place]) >= min(FEWEST, self.labels // 4)

    def _place(self, share: float) -> int:
        return min(int(np.searchsorted(self.shares, share - 1e-12)), len(self.shares) - 1)


def learn(seen: Sequence[tuple[int, int]], *, now_ms: int) -> Curve | None:
    """The curve of labels, each given by the times of its prediction and its arrival, in ms; None: there are none."""
    if not seen:
        return None
    predicted, arrived = np.array(seen, np.int64).T
    waited = np.maximum(now_ms - predicted, 0)
    delays = np.clip(arrived - predicted, 0, waited)
    distinct, counts = np.unique(delays, return_counts=True)
    able = np.searchsorted(np.sort(delays), distinct, side="right") - np.searchsorted(np.sort(waited), distinct)
    stays = 1 - counts / np.maximum(able, 1)
    shares = np.append(np.cumprod(stays[:0:-1])[::-1], 1.0)
    return Curve(distinct, shares, able.astype(np.int64), int(waited.max()), len(delays))


def slowest(seen: Sequence[Delay], *, now_ms: int) -> Curve | None:
    """The curve of the slowest source; those with few labels are one source together. None: there are no labels.

    The model's own source has a curve of its own however many others speak, or they would close what it knows better.
    """
    counts = Counter(one.source for one in seen)
    needed = defaultdict(lambda: max(FEWEST, math.ceil(OWN_CURVE * len(seen))), {MODEL_SOURCE: FEWEST})
    groups: dict[str, list[tuple[int, int]]] = {}
    for one in seen:
        group = one.source if counts[one.source] >= needed[one.source] else OTHERS
        groups.setdefault(group, []).append((one.predicted_ms, one.arrived_ms))
    large = [group for source, group in groups.items() if len(group) >= needed[source]]
    everything = [(one.predicted_ms, one.arrived_ms) for one in seen]
    curves = [learn(group, now_ms=now_ms) for group in large or [everything]]
    return max((one for one in curves if one is not None), key=lambda one: one.age_ms(MATURE), default=None)


def mostly_late(seen: Sequence[Delay]) -> bool:
    """Whether most of the labels that came last came when their rows were closed."""
    newest = sorted(seen, key=lambda one: one.arrived_ms)[-5 * FEWEST :]
    return len(newest) >= FEWEST and 2 * sum(one.late for one in newest) > len(newest)


def ripe_ms(curve: Curve | None, *, now_ms: int) -> int | None:
    """Predictions up to then have had the time that labels take; None: that is not known yet."""
    if curve is None or not curve.is_settled():
        return None
    return now_ms - max(curve.age_ms(MATURE), LEAST_AGE_MS)


def parts(since_ms: int, until_ms: int) -> list[tuple[int, int]]:
    """What may be closed, cut into cohorts."""
    width = max(1, -(-(until_ms - since_ms) // COHORTS))
    return [(start, min(start + width, until_ms)) for start in range(since_ms, until_ms, width)]


def closed_ms(cohorts: Sequence[Cohort], curve: Curve, *, level: float, now_ms: int) -> int | None:
    """Until when predictions are closed: the end of the last cohort before the first that waits. None: nothing is.

    Some requests without a label hold up nobody (`lacks`), and are not closed for themselves: labelled ones behind them
    close them, or their age.

    Args:
        cohorts: ripe by their age, without a gap between them.
        level: share of the requests that have a label, in what is closed already; 0: that is not known.
    """
    patience_ms = PATIENCE * max(curve.age_ms(0.99), LEAST_AGE_MS)
    longest_ms = max(patience_ms, LACKING_MS)
    few = sum(cohort.rows for cohort in cohorts) < LOOKED_AT
    found = None
    for cohort in cohorts:
        age_ms = now_ms - cohort.until_ms
        if age_ms < longest_ms and lacks(cohort, level):
            break
        if age_ms < patience_ms and (few or not is_complete(cohort, level)):
            break
        if cohort.labelled or age_ms >= longest_ms:
            found = cohort.until_ms
    return found


def lacks(cohort: Cohort, level: float) -> bool:
    """Whether hardly any label has come, so that nothing says when the others will."""
    if cohort.requests < FEWEST_REQUESTS:
        return False
    return not cohort.labelled or (not is_complete(cohort, level) and 2 * cohort.labelled < level * cohort.requests)


def is_complete(cohort: Cohort, level: float) -> bool:
    """Whether it has as many labels as such cohorts have, but for chance (two standard errors)."""
    if cohort.requests < FEWEST_REQUESTS:
        return True
    expected = MATURE * level
    error = math.sqrt(expected * max(0.0, 1 - expected) / cohort.requests)
    share = cohort.labelled / cohort.requests
    return share >= expected - 2.0 * error
