"""What a run's own process does that tests the gates of a model: sabotage in, a proof out.

    python -m scheduled_task.selftest JOB.json        leaves result.json beside it

It trains on the model's rows as a run does, under the same limits and without a token, and keeps nothing. Whatever came
through is the run's result, so that the log holds it.
"""

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scheduled_task import limits
from scheduled_task.job import LONGEST_REASON, RESULT, Ended, Job
from scheduled_task.train import explained
from understudy.errors import BadInput
from understudy.events import moment

if TYPE_CHECKING:
    from understudy.ports import ArtifactStore
    from understudy.proof import Proof

BEHIND = 10
"""How much it stands back where a training wants the same core."""


def carry_out(job: Job, store: "ArtifactStore", folder: Path) -> Ended:
    """Test the gates of the definition that `job` names, in `folder`. Whatever goes wrong is an outcome."""
    try:
        proof = proved(job, store, folder)
    except BadInput as error:  # too few rows yet: nothing is wrong with the gates
        return Ended(outcome="skipped", reason=str(error))
    except Exception as error:  # noqa: BLE001 - sources and estimators may raise anything; the run ends with its reason
        return Ended(outcome="failed", reason=explained(error, job)[1][:LONGEST_REASON])
    held: Literal["succeeded", "failed"] = "succeeded" if proof.holds else "failed"
    return Ended(outcome=held, reason=proof.sentence()[:LONGEST_REASON], facts=facts(proof))


def proved(job: Job, store: "ArtifactStore", folder: Path) -> "Proof":
    from understudy.adapters import sabotaging
    from understudy.adapters.stored_definition import load_stored

    model = load_stored(
        store.get(job.source_digest),
        job.model["name"],
        folder=Path(job.definitions),
        scratch=folder / "definition",
    )
    return sabotaging.selftest(model, source=job.source_digest, as_of=moment(job.run["as_of"]))


def facts(proof: "Proof") -> dict[str, Any]:
    """What the log keeps of a proof; the words of each gate are `understudy selftest`'s to show."""
    return {
        "sabotages": {one.name: list(one.caught_by) for one in proof.outcomes},
        "came_through": [one.name for one in proof.came_through],
        "control": [reason[:500] for reason in proof.control],
        "impossible": list(proof.impossible),
    }


def main() -> int:
    file = Path(sys.argv[1])
    job = Job.read(file)
    with contextlib.suppress(OSError):
        os.nice(BEHIND)
    limits.apply(memory_mb=job.memory_mb)
    limits.end_with_parent()
    from understudy.adapters.folder_store import FolderStore

    carry_out(job, FolderStore(Path(job.store)), file.parent).write(file.with_name(RESULT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
