"""Values of a loss that the owner wrote, for labelled predictions, in a process of its own: it is a definition's code.

python -m scheduled_task.own_values JOB.json ANSWER.json
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scheduled_task import limits


def values(job: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """The loss of each row for both versions; `problem` says why not."""
    from understudy.adapters.folder_store import FolderStore
    from understudy.adapters.own_loss import filled, per_row
    from understudy.adapters.stored_definition import load_stored
    from understudy.errors import UnderstudyError

    try:
        source = FolderStore(Path(job["store"])).get(job["source_digest"])
        loss = load_stored(source, job["model"], folder=Path(job["definitions"]), scratch=scratch).promotion.loss
        if not callable(loss):
            return {"problem": "the definition names no loss of its own"}
        labels, width = np.array(job["labels"]), job["width"]
        given = {version: job[version] for version in ("serving", "other")}
        found = {version: out and plain(per_row(loss, labels, filled(out, width))) for version, out in given.items()}
        return {"problem": None, **found}
    except UnderstudyError as error:
        return {"problem": str(error)}


def plain(losses: Any) -> list[float | None]:
    return [float(one) if np.isfinite(one) else None for one in losses]


def main() -> int:
    file, answer = map(Path, sys.argv[1:])
    job = json.loads(file.read_text("utf-8"))
    limits.apply(memory_mb=job["memory_mb"])
    limits.end_with_parent()
    temporary = answer.with_suffix(".writing")
    temporary.write_text(json.dumps(values(job, file.parent / "definition")), "utf-8")
    temporary.replace(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
