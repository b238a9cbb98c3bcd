"""Files made to hurt whoever loads them: `python -m tests.hostile.corpus FOLDER` writes them all, and lists them.

Each is a bundle, or what somebody sends for one. What the files try to reach (secrets, links to them) is made beside
them, so that a trace can tell whether anybody opened it.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.hostile import containers, graphs, schemas
from tests.hostile.hostile import Hostile, Targets


def corpus() -> Iterator[Hostile]:
    """Every file, by name."""
    yield from sorted((*containers.files(), *graphs.files(), *schemas.files()), key=lambda hostile: hostile.name)


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the corpus of hostile files.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    targets = Targets(folder / "targets")
    targets.make()
    for hostile in corpus():
        file = folder / f"{hostile.name}.bundle"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(hostile.make(targets))
        sys.stdout.write(f"{file.stat().st_size:>12,}  {hostile.layer:<10} {hostile.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
