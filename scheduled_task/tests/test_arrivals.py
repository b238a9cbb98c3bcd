"""`Schedule.on_new_rows(n)`: what counts as new, and how long it is waited after a run that changed nothing."""

from pathlib import Path

from scheduled_task.arrivals import FIRST_PAUSE_S, LONGEST_PAUSE_S, Pauses
from scheduled_task.counting import counted
from scheduled_task.tests.given import Workshop, stream
from tests.adapters.stream import at
from understudy.events import timestamp


def test_new_are_rows_with_a_label_that_are_later_than_the_latest_bound(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    frame = stream(500)
    frame["label"] = frame["label"].where(frame.index < 450)
    shop.arrive(frame)
    shop.define()

    found = counted(
        shop.definitions, {"stream": [timestamp(at(99)), timestamp(at(299))], "gone": [None, timestamp(at(0))]}
    )

    assert found["stream"] == {"rows": 150, "problem": None}
    assert "no file defines" in found["gone"]["problem"].lower()


def test_a_run_that_leaves_the_rows_new_is_asked_for_after_a_pause_that_doubles() -> None:
    pauses, bounds = Pauses(), ("2026-01-01", "2026-01-01")
    now_s, waited = 0.0, []

    for runs in range(12):
        pauses.asked("rain", runs, bounds, now_s)
        pauses.asked("rain", runs, bounds, now_s)  # the same run once more
        since_s = now_s
        while not pauses.over("rain", now_s):
            now_s += FIRST_PAUSE_S
        waited.append(now_s - since_s)

    assert waited[:4] == [60, 120, 240, 480]
    assert waited[-1] == LONGEST_PAUSE_S


def test_a_run_that_has_judged_by_the_rows_ends_the_pauses() -> None:
    pauses = Pauses()
    for runs in range(5):
        pauses.asked("rain", runs, ("2026-01-01", "2026-01-01"), 0.0)

    pauses.asked("rain", 5, ("2026-01-02", "2026-01-01"), 0.0)

    assert not pauses.over("rain", FIRST_PAUSE_S - 1)
    assert pauses.over("rain", FIRST_PAUSE_S)
    assert pauses.over("bike_demand", 0.0)
