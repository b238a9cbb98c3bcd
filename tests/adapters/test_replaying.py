"""Replays of small worlds that really change, with real estimators and a real folder of what is known."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from understudy.adapters import definitions, recipe, runtime, scoring, snapshot
from understudy.adapters.commands.replay import in_use, show
from understudy.adapters.past import Known, home_of_sources, look
from understudy.adapters.replay_cache import ReplayCache, key_of
from understudy.adapters.replay_plan import Plan, Wish, carry_out, plan
from understudy.adapters.replaying import Recipe, Replaying
from understudy.adapters.staleness_picture import duration
from understudy.errors import BadInput, DataRefused, NotFound
from understudy.events import moment, timestamp
from understudy.evidence import Evidence
from understudy.fingerprint import digest_of
from understudy.settings import Settings
from understudy.spans import Span

ROWS = 2_000
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2027, 1, 1, tzinfo=UTC)

DEFINITION = """
from sklearn.linear_model import LinearRegression
from understudy import Model, Promotion, Schedule
from understudy.adapters.sources import Csv
{before}
model = Model(
    name="world",
    source={source},
    target="y",
    estimator={estimator},
    {more}
)
"""
CSV, TIMED = 'Csv("world.csv", time="at")', 'time="at", retrain=Schedule.every(days=10),'
MISSES = """
from sklearn.linear_model import LogisticRegression
def misses(labels, outputs):
    return 1.0 * (outputs.argmax(axis=1) != (labels == "up"))
"""
LABELS_LATE = """
import pandas as pd
class Late:
    def get_dataframe(self, as_of):
        frame = Csv("world.csv", time="at").get_dataframe(as_of)
        unknown = frame["at"] > as_of - pd.Timedelta(days=15)
        return frame.assign(y=frame["y"].mask(unknown))
