from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from tests.adapters.stream import at, model, rows
from understudy.adapters import recipe, scoring, snapshot
from understudy.adapters.recipe import Rows
from understudy.adapters.runtime import Runtime, open_bundle
from understudy.adapters.scoring import Champion
from understudy.events import timestamp
from understudy.evidence import Evidence
from understudy.fingerprint import digest_of
from understudy.model import Model
from understudy.policy import Promotion

CUT, NOW = timestamp(at(299)), at(1000)


def divided(frame: pd.DataFrame, of: Model) -> Rows:
    return recipe.divide(of, snapshot.read(snapshot.write(frame), of), CUT)


def trained(frame: pd.DataFrame, **options: Any) -> Runtime:
    of = model(frame, **options)
    inputs = recipe.Inputs(source="a" * 64, data="b" * 64, params={}, cut=CUT)
    data = recipe.make(of, divided(frame, of), inputs)
    return open_bundle(data, digest=digest_of(data), trees=True)


@cache
def usual() -> Runtime:
    return trained(rows(500))


@cache
def simpler() -> Runtime:
    return trained(rows(500), estimator=LogisticRegression(C=0.01))


def gathered(frame: pd.DataFrame, candidate: Runtime, champion: Champion | None) -> tuple[Evidence, str | None]:
    of = model(frame)
    document, trouble = scoring.gather(
        of, divided(frame, of), candidate=candidate, champion=champion, profile="c" * 64, now=NOW
    )
    return Evidence.parse(document), trouble


def test_both_models_are_asked_about_the_same_held_out_rows() -> None:
    candidate, champion = usual(), simpler()

    evidence, trouble = gathered(rows(500), candidate, Champion(champion.digest, champion))

    asked = rows(200, first=300)
    expected = champion.predict(asked[["x", "y"]].to_numpy().tolist()).probabilities
    assert (evidence.n, evidence.clock[0], trouble) == (200, timestamp(at(300)), None)
    assert (evidence.candidate, evidence.champion) == (candidate.digest, champion.digest)
    assert evidence.labels.tolist() == asked["label"].tolist()
    assert evidence.champion_out is not None
    assert evidence.champion_out.tolist() == expected


def test_without_a_champion_the_candidate_stands_alone() -> None:
    evidence, trouble = gathered(rows(500), usual(), None)

    assert (evidence.champion, evidence.champion_out, trouble) == (None, None, None)


def test_the_same_row_has_the_same_digest_whoever_asks() -> None:
    first, _ = gathered(rows(500), usual(), None)
    second, _ = gathered(rows(500), simpler(), None)

    assert first.row_set == second.row_set


def test_a_champion_that_knows_its_classes_in_other_numbers_answers_in_the_candidates_order() -> None:
    three = rows(500).assign(label=lambda frame: frame["label"] + (frame["x"] > 0.6))
    candidate, champion = trained(three, task="multiclass"), usual()

    evidence, _ = gathered(three, candidate, Champion(champion.digest, champion))

    assert evidence.classes == (0, 1, 2)
    assert evidence.champion_out is not None
    assert evidence.champion_out[:, 2].max() == 0.0
    assert np.allclose(evidence.champion_out.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (rows(500).drop(columns="y"), "no column `y`"),
        (rows(500).assign(y="low"), "it expects `y` as number"),
    ],
)
def test_a_champion_that_cannot_be_asked_about_these_rows_answers_nothing(now: pd.DataFrame, words: str) -> None:
    champion = usual()
    one_column = model(now, drop=("city", "y"))

    document, trouble = scoring.gather(
        one_column,
        divided(now, one_column),
        candidate=trained(now, drop=("city", "y")),
        champion=Champion(champion.digest, champion),
        profile="c" * 64,
        now=NOW,
    )

    evidence = Evidence.parse(document)
    assert evidence.champion_out is not None
    assert np.isnan(evidence.champion_out).all()
    assert words in str(trouble)


