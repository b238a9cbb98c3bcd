"""Judging what serves by the labels of what it predicted: against the version in shadow, and against its own past.

The scheduler asks the other version about the rows that the champion answered; what both said and what was true
becomes two losses a row. Two questions are asked of them, in the order of the predictions:

    is the other version better?      the e-process of `eprocess.py`; it decides as soon as it is sure
    has the champion itself got worse? in each whole window of rows, its mean loss against that on its holdout; more
                                       than 3 standard errors of block means above: both are bad, so train anew

What follows is at most one switch between two verdicts, and none where a person takes the last step.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, cast

import numpy as np

from understudy import promotion
from understudy.calm import unrest
from understudy.compare import LOSSES, MIN_ROWS, block_means, row_losses
from understudy.eprocess import Standing, follow
from understudy.events import AttentionNeeded
from understudy.evidence import Evidence
from understudy.losses import paired
from understudy.metrics import FloatArray
from understudy.policy import OWN, Loss, Promotion
from understudy.promotion import Wish
from understudy.signature import Task
from understudy.state import Model, Registry, Version

WORSE_BY = 3.0
"""Standard errors. Of a champion that is what it was, one window in some 400 rings where rows are independent, and more
where they depend on each other for longer than a block. Windows do not overlap: each is looked at once."""
RARE = 10
"""Rows of a class on the holdout from which on it has shown how two models differ there."""
MILLISECOND = timedelta(milliseconds=1)
KEY = "live-"
"""How the key of a promotion begins that labels decided."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Losses on the holdout of the pair's verdict, each of shape (n,)."""

    serving: FloatArray
    other: FloatArray | None
    """None: the other version was not asked about these rows."""
    extreme: float = 0.0
    """Largest difference of a row's losses under any class, where the holdout has hardly any rows of one; inf: unknown.

    Where one row in a hundred decides, a few hundred rows have not shown how far two models can differ.
    """


@dataclass(frozen=True, eq=False)
class Scored:
    """Losses on labelled predictions, each of shape (n,), in the order of the predictions; NaN: no answer."""

    serving: FloatArray
    other: FloatArray | None


@dataclass(frozen=True)
class Decline:
    """A window in which the champion was worse than on its holdout."""

    since: int
    until: int
    """Places of the first row of that window, and of the first one after it."""
    loss: float
    before: float
    errors: float
    """By how many standard errors."""

    @property
    def words(self) -> str:
        now = f"its loss on labelled predictions {self.since + 1} to {self.until} is {self.loss:.4g}"
        return f"{now}, and was {self.before:.4g} when it was judged: {self.errors:.1f} standard errors more"


def loss_name(policy: Mapping[str, Any], task: Task) -> str:
    """The loss by which a policy judges: one of ours, or `own:NAME`, which the scheduler computes."""
    return Promotion.from_json(policy).loss_name or LOSSES[task][0]


def is_own(name: str) -> bool:
    return name.startswith(OWN)


def digests(state: Registry, version: Version) -> list[str]:
    """Of a version, and of the candidate that it is the refit of."""
    of = [] if version.refit_of is None else [state.version(version.model, version.refit_of).digest]
    return [version.digest, *of]


def reference(
    policy: Mapping[str, Any], evidence: Evidence, *, serving: Collection[str], other: Collection[str]
) -> Reference | None:
    """What the holdout of a verdict says of a pair; None where the champion was not asked about it.

    Args:
        serving, other: digests of each version's bundle, and of the candidate that it is the refit of.

    Raises ValueError as `losses.paired` does.
    """
    candidate, champion = paired(policy, evidence)
    extreme = extreme_of(policy, evidence)
    if evidence.candidate in serving:
        return Reference(candidate, champion if evidence.champion in other else None, extreme)
    if evidence.champion in serving and champion is not None:
        return Reference(champion, candidate if evidence.candidate in other else None, extreme)
    return None


