"""A case for the gates that passes: each sabotage breaks one thing in it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tests.core.worlds import CUT, END, KNOWN, World, profile, reference, snapshot, world
from understudy import Promotion
from understudy.events import VersionTried
from understudy.evidence import Evidence, build, row_digest
from understudy.gates import Case, Champion
from understudy.metrics import FloatArray

CANDIDATE, CHAMPION, LIBRARIES = "a" * 64, "b" * 64, "e" * 64


def column(name: str, kind: str = "number", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "dtype": "float64",
        "nullable": True,
        "example": None,
        "categories": None,
        **more,
    }


def manifest(*, cut: Any = CUT - 1, **signature: Any) -> dict[str, Any]:
    return {
        "model": "rain",
        "signature": {
            "columns": [column("low"), column("high"), column("wind"), column("humidity"), column("sky", "text")],
            "target": "rain",
            "task": "binary",
            "classes": [0, 1],
            **signature,
        },
        "data": {"digest": "d" * 64, "rows": END, "train_rows": CUT, "cut": cut, "end": END - 1},
    }


def both(p: FloatArray) -> FloatArray:
    return np.column_stack([1 - p, p])


def evidence(given: World | None = None, *, first: int = CUT, **changes: Any) -> Evidence:
    """What a candidate that knows the truth and a champion that half knows it answered to the rows after the cut."""
    given = given or world()
    rows = slice(first, None)
    truth = given.truth[rows]
    parts = {
        "model": "rain",
        "candidate": CANDIDATE,
        "champion": CHAMPION,
        "task": "binary",
        "classes": [0, 1],
        "clock": [*range(first, first + len(truth))],
        "rows": [row_digest([row]) for row in range(len(truth))],
        "labels": given.label[rows],
        "candidate_out": both(truth),
        "champion_out": both(0.4 + 0.2 * (truth - 0.4)),
        "times_measured": "2026-01-01T00:00:00.000000Z",
        "profile": "c" * 64,
    }
    return Evidence.parse(build(**{**parts, **changes}))


def trial(**changes: Any) -> VersionTried:
    report = {"latency": {"candidate_ms": [0.02] * 5, "champion_ms": [0.02] * 5, "rows": 1}}
    tried = VersionTried(
        model="rain",
        version="2",
        digest=CANDIDATE,
        environment=LIBRARIES,
        passed=True,
        reason="It answers its golden rows.",
        report=report,
        against="1",
    )
    return replace(tried, **changes)


def latency(candidate: Any, champion: Any = (0.02,) * 5) -> Mapping[str, Any]:
    return {"latency": {"candidate_ms": candidate, "champion_ms": champion, "rows": 1}}


def case(**changes: Any) -> Case:
    """Passes as it stands."""
    given = world()
    parts = {
        "policy": Promotion().to_json(),
        "ranges": {"humidity": (0, 100)},
        "digest": CANDIDATE,
        "size": 20_000,
        "manifest": manifest(),
        "champion": Champion(version="1", digest=CHAMPION, manifest=manifest(cut=KNOWN - 1)),
        "trial": trial(),
        "environment": LIBRARIES,
        "evidence": evidence(given),
        "evidence_age_s": 3.0,
        "profile": snapshot(given),
        "reference": reference(given),
        "judged_until": KNOWN - 1,
        "api": {"ready": True, "reason": "ready", "age_s": 0.1},
    }
    return Case(**{**parts, **changes})


def without_champion(**changes: Any) -> Case:
    """The first candidate of a model; passes as it stands."""
    alone = {
        "champion": None,
        "evidence": evidence(champion=None, champion_out=None),
        "trial": trial(against=None, report=latency([0.02] * 5, None)),
        "reference": None,
        "judged_until": None,
    }
    return case(**{**alone, **changes})


def sliced(**changes: Any) -> Case:
    """With slices by the sky, and by a protected column that is no feature; 900 rows are judged, and it passes."""
    given = world(2400)
    rows = slice(1500, None)
    sky, truth = given.columns["sky"][rows], given.truth[rows]
    sex = ["f" if row % 2 else "m" for row in range(len(truth))]
    held_out = evidence(given, first=1500, groups={"sky": list(sky), "sex": sex}, **changes.pop("answers", {}))
    cut = profile(given.columns, given.label, cut=1500)
    whole = {"evidence": held_out, "profile": cut, "slices": ("sky",), "protected": ("sex",)}
    return case(**{**whole, **changes})
