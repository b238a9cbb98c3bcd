"""Manifests of stored bundles, kept: what everybody may read must not cost a whole bundle each time."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from understudy.adapters.bundle import unpack
from understudy.ports import ArtifactStore

KEPT = 64


class Manifests:
    """A bundle never changes, so its manifest is right for as long as it is kept."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self.get = lru_cache(maxsize=KEPT)(self._read)

    def _read(self, digest: str) -> Mapping[str, Any]:
        """Raises NotFound, DigestMismatch, BundleRefused or StorageUnavailable; none of them is kept."""
        return unpack(self._store.get(digest), digest=digest).manifest
