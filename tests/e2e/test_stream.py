"""A drifting stream through real predictions and real feedback, with nobody who acts: `python -m bench.stream`."""

from pathlib import Path

import pytest

from bench.stream import played
from tests.services import installation


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_stream_whose_world_changes_twice_is_served_well_again_by_itself(tmp_path: Path) -> None:
    with installation(tmp_path, UNDERSTUDY_MODELS_DIR=str(tmp_path / "models")) as installed:
        outcome = played(installed)

    kinds = [event["kind"] for _, event in outcome.play.story]
    asked = next(i for i, (_, event) in enumerate(outcome.play.story) if event["data"].get("by") == "api")
    assert kinds[asked - 1 : asked + 1] == ["attention.needed", "run.requested"]
    assert kinds.index("live.compared") > asked
    promotions = [event["data"] for _, event in outcome.play.story if event["kind"] == "version.promoted"]
    assert [(one["how"], one["by"]) for one in promotions] == [
        ("promotion", "scheduler"),
        ("promotion", "scheduler"),
        ("demotion", "api"),
    ]
    assert promotions[-1]["version"] == promotions[0]["version"]
    brier = list(outcome.brier.values())
    assert brier[2] < brier[1]
    assert brier[4] < brier[3]
