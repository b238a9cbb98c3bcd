"""The folders that a process needs: made where they are missing, refused where anybody could plant something."""

from pathlib import Path

from understudy.adapters.sqlite import storage_errors
from understudy.errors import BadSettings

OTHERS_WRITE = 0o002


def make_folders(*folders: Path) -> None:
    """Make each folder, or find it safe. Raises BadSettings, StorageUnavailable or StorageFull."""
    for folder in folders:
        with storage_errors():
            folder.mkdir(parents=True, exist_ok=True)
            mode = folder.stat().st_mode
        if mode & OTHERS_WRITE:
            raise BadSettings(f"Anybody may write to {folder}.", remedy=f"chmod o-w {folder}")
