"""A process that loads a version as the API does, and answers rows: `python -m tests.loader STORE DIGEST ROWS`.

It says what the model answered, or why it was refused.
"""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from api.serving import ServingTable
from understudy.adapters.folder_store import FolderStore
from understudy.errors import UnderstudyError
from understudy.state import Stage, Version


def version(digest: str) -> Version:
    return Version(
        model="rain",
        id="1",
        digest=digest,
        size=0,
        summary={},
        run=None,
        registered_by="scheduler",
        registered_at=datetime.now(UTC),
        stage=Stage.CHAMPION,
    )


def main(store: str, digest: str, rows: str) -> None:
    try:
        served = ServingTable(FolderStore(Path(store)), loop_limit_s=0.002, default_model="rain").prepare(
            version(digest)
        )
        said = json.dumps(served.runtime.predict(json.loads(rows)).probabilities)
    except UnderstudyError as error:
        said = error.problem
    os.write(1, said.encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
