"""What `understudy why` shows of a verdict, for people. That it finds the right one is proven in tests/e2e."""

from typing import Any

import pytest

from tests.core import cases
from tests.core.test_harm import near
from understudy.adapters.commands.grounds import power, show, show_ground
from understudy.adapters.commands.terminal import utc_now
from understudy.gates import judge

CHAMPION = {"version": "2", "ground": 7, "reason": ""}


def ground(verdict: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "version.judged", "version": "2", "position": 7, "champion": "1", "verdict": verdict}


def test_every_slice_of_the_ground_is_shown_judged_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    verdict = judge(cases.sliced()).to_json()

    show_ground(CHAMPION, ground(verdict))
    shown = capsys.readouterr().out

    assert "slice" in shown
    assert "sky = fog" in shown
    assert "sex = f (protected)" in shown
    assert all(one["reason"] in " ".join(shown.split()) for one in verdict["slices"])


def test_a_verdict_that_knew_of_no_slices_is_shown_without_them(capsys: pytest.CaptureFixture[str]) -> None:
    show_ground(CHAMPION, ground(judge(cases.case()).to_json()))

    assert "rows  loss" not in capsys.readouterr().out


def test_a_refused_version_says_what_harm_would_have_been_stopped_and_how_many_rows_would_settle_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    comparison = judge(near()).to_json()["comparison"]
    version = {"version": "2", "registered_at": "2026-01-01T00:00:00.000000Z", "reasons": ["It may be chance."]}
    refused = [{**version, "comparison": comparison}]

    show({"model": "rain", "at": None, "champion": None, "refused": refused, "barred": {}}, utc_now())
    shown = capsys.readouterr().out

    assert comparison["stops"] in shown
    assert comparison["settles"] in shown


def test_a_comparison_that_was_logged_before_such_numbers_were_is_shown_all_the_same() -> None:
    assert power({"stops": "Would have stopped every model."}) == "Would have stopped every model."
