"""The gate on slices: in none that the owner names may the candidate be worse than the champion, beyond chance."""

from collections.abc import Sequence

import numpy as np

from understudy.case import Case
from understudy.losses import both_losses
from understudy.rules import Passed, Rule, Rules, missing
from understudy.slices import Slice, by_slice


def sliced(case: Case) -> tuple[Slice, ...]:
    """Candidate and champion in each slice of the declared columns; judged only where a champion serves.

    Raises as `both_losses` does, and ValueError where the evidence does not hold those columns, or a loss is no number.
    """
    evidence, columns = case.evidence, (*case.slices, *case.protected)
    if evidence is None or not columns:
        return ()
    for column in columns:
        if column not in evidence.groups:
            raise ValueError(f"the evidence does not say what its rows hold in `{column}`")
    candidate, champion = both_losses(case, evidence)
    if not (np.isfinite(candidate).all() and np.isfinite(champion).all()):
        raise ValueError("one of the two models did not answer every row with finite numbers")
    groups = {column: evidence.groups[column] for column in columns}
    served = evidence.champion_out is not None
    labels = None if evidence.classes is None else evidence.labels
    return by_slice(candidate, champion, groups, protected=case.protected, judged=served, labels=labels)


def slices(case: Case) -> Rules:
    """The gate of that name."""
    if not (case.slices or case.protected):
        return [], Passed(None, None, "No slices are declared.")
    if case.evidence is None:
        return missing("There is no evidence.")
    found = sliced(case)
    rules = [Rule(not one.harmed, one.p, one.limit, f"Where {one.name}, {one.n} rows: {one.reason}") for one in found]
    if case.champion is None:
        return rules, Passed(None, None, f"{len(found)} slices are reported: no champion serves, so none gets worse.")
    tested = [(one.p, one.limit) for one in found if one.p is not None and one.limit is not None]
    p, limit = min(tested, default=(None, None))
    return rules, Passed(p, limit, _in_words(len(tested), [one for one in found if one.p is None]))


def _in_words(tested: int, few: Sequence[Slice]) -> str:
    """What was judged; and which protected slices were not, for of these it must not be believed."""
    worse = f"In none of {tested} slices is its loss higher than the champion's, beyond chance."
    if not few:
        return worse
    protected = ", ".join(one.name for one in few if one.protected)
    which = f", so nothing is known where {protected}" if protected else ""
    return f"{worse} {len(few)} with too few rows are only reported{which}."