def extreme_of(policy: Mapping[str, Any], evidence: Evidence) -> float:
    """How far the losses of both can differ in one row, whatever its class; 0 where every class has enough rows."""
    if evidence.classes is None or evidence.champion_out is None:
        return 0.0
    codes = evidence.labels[evidence.labels >= 0].astype(np.intp)
    if np.bincount(codes, minlength=len(evidence.classes)).min() >= RARE:
        return 0.0
    name = loss_name(policy, evidence.task)
    if is_own(name):
        return float("inf")
    worst = 0.0
    for code in range(len(evidence.classes)):
        labels = np.full(evidence.n, code, dtype=np.int64)
        losses = [row_losses(cast(Loss, name), out, labels) for out in (evidence.candidate_out, evidence.champion_out)]
        worst = max(worst, float(np.nanmax(np.abs(losses[0] - losses[1]))))
    return worst


def standing(known: Reference | None, scored: Scored) -> Standing | None:
    """How the pair stands; None where there is nothing to compare with."""
    if known is None or known.other is None or scored.other is None:
        return None
    if np.isinf(known.extreme):
        why = f"The holdout has fewer than {RARE} rows of some class, and how far a loss of your own goes is not known."
        return Standing(block=None, scale=None, rows=0, blocks=0, capital=1.0, crossed=None, reason=why)
    return follow(known.serving - known.other, scored.serving - scored.other, extreme=known.extreme)


def decision(known: Reference | None, scored: Scored) -> Standing | None:
    """How the pair stood at the row that decided; None where nothing is decided."""
    found = standing(known, scored)
    if found is None or found.crossed is None or scored.other is None:
        return None
    return standing(known, Scored(scored.serving[: found.crossed], scored.other[: found.crossed]))


def decline(known: Reference | None, scored: Scored) -> Decline | None:
    """The first window of live rows, as long as the holdout, in which the champion was clearly worse than there."""
    if known is None or len(known.serving) < MIN_ROWS or not np.isfinite(known.serving).all():
        return None
    length = len(known.serving)
    before, error = mean_and_error(known.serving)
    for end in range(length, len(scored.serving) + 1, length):
        window = scored.serving[end - length : end]
        if not np.isfinite(window).all():
            continue
        loss, own = mean_and_error(window)
        spread = float(np.hypot(error, own))
        if spread > 0 and loss - before > WORSE_BY * spread:
            return Decline(end - length, end, loss, before, (loss - before) / spread)
    return None


def mean_and_error(losses: FloatArray) -> tuple[float, float]:
    """Mean of the block means, and its standard error."""
    means = block_means(losses)
    return float(means.mean()), float(means.std(ddof=1)) / len(means) ** 0.5


Next = Literal["waits", "switch", "person", "barred"]


@dataclass(frozen=True)
class Switch:
    """What follows where labels prefer the other version."""

    next: Next
    why: str
    wish: Wish | None = None


def switch(model: Model, now: datetime) -> Switch | None:
    """The promotion that labels call for, or why there is none; None where they call for nothing.

    Its key names the comparison, so that whoever carries it out wishes the same.
    """
    pair = model.pair
    if pair is None or pair.settled_at is None or pair.other is None or model.champion != pair.serving:
        return None
    said = f"Labels of predictions prefer version {pair.other} to version {pair.serving}"
    if ((model.definition or {}).get("promotion") or {}).get("mode") != "auto":
        return Switch("person", f"{said}; model {model.name} leaves that step to a person.")
    if (why := promotion.barred(model, pair.other)) is not None:
        return Switch("barred", f"{said}, which is barred since it was taken back. {why}")
    if (why := unrest(model, now)) is not None and pair.why != "promotion":
        return Switch("waits", f"{said}. {why}")
    goes_back = promotion.refuge(model) == pair.other
    wish = Wish(
        model=model.name,
        version=pair.other,
        key=f"{KEY}{model.name}-{pair.settled_at}",
        by="api",
        how="demotion" if goes_back else "promotion",
        reason=f"{said}: see position {pair.settled_at} of the log.",
        expects=pair.serving,
    )
    return Switch("switch", wish.reason, wish)


def stuck(model: Model, wish: Wish, why: str) -> tuple[AttentionNeeded, ...]:
    """Tell a person, once, that what labels call for cannot be done."""
    since = 0 if model.pair is None else model.pair.settled_at or 0
    said = f"What labels of predictions call for cannot be done: {why}"
    if any(note.position > since and note.reason == said for note in model.attention):
        return ()
    remedy = f"Look at version {wish.version}; promote another one by its id, with a reason."
    return (AttentionNeeded(model=model.name, version=wish.version, run=None, reason=said, remedy=remedy),)