"""


def drifting(rows: int = ROWS) -> pd.DataFrame:
    """An hour a row; what y is turns by half a circle over the whole, so that a model is soon worth nothing."""
    random = np.random.default_rng(3)
    a, b, noise = random.normal(size=(3, rows))
    angle = np.linspace(0, np.pi, rows)
    at = [timestamp(FIRST + timedelta(hours=hour)) for hour in range(rows)]
    y = a * np.cos(angle) + b * np.sin(angle) + 0.3 * noise
    return pd.DataFrame({"at": at, "a": a, "b": 50 + 4 * b, "y": y})  # two columns that nobody can take for another


def world(folder: Path, frame: pd.DataFrame, *, source: str = CSV, more: str = TIMED, **parts: str) -> Path:
    (folder / "models").mkdir(exist_ok=True)
    frame.to_csv(folder / "models" / "world.csv", index=False)
    given = {"before": "", "estimator": "LinearRegression()", **parts}
    (folder / "models" / "world.py").write_text(DEFINITION.format(source=source, more=more, **given))
    return folder


def planned(folder: Path, wish: Wish | None = None, *, now: datetime = NOW) -> Plan:
    return plan(definitions.load_named(folder / "models", "world"), wish or Wish(), now=now)


def planned_known(folder: Path) -> Known:
    return look(definitions.load_named(folder / "models", "world"), as_of=NOW, now=NOW)


def replayed(folder: Path, wish: Wish | None = None, **more: Any) -> dict[str, Any]:
    return carry_out(planned(folder, wish, **more), ReplayCache(folder / "known"), tick=lambda: None)


def policies(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["policy"]: one for one in report["policies"]}


def kept(folder: Path) -> set[str]:
    return {file.name for file in (folder / "known").iterdir()}


def test_where_the_world_turns_retraining_pays_and_versions_age(tmp_path: Path) -> None:
    report = replayed(world(tmp_path, drifting()))

    found = policies(report)
    assert found["in force"]["promotions"] > 3
    assert found["never retrain"]["against"] > 0.3
    assert found["never retrain"]["interval"][0] > 0.2
    ages = [age["change"] for age in report["staleness"]["ages"]]
    assert ages[0] == 0
    assert ages[1] < ages[3] < ages[5]
    assert report["staleness"]["ages"][1]["days"] == 10.0


def test_a_second_policy_trains_nothing_and_a_shorter_window_follows_the_world_better(tmp_path: Path) -> None:
    folder = world(tmp_path, drifting())
    first = replayed(folder)
    known = kept(folder)

    second = replayed(folder, Wish(bar=0.5, refit="off", cannot_tell="promote"))
    assert second["trained"] == 0
    assert kept(folder) == known
    assert policies(second)["in force"] == policies(first)["in force"]
    assert policies(second)["asked"]["dates"] != policies(first)["in force"]["dates"]

    third = replayed(folder, Wish(window=Span.parse("20d")))
    assert third["trained"] > 0
    assert policies(third)["asked"]["against"] < -0.1


def test_who_is_stopped_goes_on_where_the_work_ended(tmp_path: Path) -> None:
    folder, ticks = world(tmp_path, drifting()), iter([None] * 4)

    def stop() -> None:
        if next(ticks, stop) is stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(planned(folder), ReplayCache(folder / "known"), tick=stop)
    fits_kept = sum("outputs" in np.load(file) for file in (folder / "known").glob("*.npz"))

    report = replayed(folder)

    assert report["trained"] == planned(folder).trainings - fits_kept
    assert fits_kept == 10


def test_a_changed_row_makes_all_that_was_known_unknown(tmp_path: Path) -> None:
    folder, frame = tmp_path, drifting()
    first = replayed(world(folder, frame))
    frame["a"] = frame["a"].where(frame.index != 5, 1.0)

    again = replayed(world(folder, frame))

    assert again["trained"] == first["trained"] > 0


def test_labels_that_come_late_cost_something(tmp_path: Path) -> None:
    """A source as of a date gives the labels that had arrived by then, and nothing else is learnt from."""
    prompt = replayed(world(tmp_path, drifting()))
    late = replayed(world(tmp_path, drifting(), source="Late()", before=LABELS_LATE), now=NOW)

    losses = [policies(report)["in force"]["loss"] for report in (prompt, late)]
    assert losses[1] > 1.04 * losses[0]


def test_dates_may_be_counted_in_rows_where_these_have_no_time(tmp_path: Path) -> None:
    folder = world(tmp_path, drifting(), source='Csv("world.csv")', more='drop=("at",)')

    with pytest.raises(BadInput, match="have no time"):
        planned(folder)
    report = replayed(
        folder, Wish(every=Span.parse("240rows"), since=Span.parse("1400rows"), until=Span.parse("100rows"))
    )

    assert report["until"] == f"row {ROWS - 101}"
    assert policies(report)["in force"]["dates"][0]["at"] == f"{ROWS - 1500} rows"
    assert policies(report)["never retrain"]["against"] > 0.3
    assert report["staleness"]["ages"][1]["days"] is None
    assert report["notes"] == ["The rows have no time, so the policy in force is walked every 240 rows, too."]
    always = "every 240 rows, refit on, no check and no gate, wherever 100 new rows have a label"
    assert policies(report)["always promote"]["rule"] == always


def test_broken_data_are_refused_as_in_production_and_trained_on_by_whoever_does_not_look(tmp_path: Path) -> None:
    frame = drifting()
    frame["a"] = frame["a"].where(~frame.index.isin(range(1_000, 1_300)), 7.0)

    dates = {name: one["dates"] for name, one in policies(replayed(world(tmp_path, frame))).items()}

    refused = [one for one in dates["in force"] if one["did"] == "refused"]
    assert refused
    assert "`a` says 7" in refused[0]["reason"]
    assert "refused" not in {one["did"] for one in dates["always promote"]}


def test_an_estimator_that_fails_is_a_run_that_failed(tmp_path: Path) -> None:
    frame = drifting()
    frame["a"] = frame["a"].where(frame.index != 1_200)

    report = replayed(world(tmp_path, frame))

    dids = [one["did"] for one in policies(report)["in force"]["dates"]]
    assert "failed" in dids
    assert policies(report)["in force"]["unanswered"] == 1


def test_classes_and_a_loss_of_the_owners_are_judged_as_in_production(tmp_path: Path) -> None:
    frame = drifting()
    frame["y"] = np.where(frame["y"] > 0, "up", "down")
    folder = world(
        tmp_path,
        frame,
        before=MISSES,
        estimator="LogisticRegression()",
        more=f"{TIMED} metric='accuracy', slices=('b',), promotion=Promotion(loss=misses),",
    )

    report = replayed(folder)

    in_force = policies(report)["in force"]
    assert report["loss"] == "own:misses"
    assert in_force["loss"] == pytest.approx(1 - in_force["metric"])
    assert in_force["promotions"] > 1


@pytest.mark.parametrize(
    ("wish", "problem"),
    [
        (Wish(since="2026-06-01T00:00:00.000000Z"), "nothing to look at"),
        (Wish(since="2026-03-01T00:00:00.000000Z", until="2026-02-20T00:00:00.000000Z"), "nothing to look at"),
        (Wish(every=Span.parse("52w")), "no second run is due every 52w"),
        (Wish(until="2026-01-05T00:00:00.000000Z"), "hold 97 rows with a label"),
    ],
)
def test_dates_that_cannot_be_are_refused_in_plain_words(tmp_path: Path, wish: Wish, problem: str) -> None:
    world(tmp_path, drifting())

    with pytest.raises((BadInput, DataRefused), match=problem):
        planned(tmp_path, wish)


def test_of_a_schedule_with_too_many_dates_those_are_walked_that_bring_new_rows(tmp_path: Path) -> None:
    world(tmp_path, drifting(), more='time="at", retrain=Schedule.every(seconds=1),')

    plan = planned(tmp_path, Wish(every=Span.parse("10d")))

    walk = plan.walks["in force"]
    clock = plan.known.clock.tolist()
    places = [clock.index(date) for date in walk]
    assert places[0] == ROWS // 4 - 1
    assert set(np.diff(places)) == {10}
    assert places[-1] > ROWS - 20
    assert len(plan.walks["asked"]) == 7
    assert [note for note in plan.notes if "more than 5000 dates" in note] == [
        "The policy `in force` has more than 5000 dates; only those are walked that bring 10 or more new rows with a "
        "label."
    ]


def test_where_drift_alone_calls_for_training_the_lines_without_a_gate_follow_what_was_asked(tmp_path: Path) -> None:
    world(tmp_path, drifting(), more='time="at", retrain=Schedule.on_drift(),')

    plan = planned(tmp_path, Wish(every=Span.parse("10d")))

    assert [line.rule.split(",")[0] for line in plan.lines if line.name != "never retrain"] == [
        "when the data drift",
        "every 10d",
        "every 10d",
    ]
    assert {name: len(walk) for name, walk in plan.walks.items()} == {"in force": 1, "asked": 7}
    assert any("drift alone, which is not replayed" in note for note in plan.notes)


def test_an_unknown_model_and_too_little_data_are_refused(tmp_path: Path) -> None:
    world(tmp_path, drifting(150))

    with pytest.raises(DataRefused, match="150 rows with a label"):
        planned(tmp_path)
    with pytest.raises(NotFound, match="No file defines a model `other`"):
        definitions.load_named(tmp_path / "models", "other")


def test_a_look_at_the_past_does_not_start_a_feed(tmp_path: Path) -> None:
    rain = definitions.load(Path(__file__).parents[2] / "models" / "rain.py").model
    before = os.environ.get("UNDERSTUDY_HOME")

    with home_of_sources(tmp_path, in_use=False):
        assert len(rain.source.get_dataframe(datetime.now(UTC))) >= 3_000

    assert list(tmp_path.iterdir()) == []
    assert os.environ.get("UNDERSTUDY_HOME") == before
    with home_of_sources(tmp_path, in_use=True):
        rain.source.get_dataframe(datetime.now(UTC))
    assert (tmp_path / "scheduled_task" / "retrained_models" / "feeds").is_dir()


def test_the_cache_has_a_limit_and_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    cache = ReplayCache(tmp_path / "known", largest_bytes=10_000)
    thousand = {"outputs": np.zeros(1_000, dtype=np.float32)}
    cache.put(key_of(1), thousand)
    cache.put(key_of(2), thousand)
    time.sleep(0.02)  # file times move in steps
    assert cache.get(key_of(1)) is not None

    cache.put(key_of(3), thousand)

    assert [cache.get(key_of(n)) is not None for n in (1, 2, 3)] == [True, False, True]


def test_a_damaged_file_or_a_folder_that_cannot_be_made_is_no_cache(tmp_path: Path) -> None:
    cache = ReplayCache(tmp_path / "known")
    cache.put(key_of(1), {"outputs": np.zeros(3)})
    (tmp_path / "known" / f"{key_of(1)}.npz").write_bytes(b"PK\x03\x04 and then nothing")
    (tmp_path / "file").write_text("")

    assert cache.get(key_of(1)) is None
    nowhere = ReplayCache(tmp_path / "file" / "known")
    nowhere.put(key_of(1), {"outputs": np.zeros(3)})
    assert nowhere.get(key_of(1)) is None


def test_the_command_answers_machines_and_draws_a_picture_that_says_what_it_shows(tmp_path: Path) -> None:
    world(tmp_path, drifting(1_200))

    said = typed(tmp_path, "replay", "world", "--every", "5d", "--bar", "0.6", "--picture", ".", "--json")

    assert said.returncode == 0, said.stderr
    report = json.loads(said.stdout)
    assert [one["policy"] for one in report["policies"]] == ["in force", "asked", "never retrain", "always promote"]
    assert said.stderr == ""
    assert [folder.name for folder in (tmp_path / "scheduled_task" / "retrained_models").iterdir()] == ["replays"]
    assert not in_use(Settings(home=tmp_path))
    drawing = ElementTree.parse(tmp_path / "replay-world.svg").getroot()  # noqa: S314 - we have just written it
    assert drawing.get("role") == "img"
    words = " ".join(text.strip() for text in drawing.itertext())
    assert "How versions of world age" in words
    assert "after 1 retrain (5 days)" in words
    assert "Age of the version, in days" in words


@pytest.mark.parametrize(
    ("days", "words"),
    [(0, "fresh"), (1 / 1440, "60 seconds"), (30.4, "30.4 days"), (730, "730 days"), (2630, "7.2 years")],
)
def test_an_age_is_told_in_the_unit_in_which_it_is_read_best(days: float, words: str) -> None:
    assert duration(days) == words


def test_rows_of_one_moment_are_told_apart_by_keys_that_no_float_holds(tmp_path: Path) -> None:
    frame = drifting(400).assign(id=lambda rows: 2**60 + np.arange(len(rows)), at=timestamp(FIRST))
    known = planned_known(world(tmp_path, frame, more='time="at", key="id", drop=("id",),'))

    assert known.places(known.frame.iloc[::-1]).tolist() == [*range(399, -1, -1)]


def typed(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "understudy.adapters.cli", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_picture_without_a_folder_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    world(tmp_path, drifting(400))

    said = typed(tmp_path, "replay", "world", "--every", "2d", "--picture", "nowhere/curve.svg")

    assert said.returncode == 2
    assert "There is no folder for the picture" in said.stderr
    assert not (tmp_path / "scheduled_task").exists()


def test_people_are_shown_policies_dates_and_ages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = replayed(world(tmp_path, drifting(1_200)))

    show({**report, "picture": None}, True)

    first, titles, row, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("world, 2026-01-12 11:00:00 to 2026-02-16 00:00:00: 829 rows")
    assert titles.split("  ")[0] == "policy"
    assert titles.split()[1:7] == ["trained", "promoted", "refused", "not", "trained", "rolled"]
    in_force = report["policies"][0]
    counts = [in_force[name] for name in ("trained", "promotions", "kept")]
    assert row.split()[2:5] == [str(count) for count in counts]
    assert "never retrain: the first champion of the policy in force stays." in rest
    assert "in force: every 10d, bar 0.8, refit on." in rest
    assert "How versions age, against a fresh one on the same rows:" in rest


def test_a_replay_judges_the_rows_and_the_model_that_a_run_would_have_judged(tmp_path: Path) -> None:
    world(tmp_path, drifting())
    definition = definitions.load_named(tmp_path / "models", "world")
    plan = planned(tmp_path)
    [step, *_] = Replaying(plan.known, ReplayCache(None), Recipe(), tick=lambda: None).steps(plan.walks["in force"][:1])
    assert step.made is not None

    data = snapshot.write(snapshot.take(definition.model, as_of=moment(step.at), now=NOW).frame)
    taken = snapshot.read(data, definition.model)
    cut = recipe.choose_cut(taken, None)
    rows = recipe.divide(definition.model, taken, cut)
    source = digest_of(definition.source_bytes())
    inputs = recipe.Inputs(source=source, data=digest_of(data), params={}, cut=cut)
    made = recipe.make(definition.model, rows, inputs)
    served = runtime.open_bundle(made, digest=digest_of(made), trees=True)
    document, _ = scoring.gather(definition.model, rows, candidate=served, champion=None, profile="0" * 64, now=NOW)

    evidence = Evidence.parse(document)
    assert np.allclose(plan.known.past.labels[step.made.held_out], evidence.labels)
    assert np.allclose(step.made.candidate.at(step.made.held_out), evidence.candidate_out, atol=1e-5)
