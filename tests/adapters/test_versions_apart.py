"""What sets two versions apart, from a real store: small real models, made as runs make them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tests.adapters.stream import at
from tests.adapters.versions import ROLES, keep, lose, rows, stored
from understudy.adapters.commands.diff import numbered, show
from understudy.adapters.rows_apart import identities, overlap_of
from understudy.adapters.stored_version import StoredVersion
from understudy.adapters.versions_apart import ALL, Limits, roles_of, versions_apart
from understudy.errors import NotFound
from understudy.events import timestamp
from understudy.evidence import build
from understudy.profile import profile_columns


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def moved(n: int = 800) -> pd.DataFrame:
    """Rows of which the later ones lie elsewhere in x."""
    return rows(n).assign(x=lambda frame: frame["x"] + 0.5 * (np.arange(n) >= 420))


@pytest.fixture(scope="module")
def first(store: Path) -> StoredVersion:
    return stored(store, 1, rows(420), cut=400)


@pytest.fixture(scope="module")
def second(store: Path) -> StoredVersion:
    return stored(store, 2, moved(), cut=650, source="a = 1\npassword = 'hunter2'\n", params={"max_depth": 2})


@pytest.fixture(scope="module")
def found(first: StoredVersion, second: StoredVersion) -> dict[str, Any]:
    return versions_apart(fresh(first), fresh(second), ROLES, Limits())


def fresh(version: StoredVersion, **changes: Any) -> StoredVersion:
    """The same version, of which nothing has been found missing yet."""
    return replace(version, gone={}, **changes)


def test_rows_that_came_are_counted_and_the_column_that_moved_with_them_comes_first(found: dict[str, Any]) -> None:
    assert found["data"]["rows"] == {"same": 420, "changed": 0, "added": 380, "removed": 0}
    assert [(column["name"], column["moved"]) for column in found["data"]["columns"]] == [
        ("x", True),
        ("y", False),
        ("serial", False),
    ]
    assert found["data"]["columns"][0]["new"]["low"] > 0.1
    assert [label["rows"] for label in found["data"]["label"]] == [400, 650]


def test_shares_are_shown_as_percentages(found: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    show({"model": "stream", **found}, 6)

    titles, row = capsys.readouterr().out.split("How far the columns moved, as a share of rows:\n")[1].splitlines()[:2]
    effect = found["data"]["columns"][0]["new"]["effect"]
    assert row.split()[:3] == ["x", f"{100 * effect:.1f}", "%"], titles


def test_params_are_those_of_the_run_and_those_of_the_estimator(found: dict[str, Any]) -> None:
    assert found["params"]["given"] == [{"name": "max_depth", "then": None, "now": "2"}]
    assert found["params"]["estimator"] == [{"name": "max_depth", "then": "4", "now": "2"}]
    assert found["libraries"] == []


def test_the_lines_of_the_definition_that_changed_are_shown_without_their_passwords(found: dict[str, Any]) -> None:
    assert found["code"]["changed"] is True
    assert "-b = 2" in found["code"]["lines"]
    assert "hunter2" not in json.dumps(found)


def test_both_are_asked_the_rows_that_the_newer_one_was_held_back_from(found: dict[str, Any]) -> None:
    answers = found["answers"]

    assert (answers["rows"], answers["which"]) == (150, "rows that version 2 was held back from")
    assert answers["learnt"] == {"1": 0, "2": 0}
    assert {one["name"]: one["says"] for one in answers["metrics"]}["brier"] == "better"


def test_the_rows_whose_answer_changed_most_come_first_with_values_answers_and_label(found: dict[str, Any]) -> None:
    most = found["answers"]["most"]
    shown = [row["change"] for row in most]
    apart = abs(most[0]["then"]["probabilities"][1] - most[0]["now"]["probabilities"][1])

    assert shown == sorted(shown, reverse=True)
    assert shown[0] == found["answers"]["largest"] == pytest.approx(apart)
    assert len(most) == 5
    frame = moved().set_index("at")
    row = frame.loc[pd.Timestamp(most[0]["clock"])]
    assert most[0]["values"] == {"x": row["x"], "y": row["y"], "serial": 2**25}
    assert most[0]["label"] == row["label"]


def test_a_refit_is_asked_the_rows_that_its_candidate_was_judged_on_and_said_to_have_learnt_from_them(
    store: Path, first: StoredVersion, second: StoredVersion, capsys: pytest.CaptureFixture[str]
) -> None:
    refit = stored(store, 3, moved(), cut=650, params={"max_depth": 2}, refit_of=second)

    shown = versions_apart(fresh(first), fresh(refit), ROLES, Limits())
    show({"model": "stream", **shown}, 6)

    assert shown["answers"]["which"] == "rows on which the candidate was judged that version 3 is the refit of"
    assert shown["answers"]["learnt"] == {"1": 0, "3": 150}
    said = capsys.readouterr().out
    assert "(retired, by stream-3, the refit of 2)" in said
    assert "version 3 has those of its candidate" in said
    assert "Version 3 has learnt from 150 of them" in said
    assert "Metrics of versions 1 and 2 on these rows; a refit that has learnt from them" in said
    fair = versions_apart(fresh(first), fresh(second), ROLES, Limits())
    assert shown["answers"]["metrics"] == fair["answers"]["metrics"]
    assert (shown["answers"]["measured"], fair["answers"]["measured"]) == (["1", "2"], ["1", "2"])


def test_a_refit_and_its_own_candidate_are_not_called_better_or_worse(store: Path, second: StoredVersion) -> None:
    refit = stored(store, 3, moved(), cut=650, params={"max_depth": 2}, refit_of=second)

    answers = versions_apart(fresh(second), fresh(refit), ROLES, Limits())["answers"]

    assert answers["measured"] == ["2", "3"]
    assert {one["says"] for one in answers["metrics"]} == {None}


def test_where_the_candidate_of_a_refit_is_gone_nothing_says_which_is_better(
    store: Path,
    first: StoredVersion,
    second: StoredVersion,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    refit = stored(store, 3, moved(), cut=650, params={"max_depth": 2}, refit_of=second)
    shutil.copytree(store, tmp_path, dirs_exist_ok=True)
    lose(tmp_path, second.listed["digest"])

    shown = versions_apart(fresh(first), fresh(refit, store=tmp_path), ROLES, Limits())
    show({"model": "stream", **shown}, 6)

    assert {one["says"] for one in shown["answers"]["metrics"]} == {None}
    assert shown["answers"]["measured"] == ["1", "3"]
    assert "they do not say which is better" in capsys.readouterr().out


def test_the_order_of_the_two_turns_everything_round_but_not_the_rows_that_are_asked(
    first: StoredVersion, second: StoredVersion, found: dict[str, Any]
) -> None:
    back = versions_apart(fresh(second), fresh(first), ROLES, ALL)

    assert back["data"]["rows"]["removed"] == 380
    assert back["answers"]["which"] == found["answers"]["which"]
    assert back["answers"]["most"][0]["now"] == found["answers"]["most"][0]["then"]
    assert len(back["answers"]["most"]) == 150


def test_no_value_of_a_column_with_a_withheld_tag_is_shown(first: StoredVersion, second: StoredVersion) -> None:
    tags = {"x": ["personal"], "at": ["personal"], "y": ["public"]}
    roles = roles_of({"target": "label", "time": "at", "key": None, "tags": tags}, frozenset({"personal"}))

    shown = versions_apart(fresh(first), fresh(second), roles, ALL)

    assert shown["answers"]["withheld"] == ["x"]
    assert {name for row in shown["answers"]["most"] for name in row["values"]} == {"y", "serial"}
    assert {row["clock"] for row in shown["answers"]["most"]} == {None}
    assert [column["typical"] for column in shown["data"]["columns"] if column["name"] == "x"] == [(None, None)]
    text = json.dumps(shown)
    assert not [value for value in moved()["x"] if value and str(value) in text]


def test_a_row_is_named_by_its_key_unless_that_is_withheld(first: StoredVersion, second: StoredVersion) -> None:
    named, hidden = (
        versions_apart(fresh(first), fresh(second), replace(ROLES, key="city", withheld=frozenset(tags)), Limits())
        for tags in ((), ("city",))
    )

    assert named["answers"]["most"][0]["key"] in ("Oslo", "Rome")
    assert {row["key"] for row in hidden["answers"]["most"]} == {None}


def test_a_label_with_a_withheld_tag_is_not_shown_either(first: StoredVersion, second: StoredVersion) -> None:
    shown = versions_apart(fresh(first), fresh(second), replace(ROLES, withheld=frozenset({"label"})), Limits())

    assert shown["data"]["label"] is None
    assert {row["label"] for row in shown["answers"]["most"]} == {None}


def test_versions_of_different_columns_are_asked_all_the_same(store: Path, second: StoredVersion) -> None:
    words = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    third = stored(
        store, 3, moved(), cut=650, drop=("x",), estimator=make_pipeline(words, DecisionTreeClassifier(max_depth=4))
    )

    shown = versions_apart(fresh(second), third, ROLES, Limits())

    assert (shown["data"]["only_then"], shown["data"]["only_now"]) == (["x"], ["city"])
    assert set(shown["answers"]["most"][0]["values"]) == {"x", "y", "city", "serial"}
    assert shown["answers"]["problem"] is None


def test_a_version_whose_column_is_no_longer_given_cannot_be_asked_and_that_is_said(
    store: Path, first: StoredVersion
) -> None:
    third = stored(store, 3, moved().drop(columns=["x"]), cut=650)

    shown = versions_apart(fresh(first), third, ROLES, Limits())

    assert "no column `x`" in shown["answers"]["problem"]
    assert shown["answers"]["most"] == []
    assert shown["data"]["only_then"] == ["x"]
    assert shown["data"]["rows"]["removed"] == 0


def test_versions_of_different_tasks_are_not_compared_row_by_row(store: Path, first: StoredVersion) -> None:
    third = stored(store, 3, cut=300, target="y", drop=("city", "label"), estimator=DecisionTreeRegressor(max_depth=4))

    shown = versions_apart(fresh(first), third, ROLES, Limits())

    assert shown["answers"]["problem"] == "it does another task"
    assert [shown[side]["task"] for side in ("then", "now")] == ["binary", "regression"]


def test_numbers_that_are_predicted_are_apart_by_their_difference(store: Path) -> None:
    options: dict[str, Any] = {
        "target": "y",
        "drop": ("city", "label"),
        "estimator": DecisionTreeRegressor(max_depth=4),
    }
    then, now = stored(store, 1, cut=300, **options), stored(store, 2, moved(), cut=650, **options)

    shown = versions_apart(then, now, replace(ROLES, target="y"), Limits())

    row = shown["answers"]["most"][0]
    assert row["change"] == pytest.approx(abs(row["then"]["prediction"] - row["now"]["prediction"]))
    assert shown["answers"]["other_class"] is None
    assert shown["data"]["label"][0]["shares"] is None


def test_a_version_that_has_learnt_from_the_rows_is_said_to_have(store: Path, first: StoredVersion) -> None:
    last = stored(store, 4, cut=490)

    shown = versions_apart(fresh(first), last, ROLES, Limits())

    assert shown["answers"]["which"] == "the newest rows of version 4"
    assert shown["answers"]["learnt"] == {"1": 400, "4": 490}


@pytest.mark.parametrize(
    ("what", "missing"),
    [("bundle", {"bundle", "estimator", "measure"}), ("rows", {"rows", "measure"}), ("source", {"source"})],
)
def test_what_the_store_has_lost_is_named_and_the_rest_is_shown(
    first: StoredVersion,
    second: StoredVersion,
    tmp_path: Path,
    what: str,
    missing: set[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(first.store, tmp_path, dirs_exist_ok=True)
    then, now = fresh(first, store=tmp_path), fresh(second, store=tmp_path)
    assert now.run is not None
    digest = {"bundle": now.listed["digest"], "rows": now.summary["data"]["digest"], "source": now.run_result("source")}
    lose(tmp_path, digest[what])

    shown = versions_apart(then, now, ROLES, Limits())
    show({"model": "stream", **shown}, 6)

    assert {one["what"] for one in shown["gone"] if one["version"] == "2"} == missing
    assert all("no blob" in one["why"] for one in shown["gone"] if one["what"] in digest and one["version"] == "2")
    assert shown["metrics"]
    assert (shown["answers"] is None) == (what != "source")
    assert (shown["code"]["changed"] is None) == (what == "source")
    assert f"Not compared: {what} of version 2. The store has no blob" in capsys.readouterr().out


def test_where_the_rows_are_gone_the_columns_are_compared_as_they_were_measured(tmp_path: Path) -> None:
    then, now = judged(stored(tmp_path, 1, cut=300), rows(300)), judged(stored(tmp_path, 2, cut=300), moved(800)[500:])
    lose(tmp_path, then.summary["data"]["digest"])

    shown = versions_apart(then, now, ROLES, Limits())

    assert shown["data"]["rows"] is None
    assert shown["data"]["columns"][0]["name"] == "x"
    assert (shown["data"]["columns"][0]["effect"] > 0.3, shown["data"]["columns"][0]["moved"]) == (True, None)


def test_of_a_refit_whose_rows_are_gone_all_rows_of_its_candidate_were_measured(
    store: Path, second: StoredVersion
) -> None:
    known = judged(fresh(second), moved(), fitted=650)
    refit = fresh(second, basis=known.listed)

    parts = known.measure(), refit.measure()

    assert [part and part.rows for part in parts] == [650, 800]


def judged(version: StoredVersion, frame: pd.DataFrame, *, fitted: int | None = None) -> StoredVersion:
    """A version with evidence, which names the measure of the rows that it was made from."""
    profile = profile_columns(
        {name: frame[name].to_numpy() for name in ("x", "y")},
        kinds={"x": "number", "y": "number"},
        label=frame["label"].to_numpy(),
        task="binary",
        clock=list(range(len(frame))),
        new_from=0,
        fitted_until=fitted or len(frame),
    )
    evidence = build(
        model="stream",
        candidate=version.listed["digest"],
        champion=None,
        task="binary",
        classes=[0, 1],
        clock=[0],
        rows=["0" * 16],
        labels=[1],
        candidate_out=[[0.5, 0.5]],
        champion_out=None,
        times_measured=timestamp(at(0)),
        profile=keep(version.store, profile.encode()),
    )
    return replace(version, listed={**version.listed, "verdict": {"evidence": keep(version.store, evidence)}})


def test_rows_from_before_the_definition_named_another_clock_are_said_to_be(
    first: StoredVersion, second: StoredVersion
) -> None:
    shown = versions_apart(fresh(first), fresh(second), replace(ROLES, time="moment"), Limits())

    assert [one["why"] for one in shown["gone"] if one["what"] == "rows"] == [
        "They have no column 'moment', which the definition names today."
    ] * 2
    assert shown["metrics"]


@pytest.mark.parametrize(("name", "found"), [("champion", "4"), ("candidate", "6"), ("3", "3")])
def test_a_version_may_be_named_by_what_it_is(name: str, found: str) -> None:
    nobody: Any = None

    assert numbered(nobody, {"name": "rain", "champion": "4", "versions": 6}, name) == found


def test_a_model_without_such_a_version_says_so() -> None:
    nobody: Any = None

    with pytest.raises(NotFound, match="Model rain has no champion"):
        numbered(nobody, {"name": "rain", "champion": None, "versions": 0}, "champion")


def test_a_store_that_is_not_here_leaves_what_the_log_says(first: StoredVersion, second: StoredVersion) -> None:
    elsewhere = Path("/nowhere/store")

    shown = versions_apart(fresh(first, store=elsewhere), fresh(second, store=elsewhere), ROLES, Limits())

    assert shown["metrics"]
    assert {one["why"] for one in shown["gone"] if one["what"] == "rows"} == {"The store is not on this machine."}


def test_a_row_is_the_same_whatever_holds_its_numbers_and_known_before_its_label_is() -> None:
    then = pd.DataFrame({"n": [1, 2, 3], "label": [0, 1, 0]})
    now = pd.DataFrame({"n": [1.0, 2.0, 4.0], "label": [0.0, np.nan, 1.0]})

    counted = overlap_of(then, now, replace(ROLES, time=None))

    assert (counted.same, counted.changed, counted.added, counted.removed) == (1, 1, 1, 1)


def test_a_row_with_a_key_is_known_by_it_and_large_keys_are_told_apart() -> None:
    then = pd.DataFrame({"id": [2**60, 2**60 + 1], "x": [1.0, 2.0], "label": [0, 1]})

    counted = overlap_of(then, then.assign(x=[1.0, 5.0]), replace(ROLES, key="id"))

    assert (counted.same, counted.changed, counted.added, counted.removed) == (1, 1, 0, 0)
    assert len(set(identities(then, ["id"]).tolist())) == 2
