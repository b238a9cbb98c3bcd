import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scheduled_task.job import Ended
from scheduled_task.tests.given import DEFINITION, Workshop, stream
from scheduled_task.train import keep
from tests.adapters.stream import at
from understudy.adapters.bundle import unpack
from understudy.events import timestamp


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workshop, Ended]:
    """A workshop in which a first training has been accepted."""
    workshop = Workshop(tmp_path_factory.mktemp("trained"))
    workshop.arrive(stream(1000))
    return workshop, workshop.carry_out(workshop.job(at(999), slot="first"))


@pytest.fixture
def first(trained: tuple[Workshop, Ended]) -> Ended:
    return trained[1]


@pytest.fixture
def workshop(trained: tuple[Workshop, Ended], tmp_path: Path) -> Workshop:
    """A copy of that workshop that a test may break."""
    shutil.copytree(trained[0].home, tmp_path / "home")
    return Workshop(tmp_path / "home")


def test_a_training_leaves_a_bundle_its_data_its_holdout_and_its_evidence_in_the_store(
    workshop: Workshop, first: Ended
) -> None:
    assert (first.outcome, first.reason) == ("trained", "")

    facts = first.facts
    assert all(workshop.store.has(facts[name]) for name in ("source", "data", "holdout", "bundle", "evidence"))
    assert (facts["rows"], facts["fitted"], facts["held_out"]) == (1000, 500, 500)
    assert len(pd.read_parquet(workshop.home / "test_data" / f"{facts['holdout']}.parquet")) == 500
    assert set(facts["seconds"]) == {"imports", "definition", "data", "check", "train", "evidence", "refit"}


def test_the_next_one_asks_the_champion_about_rows_that_neither_has_seen(workshop: Workshop, first: Ended) -> None:
    workshop.arrive(stream(1400))

    ended = workshop.carry_out(workshop.after(workshop.job(at(1400)), first))

    evidence = workshop.evidence(ended)
    assert (evidence.n, evidence.champion) == (200, first.bundle)
    assert str(evidence.clock[0]) > str(workshop.evidence(first).clock[-1])
    assert evidence.champion_out is not None
    assert not np.isnan(evidence.champion_out).any()


def test_a_second_attempt_at_a_run_makes_the_same_bytes(workshop: Workshop, first: Ended) -> None:
    workshop.arrive(stream(1200))  # what has arrived since does not matter: the run is pinned to its moment

    again = workshop.carry_out(workshop.job(at(999), slot="first"))

    assert again.bundle == first.bundle


@pytest.mark.parametrize(("n", "words"), [(1000, "no rows with a label since"), (1099, "only 99 rows with a label")])
def test_a_run_that_is_merely_due_waits_until_enough_has_arrived_to_judge_by(
    workshop: Workshop, first: Ended, n: int, words: str
) -> None:
    workshop.arrive(stream(n))

    ended = workshop.carry_out(workshop.after(workshop.job(at(n)), first))

    assert ended.outcome == "skipped"
    assert words in ended.reason


def test_a_source_that_has_ended_says_so_in_the_run(workshop: Workshop, first: Ended) -> None:
    text = DEFINITION.replace('source=Csv("rows.csv", time="at")', "source=Ended()") + ENDED
    job = workshop.after(workshop.job(at(1000)), first)

    ended = workshop.carry_out(replace(job, source_digest=workshop.define(text_first(text))))

    assert ended.outcome == "skipped"
    assert ended.reason.endswith("It has ended.")


ENDED = """
class Ended:
    def get_dataframe(self, as_of):
        frame = Csv("rows.csv", time="at").get_dataframe(as_of)
        frame.attrs["note"] = "It has ended."
        return frame
"""


def text_first(text: str) -> str:
    """The same definition with its class before its model."""
    head, _, tail = text.partition("class Ended")
    imports, _, model = head.partition("model = ")
    return f"{imports}class Ended{tail}\nmodel = {model}"


def test_params_by_hand_are_trained_with_although_nothing_is_new(workshop: Workshop, first: Ended) -> None:
    job = workshop.after(workshop.job(at(1000), slot="by-hand/1", params={"C": 0.001}), first)

    ended = workshop.carry_out(job)

    assert ended.bundle is not None
    manifest = unpack(workshop.store.get(ended.bundle), digest=ended.bundle).manifest
    assert manifest["params"] == {"C": 0.001}
    assert ended.bundle != first.bundle


