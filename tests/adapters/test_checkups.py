"""What the doctor concludes from what it finds."""

import os
import time
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import pytest

from scheduled_task.scratch import LOCK, SUFFIX, scratch
from tests.given import History, candidate, defined, judged, registered, tried
from understudy.adapters.audit import Audit
from understudy.adapters.commands import checkups
from understudy.adapters.commands.checkups import Checkup
from understudy.events import ModelDefined, RunClaimed, RunFinished, RunRequested, VersionPromoted
from understudy.settings import Settings


def requested(slot: str = "first", *, model: str = "rain", run: str = "rain-1") -> RunRequested:
    return RunRequested(
        model=model,
        run=run,
        job="train",
        slot=slot,
        as_of="2026-01-01T00:00:00Z",
        params={},
        start_date=None,
        end_date=None,
        like=None,
        by="scheduler",
    )


def claimed(*, model: str = "rain", run: str = "rain-1") -> RunClaimed:
    return RunClaimed(model=model, run=run, attempt=1, claimant="host/1/1")


def finished(history: History, *, model: str = "rain", run: str = "rain-1") -> RunFinished:
    token = history.state.runs[run].token
    return RunFinished(model=model, run=run, token=token, outcome="succeeded", reason="", version=None, result={})


def promoted(version: str, *, model: str = "rain") -> VersionPromoted:
    return VersionPromoted(
        model=model, key="k", version=version, replaces=None, how="promotion", ground=4, by="scheduler", reason=""
    )


def serving(history: History, *, model: str = "rain") -> History:
    """A model that is retrained each minute and has its first champion."""
    run = f"{model}-1"
    history.add(defined(model))
    history.add(requested(model=model, run=run))
    history.add(claimed(model=model, run=run))
    candidate(history, "1", model=model)
    history.add(promoted("1", model=model))
    history.add(finished(history, model=model, run=run))
    return history


def alive(history: History) -> list[Checkup]:
    return list(checkups.scheduler(history.state, history.now))


def names_of_problems(found: list[Checkup]) -> list[str]:
    return [one.name for one in found if not one.ok]


def untimed(history: History) -> History:
    """The model's definition now names no due times."""
    definition = {**history.state.model("rain").definition, "schedule": {"on_drift": True}}  # type: ignore[dict-item]
    history.add(ModelDefined(model="rain", definition=definition, source_digest="b" * 64, by="scheduler"))
    return history


def test_a_model_without_due_times_is_late_for_none_and_its_scheduler_is_not_seen_from_here() -> None:
    history = untimed(serving(History()))

    history.wait(minutes=600)

    [one] = alive(history)
    assert one.ok
    assert not one.known
    assert "no model has due times" in one.found


def test_a_model_without_due_times_is_missed_until_it_has_its_first_champion() -> None:
    history = History()
    history.add(defined())
    history.add(requested())
    untimed(history)

    history.wait(minutes=11)

    assert names_of_problems(alive(history)) == ["scheduler"]


@pytest.mark.parametrize(("seconds", "problems"), [(30, []), (150, []), (185, ["scheduler"])])
def test_a_scheduler_is_missed_after_it_has_let_three_slots_pass(seconds: int, problems: list[str]) -> None:
    history = serving(History())

    history.wait(seconds=seconds)

    assert names_of_problems(alive(history)) == problems


def test_a_scheduler_that_trains_for_long_is_alive() -> None:
    history = serving(History())
    history.add(requested("2026-01-01T00:01:00.000000Z", run="rain-2"))
    history.add(claimed(run="rain-2"))

    history.wait(hours=1)

    assert names_of_problems(alive(history)) == []


def test_a_run_that_nobody_claims_is_no_sign_of_life() -> None:
    history = serving(History())
    history.wait(seconds=60)
    history.add(requested("2026-01-01T00:01:00.000000Z", run="rain-2"))

    history.wait(seconds=185)

    assert names_of_problems(alive(history)) == ["scheduler"]


def test_a_model_that_is_defined_no_more_is_a_problem_of_its_own() -> None:
    history = serving(serving(History(), model="gone"))
    history.wait(minutes=5)
    history.add(requested("2026-01-01T00:05:00.000000Z", run="rain-2"))
    history.add(claimed(run="rain-2"))

    found = alive(history)

    assert [one.name for one in found if one.ok] == ["scheduler"]
    assert names_of_problems(found) == ["slots of gone"]


