"""Train a finished run again, from what the store keeps of it, in a process like its own: same inputs, same bytes.

python -m understudy.adapters.reproduction JOB.json        leaves bundle.zip beside it, and refit.zip
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.adapters.folder_store import FolderStore
from understudy.adapters.training_environment import training_environment
from understudy.errors import BadInput, UnderstudyError
from understudy.fingerprint import digest_of

JOB, BUNDLE, REFIT, PROBLEM = "job.json", "bundle.zip", "refit.zip", "problem.json"
NEEDED = ("source", "data", "cut", "params")
"""What the result of a run says of its inputs."""
TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Again:
    """What a run gives today."""

    bundle: bytes
    """Of its candidate."""
    refit: bytes | None
    """Of the refit, where it was asked for."""


def reproduce(run: Mapping[str, Any], store: Path, *, refit: bool = False, timeout_s: float = TIMEOUT_S) -> Again:
    """The bundles that the inputs of `run` give today.

    Args:
        run: as `GET /runs/{id}` shows it.
        store: folder of the artifact store; its blobs are checked as they are read.
        refit: whether the candidate is fitted once more, on all rows.

    Raises:
        BadInput: the run has trained nothing, or its inputs no longer give a bundle.
        NotFound, DigestMismatch: the store has lost one of its inputs.
    """
    result = run["result"]
    if any(name not in result for name in NEEDED):
        raise BadInput(f"Run {run['id']} has trained nothing.", remedy="Choose one that has a version; see GET /runs.")
    blobs = FolderStore(store)
    for name in ("source", "data"):
        blobs.get(result[name])
    with tempfile.TemporaryDirectory(prefix="understudy-verify-") as folder:
        inputs = {name: result[name] for name in NEEDED}
        job = {"model": run["model"], "store": str(store.absolute()), "refit": refit, **inputs}
        return _train_in_child(job, Path(folder), timeout_s)


def _train_in_child(job: Mapping[str, Any], folder: Path, timeout_s: float) -> Again:
    (folder / JOB).write_text(json.dumps(job), "utf-8")
    try:
        child = subprocess.run(
            [sys.executable, "-m", "understudy.adapters.reproduction", str(folder / JOB)],
            cwd=folder,
            env=training_environment(os.environ, home=folder, scratch=folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BadInput(f"Training again took longer than {timeout_s:g} s.", remedy="Allow more time.") from error
    if child.returncode == 0:
        return Again((folder / BUNDLE).read_bytes(), (folder / REFIT).read_bytes() if job["refit"] else None)
    if (folder / PROBLEM).exists():
        said = json.loads((folder / PROBLEM).read_text("utf-8"))
        raise BadInput(said["problem"], remedy=said["remedy"])
    last = child.stderr.decode(errors="replace").strip().rpartition("\n")[2][:300]
    raise BadInput(f"Training again ended with exit code {child.returncode}: {last}", remedy="See the definition.")


def main() -> int:
    """The child: everything that runs the recorded definition."""
    from understudy.adapters import bundle, definitions, recipe, snapshot

    file = Path(sys.argv[1])
    job = json.loads(file.read_text("utf-8"))
    store = FolderStore(Path(job["store"]))
    inputs = recipe.Inputs(source=job["source"], data=job["data"], params=job["params"], cut=job["cut"])
    try:
        definitions.write_sources(store.get(inputs.source), file.parent / "definition")
        model = definitions.load_named(file.parent / "definition", job["model"]).model
        rows = recipe.divide(model, snapshot.read(store.get(inputs.data), model), inputs.cut)
        made = recipe.make(model, rows, inputs)
        file.with_name(BUNDLE).write_bytes(made)
        if job["refit"]:
            metrics = bundle.unpack(made, digest=digest_of(made)).manifest["metrics"]
            file.with_name(REFIT).write_bytes(recipe.refit(model, rows, inputs, metrics))
    except UnderstudyError as error:
        file.with_name(PROBLEM).write_text(json.dumps({"problem": error.problem, "remedy": error.remedy}), "utf-8")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
