"""Reads the definitions for the scheduler, in a process of its own: a definition is a user's code, and a token is near.

python -m scheduled_task.describe FOLDER ANSWER.json
"""

import json
import sys
from pathlib import Path
from typing import Any

from scheduled_task import limits
from understudy.errors import BadDefinition

MEMORY_MB = 4096


def describe(folder: Path) -> dict[str, Any]:
    """Every definition as `PUT /models/{name}` takes it, and what is wrong with the files that hold none."""
    from understudy.adapters import definitions

    try:
        loaded = definitions.load_all(folder)
    except BadDefinition as error:
        return {"definitions": {}, "problems": {folder.name: str(error)}}
    found = {
        name: {"definition": definition.model.to_json(), "source": dict(definition.sources)}
        for name, definition in loaded.definitions.items()
    }
    return {"definitions": found, "problems": {problem.file: str(problem.error) for problem in loaded.problems}}


def main() -> int:
    folder, answer = map(Path, sys.argv[1:])
    limits.apply(memory_mb=MEMORY_MB)
    limits.end_with_parent()
    described = describe(folder)
    temporary = answer.with_suffix(".writing")
    temporary.write_text(json.dumps(described), "utf-8")
    temporary.replace(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
