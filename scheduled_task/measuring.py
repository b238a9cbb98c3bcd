"""Measures drift for the scheduler, in a process of its own: it asks the version in shadow, and no token is near.

python -m scheduled_task.measuring JOB.json REPORT.json
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scheduled_task import limits
from understudy.errors import UnderstudyError

if TYPE_CHECKING:
    from understudy.metrics import FloatArray
    from understudy.ports import ArtifactStore
    from understudy.watching import Other, Reference, Window


@dataclass(frozen=True, kw_only=True)
class Question:
    """What the parent has read from the API, and where the rest is."""

    version: str
    digest: str
    evidence: str | None
    """Of the verdict that it serves on."""
    other: Mapping[str, str] | None
    """Version and digest of what is in shadow."""
    delay: Mapping[str, Any] | None
    items: Sequence[Mapping[str, Any]]
    """As `GET /models/{model}/labelled` shows them."""
    store: str
    memory_mb: int

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self)), "utf-8")

    @classmethod
    def read(cls, file: Path) -> "Question":
        return cls(**json.loads(file.read_text("utf-8")))


def answered(question: Question, store: "ArtifactStore") -> dict[str, Any]:
    """The report, as `POST /models/{model}/drift` takes it. Raises UnderstudyError where the store lacks a part."""
    from understudy.drift import Delay
    from understudy.watching import measure

    reference = None if question.evidence is None else reference_of(question.evidence, question.digest, store)
    window = window_of(question)
    other = None if question.other is None or reference is None else asked(question, reference, store)
    delay = None if question.delay is None else Delay(**question.delay)
    return measure(window, reference, other, delay).to_json()


def window_of(question: Question) -> "Window":
    from understudy.watching import Window

    items = question.items
    first = items[-1] if items else {"inputs": {}, "withheld": []}
    return Window(
        version=question.version,
        since=items[0]["time"] if items else None,
        until=items[-1]["time"] if items else None,
        rows=len(items),
        columns={name: [item["inputs"].get(name) for item in items] for name in first["inputs"]},
        withheld=frozenset(first["withheld"]),
        outputs=outputs_of(items),
    )


def outputs_of(items: Sequence[Mapping[str, Any]]) -> "FloatArray | None":
    """What the version answered: probabilities, or numbers; None where neither is on record."""
    import numpy as np

    try:
        if all(item["probabilities"] is not None for item in items):
            return np.array([item["probabilities"] for item in items], dtype=np.float64)
        return np.array([item["prediction"] for item in items], dtype=np.float64)
    except (TypeError, ValueError):
        return None


def reference_of(evidence: str, digest: str, store: "ArtifactStore") -> "Reference":
    """What the version was trained on, and what it answered on the holdout; of a refit, what its candidate did."""
    import numpy as np

    from understudy.evidence import Evidence
    from understudy.profile import Profile
    from understudy.watching import Reference

    found = Evidence.parse(store.get(evidence))
    out = found.champion_out if digest == found.champion and found.champion_out is not None else found.candidate_out
    there = np.isfinite(out).all(axis=1) if out.ndim == 2 else np.isfinite(out)
    return Reference(
        task=found.task,
        profile=Profile.parse(store.get(found.profile)),
        names=("the answers",) if found.classes is None else tuple(map(str, found.classes)),
        classes=found.classes,
        holdout=out[there],
        labels=found.labels[there],
    )


def asked(question: Question, reference: "Reference", store: "ArtifactStore") -> "Other":
    """What the version in shadow says to the recorded rows."""
    import numpy as np

    from understudy.adapters.runtime import open_bundle
    from understudy.watching import Other

    assert question.other is not None
    version, digest = question.other["version"], question.other["digest"]
    try:
        runtime = open_bundle(store.get(digest), digest=digest, trees=True)
        names = [column.name for column in runtime.signature.columns]
        answer = runtime.predict([[item["inputs"][name] for name in names] for item in question.items])
    except KeyError as error:
        return Other(version=version, outputs=None, problem=f"It needs `{error.args[0]}`, which is not on record.")
    except UnderstudyError as error:
        return Other(version=version, outputs=None, problem=error.problem)
    if answer.probabilities is None or reference.classes is None:
        return Other(version=version, outputs=np.array(answer.predictions, dtype=np.float64))
    place = {label: number for number, label in enumerate(runtime.signature.classes or ())}
    rows = [[row[place[one]] if one in place else 0.0 for one in reference.classes] for row in answer.probabilities]
    return Other(version=version, outputs=np.array(rows, dtype=np.float64))


def main() -> int:
    file, report = map(Path, sys.argv[1:])
    question = Question.read(file)
    limits.apply(memory_mb=question.memory_mb)
    limits.end_with_parent()
    from understudy.adapters.folder_store import FolderStore

    try:
        found = answered(question, FolderStore(Path(question.store)))
    except UnderstudyError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    temporary = report.with_suffix(".writing")
    temporary.write_text(json.dumps(found), "utf-8")
    temporary.replace(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