@pytest.mark.parametrize(("minutes", "problems"), [(8, []), (11, ["scheduler"])])
def test_a_first_model_is_tried_again_after_a_pause_that_grows(minutes: int, problems: list[str]) -> None:
    history = History()
    history.add(defined())
    history.add(requested())
    history.add(claimed())
    history.add(finished(history))

    history.wait(minutes=minutes)

    assert names_of_problems(alive(history)) == problems


def test_a_first_version_that_waits_for_a_person_keeps_nobody_busy() -> None:
    history = History()
    history.add(defined(mode="propose"))
    history.add(requested())
    history.add(claimed())
    history.add(registered("1", run="rain-1"))
    history.add(tried("1"), judged("1"))
    history.add(finished(history))

    history.wait(days=2)

    assert names_of_problems(alive(history)) == []


def test_without_any_model_there_has_been_no_scheduler() -> None:
    assert names_of_problems(alive(History())) == ["scheduler"]


def test_a_clock_behind_the_newest_event_is_a_problem() -> None:
    history = serving(History())

    behind = checkups.clock(history.state, history.now - timedelta(minutes=1))
    right = checkups.clock(history.state, history.now)

    assert (behind.ok, right.ok) == (False, True)
    assert behind.found == "is 60 s behind the newest event"


def test_a_python_whose_waits_follow_the_clock_is_told_of() -> None:
    steady, follows = (checkups.clock(History().state, History().now, waits_follow=one) for one in (False, True))

    assert "sem_clockwait" not in steady.found
    assert "threads would wait as much longer" in follows.found


def test_a_log_that_does_not_follow_is_a_problem() -> None:
    assert not checkups.log_follows(Audit(problem="The event log was changed at event 3.")).ok
    assert checkups.log_follows(Audit()).ok


@pytest.mark.parametrize(
    ("mode", "text", "problem"),
    [
        (0o600, "x" * 43, None),
        (0o640, "x" * 43, "others may read it"),
        (0o604, "x" * 43, "others may read it"),
        (0o600, "x" * 31, "is too short"),
    ],
)
def test_a_token_is_for_its_owner_alone_and_long(tmp_path: Path, mode: int, text: str, problem: str | None) -> None:
    file = tmp_path / "operator.token"
    file.write_text(text + "\n")
    file.chmod(mode)

    found = checkups.token_checked("operator", file)

    assert (None if found.ok else found.found) == problem
    assert text not in found.remedy


def test_a_folder_that_anybody_may_write_to_is_a_problem(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    for folder in (settings.var, settings.secrets, settings.store, settings.logs):
        folder.mkdir(parents=True)
    settings.var.chmod(0o777)

    assert names_of_problems(list(checkups.folders(settings))) == ["folder var"]


def test_what_killed_writers_left_behind_is_a_problem_after_an_hour(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    writing = settings.store / "writing"
    writing.mkdir(parents=True)
    for name, age_s in (("new", 60), ("old", 3700)):
        (writing / name).touch()
        os.utime(writing / name, (time.time() - age_s,) * 2)

    found = checkups.nothing_stale(settings)

    assert (found.ok, found.found) == (False, "1 in the store and 0 of runs are left over")


def test_folders_of_runs_that_were_killed_are_a_problem_and_what_replays_and_feeds_keep_is_none(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    days_ago = time.time() - 3 * 86_400
    for name in ("replays", "feeds"):
        (settings.scratch / name).mkdir(parents=True)
        os.utime(settings.scratch / name, (days_ago, days_ago))

    kept = checkups.nothing_stale(settings)
    with scratch(settings.scratch, "rain-1") as folder:
        os.utime(folder, (days_ago, days_ago))
        left = checkups.nothing_stale(settings)

    assert kept.ok, kept.found
    assert (left.ok, left.found) == (False, "0 in the store and 1 of runs are left over")
    assert (checkups.RUN_SUFFIX, checkups.RUN_LOCK) == (SUFFIX, LOCK)


def test_what_is_installed_is_compared_with_the_pins(tmp_path: Path) -> None:
    pins = tmp_path / "requirements.txt"
    right = f"# pins\n--only-binary :all:\nnumpy=={version('numpy')}\nnone-such==1.0 ; sys_platform == 'win32'\n"

    pins.write_text(right)
    same = checkups.libraries(pins)
    pins.write_text(right + "typer==0.0.1\nnone-such==1.0\n")
    other = checkups.libraries(pins)

    assert same.ok
    assert not other.ok
    assert other.found == f"typer is {version('typer')}, not 0.0.1; none-such is not installed"
    assert checkups.libraries(tmp_path / "nowhere.txt").ok


def test_settings_are_named_without_their_values(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, operator_token="o" * 40)

    assert checkups.settings_read(settings).found == "read; chosen otherwise than by default: home, operator_token"
