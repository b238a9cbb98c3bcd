"""A process that stores: `python -m tests.storer FOLDER TEXT [TIMES [REPEATED [DEEDS]]]`.

Each time it puts TEXT, REPEATED so many times, and says its digest. With DEEDS `sweep,put` it sweeps first and says
`swept`.
"""

import os
import sys
from pathlib import Path

from tests.tracing import MARK
from understudy.adapters.folder_store import FolderStore


def main(folder: str, text: str, times: str = "1", repeated: str = "1", deeds: str = "put") -> None:
    data = text.encode() * int(repeated)
    MARK.exists()
    for _ in range(int(times)):
        store = FolderStore(Path(folder))
        if "sweep" in deeds.split(","):
            store.sweep()
            os.write(1, b"swept\n")
        os.write(1, f"{store.put(data)}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
