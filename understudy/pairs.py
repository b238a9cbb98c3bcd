"""Which version is compared with the champion on the labels of what it predicts. Part of the fold.

    verdict refused by the comparison alone  -->  the champion and that candidate; then its refit, where there is one
    promotion on a verdict                   -->  the new champion and the one before
    switch: labels prefer the other          -->  the new champion alone, so that there is one between two retrains
    demotion                                 -->  the champion that came back, alone
    another loss in the definition           -->  the same two, from the beginning

A pair goes on until the next of these; what another gate refuses ends none, for it must not serve.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from understudy.events import ModelDefined, Recorded, VerdictReached, VersionPromoted
from understudy.policy import OWN
from understudy.state import Judgement, Pair


def after_verdict(pair: Pair | None, entry: Recorded, event: VerdictReached, *, shadows: bool) -> Pair | None:
    """`shadows`: whether nothing but the comparison speaks against the version.

    What labels have decided already is carried out first.
    """
    if not shadows or event.champion is None:
        return pair
    if pair is not None and pair.settled_at is not None and pair.serving == event.champion:
        return pair
    return Pair(
        serving=event.champion,
        other=event.version,
        evidence=event.evidence,
        position=entry.position,
        time=entry.time,
        why="refusal",
    )


def after_definition(
    pair: Pair | None, entry: Recorded, event: ModelDefined, *, before: Mapping[str, Any] | None, source: str | None
) -> Pair | None:
    """A pair is compared by one loss: with another one it begins anew.

    `before`, `source`: the definition that was in force, and the digest of its source. What a function of the owner's
    said of the holdout holds for that function only.
    """
    then, now = (((one or {}).get("promotion") or {}).get("loss") for one in (before, event.definition))
    is_own = str(now).startswith(OWN)
    if pair is None or (then == now and not (is_own and source != event.source_digest)):
        return pair
    evidence = None if is_own else pair.evidence
    return replace(pair, position=entry.position, time=entry.time, settled_at=None, evidence=evidence)


def after_refit(pair: Pair | None, entry: Recorded, version: str, of: str) -> Pair | None:
    """The refit takes the place of its candidate in shadow."""
    if pair is None or (pair.why, pair.other) != ("refusal", of):
        return pair
    return replace(pair, other=version, position=entry.position, time=entry.time)


def settled(pair: Pair | None, entry: Recorded, named: int) -> Pair | None:
    """The pair, once its labels have spoken; one that has ended meanwhile is not meant."""
    return pair if pair is None or pair.position != named else replace(pair, settled_at=entry.position)


def after_promotion(pair: Pair | None, entry: Recorded, event: VersionPromoted, judgement: Judgement | None) -> Pair:
    """`judgement`: on which the new champion stands."""
    spoken = None if pair is None or pair.settled_at is None else pair
    by_labels = spoken is not None and spoken.other == event.version
    is_new = event.how != "demotion" and not by_labels
    shared = judgement is not None and judgement.champion == event.replaces and not judgement.live
    evidence = None if judgement is None or judgement.live else judgement.evidence
    return Pair(
        serving=event.version,
        other=event.replaces if is_new and shared else None,
        evidence=spoken.evidence if spoken and by_labels else evidence,
        position=entry.position,
        time=entry.time,
        why="switch" if by_labels else "promotion" if is_new else "return",
    )
