"""Counts new rows for the scheduler, in a process of its own: sources are users' code, and a token is near.

python -m scheduled_task.counting DEFINITIONS BOUNDS.json ANSWER.json MEMORY_MB
"""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scheduled_task import limits

if TYPE_CHECKING:
    from understudy.evidence import Clock


def counted(folder: Path, bounds: Mapping[str, Sequence["Clock | None"]]) -> dict[str, dict[str, Any]]:
    """Model -> rows with a label that are later than the latest of its bounds, or why they cannot be counted."""
    found: dict[str, dict[str, Any]] = {}
    for name, after in bounds.items():
        try:
            found[name] = {"rows": new_rows(folder, name, after), "problem": None}
        except Exception as error:  # noqa: BLE001 - a source is the user's own code and may raise anything
            found[name] = {"rows": 0, "problem": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    return found


def new_rows(folder: Path, name: str, bounds: Sequence["Clock | None"]) -> int:
    from understudy.adapters import definitions, recipe, snapshot

    model = definitions.load_named(folder, name).model
    now = datetime.now(UTC)
    taken = snapshot.take(model, as_of=now, now=now)
    rows = snapshot.read(snapshot.write(taken.frame), model)
    return min(recipe.fresh(rows, bound) for bound in bounds)


def main() -> int:
    folder, bounds, answer = map(Path, sys.argv[1:4])
    limits.apply(memory_mb=int(sys.argv[4]))
    limits.end_with_parent()
    found = counted(folder, json.loads(bounds.read_text("utf-8")))
    temporary = answer.with_suffix(".writing")
    temporary.write_text(json.dumps(found), "utf-8")
    temporary.replace(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
