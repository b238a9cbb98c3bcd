"""What the clients of a campaign of swaps have seen, and how it is told."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

KINDS = ("single", "batch", "pipelined", "plain")
PHASES = ("warming up", "steady", "swaps")


@dataclass
class Tally:
    """What one process of clients has seen."""

    failed: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    outdated: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    latencies: Counter[tuple[int, str, int]] = field(default_factory=Counter)
    """(phase, kind, bucket) -> requests."""


STEP = math.log(1.02)


def bucket_of(latency_s: float) -> int:
    """Two per cent wide, from 10 µs on."""
    return int(math.log(max(latency_s, 1e-5) / 1e-5) / STEP)


def middle_ms(bucket: int) -> float:
    return 1e-2 * math.exp((bucket + 0.5) * STEP)


def quantile(tally: Tally, phase: str, kinds: tuple[str, ...], share: float) -> float:
    """In ms."""
    counts: dict[int, int] = {}
    for (number, kind, bucket), n in tally.latencies.items():
        if PHASES[number] == phase and kind in kinds:
            counts[bucket] = counts.get(bucket, 0) + n
    left = share * sum(counts.values())
    for bucket in sorted(counts):
        left -= counts[bucket]
        if left <= 0:
            return middle_ms(bucket)
    return float("nan")


def tell(tally: Tally) -> bool:
    print(f"{'':10}{'':>9} {'p50':>8} {'p90':>8} {'p99':>8} {'p99.9':>8}  ms")
    for kinds in (KINDS, *((kind,) for kind in KINDS)):
        name = "all" if kinds == KINDS else kinds[0]
        for phase in PHASES[1:]:
            figures = " ".join(f"{quantile(tally, phase, kinds, share):8.2f}" for share in (0.5, 0.9, 0.99, 0.999))
            print(f"{name:10}{phase:>9} {figures}")
        ratio = quantile(tally, "swaps", kinds, 0.99) / quantile(tally, "steady", kinds, 0.99)
        print(f"{name:10}p99 during swaps is {ratio:.2f} × steady")
    for what in ("failed", "wrong", "outdated"):
        counts: Any = getattr(tally, what)
        print(f"{counts.total()} {what}")
        for said, n in counts.most_common(5):
            print(f"   {n} × {said}")
    return not (tally.failed or tally.wrong or tally.outdated)


def add(whole: Tally, one: Tally) -> None:
    for name in ("failed", "wrong", "outdated", "latencies"):
        getattr(whole, name).update(getattr(one, name))
    whole.rows += one.rows
