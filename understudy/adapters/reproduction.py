"""Train a finished run again, from what the store keeps of it, in a process like its own: same inputs, same bytes.

python -m understudy.adapters.reproduction JOB.json        leaves bundle.zip beside it
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.adapters.folder_store import FolderStore
from understudy.adapters.training_environment import training_environment
from understudy.errors import BadInput, UnderstudyError

JOB, BUNDLE, PROBLEM = "job.json", "bundle.zip", "problem.json"
NEEDED = ("source", "data", "cut", "params")
"""What the result of a run says of its inputs."""
TIMEOUT_S = 1800.0


def reproduce(run: Mapping[str, Any], store: Path, *, timeout_s: float = TIMEOUT_S) -> bytes:
    """The bundle that the inputs of `run` give today.

    Args:
        run: as `GET /runs/{id}` shows it.
        store: folder of the artifact store; its blobs are checked as they are read.

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
        job = {"model": run["model"], "store": str(store.absolute()), **{name: result[name] for name in NEEDED}}
        return _train_in_child(job, Path(folder), timeout_s)


def _train_in_child(job: Mapping[str, Any], folder: Path, timeout_s: float) -> bytes:
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
    if (folder / BUNDLE).exists():
        return (folder / BUNDLE).read_bytes()
    if (folder / PROBLEM).exists():
        said = json.loads((folder / PROBLEM).read_text("utf-8"))
        raise BadInput(said["problem"], remedy=said["remedy"])
    last = child.stderr.decode(errors="replace").strip().rpartition("\n")[2][:300]
    raise BadInput(f"Training again ended with exit code {child.returncode}: {last}", remedy="See the definition.")


def main() -> int:
    """The child: everything that runs the recorded definition."""
    from understudy.adapters import definitions, recipe, snapshot

    file = Path(sys.argv[1])
    job = json.loads(file.read_text("utf-8"))
    store = FolderStore(Path(job["store"]))
    inputs = recipe.Inputs(source=job["source"], data=job["data"], params=job["params"], cut=job["cut"])
    try:
        definitions.write_sources(store.get(inputs.source), file.parent / "definition")
        model = definitions.load_named(file.parent / "definition", job["model"]).model
        rows = recipe.divide(model, snapshot.read(store.get(inputs.data), model), inputs.cut)
        bundle = recipe.make(model, rows, inputs)
    except UnderstudyError as error:
        file.with_name(PROBLEM).write_text(json.dumps({"problem": error.problem, "remedy": error.remedy}), "utf-8")
        return 1
    file.with_name(BUNDLE).write_bytes(bundle)
    return 0


if __name__ == "__main__":
    sys.exit(main())
