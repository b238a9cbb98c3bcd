"""Two versions of the stream in a real store, made as runs make them: what tests of comparing versions begin with."""

from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.tree import DecisionTreeClassifier

from tests.adapters import stream
from tests.adapters.stream import at, model
from understudy.adapters import bundle, recipe, snapshot
from understudy.adapters.stored_version import Roles, StoredVersion
from understudy.events import timestamp
from understudy.fingerprint import canonical_json, digest_of

ROLES = Roles(time="at", key=None, target="label", withheld=frozenset())
SUMMARY = ("metric", "metrics", "params", "data", "serves", "why", "fingerprint", "libraries", "seed")


def rows(n: int) -> pd.DataFrame:
    """The stream, with integers that ONNX would round: such a model has no twin, and is made in no time."""
    return stream.rows(n).assign(serial=2**25)


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
    refit_of: StoredVersion | None = None,
    **options: Any,
) -> StoredVersion:
    """Train a version on the rows up to minute `cut`, and keep all that it was made from.

    `refit_of`: the candidate of the same rows and cut; then all rows are fitted.
    """
    of, written = (
        model(rows(1), **{"estimator": DecisionTreeClassifier(max_depth=4), **options}),
        snapshot.write(rows(500) if frame is None else frame),
    )
    data = keep(store, written)
    inputs = recipe.Inputs(
        source=keep(store, source_of(source)), data=data, params=params or {}, cut=timestamp(at(cut - 1))
    )
    divided = recipe.divide(of, snapshot.read(written, of), inputs.cut)
    made = recipe.make(of, divided, inputs)
    if refit_of is not None:
        made = recipe.refit(of, divided, inputs, refit_of.summary["metrics"])
    digest = keep(store, made)
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
        "refit_of": None if refit_of is None else refit_of.id,
    }
    run = {"id": f"stream-{number}", "result": {"source": inputs.source, "data": data}}
    return StoredVersion(listed, run, store, None if refit_of is None else refit_of.listed)


def keep(store: Path, data: bytes) -> str:
    """What `FolderStore.put` leaves, without waiting for the disk."""
    digest = digest_of(data)
    file = store / "sha256" / digest[:2] / digest
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return digest


def lose(store: Path, digest: str) -> None:
    """What a disk, or an eager person, does to a blob."""
    (store / "sha256" / digest[:2] / digest).unlink()
