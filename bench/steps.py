"""Where every microsecond goes: the functions of the path, one by one."""

from collections.abc import Collection
from dataclasses import dataclass

from bench.tumours import Fitted


@dataclass(frozen=True)
class Step:
    """One function of the path by itself."""

    what: str
    share: str
    """How often it is paid: for a request, or for a call of the model that many requests share."""
    us: float


def measure(model: Fitted, cores: Collection[int]) -> list[Step]:
    return []
