"""`understudy drift`: the report as a table and in words."""

from datetime import UTC, datetime
from typing import Any

import pytest

from understudy import drift_words
from understudy.adapters.commands.drift import show
from understudy.drift import Effect, Report

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def effect(name: str, low: float, measure: Any = "values") -> Effect:
    return Effect(
        name=name,
        measure=measure,
        kind="number",
        effect=low + 0.05,
        low=low,
        high=low + 0.1,
        usual=0.12,
        rows=1000,
        effective=612.3,
        told="median 12 → 18",
    )


def shown(report: Report) -> dict[str, Any]:
    """What `GET /models/rain/drift` says."""
    return {
        "model": "rain",
        "time": "2026-01-31T11:59:00.000000Z",
        "report": report.to_json(),
        "words": list(drift_words.of_report(report)),
    }


def test_a_report_is_a_table_with_what_crossed_and_what_could_not_be_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = Report(
        version="3",
        rows=1000,
        since="2026-01-31T11:00:00.000000Z",
        until="2026-01-31T11:58:00.000000Z",
        columns=[effect("temp", 0.3), effect("wind", 0.0)],
        unmeasured={"name": "Its values are withheld from the records."},
        scores=effect("1", 0.2, "scores"),
        quality=None,
        disagreement=None,
        delay=None,
    )

    show(shown(report), NOON)

    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0].startswith("Version 3 of rain: 1000 rows until 2026-01-31 11:58:00 UTC (2 min ago)")
    [temp] = [line for line in lines if line.startswith("temp")]
    assert temp.split() == "temp values 35.0% 30.0% 40.0% 12.0% drift 1000 612 median 12 → 18".split()
    assert [line.split()[:2] for line in lines if " drift " in line] == [["temp", "values"], ["answers", "(1)"]]
    assert "What version 3 is asked has moved: `temp`: 35% of the rows lie elsewhere (30% to 40%)" in said
    assert "No label has come back" in said
    assert "Not measured: name. Its values are withheld from the records." in said
