"""What the gates of one model have shown: whether each sabotage was stopped, and an honest candidate was not."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from understudy.case import Case
from understudy.gates import judge
from understudy.verdict import Name, Verdict


@dataclass(frozen=True)
class Sabotage:
    """One thing that is wrong, and the gate that is there for it."""

    name: str
    gate: Name
    case: Case | None
    """None: it cannot be done to this model, or its policy allows it."""


@dataclass(frozen=True)
class Outcome:
    """What became of a sabotage."""

    name: str
    gate: Name
    caught_by: tuple[Name, ...]
    """Empty: it came through."""
    reason: str
    """What its own gate says, or the first of the others."""


@dataclass(frozen=True)
class Proof:
    """What the gates of one model have shown."""

    control: tuple[str, ...]
    """Why even the honest candidate was refused; empty where it passed, as it should."""
    outcomes: tuple[Outcome, ...]
    impossible: tuple[str, ...]
    """Sabotages that cannot be done to this model."""
    unproven: tuple[Name, ...] = ()
    """Gates of which every sabotage is such a one: nothing shows that they can fail."""

    @property
    def came_through(self) -> tuple[Outcome, ...]:
        return tuple(one for one in self.outcomes if not one.caught_by)

    @property
    def holds(self) -> bool:
        return not self.control and not self.came_through

    def sentence(self) -> str:
        """The proof in words."""
        if self.control:
            return (
                f"Even the honest candidate was refused, so what was stopped proves nothing: {' '.join(self.control)}"
            )
        if self.came_through:
            names = "; ".join(f"{one.name} ({one.gate})" for one in self.came_through)
            return f"{len(self.came_through)} of {len(self.outcomes)} sabotages came through every gate: {names}."
        unproven = f" Nothing could be tried on: {', '.join(self.unproven)}." if self.unproven else ""
        return f"An honest candidate passed, and each of {len(self.outcomes)} sabotages was stopped.{unproven}"

    def to_json(self) -> dict[str, Any]:
        return {
            "holds": self.holds,
            "sentence": self.sentence(),
            "control": list(self.control),
            "came_through": [one.name for one in self.came_through],
            "sabotages": [
                {"name": one.name, "gate": one.gate, "caught_by": list(one.caught_by), "reason": one.reason}
                for one in self.outcomes
            ],
            "impossible": list(self.impossible),
        }


def prove(control: Case, sabotages: Collection[Sabotage], *, without: Collection[Name] = ()) -> Proof:
    """Judge an honest candidate and each sabotage of it. `without`: gates that are switched off."""
    made = [(one, one.case) for one in sabotages if one.case is not None]
    return Proof(
        control=judge(control, without=without).reasons,
        outcomes=tuple(_outcome(one, judge(case, without=without)) for one, case in made),
        impossible=tuple(one.name for one in sabotages if one.case is None),
        unproven=tuple(dict.fromkeys(one.gate for one in sabotages if one.gate not in {one.gate for one, _ in made})),
    )


def _outcome(sabotage: Sabotage, verdict: Verdict) -> Outcome:
    failed = {gate.name: gate.reason for gate in verdict.gates if not gate.passed}
    reason = failed.get(sabotage.gate) or next(iter(failed.values()), "No gate stopped it.")
    return Outcome(sabotage.name, sabotage.gate, tuple(failed), reason)
