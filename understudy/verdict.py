"""What is recorded of a decision: the comparison, and every gate with what it saw, what it allows and why."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from understudy.compare import Comparison
from understudy.slices import Slice

Name = Literal["data", "api", "trial", "signature", "holdout", "sanity", "floors", "latency", "slices", "comparison"]
Scalar = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class GateResult:
    """What one gate saw, what it allows, and what follows, as a sentence."""

    name: Name
    passed: bool
    observed: Scalar
    limit: Scalar
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The comparison plus every gate; only one in which all pass is a ground for promotion."""

    passed: bool
    rows: str | None
    """Names the rows that were judged: `Evidence.row_set`."""
    comparison: Comparison
    gates: tuple[GateResult, ...]
    slices: tuple[Slice, ...] = ()
    """Every slice of the columns that the definition names, judged or only reported."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """What failed, as sentences; empty where nothing did."""
        return tuple(gate.reason for gate in self.gates if not gate.passed)

    def gate(self, name: Name) -> GateResult:
        return next(gate for gate in self.gates if gate.name == name)

    def to_json(self) -> dict[str, Any]:
        """The verdict as `VerdictReached` holds it; `slices` is there where there are any."""
        slices = {"slices": [one.to_json() for one in self.slices]} if self.slices else {}
        return {
            "passed": self.passed,
            "rows": self.rows,
            "comparison": self.comparison.to_json(),
            "gates": [asdict(gate) for gate in self.gates],
            **slices,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Verdict":
        """Raises KeyError or TypeError on anything else."""
        return cls(
            passed=data["passed"],
            rows=data["rows"],
            comparison=Comparison.from_json(data["comparison"]),
            gates=tuple(GateResult(**gate) for gate in data["gates"]),
            slices=tuple(Slice.from_json(one) for one in data.get("slices", ())),
        )
