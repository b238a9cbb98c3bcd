"""A process that stores: `python -m tests.storer FOLDER TEXT [TIMES]` puts TEXT, and says its digest each time."""

import os
import sys
from pathlib import Path

from understudy.adapters.folder_store import FolderStore


def main(folder: str, text: str, times: str = "1") -> None:
    for _ in range(int(times)):
        os.write(1, f"{FolderStore(Path(folder)).put(text.encode())}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
