"""Two versions of the stream in a real store, made as runs make them: what tests of comparing versions begin with."""

from pathlib import Path
from typing import Any

import pandas as pd

from tests.adapters.stream import at, model, rows
from understudy.adapters import bundle, recipe, snapshot
from understudy.adapters.folder_store import FolderStore
from understudy.adapters.stored_version import Roles, StoredVersion
from understudy.events import timestamp
from understudy.fingerprint import canonical_json

ROLES = Roles(time="at", key=None, target="label", withheld=frozenset())
SUMMARY = ("metric", "metrics", "params", "data", "serves", "why", "fingerprint", "libraries", "seed")


def source_of(text: str) -> bytes:
    return canonical_json({"stream.py": text})


def stored(
    store: Path,
    number: int,
    frame: pd.DataFrame | None = None,
    *,
    cut: int,
    source: str = "a = 1\nb = 2\n",
    params: dict[str, Any] | None = None,
    **options: Any,
) -> StoredVersion:
    """Train a version on the rows up to minute `cut`, and keep all that it was made from."""
    blobs, of = FolderStore(store), model(rows(1), **options)
    data = blobs.put(snapshot.write(rows(500) if frame is None else frame))
    inputs = recipe.Inputs(
        source=blobs.put(source_of(source)), data=data, params=params or {}, cut=timestamp(at(cut - 1))
    )
    made = recipe.make(of, recipe.divide(of, snapshot.read(blobs.get(data), of), inputs.cut), inputs)
    digest = blobs.put(made)
    manifest = bundle.unpack(made, digest=digest).manifest
    listed = {
        "version": str(number),
        "stage": "retired",
        "digest": digest,
        "size": len(made),
        "run": f"stream-{number}",
        "registered_at": timestamp(at(cut)),
        "registered_by": "scheduler",
        "summary": {"task": manifest["signature"]["task"], **{name: manifest[name] for name in SUMMARY}},
        "verdict": None,
    }
    run = {"id": f"stream-{number}", "result": {"source": inputs.source, "data": data}}
    return StoredVersion(listed, run, store)


def lose(store: Path, digest: str) -> None:
    """What a disk, or an eager person, does to a blob."""
    (store / "sha256" / digest[:2] / digest).unlink()