def test_a_param_that_the_estimator_lacks_fails_with_what_to_do(workshop: Workshop, first: Ended) -> None:
    job = workshop.after(workshop.job(at(1000), slot="by-hand/1", params={"depth": 3}), first)

    ended = workshop.carry_out(job)

    assert (ended.outcome, ended.bundle) == ("failed", None)
    assert "no parameter 'depth'" in ended.reason
    assert "get_params" in ended.reason


def test_a_window_by_hand_is_not_measured_against_the_whole(workshop: Workshop, first: Ended) -> None:
    dates = {"start_date": timestamp(at(100)), "end_date": timestamp(at(399))}

    ended = workshop.carry_out(workshop.after(workshop.job(at(1000), slot="by-hand/1", **dates), first))

    assert (ended.outcome, ended.facts["rows"]) == ("trained", 300)


def test_a_look_at_an_earlier_moment_is_not_measured_against_a_later_snapshot(workshop: Workshop, first: Ended) -> None:
    asked_now = {"requested_at": timestamp(at(2000))}

    ended = workshop.carry_out(
        workshop.after(workshop.job(at(400), slot="by-hand/1", params={"C": 1.0}, **asked_now), first)
    )

    assert (ended.outcome, ended.facts["rows"]) == ("trained", 401)


def test_rows_that_arrived_while_the_run_waited_are_left_out_and_do_not_come_from_the_future(
    workshop: Workshop,
) -> None:
    workshop.arrive(stream(1200))
    gives_everything = workshop.define(DEFINITION.replace('Csv("rows.csv", time="at")', 'Csv("rows.csv")'))

    ended = workshop.carry_out(replace(workshop.job(at(999)), source_digest=gives_everything))

    assert (ended.outcome, ended.facts["rows"]) == ("trained", 1000)


def test_a_run_trains_with_the_definition_that_was_recorded_for_it(workshop: Workshop) -> None:
    job = workshop.job(at(1000), slot="first")
    workshop.define(DEFINITION.replace("LogisticRegression()", "LogisticRegression(C=0.0001)"))

    ended = workshop.carry_out(job)

    assert ended.facts["source"] == job.source_digest
    assert ended.bundle == workshop.carry_out(workshop.job(at(1000), slot="first")).bundle


def new_rows(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["at"] >= at(1000)]


SABOTAGE: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "a column is gone": (lambda frame: frame.drop(columns="x"), "The column `x` is gone"),
    "a column is renamed": (lambda frame: frame.rename(columns={"x": "X"}), "The column `x` is gone"),
    "a column changes its type": (
        lambda frame: frame.assign(x=frame["x"].map("{:.1f} m".format)),
        "kind number and now",
    ),
    "a column is null": (lambda frame: frame.assign(x=np.nan), "`x` is null in every row"),
    "a column becomes null": (lambda frame: frame.assign(x=frame["x"].where(frame["at"] < at(1000))), "`x` is null in"),
    "the label is constant": (lambda frame: frame.assign(label=1), "there is nothing to learn"),
    "a class appears": (
        lambda frame: frame.assign(label=frame["label"].where(frame.index < 1300, 2)),
        "class `2` was never seen",
    ),
    "the label leaks": (
        lambda frame: frame.assign(x=frame["x"].where(frame["at"] < at(1000), frame["label"] + frame["x"] / 9)),
        "`x` alone orders the label",
    ),
    "two columns change places": (
        lambda frame: frame.assign(
            x=frame["x"].where(frame["at"] < at(1000), frame["y"]),
            y=frame["y"].where(frame["at"] < at(1000), frame["x"]),
        ),
        "have they changed places",
    ),
    "most rows are lost": (lambda frame: frame[frame["at"] >= at(1000)], "at least 500 are needed"),
}


@pytest.mark.fault(72)
@pytest.mark.fault(68)
@pytest.mark.parametrize(("spoil", "words"), SABOTAGE.values(), ids=SABOTAGE.keys())
def test_data_that_broke_are_refused_before_anything_is_fitted(
    workshop: Workshop, first: Ended, spoil: Callable[[pd.DataFrame], pd.DataFrame], words: str
) -> None:
    workshop.arrive(spoil(stream(1400)))

    ended = workshop.carry_out(workshop.after(workshop.job(at(1400)), first))

    assert (ended.outcome, ended.bundle, ended.evidence) == ("refused", None, None)
    assert words in ended.reason
    assert "train" not in ended.facts["seconds"]


