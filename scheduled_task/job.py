"""What a worker and the process that trains tell each other, in two files of one folder.

job.json       parent → child    the claim, and where things are
result.json    child → parent    how it ended, and what was measured
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from understudy.events import moment

JOB, RESULT = "job.json", "result.json"
LONGEST_REASON = 1_900
"""Characters that the API takes."""
TRAVEL = timedelta(seconds=60)
"""A run that looks further back than this was asked for the data of another time."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the parent was given with its claim, and where things are."""

    run: Mapping[str, Any]
    model: Mapping[str, Any]
    source_digest: str
    champion: Mapping[str, str] | None
    store: str
    definitions: str
    holdouts: str
    memory_mb: int

    @classmethod
    def read(cls, file: Path) -> "Job":
        return cls(**json.loads(file.read_text("utf-8")))

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self)), "utf-8")

    @property
    def chosen(self) -> bool:
        """True where somebody wants this very training, and not just whatever is due."""
        by_hand = str(self.run["slot"]).startswith("by-hand/")
        return by_hand and any(self.run[name] for name in ("params", "start_date", "end_date", "like"))

    @property
    def travels(self) -> bool:
        """True where the rows are those of another time, and so not to be measured against the last snapshot."""
        back = moment(self.run["requested_at"]) - moment(self.run["as_of"])
        return bool(self.run["start_date"] or self.run["end_date"]) or back > TRAVEL


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How the process ended. `trained` is not the end of the run yet: the API judges."""

    outcome: Literal["trained", "succeeded", "skipped", "refused", "failed"]
    reason: str = ""
    bundle: str | None = None
    evidence: str | None = None
    refit: str | None = None
    refit_evidence: str | None = None
    """Digests of the same recipe's bundle from all rows, and of its answers beside the first one's; None: none."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What was measured: digests, rows, seconds per stage."""

    @classmethod
    def read(cls, file: Path) -> "Ended | None":
        """What a process has left; None where it left nothing whole."""
        try:
            return cls(**json.loads(file.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, file: Path) -> None:
        temporary = file.with_suffix(".writing")
        temporary.write_text(json.dumps(asdict(self), default=str), "utf-8")
        temporary.replace(file)
