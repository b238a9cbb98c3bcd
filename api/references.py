"""Losses on the holdouts of verdicts, kept: evidence never changes, and reading it takes milliseconds."""

import json
from functools import lru_cache

from understudy import live
from understudy.errors import BadInput, NotFound
from understudy.evidence import Evidence
from understudy.ports import ArtifactStore

KEPT = 32


class References:
    """What the live comparison measures by."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self.get = lru_cache(maxsize=KEPT)(self._read)
        self.profile = lru_cache(maxsize=KEPT)(self._profile)

    def _read(
        self, evidence: str, serving: tuple[str, ...], other: tuple[str, ...], policy: str
    ) -> live.Reference | None:
        """None where the evidence is gone, or says nothing of the pair."""
        try:
            document = Evidence.parse(self._store.get(evidence))
            return live.reference(json.loads(policy), document, serving=serving, other=other)
        except (NotFound, BadInput, ValueError):
            return None

    def _profile(self, evidence: str) -> str | None:
        """Digest of the profile of the data that the judged candidate was trained on."""
        try:
            return Evidence.parse(self._store.get(evidence)).profile
        except (NotFound, BadInput):
            return None
