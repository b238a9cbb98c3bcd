"""A verdict, reached again: the log up to it, the stored evidence and the pure judge must say what the log says."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.adapters.api_client import ApiClient
from understudy.adapters.audit import Audit, api_pages, audit, extended, row_of
from understudy.adapters.cases import load_case
from understudy.adapters.compared_again import compared_again
from understudy.adapters.folder_store import FolderStore
from understudy.errors import BadInput
from understudy.events import LiveCompared, Recorded, VerdictReached, VersionTried
from understudy.fingerprint import canonical_json
from understudy.gates import judge

LATER = frozenset({"comparison.settles", "comparison.settles_rows"})
"""Words about a comparison, and no ground for anything."""
SLICES = frozenset(f"gate slices.{name}" for name in ("passed", "observed", "limit", "reason"))
"""A gate that says nothing where no slices are declared; where some are, it has been there from the beginning."""


def judged_again(client: ApiClient, store: Path, position: int) -> str | None:
    """What is wrong with the verdict at `position` of the log; None where it holds.

    `store`: folder of the artifact store. Raises NotFound or DigestMismatch where it has lost something that the
    verdict rests on, and BadInput where the evidence is none.
    """
    before = audit(api_pages(client), until=position - 1, keep=is_trial)
    if before.problem is not None:
        return before.problem
    (item,) = client.get("/events", after=position - 1, limit=1)["items"]
    now = extended(before, [row_of(item)], keep=is_verdict)
    if now.problem is not None:
        return now.problem
    recorded = now.kept[position].event
    if isinstance(recorded, LiveCompared):
        return compared_again(before.state, FolderStore(store), recorded)
    assert isinstance(recorded, VerdictReached)
    return first_difference(recorded.verdict, computed(before, FolderStore(store), recorded))


def is_trial(entry: Recorded) -> bool:
    return isinstance(entry.event, VersionTried)


def is_verdict(entry: Recorded) -> bool:
    return isinstance(entry.event, VerdictReached | LiveCompared)


def computed(before: Audit, store: FolderStore, recorded: VerdictReached) -> Mapping[str, Any]:
    """The verdict that the judge reaches today from the same facts."""
    trial = before.kept[recorded.facts["trial"]].event
    if not isinstance(trial, VersionTried) or (trial.model, trial.version) != (recorded.model, recorded.version):
        raise BadInput(
            "The trial that the verdict names is that of another version.", remedy="Run `understudy verify log`."
        )
    case = load_case(
        before.state,
        store,
        recorded.model,
        recorded.version,
        evidence=recorded.evidence,
        trial=trial,
        facts=recorded.facts,
    )
    verdict: Mapping[str, Any] = json.loads(canonical_json(judge(case).to_json()))
    return verdict


def first_difference(logged: Mapping[str, Any], again: Mapping[str, Any]) -> str | None:
    """The first thing that two verdicts say differently, the comparison first, then gate by gate; None: nothing.

    What verdicts have not always said may be missing from the log, as long as nothing follows from it.
    """
    ours, theirs = dict(parts(logged)), dict(parts(again))
    added = LATER if again.get("slices") else LATER | SLICES
    for name in dict.fromkeys([*ours, *theirs]):
        if name in added and name not in ours:
            continue
        if ours.get(name) != theirs.get(name):
            return f"The log says {name} {ours.get(name)!r}, and the evidence {theirs.get(name)!r}."
    return None


def parts(verdict: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """A verdict as named values, in the order in which they are worth comparing."""
    comparison = [(f"comparison.{name}", value) for name, value in verdict["comparison"].items()]
    gates = [
        (f"gate {gate['name']}.{name}", value)
        for gate in verdict["gates"]
        for name, value in gate.items()
        if name != "name"
    ]
    slices = [
        (f"slice {one['column']}={one['value']!r}.{name}", value)
        for one in verdict.get("slices", ())
        for name, value in one.items()
    ]
    return [*comparison, *gates, *slices, ("passed", verdict["passed"]), ("rows", verdict["rows"])]
