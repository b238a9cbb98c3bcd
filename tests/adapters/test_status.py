"""What `understudy status` says of a model, from what the API says of it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from understudy.adapters.commands.status import drifted, ending, next_slot, row, show, unsettled, waiting, waits
from understudy.schedule import Schedule

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)

MODEL: dict[str, Any] = {
    "name": "rain",
    "default": True,
    "champion": "2",
    "since": "2026-01-31T11:58:00.000000Z",
    "metric": "log_loss",
    "value": 0.43210,
    "waiting": ["4", "3"],
    "last_run": {"id": "rain-5", "state": "running", "attempt": 1, "reason": "", "verdict": None},
    "next_slot": "2026-01-31T12:01:00.000000Z",
    "selftest": {"slot": "selftest/1", "run": None},
    "live": None,
    "attention": [],
    "drift": None,
    "unrest": None,
    "barred": {},
}


@pytest.mark.parametrize(
    ("stage", "judged_against", "found"),
    [("passed", "2", True), ("passed", "1", False), ("passed", None, False), ("refused", "2", False)],
)
def test_a_version_waits_while_the_champion_that_it_beat_serves(
    stage: str, judged_against: str | None, found: bool
) -> None:
    assert waits({"stage": stage, "verdict": {"champion": judged_against}}, "2") is found


def test_a_first_version_waits_where_nothing_serves() -> None:
    assert waits({"stage": "passed", "verdict": {"champion": None}}, None)
    assert not waits({"stage": "candidate", "verdict": None}, None)


def test_of_a_candidate_and_its_refit_the_refit_waits() -> None:
    passed = {"stage": "passed", "verdict": {"champion": "2"}}
    versions: list[dict[str, Any]] = [
        {**passed, "version": "6", "refit_of": "5"},
        {**passed, "version": "5", "refit_of": None},
        {**passed, "version": "3", "refit_of": None},
        {**passed, "version": "4", "refit_of": "3", "stage": "refused"},
    ]

    assert waiting(versions, "2") == ["6", "3"]


def test_a_model_without_due_times_says_what_it_waits_for_instead() -> None:
    schedule = {"on_new_rows": 500}

    assert next_slot(schedule, NOON) is None
    shown = {**MODEL, "schedule": str(Schedule.from_json(schedule)), "next_slot": None}
    assert row(shown, NOON)[-1] == "when 500 new rows have a label"


def test_a_row_tells_a_model_at_a_glance() -> None:
    assert row(MODEL, NOON) == (
        "rain (default)",
        "2",
        "2026-01-31 11:58:00 UTC (2 min ago)",
        "log_loss 0.4321",
        "4, 3",
        "rain-5 running",
        "2026-01-31 12:01:00 UTC (in 60 s)",
    )


def test_a_model_that_nothing_serves_yet_has_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    bare = {**MODEL, "champion": None, "since": None, "metric": None, "value": None, "waiting": [], "last_run": None}

    show({"api": {"url": "http://127.0.0.1:8000", "ready": True, "reason": "ready"}, "models": [bare]}, NOON)

    assert capsys.readouterr().out.count("–") == 5


def test_what_needs_attention_is_shown_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    note = {"time": "2026-01-31T11:59:00.000000Z", "reason": "Version 3 waits.", "remedy": "understudy promote rain 3"}

    show(
        {
            "api": {"url": "http://127.0.0.1:8000", "ready": False, "reason": "The log was last read 9 s ago."},
            "models": [{**MODEL, "attention": [note]}],
        },
        NOON,
    )

    shown = capsys.readouterr().out
    assert "not ready: The log was last read 9 s ago." in shown
    assert "(60 s ago): Version 3 waits. → understudy promote rain 3" in shown


def test_what_the_test_of_the_gates_has_shown_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    test = {"slot": "selftest/1", "run": "rain-2", "state": "failed", "reason": "1 of 35 sabotages came through."}

    show({"api": {"url": "http://127.0.0.1:8000", "ready": True, "reason": ""}, "models": [MODEL]}, NOON)
    assert "Gates" not in capsys.readouterr().out
    tested = {**MODEL, "selftest": test}
    show({"api": {"url": "http://127.0.0.1:8000", "ready": True, "reason": ""}, "models": [tested]}, NOON)

    assert "Gates of rain: rain-2 failed. 1 of 35 sabotages came through." in capsys.readouterr().out


def test_what_is_barred_and_why_nothing_changes_by_itself_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    loop = {**MODEL, "unrest": "Nothing changes by itself until a person acts.", "barred": {"3": "It raised."}}

    show({"api": {"url": "http://127.0.0.1:8000", "ready": True, "reason": ""}, "models": [loop]}, NOON)

    shown = capsys.readouterr().out
    assert "Version 3 of rain is barred since it was taken back. It raised." in shown
    assert "Waiting: Nothing changes by itself until a person acts." in shown


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("2", "Drift of rain: columns, scores of version 2, not calmed; see `understudy drift rain`."),
        ("1", "Drift of rain: columns, scores of version 1, which serves no more. Version 2 has not been asked enough"),
    ],
)
def test_drift_is_told_until_it_has_calmed_or_what_serves_now_has_been_measured(
    version: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"noticed": ["columns", "scores"], "report": {"version": version}, "time": MODEL["since"]}
    moved = {**MODEL, "drift": drifted(found, "2")}

    show({"api": {"url": "http://127.0.0.1:8000", "ready": True, "reason": ""}, "models": [moved]}, NOON)

    assert said in capsys.readouterr().out
    assert drifted({**found, "noticed": []}, "2") is None
    assert drifted(None, "2") is None


def test_what_came_through_the_gates_needs_attention_until_the_definition_changes() -> None:
    run = {"state": "succeeded", "requested_at": "2026-01-31T11:59:00.000000Z"}
    note = {"run": "rain-2", "version": None, "time": "2026-01-31T11:00:00.000000Z"}

    assert unsettled([note], [run], {}, "rain-2") == [note]
    assert unsettled([note], [run], {}, "rain-9") == []
    assert unsettled([note], [run], {}, None) == []


VERDICT = {
    "comparison": {"reason": "Its loss is lower."},
    "gates": [{"passed": True, "reason": "fine"}, {"passed": True, "reason": "fine too"}],
}
REFUSAL = {**VERDICT, "gates": [{"passed": True, "reason": "fine"}, {"passed": False, "reason": "It is slow."}]}


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (
            {"state": "succeeded", "reason": "Version 2 was promoted.", "verdict": VERDICT},
            "succeeded. Its loss is lower.",
        ),
        ({"state": "refused", "reason": "", "verdict": REFUSAL}, "refused. It is slow."),
        ({"state": "refused", "reason": "It leaks.", "verdict": None}, "refused. It leaks."),
        ({"state": "skipped", "reason": "No rows.", "verdict": None}, "skipped. No rows."),
        ({"state": "queued", "reason": "", "verdict": None}, "queued."),
        ({"state": "running", "attempt": 2, "reason": "silent", "verdict": None}, "running, attempt 2. silent"),
    ],
)
def test_how_a_run_stands_is_told_with_its_reason(run: dict[str, Any], said: str) -> None:
    assert ending({"attempt": 1, **run}) == said


def test_a_note_on_what_serves_outlives_the_next_run_and_each_cause_has_a_line() -> None:
    champion = {"promoted_at": "2026-01-31T11:00:00.000000Z"}
    run = {"state": "skipped", "requested_at": "2026-01-31T11:59:00.000000Z"}
    old, drifted = ({"run": None, "version": "2", "time": "2026-01-31T11:30:00.000000Z", "reason": r} for r in "ab")
    failed = {"run": "rain-3", "version": None, "time": "2026-01-31T11:31:00.000000Z", "reason": "c"}

    assert unsettled([failed, drifted, old], [run], champion, None) == [old, drifted]
    assert unsettled([failed, drifted, old], [run], {"promoted_at": run["requested_at"]}, None) == []
