"""What a campaign was to do, and what it found."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`kills` rounds from number `first` of the sequence that `seed` names."""

    seed: int
    kills: int
    workers: int = 1
    schedulers: int = 1
    first: int = 0
    trains: bool = True
    """Whether a model is trained beside the one that is promoted by hand."""


@dataclass
class Report:
    """What a campaign found."""

    plan: Plan
    broken: list[str] = field(default_factory=list)
    """Promises, as sentences; each names who saw it."""
    served_again_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By kind of kill: from the kill until a prediction was right again."""
    disturbances: Counter[str] = field(default_factory=Counter)
    exchanges: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)

    @property
    def kills(self) -> int:
        return sum(map(len, self.served_again_s.values()))

    def lines(self) -> Iterator[str]:
        plan, every_one = self.plan, [s for some in self.served_again_s.values() for s in some]
        yield f"seed {plan.seed}, {plan.workers} workers, {plan.schedulers} schedulers: {self.kills} kills"
        for kind, some in (*sorted(self.served_again_s.items()), ("all", every_one)):
            times = f"median {statistics.median(some):.2f} s, worst {max(some):.2f} s" if some else "never asked"
            yield f"  {kind:10} {len(some):4}   served again: {times}"
        for name, counts in (("besides", self.disturbances), ("requests", self.exchanges), ("events", self.events)):
            yield f"  {name}: {', '.join(f'{what} {count}' for what, count in sorted(counts.items()))}"
        yield f"  broken promises: {len(self.broken)}"
        yield from (f"    {each[:600]}" for each in self.broken[:20])
