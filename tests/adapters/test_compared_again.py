"""A live comparison, reached again from what the store keeps of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.adapters.versions import keep, lose
from tests.given import History, judged, registered, tried
from understudy import Promotion
from understudy.adapters.compared_again import compared_again
from understudy.adapters.folder_store import FolderStore
from understudy.errors import BadInput, NotFound
from understudy.events import LiveCompared, ModelDefined, VersionPromoted
from understudy.evidence import build
from understudy.fingerprint import canonical_json
from understudy.live import Reference, Scored, standing

HOLDOUT, LIVE = 400, 300
FIRST, SECOND = (f"{number:064x}" for number in (1, 2))


def answers(n: int, *, right: float, seed: int) -> tuple[list[int], list[list[float]]]:
    """Labels, and probabilities that favour the right one in a share of cases."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n)
    says = np.where(random.random(n) < right, labels, 1 - labels)
    return labels.tolist(), [[0.2, 0.8] if one else [0.8, 0.2] for one in says]


def brier(labels: list[int], outputs: list[list[float]]) -> np.ndarray[Any, Any]:
    return np.array([(outputs[i][1] - labels[i]) ** 2 for i in range(len(labels))])


@pytest.fixture
def told(tmp_path: Path) -> tuple[History, LiveCompared]:
    """Version 2 was judged against version 1 and serves; labels want version 1 back."""
    labels, candidate = answers(HOLDOUT, right=0.9, seed=1)
    champion = answers(HOLDOUT, right=0.7, seed=1)[1]
    evidence = keep(
        tmp_path,
        build(
            model="rain",
            candidate=SECOND,
            champion=FIRST,
            task="binary",
            classes=[0, 1],
            clock=list(range(HOLDOUT)),
            rows=[f"{i:016x}" for i in range(HOLDOUT)],
            labels=labels,
            candidate_out=candidate,
            champion_out=champion,
            times_measured="2026-01-01T00:00:00.000000Z",
            profile="0" * 64,
        ),
    )
    history = History()
    definition = {"name": "rain", "promotion": Promotion().to_json(), "schedule": {"every_s": 60}}
    history.add(ModelDefined(model="rain", definition=definition, source_digest="5" * 64, by="scheduler"))
    history.add(registered("1"), tried("1"), judged("1"))
    history.add(promoted(None, "1", 4))
    history.add(registered("2"), tried("2"), replace(judged("2", champion="1"), evidence=evidence))
    history.add(promoted("1", "2", 8))
    pair = history.state.model("rain").pair
    assert pair is not None
    assert (pair.other, pair.evidence) == ("1", evidence)
    known = Reference(brier(labels, candidate), brier(labels, champion))
    then, now = answers(LIVE, right=0.5, seed=2), answers(LIVE, right=0.95, seed=2)
    live = np.column_stack([brier(*then), brier(*now)])
    found = standing(known, Scored(live[:, 0], live[:, 1]))
    assert found is not None
    assert found.crossed is not None
    kept = {
        "pair": pair.position,
        "serving": SECOND,
        "other": FIRST,
        "reference": evidence,
        "rows": [[f"id/{i}", *row] for i, row in enumerate(live[: found.crossed].tolist())],
    }
    compared = LiveCompared(
        model="rain",
        version="1",
        serving="2",
        pair=pair.position,
        rows=found.crossed,
        evidence=keep(tmp_path, canonical_json(kept)),
        standing=found.to_json(),
        facts={"reference": evidence},
    )
    return history, compared


def promoted(replaces: str | None, version: str, ground: int) -> VersionPromoted:
    key = f"key-{version}"
    how: dict[str, Any] = {"how": "promotion", "by": "scheduler", "reason": ""}
    return VersionPromoted(model="rain", key=key, version=version, replaces=replaces, ground=ground, **how)


def test_what_labels_have_decided_is_reached_again(told: tuple[History, LiveCompared], tmp_path: Path) -> None:
    history, compared = told

    assert compared_again(history.state, FolderStore(tmp_path), compared) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pair": 3}, "no pair at that time"),
        ({"serving": "1", "version": "2"}, "no pair at that time"),
        ({"rows": 7}, "not as many as the log says"),
        ({"standing": {"block": 64}}, "The log says block 64, and the stored rows"),
    ],
)
def test_what_the_log_says_otherwise_is_named(
    told: tuple[History, LiveCompared], tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    history, compared = told
    standing = {**compared.standing, **changes.get("standing", {})}

    problem = compared_again(
        history.state, FolderStore(tmp_path), replace(compared, **{**changes, "standing": standing})
    )

    assert problem is not None
    assert said in problem


def test_rows_that_decide_nothing_are_named(told: tuple[History, LiveCompared], tmp_path: Path) -> None:
    history, compared = told
    kept = (tmp_path / "sha256" / compared.evidence[:2] / compared.evidence).read_bytes()
    other = keep(tmp_path, kept.replace(b'"id/', b'"x/').replace(b"0.64", b"0.04"))

    problem = compared_again(history.state, FolderStore(tmp_path), replace(compared, evidence=other))

    assert problem == f"The log says crossed {compared.rows}, and the stored rows None."


@pytest.mark.parametrize("what", ["serving", "other", "reference"])
def test_rows_about_another_pair_are_named(told: tuple[History, LiveCompared], tmp_path: Path, what: str) -> None:
    history, compared = told
    kept = json.loads((tmp_path / "sha256" / compared.evidence[:2] / compared.evidence).read_bytes())
    other = keep(tmp_path, canonical_json({**kept, what: "9" * 64}))

    problem = compared_again(history.state, FolderStore(tmp_path), replace(compared, evidence=other))

    assert problem == "The stored rows are about another pair, or are not as many as the log says."


def test_rows_that_are_gone_or_are_none_are_said_to_be(told: tuple[History, LiveCompared], tmp_path: Path) -> None:
    history, compared = told

    with pytest.raises(BadInput, match="no evidence of a live comparison"):
        compared_again(
            history.state, FolderStore(tmp_path), replace(compared, evidence=keep(tmp_path, b'{"rows": [1]}'))
        )
    lose(tmp_path, compared.evidence)
    with pytest.raises(NotFound, match="no blob"):
        compared_again(history.state, FolderStore(tmp_path), compared)