def test_a_champion_that_cannot_be_loaded_here_answers_nothing() -> None:
    evidence, trouble = gathered(rows(500), usual(), Champion("d" * 64, None, "It needs another release."))

    assert evidence.champion_out is not None
    assert np.isnan(evidence.champion_out).all()
    assert trouble == "It needs another release."


def test_a_champion_of_another_task_answers_nothing() -> None:
    champion = trained(rows(500).assign(label=lambda frame: 3 * frame["x"]), estimator=LinearRegression())

    _, trouble = gathered(rows(500), usual(), Champion(champion.digest, champion))

    assert trouble == "it does another task"


def test_a_row_that_the_champion_cannot_answer_costs_no_other() -> None:
    by_city = make_pipeline(
        make_column_transformer((OneHotEncoder(handle_unknown="error"), ["city"]), remainder="passthrough"),
        LogisticRegression(),
    )
    champion = trained(rows(500), estimator=by_city, drop=())
    now = rows(500)
    now.loc[450, "city"] = "Lima"

    evidence, trouble = gathered(now, usual(), Champion(champion.digest, champion))

    assert evidence.champion_out is not None
    assert np.flatnonzero(np.isnan(evidence.champion_out).any(axis=1)).tolist() == [150]
    assert trouble is not None


def test_whole_numbers_that_had_nulls_beside_them_are_still_whole_for_the_champion() -> None:
    counted = rows(500).assign(y=lambda frame: (frame["y"] * 10).astype("int64"))
    champion = trained(counted)
    with_nulls = counted.astype({"y": "float64"})
    with_nulls.loc[310, "y"] = np.nan

    scored = scoring.score(champion, with_nulls.iloc[400:], (0, 1))

    assert scored.problem is None
    assert (
        scored.outputs
        == champion.predict([[x, int(y)] for x, y in with_nulls[["x", "y"]].iloc[400:].to_numpy()]).probabilities
    )


# ── what only some definitions ask for ───────────────────────────────────────────────────────────


def surprise(labels: Any, outputs: Any) -> Any:
    return 1.0 - outputs[np.arange(len(labels)), labels]


def test_a_model_that_is_judged_by_slices_and_a_loss_of_its_own_has_both_in_its_evidence() -> None:
    frame, champion = rows(500), simpler()
    of = model(frame, slices=("city",), promotion=Promotion(loss=surprise))
    document, _ = scoring.gather(
        of,
        divided(frame, of),
        candidate=usual(),
        champion=Champion(champion.digest, champion),
        profile="c" * 64,
        now=NOW,
    )

    evidence = Evidence.parse(document)

    labels, fitted = evidence.labels, rows(300)["label"]
    assert evidence.groups == {"city": rows(200, first=300)["city"].tolist()}
    assert evidence.own is not None
    assert evidence.own.name == "surprise"
    assert evidence.own.candidate.tolist() == surprise(labels, evidence.candidate_out).tolist()
    assert evidence.own.champion is not None
    assert evidence.own.champion.tolist() == surprise(labels, evidence.champion_out).tolist()
    assert evidence.own.constant == pytest.approx(np.where(labels == 1, (fitted == 0).mean(), (fitted == 1).mean()))


def test_a_champion_that_cannot_be_asked_has_no_loss_of_the_owners_either() -> None:
    frame = rows(500)
    of = model(frame, promotion=Promotion(loss=surprise))
    silent = Champion("d" * 64, None, "these libraries cannot load it")

    document, _ = scoring.gather(of, divided(frame, of), candidate=usual(), champion=silent, profile="c" * 64, now=NOW)

    own = Evidence.parse(document).own
    assert own is not None
    assert own.champion is not None
    assert np.isnan(own.champion).all()
    assert np.isfinite(own.candidate).all()


def test_other_models_have_neither() -> None:
    evidence, _ = gathered(rows(500), usual(), None)

    assert (evidence.groups, evidence.own) == ({}, None)
