"""A hostile file, and what such files try to reach."""

import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Layer = Literal["container", "onnx", "skops", "load", "answers", "limits"]
"""Who refuses first: the bundle's outside, one of the two checks, a library that loads, a golden row, or a limit."""

SECRET = b"canary-7d1f" * 8


@dataclass(frozen=True)
class Hostile:
    """One file, and how it is meant to end."""

    name: str
    layer: Layer
    says: str
    """Part of the sentence that refuses it."""
    make: Callable[["Targets"], bytes]
    uploaded: str | None = None
    """Part of what a role other than the scheduler's is told, where that differs: it may not bring such parts."""

    @property
    def kind(self) -> str:
        """What stands before the last slash of the name: files of one kind are refused alike."""
        return self.name.rpartition("/")[0]


@dataclass(frozen=True)
class Targets:
    """What files try to read, to run or to leave behind."""

    folder: Path

    @property
    def secret(self) -> Path:
        return self.folder / "secret.bin"

    @property
    def canary(self) -> Path:
        """Whoever unpickles something leaves this behind."""
        return self.folder / "canary"

    def make(self) -> None:
        """Make the secrets, and every kind of link to them."""
        work = self.folder / "work"
        work.mkdir(parents=True)
        self.secret.write_bytes(SECRET)
        (work / "plain.bin").write_bytes(SECRET)
        os.link(self.secret, work / "hardlink.bin")
        (work / "symlink.bin").symlink_to(self.secret)
        (work / "linked").symlink_to(self.folder)

    @property
    def paths(self) -> list[Path]:
        """Everything that nobody may open."""
        work = self.folder / "work"
        return [self.secret, *(work / name for name in ("plain.bin", "hardlink.bin", "symlink.bin", "linked"))]


class Payload:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


def pickled(targets: Targets, protocol: int = 5) -> bytes:
    return pickle.dumps(Payload(targets.canary), protocol=protocol)
