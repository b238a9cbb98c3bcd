"""What the measuring process makes of recorded rows: the version, its holdout, and the version in shadow."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scheduled_task.measuring import Question, answered
from scheduled_task.tests.given import Workshop, stream
from tests.adapters.stream import at
from understudy.adapters.runtime import open_bundle
from understudy.errors import NotFound


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    made = Workshop(tmp_path_factory.mktemp("measured"))
    made.arrive(stream(1000))
    return made


@pytest.fixture(scope="module")
def asked(shop: Workshop) -> Question:
    """A version that was trained on a thousand rows, asked about the next 600; it is in shadow as well."""
    ended = shop.carry_out(shop.job(at(1000)))
    assert ended.bundle is not None, ended.reason
    return Question(
        version="2",
        digest=ended.bundle,
        evidence=ended.evidence,
        other={"version": "1", "digest": ended.bundle},
        delay={"labels": 40, "p50_s": 60.0, "p90_s": 7200.0, "step_s": 60.0},
        items=items(shop, ended.bundle),
        store=str(shop.home / "store"),
        memory_mb=4096,
    )


def items(shop: Workshop, digest: str) -> Sequence[dict[str, Any]]:
    """The next rows, as `GET /models/{model}/labelled` shows them."""
    frame = stream(600, first=1000)
    runtime = open_bundle(shop.store.get(digest), digest=digest, trees=True)
    names = [column.name for column in runtime.signature.columns]
    rows = frame[names].to_numpy().tolist()
    answer = runtime.predict(rows)
    assert answer.probabilities is not None
    return [
        {
            "time": f"2026-01-01T00:00:{i % 60:02d}.000000Z",
            "inputs": dict(zip(names, row, strict=True)),
            "withheld": [],
            "prediction": prediction,
            "probabilities": list(scores),
        }
        for i, (row, prediction, scores) in enumerate(zip(rows, answer.predictions, answer.probabilities, strict=True))
    ]


def test_rows_like_those_of_the_training_are_measured_against_all_that_the_store_keeps(
    asked: Question, shop: Workshop, tmp_path: Path
) -> None:
    asked.write(tmp_path / "question.json")

    report = answered(Question.read(tmp_path / "question.json"), shop.store)

    assert {(one["name"], one["measure"]) for one in report["columns"]} == {
        (name, measure) for name in "xy" for measure in ("values", "nulls")
    }
    assert max(one["low"] for one in report["columns"]) < 0.1
    assert report["scores"]["name"] == "1"
    assert report["quality"]["now"] == pytest.approx(report["quality"]["then"], abs=0.05)
    assert (report["disagreement"]["share"], report["disagreement"]["other"]) == (0.0, "1")
    assert report["delay"]["p90_s"] == 7200.0


def test_a_shadow_that_needs_what_is_not_on_record_says_so_and_the_rest_is_measured(
    asked: Question, shop: Workshop
) -> None:
    without = [{**item, "inputs": {"x": item["inputs"]["x"]}, "withheld": ["y"]} for item in asked.items]

    report = answered(replace(asked, items=without), shop.store)

    assert report["disagreement"] is None
    assert "`y`, which is not on record" in report["unmeasured"]["disagreement"]
    assert "withheld" in report["unmeasured"]["y"]
    assert {one["name"] for one in report["columns"]} == {"x"}


def test_a_version_without_a_verdict_has_no_training_to_be_measured_against(asked: Question, shop: Workshop) -> None:
    report = answered(replace(asked, evidence=None), shop.store)

    assert report["columns"] == []
    assert "without a verdict" in report["unmeasured"]["rows"]


def test_evidence_that_the_store_has_lost_is_named(asked: Question, shop: Workshop) -> None:
    with pytest.raises(NotFound):
        answered(replace(asked, evidence="0" * 64), shop.store)
