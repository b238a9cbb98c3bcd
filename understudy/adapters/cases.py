"""A case for the gates, put together from what is recorded: the log's state, the store's blobs and measured facts.

The API judges with it; `understudy verify verdict` puts the same case together again from the log up to the verdict and
must come to the same one.
"""

from collections.abc import Mapping
from typing import Any

from understudy.adapters.bundle import unpack
from understudy.errors import BadInput, NotFound
from understudy.events import VersionTried
from understudy.evidence import Clock, Evidence
from understudy.gates import Case, Champion
from understudy.ports import ArtifactStore
from understudy.profile import Profile
from understudy.state import Registry, Version


def load_case(
    state: Registry,
    store: ArtifactStore,
    model: str,
    version: str,
    *,
    evidence: str,
    trial: VersionTried | None,
    facts: Mapping[str, Any],
) -> Case:
    """Everything that the verdict on `version` may depend on.

    Args:
        state: the registry before the verdict.
        evidence: digest of the stored evidence.
        trial: the newest trial of the version where it is to be judged, from the log.
        facts: what the API measured: `environment`, `evidence_age_s`, `api`.

    Raises BadInput where the stored evidence is none, NotFound where a blob is missing: without the reference the data
    would be judged by less than was agreed.
    """
    definition = defined(state, model)
    found, judged = state.version(model, version), Evidence.parse(store.get(evidence))
    champion = state.champion(model)
    reference = state.model(model).profile
    return Case(
        policy=definition["promotion"],
        ranges=definition.get("ranges", {}),
        digest=found.digest,
        size=found.size,
        manifest=unpack(store.get(found.digest), digest=found.digest).manifest,
        champion=None
        if champion is None
        else Champion(
            version=champion.id,
            digest=champion.digest,
            manifest=unpack(store.get(champion.digest), digest=champion.digest).manifest,
        ),
        trial=trial,
        environment=facts["environment"],
        evidence=judged,
        evidence_age_s=facts["evidence_age_s"],
        profile=load_profile(store, judged.profile),
        reference=None if reference is None else Profile.parse(store.get(reference)),
        judged_until=judged_until(state, found, judged.row_set),
        api=facts["api"],
        slices=tuple(definition.get("slices", ())),
        protected=tuple(definition.get("protected", ())),
    )


def judged_until(state: Registry, version: Version, rows: str) -> Clock | None:
    """Up to where rows have been used for a verdict. The same version may be judged on the very same rows again."""
    used = [state.model(version.model).judged_until(version.id)]
    if version.judgement is not None and version.judgement.rows != rows:
        used.append(version.judgement.until)
    return max(
        (until for until in used if until is not None), default=None, key=lambda until: (type(until) is str, until)
    )


def defined(state: Registry, model: str) -> Mapping[str, Any]:
    """The definition in force. Raises NotFound where the model has none."""
    definition = state.model(model).definition
    if definition is None:
        raise NotFound(
            f"Model {model} has no definition.", remedy="Define it: the scheduler does, for each model file."
        )
    return definition


def load_profile(store: ArtifactStore, digest: str) -> Profile | None:
    """A stored profile; None where it is missing or none, which fails the gate that needs it."""
    try:
        return Profile.parse(store.get(digest))
    except (NotFound, BadInput):
        return None
