"""All sheets as one reads them, and the estate: one sheet for the counters of all who have died.

Without it a scrape would read two files more for every death. To add up is easy; the order of the steps is not. Whoever
dies amid them must leave neither a number that is counted twice nor one that is lost:

    1. the sum of the old estate and of the dead is written, under a name that nobody reads yet
    2. `estate` is exchanged: it says which sum counts from now on, and whose files do not, for they are in it
    3. those files are removed
    4. `estate` names them no more
    5. their names are given back: before this, a new process of the same name would not be counted

Readers hold the lock together, and whoever gathers holds it alone.
"""

import fcntl
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from api.sheets import ALIVE, Page, lives, owner, owners, remove
from understudy.adapters.sqlite import storage_errors

MOST_DEAD = 16
"""Whose files are read one by one."""

DEED, LOCK = "estate", "estate.lock"


def read(folder: Path) -> list[Metric]:
    """All metrics of all processes, summed. Raises OSError."""
    with locked(folder, fcntl.LOCK_SH):
        bury(folder)
        found = [str(file) for file in files(folder)]
        return [*MultiProcessCollector.merge(found)]  # type: ignore[no-untyped-call]  # the library gives it no types


def bury(folder: Path) -> None:
    """Remove the gauges of the dead."""
    for name in owners(folder, "gauge"):
        if not lives(folder, name):
            remove(folder, f"gauge_*_{name}.db")


def sweep(folder: Path) -> None:
    """Remove all that the dead have left: for whoever starts the API as a whole. Raises StorageUnavailable."""
    with storage_errors():
        if not folder.exists():
            return
        with locked(folder, fcntl.LOCK_EX):
            (folder / DEED).unlink(missing_ok=True)
            for name in {owner(file) for file in folder.iterdir()}:
                if not lives(folder, name):
                    remove(folder, f"*_{name}.db")
                    remove(folder, f"*_{name}.new")
                    remove(folder, f"{name}{ALIVE}")


def files(folder: Path) -> Iterator[Path]:
    """Every file that counts. The lock must be held."""
    sum_, within = deed(folder)
    for file in folder.glob("*.db"):
        name = owner(file)
        if name not in within and (name == sum_ or not is_sum(name)):
            yield file


def gather(folder: Path, *, most: int = MOST_DEAD) -> None:
    """Add the dead to the estate, where there are more than `most`. Raises OSError."""
    with locked(folder, fcntl.LOCK_EX):
        finish(folder)
        dead = {name for name in owners(folder, "counter", "histogram") if not lives(folder, name)}
        old, _ = deed(folder)
        if len(dead - {old}) <= most:
            return
        new = f"sum{int(old.removeprefix('sum') or 0) + 1}"
        for kind in ("counter", "histogram"):
            found = [folder / f"{kind}_{name}.db" for name in dead]
            Page(folder / f"{kind}_{new}.db", added([file for file in found if file.exists()])).close()
        tell(folder, new, dead)
        finish(folder)


def finish(folder: Path) -> None:
    """Steps 3 to 5, of this gathering or of one that was cut off."""
    sum_, within = deed(folder)
    for name in within:
        remove(folder, f"*_{name}.db")
    if within:
        tell(folder, sum_, set())
    for name in within:
        remove(folder, f"{name}{ALIVE}")
    for name in owners(folder, "counter", "histogram"):
        if is_sum(name) and name != sum_:
            remove(folder, f"*_{name}.db")


def added(found: list[Path]) -> dict[str, float]:
    """Key -> sum over files. Two processes that count the same write the same key."""
    sums: Counter[str] = Counter()
    for file in found:
        for key, number, _, _ in MmapedDict.read_all_values_from_file(str(file)):  # type: ignore[no-untyped-call]  # as above
            sums[key] += number
    return dict(sums)


def is_sum(name: str) -> bool:
    return name.startswith("sum")


def deed(folder: Path) -> tuple[str, frozenset[str]]:
    """The name of the sum, empty where there is none, and who is in it though his files are still there."""
    try:
        sum_, *within = (folder / DEED).read_text().split()
    except FileNotFoundError:
        return "", frozenset()
    return sum_, frozenset(within)


def tell(folder: Path, sum_: str, within: set[str]) -> None:
    new = folder / f"{DEED}.new"
    new.write_text(" ".join([sum_, *sorted(within)]))
    new.replace(folder / DEED)


@contextmanager
def locked(folder: Path, how: int) -> Iterator[None]:
    """Hold the lock, LOCK_SH or LOCK_EX; the system takes it back from whoever dies."""
    with (folder / LOCK).open("ab") as file:
        fcntl.flock(file, how)
        yield
