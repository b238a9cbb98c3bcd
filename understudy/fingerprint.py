"""Names for content: the digest of bytes, and the fingerprint of everything that a training depends on."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def digest_of(data: bytes) -> str:
    """sha256 in hex."""
    return hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> bytes:
    """The one way in which we write JSON that is hashed. Raises ValueError for NaN and infinities."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogatepass")


def training_fingerprint(
    *,
    source: str,
    data: Mapping[str, Any],
    params: Mapping[str, Any],
    seed: int,
    libraries: Mapping[str, str],
) -> str:
    """Fingerprint of a training: equal ones give the same bundle, so the second need not run.

    Args:
        source: digest of the definition's source.
        data: digest of the snapshot, and where it was cut.
        params: what the run was given beyond the definition.
        libraries: name -> version of what it was trained with.
    """
    inputs = {"source": source, "data": dict(data), "params": dict(params), "seed": seed, "libraries": dict(libraries)}
    return digest_of(canonical_json(inputs))