@pytest.mark.fault(72)
def test_a_first_model_is_not_fitted_on_labels_that_say_the_same(workshop: Workshop) -> None:
    workshop.arrive(stream(1000).assign(label=0))

    ended = workshop.carry_out(workshop.job(at(1000), slot="first"))

    assert ended.outcome == "refused"
    assert "there is nothing to learn" in ended.reason


def test_what_was_found_stands_in_the_result_with_its_numbers(workshop: Workshop, first: Ended) -> None:
    workshop.arrive(stream(1400).drop(columns="x"))

    ended = workshop.carry_out(workshop.after(workshop.job(at(1400)), first))

    assert ended.facts["findings"][0] == {
        "check": "schema",
        "column": "x",
        "observed": "absent",
        "limit": "number",
        "reason": "The column `x` is gone.",
    }


@pytest.mark.fault(71)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "source: There is no file `rows.csv`"),
        ("", "source: `rows.csv` cannot be read"),
        ("at,x,y,city,label\n", "source: `rows.csv` cannot be read: it has no rows"),
        ("at,x,y,city,label\n2026-01-01T00:00:00Z,0.5,2", "its last line has no end"),
    ],
)
def test_a_file_that_is_missing_empty_or_half_written_fails_the_run_and_names_the_source(
    workshop: Workshop, first: Ended, content: str | None, words: str
) -> None:
    file = workshop.definitions / "rows.csv"
    file.unlink()
    if content is not None:
        file.write_text(content)

    ended = workshop.carry_out(workshop.after(workshop.job(at(1400)), first))

    assert ended.outcome == "failed"
    assert words in ended.reason


@pytest.mark.fault(70)
def test_a_source_that_answers_nothing_fails_the_run_and_names_the_source(workshop: Workshop) -> None:
    down = "class Down:\n    def get_dataframe(self, as_of):\n        raise TimeoutError('no answer in 30 s')\n"
    text = down + DEFINITION.replace('Csv("rows.csv", time="at")', "Down()")

    ended = workshop.carry_out(replace(workshop.job(at(1000)), source_digest=workshop.define(text)))

    assert ended.outcome == "failed"
    assert ended.reason.startswith("source: The source raised TimeoutError: no answer in 30 s.")


@pytest.mark.fault(67)
def test_an_estimator_that_raises_fails_the_run_with_its_words(workshop: Workshop) -> None:
    text = DEFINITION.replace("LogisticRegression()", "LogisticRegression(C=-1)")

    ended = workshop.carry_out(replace(workshop.job(at(1000)), source_digest=workshop.define(text)))

    assert ended.outcome == "failed"
    assert ended.reason.startswith("Training raised InvalidParameterError: The 'C' parameter")


@pytest.mark.fault(24)
def test_a_champion_that_the_store_has_lost_fails_the_run_and_says_so(workshop: Workshop, first: Ended) -> None:
    workshop.arrive(stream(1400))
    job = workshop.after(workshop.job(at(1400)), first)

    ended = workshop.carry_out(replace(job, champion={"version": "1", "digest": "e" * 64}))

    assert ended.outcome == "failed"
    assert "no blob 'eeee" in ended.reason


def test_only_the_newest_holdouts_are_kept_beside_the_store(tmp_path: Path) -> None:
    for n in range(203):
        keep(b"rows", tmp_path / f"{n}.parquet")

    assert len(list(tmp_path.iterdir())) == 200
    assert not (tmp_path / "0.parquet").exists()


def test_a_result_is_read_whole_or_not_at_all(tmp_path: Path, first: Ended) -> None:
    first.write(tmp_path / "result.json")
    whole = (tmp_path / "result.json").read_text()

    (tmp_path / "cut.json").write_text(whole[:-3])

    assert Ended.read(tmp_path / "result.json") == first
    assert Ended.read(tmp_path / "cut.json") is None
    assert Ended.read(tmp_path / "nothing.json") is None
