"""What the system says of this process's memory: how much it holds, and who was ended because there was none left."""

import re
import resource
import time
from collections.abc import Iterator
from pathlib import Path

PAGE = resource.getpagesize()
GROUPS = Path("/sys/fs/cgroup")

#: Version of the interface -> where it is mounted, and the file that counts; some systems mount both.
COUNTS = {2: ("", "memory.events"), 1: ("memory", "memory.oom_control")}


NOTED_EVERY_S = 5.0


class Shortage:
    """Tells a child that was killed for its memory from one that somebody killed.

    The system counts, and does not say whom. Whoever else of the group was killed long before is no explanation.
    """

    def __init__(self, count: int) -> None:
        self._known = self._noted = count
        self._next_s = float("-inf")

    def note(self) -> None:
        """Look at the count every few seconds, and let go of what it said the time before: a death is seen later."""
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + NOTED_EVERY_S
            self.see(kills_for_memory() or 0)

    def see(self, count: int) -> None:
        self._known, self._noted = max(self._known, self._noted), count

    def explains_one(self, count: int) -> bool:
        """Whether one more was killed for memory than is accounted for; then it is."""
        is_short = count > self._known
        self._known += is_short
        return is_short


def resident_bytes(process: int | str = "self") -> int:
    """What a process holds in memory; 0 where the system does not say."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError, ValueError):
        return 0


def kills_for_memory(process: str = "self") -> int | None:
    """How many processes of this control group were killed because memory was short; None where nobody counts."""
    for file in counts(process):
        try:
            found = re.search(r"^oom_kill (\d+)$", file.read_text(), re.MULTILINE)
        except OSError:
            continue
        if found:
            return int(found[1])
    return None


def counts(process: str) -> Iterator[Path]:
    """Where the count may be: the path of the group as the host sees it is not there inside a container."""
    try:
        lines = Path(f"/proc/{process}/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        version = 1 if "memory" in controllers.split(",") else 2 if not controllers else 0
        if version in COUNTS:
            mount, name = COUNTS[version]
            yield GROUPS / mount / path.lstrip("/") / name
            yield GROUPS / mount / name
