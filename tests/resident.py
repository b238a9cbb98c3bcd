"""What a process holds, as the system sees it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Held:
    """At one moment."""

    mib: float
    """Resident."""
    files: int
    threads: int


def held(pid: int) -> Held:
    status = Path(f"/proc/{pid}/status").read_text()
    resident_kb, threads = (int(status.partition(f"{name}:")[2].split()[0]) for name in ("VmRSS", "Threads"))
    return Held(resident_kb / 1024, len(list(Path(f"/proc/{pid}/fd").iterdir())), threads)


def libraries(pid: int) -> set[str]:
    """Packages whose compiled parts a process has loaded."""
    mapped = Path(f"/proc/{pid}/maps").read_text().splitlines()
    inside = [line.partition("/site-packages/")[2] for line in mapped if "/site-packages/" in line]
    return {path.split("/")[0] for path in inside}
