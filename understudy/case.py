"""A case for the gates: one candidate, and everything that its verdict is reached from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from understudy.events import VersionTried
from understudy.evidence import Clock, Evidence
from understudy.profile import Profile
from understudy.quality import Ranges


@dataclass(frozen=True, kw_only=True, slots=True)
class Champion:
    """The version that serves now."""

    version: str
    digest: str
    manifest: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """Everything a verdict is reached from. None: nobody has measured it, or there is none."""

    policy: Mapping[str, Any]
    """What `Promotion.to_json()` says."""
    ranges: Ranges
    digest: str
    """Of the candidate's bundle."""
    size: int
    """Bytes of it."""
    manifest: Mapping[str, Any]
    champion: Champion | None
    trial: VersionTried | None
    """The candidate's newest trial."""
    environment: str
    """Fingerprint of the libraries that would serve it."""
    evidence: Evidence | None
    evidence_age_s: float | None
    profile: Profile | None
    """Of the snapshot that the candidate was trained on."""
    reference: Profile | None
    """Of the last accepted snapshot under the same definition."""
    judged_until: Clock | None
    """Clock of the last row that an earlier verdict of this model has used; they are never used twice."""
    api: Mapping[str, Any] | None
    """{"ready": bool, "reason": str, "age_s": float}"""
    slices: tuple[str, ...] = ()
    """Columns by whose values the candidate is judged as well."""
    protected: tuple[str, ...] = ()
    """The same, for columns that are never features."""

    @property
    def champion_digest(self) -> str | None:
        return None if self.champion is None else self.champion.digest
