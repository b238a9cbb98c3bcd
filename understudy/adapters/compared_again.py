"""A live comparison again: from the stored losses and the holdout of its pair, the same capital must decide at the same
row.

The losses themselves are what the API made of labels and answers then; records go, and with them what they came from.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from understudy import live
from understudy.adapters.cases import defined
from understudy.errors import BadInput
from understudy.events import LiveCompared
from understudy.evidence import Evidence
from understudy.metrics import FloatArray
from understudy.ports import ArtifactStore
from understudy.state import Registry, Version

SAME = ("block", "scale", "crossed")
"""What must be reached again; the rows that came after the decision are not kept."""


def compared_again(state: Registry, store: ArtifactStore, recorded: LiveCompared) -> str | None:
    """What is wrong with a live comparison; None where it holds.

    `state`: before it. Raises NotFound, DigestMismatch or BadInput where the store has lost what it rests on.
    """
    pair = state.model(recorded.model).pair
    if pair is None or (pair.position, pair.serving, pair.other) != (
        recorded.pair,
        recorded.serving,
        recorded.version,
    ):
        return "The log says that two versions were compared which were no pair at that time."
    serving, other = state.version(recorded.model, pair.serving), state.version(recorded.model, recorded.version)
    rows, named = rows_of(store.get(recorded.evidence))
    expected = {"pair": pair.position, "serving": serving.digest, "other": other.digest, "reference": pair.evidence}
    if named != expected or len(rows) != recorded.rows:
        return "The stored rows are about another pair, or are not as many as the log says."
    known = reference(state, store, pair.evidence, serving, other)
    found = live.standing(known, live.Scored(rows[:, 0], rows[:, 1]))
    again = {} if found is None else found.to_json()
    for name in SAME:
        if recorded.standing.get(name) != again.get(name):
            return f"The log says {name} {recorded.standing.get(name)!r}, and the stored rows {again.get(name)!r}."
    return None if again.get("crossed") == recorded.rows else "The stored rows decide nothing."


def reference(
    state: Registry, store: ArtifactStore, evidence: str | None, serving: Version, other: Version
) -> live.Reference | None:
    """Losses of both on the holdout of their verdict, by the policy that was in force."""
    if evidence is None:
        return None
    policy = defined(state, serving.model)["promotion"]
    document = Evidence.parse(store.get(evidence))
    try:
        return live.reference(policy, document, serving=live.digests(state, serving), other=live.digests(state, other))
    except ValueError as error:
        raise BadInput(f"The holdout of the pair cannot be judged: {error}.", remedy="See the policy.") from error


def rows_of(data: bytes) -> tuple[FloatArray, Mapping[str, Any]]:
    """The losses of both, shape (n, 2), NaN where there was no answer; and what they are about."""
    try:
        document = json.loads(data)
        rows = np.array([[row[1], row[2]] for row in document["rows"]], dtype=np.float64).reshape(-1, 2)
        return rows, {name: document[name] for name in ("pair", "serving", "other", "reference")}
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BadInput(
            "This is no evidence of a live comparison.", remedy="Restore the store from a backup."
        ) from error
