"""What a gate is made of: rules, and what to say where all of them hold."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from understudy.verdict import Scalar

STALE_S = 600.0
"""A fact that was measured longer ago says nothing about now."""
EARLY_S = -60.0
"""Two clocks may differ a little; a fact measured further in the future is no fact."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition of a gate."""

    holds: bool
    observed: Scalar
    limit: Scalar
    reason: str
    """What is wrong where it does not hold."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What to say of a gate whose rules all hold."""

    observed: Scalar
    limit: Scalar
    reason: str


Rules = tuple[Sequence[Rule], Passed]


def missing(what: str) -> Rules:
    """For a gate whose input is not there."""
    return [Rule(False, None, "present", what)], Passed(None, None, "")


def fresh(age_s: float | None, what: str) -> Rule:
    """For a fact that was measured `age_s` seconds ago."""
    if age_s is None or not math.isfinite(age_s):
        return Rule(False, None, STALE_S, f"{what} has no age.")
    reason = f"{what} was measured {age_s:.0f} s ago; at most {STALE_S:.0f} s ago counts."
    if age_s < EARLY_S:
        reason = (
            f"{what} was measured {-age_s:.0f} s in the future: set the clocks of both services by one time server."
        )
    return Rule(EARLY_S <= age_s <= STALE_S, float(age_s), STALE_S, reason)
