"""Each gate passes what is right, fails what it is there for, and fails what is missing or broken."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.core import cases, worlds
from understudy import Promotion
from understudy.compare import compare, row_losses
from understudy.gates import GATES, Case, Champion, Verdict, judge
from understudy.verdict import Name

NAMES: tuple[Name, ...] = (
    "data",
    "api",
    "trial",
    "signature",
    "holdout",
    "sanity",
    "floors",
    "latency",
    "slices",
    "comparison",
)


def policy(**changes: Any) -> dict[str, Any]:
    return Promotion(**changes).to_json()


def failed(case: Case) -> dict[str, str]:
    """The gates that said no, and why."""
    return {gate.name: gate.reason for gate in judge(case).gates if not gate.passed}


def refused_by(case: Case, name: Name) -> str:
    """The reason of the one gate that said no."""
    found = failed(case)
    assert set(found) == {name}
    assert not judge(case).passed
    return found[name]


def regression(**changes: Any) -> Case:
    """A candidate that predicts a number well; passes as it stands."""
    given = worlds.world()
    amount = 10 * given.truth + given.label
    parts: dict[str, Any] = {
        "task": "regression",
        "classes": None,
        "labels": amount[worlds.CUT :],
        "candidate_out": 10 * given.truth[worlds.CUT :] + 0.4,
        "champion_out": 5 * given.truth[worlds.CUT :],
    }
    signature: dict[str, Any] = {"task": "regression", "classes": None}
    whole: dict[str, Any] = {
        "evidence": cases.evidence(given, **{**parts, **changes.pop("answers", {})}),
        "manifest": cases.manifest(**signature),
        "champion": Champion(
            version="1", digest=cases.CHAMPION, manifest=cases.manifest(cut=worlds.KNOWN - 1, **signature)
        ),
        "profile": worlds.profile(given.columns, amount, task="regression"),
        "reference": None,
    }
    return cases.case(**{**whole, **changes})


# ── verdicts ─────────────────────────────────────────────────────────────────────────────────────


def test_a_better_candidate_without_any_flaw_passes_every_gate_in_order() -> None:
    verdict = judge(cases.case())

    assert verdict.passed
    assert verdict.reasons == ()
    assert tuple(gate.name for gate in verdict.gates) == NAMES == (*GATES, "comparison")


def test_a_regression_and_three_classes_are_judged_alike() -> None:
    given = worlds.world()
    three = np.array(["clear", "clouds", "fog"])
    labels = np.random.default_rng(3).integers(0, 3, worlds.END)
    sure, half = (share * np.eye(3)[labels] + (1 - share) / 3 for share in (0.5, 0.2))
    signature: dict[str, Any] = {"task": "multiclass", "classes": three.tolist()}
    multiclass = cases.case(
        evidence=cases.evidence(
            given,
            **{**signature, "labels": three[labels[worlds.CUT :]]},
            candidate_out=sure[worlds.CUT :],
            champion_out=half[worlds.CUT :],
        ),
        manifest=cases.manifest(**signature),
        champion=Champion(version="1", digest=cases.CHAMPION, manifest=cases.manifest(cut=999, **signature)),
        profile=worlds.profile(given.columns, three[labels], task="multiclass"),
        reference=None,
    )

    assert failed(regression()) == {}
    assert failed(multiclass) == {}


def test_a_first_candidate_is_compared_with_the_constant_predictor() -> None:
    given = cases.case()
    assert given.evidence is not None
    fitted = worlds.world().label[: worlds.CUT]
    shares = np.tile(np.bincount(fitted) / len(fitted), (given.evidence.n, 1))
    losses = [row_losses("brier", out, given.evidence.labels) for out in (given.evidence.candidate_out, shares)]

    verdict = judge(cases.without_champion())

    assert verdict.passed
    assert verdict.comparison == compare(*losses)


def test_a_verdict_is_plain_json_and_comes_back_from_it() -> None:
    for case in (cases.case(), cases.without_champion(), regression(), cases.case(evidence=None, profile=None)):
        verdict = judge(case)

        text = json.dumps(verdict.to_json(), allow_nan=False)

        assert Verdict.from_json(json.loads(text)) == verdict


def test_the_same_case_always_gets_the_same_verdict() -> None:
    assert judge(cases.case()) == judge(cases.case())


def test_a_verdict_names_the_rows_that_it_stands_on() -> None:
    case = cases.case()

    assert case.evidence is not None
    assert judge(case).rows == case.evidence.row_set


@pytest.mark.parametrize("name", NAMES)
def test_a_gate_that_is_left_out_judges_nothing_and_the_others_as_ever(name: Name) -> None:
    case = cases.case()

    whole, rest = judge(case), judge(case, without={name})

    assert rest.gates == tuple(gate for gate in whole.gates if gate.name != name)
    assert rest.passed


def test_without_the_gate_that_stops_it_a_case_passes() -> None:
    slow = cases.case(trial=cases.trial(report=cases.latency([40.0] * 5, [0.02] * 5)))

    assert not judge(slow, without={"floors"}).passed
    assert judge(slow, without={"latency"}).passed


def test_the_reasons_are_those_of_the_gates_that_failed() -> None:
    verdict = judge(cases.case(api=None, trial=None))

    assert verdict.reasons == tuple(gate.reason for gate in verdict.gates if not gate.passed)
    assert "It has not been tried." in verdict.reasons


# ── fail closed ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("missing", "gates"),
    [
        ("profile", {"data", "floors"}),
        ("api", {"api"}),
        ("trial", {"trial", "latency"}),
        ("evidence", {"holdout", "sanity", "floors", "comparison"}),
        ("evidence_age_s", {"holdout"}),
        ("champion", {"holdout", "comparison"}),
    ],
)
def test_what_is_missing_fails_its_gates(missing: str, gates: set[str]) -> None:
    assert set(failed(cases.case(**{missing: None}))) == gates


@pytest.mark.parametrize("manifest", [{}, {"signature": None}, {**cases.manifest(), "signature": {"task": "binary"}}])
def test_a_manifest_that_says_too_little_fails_and_raises_nothing(manifest: dict[str, Any]) -> None:
    found = failed(cases.case(manifest=manifest))

    assert {"signature", "holdout"} <= set(found)
    assert "could not be judged" in found["signature"]


@pytest.mark.parametrize("given", [{"bar": 7}, {"loss": "ranking"}, {"nonsense": 1}, {"loss": "absolute"}])
def test_a_policy_that_makes_no_sense_passes_nothing(given: dict[str, Any]) -> None:
    assert {"floors", "comparison"} <= set(failed(cases.case(policy={**policy(), **given})))


@pytest.mark.parametrize("make", [cases.case, cases.without_champion])
def test_where_the_data_were_not_measured_no_constant_predictor_is_beaten(make: Any) -> None:
    found = failed(make(profile=None))

    assert "there is no constant predictor" in found["floors"]
    assert ("comparison" in found) == (make is cases.without_champion)


@pytest.mark.parametrize("changes", [{"task": "regression"}, {"label": np.arange(worlds.END) % 3}])
def test_a_profile_of_another_task_or_of_other_classes_is_no_constant_predictor(changes: dict[str, Any]) -> None:
    given = worlds.world()
    profile = worlds.profile(given.columns, **{"label": given.label, **changes})

    assert "another task or other classes" in failed(cases.case(profile=profile))["floors"]


# ── api, trial ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("api", "why"),
    [
        ({"ready": False, "reason": "The log cannot be read.", "age_s": 0.1}, "The log cannot be read."),
        ({"ready": "yes", "reason": "", "age_s": 0.1}, "not ready"),
        ({"ready": True, "reason": "", "age_s": 601.0}, "601 s ago"),
        ({"ready": True, "reason": "", "age_s": None}, "no age"),
        ({"ready": True, "reason": ""}, "could not be judged"),
    ],
)
def test_an_api_that_is_not_known_to_be_healthy_promotes_nothing(api: dict[str, Any], why: str) -> None:
    assert why in refused_by(cases.case(api=api), "api")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"passed": False, "reason": "It used more than 512 MB."}, "It used more than 512 MB."),
        ({"environment": "f" * 64}, "other libraries"),
    ],
)
def test_a_candidate_that_did_not_pass_its_trial_here_is_refused(changes: dict[str, Any], why: str) -> None:
    assert why in refused_by(cases.case(trial=cases.trial(**changes)), "trial")


def test_the_trial_of_another_bundle_counts_for_nothing() -> None:
    assert set(failed(cases.case(trial=cases.trial(digest="f" * 64)))) == {"trial", "latency"}


# ── signature ────────────────────────────────────────────────────────────────────────────────────

COLUMNS = cases.manifest()["signature"]["columns"]


def column_changed(place: int, **changes: Any) -> list[dict[str, Any]]:
    return [{**column, **changes} if here == place else column for here, column in enumerate(COLUMNS)]


@pytest.mark.fault(15)
@pytest.mark.parametrize(
    ("signature", "why"),
    [
        ({"columns": column_changed(2, name="speed")}, "`wind` is gone. The column `speed` is new."),
        ({"columns": COLUMNS[:-1]}, "`sky` is gone."),
        ({"columns": [*COLUMNS, cases.column("rain_yesterday")]}, "`rain_yesterday` is new."),
        ({"columns": COLUMNS[::-1]}, "another order: sky, humidity, wind, high, low."),
        ({"columns": column_changed(2, kind="text")}, "`wind` was of kind number and now is text."),
        ({"columns": column_changed(2, kind="integer")}, "`wind` took any number and now takes integers only."),
        ({"columns": column_changed(2, kind="boolean")}, "`wind` was of kind number and now is boolean."),
        ({"columns": column_changed(2, nullable=False)}, "`wind` may no longer be null."),
        ({"columns": column_changed(4, categories=["clear"])}, "`sky` no longer takes any other text."),
    ],
)
def test_what_clients_would_notice_is_refused_by_name_and_left_to_a_person(signature: Any, why: str) -> None:
    reason = refused_by(cases.case(manifest=cases.manifest(**signature)), "signature")

    assert why in reason
    assert "promote it by hand, with a reason" in reason


@pytest.mark.fault(15)
@pytest.mark.parametrize("classes", [[1, 0], [0, 2], ["0", "1"]])
def test_other_classes_are_another_signature(classes: list[Any]) -> None:
    case = cases.case(manifest=cases.manifest(classes=classes), evidence=cases.evidence(classes=classes))

    assert "The classes were 0, 1 and now are" in failed(case)["signature"]


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"nullable": False}, {"nullable": True}),
        ({"categories": ["clear"]}, {"categories": ["clear", "fog"]}),
        ({"categories": ["clear"]}, {"categories": None}),
        ({"example": "fog"}, {"example": "clear"}),
        ({"dtype": "str"}, {"dtype": "object"}),
        ({"kind": "integer", "nullable": False}, {"kind": "number"}),
        ({"kind": "integer", "categories": [1, 2]}, {"kind": "number", "categories": None}),
    ],
)
def test_accepting_more_than_before_is_compatible(before: dict[str, Any], now: dict[str, Any]) -> None:
    champion = Champion(
        version="1", digest=cases.CHAMPION, manifest=cases.manifest(cut=999, columns=column_changed(4, **before))
    )

    assert failed(cases.case(champion=champion, manifest=cases.manifest(columns=column_changed(4, **now)))) == {}


def test_losing_a_category_is_incompatible() -> None:
    before, now = (cases.manifest(cut=999, columns=column_changed(4, categories=c)) for c in (["a", "b"], ["b"]))

    reason = failed(cases.case(champion=Champion(version="1", digest=cases.CHAMPION, manifest=before), manifest=now))

    assert "`sky` no longer takes a." in reason["signature"]


# ── holdout ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("age", [601.0, -61.0, float("nan"), float("inf"), None])
def test_evidence_that_is_stale_or_from_the_future_is_no(age: float | None) -> None:
    assert "The evidence" in refused_by(cases.case(evidence_age_s=age), "holdout")


def test_evidence_from_the_future_says_that_two_clocks_differ() -> None:
    assert "7200 s in the future: set the clocks of both services" in refused_by(
        cases.case(evidence_age_s=-7200.0), "holdout"
    )


@pytest.mark.parametrize("age", [0.0, 600.0, -60.0])
def test_evidence_counts_for_ten_minutes(age: float) -> None:
    assert failed(cases.case(evidence_age_s=age)) == {}


@pytest.mark.parametrize("changes", [{"candidate": "f" * 64}, {"champion": "f" * 64}])
def test_evidence_about_another_pair_is_no(changes: dict[str, Any]) -> None:
    found = failed(cases.case(evidence=cases.evidence(**changes)))

    assert set(found) == {"holdout", "comparison"}
    assert "another" in found["holdout"]


def test_evidence_about_another_model_is_no() -> None:
    assert "another candidate" in refused_by(cases.case(evidence=cases.evidence(model="bike")), "holdout")


def test_evidence_about_other_classes_is_no() -> None:
    found = failed(cases.case(evidence=cases.evidence(classes=[1, 0])))

    assert "other classes" in found["holdout"]


def test_evidence_without_the_champion_that_serves_is_no() -> None:
    case = cases.case(evidence=cases.evidence(champion=None, champion_out=None))

    assert set(failed(case)) == {"holdout", "comparison"}


def test_a_small_holdout_is_too_little_data() -> None:
    given = worlds.world()
    rows = {name: evidence[:99] for name, evidence in parts_of(given).items()}

    found = failed(cases.case(evidence=cases.evidence(given, **rows)))

    assert found["holdout"] == "There are 99 rows to judge by, at least 100 are needed."
    assert found["comparison"].startswith("Too little data")


def parts_of(given: worlds.World) -> dict[str, Any]:
    whole = cases.evidence(given)
    names = ("clock", "rows", "candidate_out", "champion_out")
    return {**{name: list(getattr(whole, name)) for name in names}, "labels": whole.labels.tolist()}


@pytest.mark.parametrize(
    ("changes", "who"),
    [
        ({"manifest": cases.manifest(cut=worlds.CUT)}, "the candidate was trained on"),
        (
            {"champion": Champion(version="1", digest=cases.CHAMPION, manifest=cases.manifest(cut=worlds.CUT + 5))},
            "the champion was trained on",
        ),
        ({"judged_until": worlds.CUT}, "an earlier verdict has used"),
    ],
)
def test_rows_that_somebody_has_seen_are_no_holdout(changes: dict[str, Any], who: str) -> None:
    reason = refused_by(cases.case(**changes), "holdout")

    assert who in reason
    assert "time column" not in reason


MOMENT = "2026-01-01T00:00:00.000000Z"
DATED = Champion(version="1", digest=cases.CHAMPION, manifest=cases.manifest(cut=MOMENT))


@pytest.mark.parametrize("changes", [{"champion": DATED}, {"judged_until": MOMENT}])
def test_a_model_that_lost_its_time_column_is_told_the_way_out(changes: dict[str, Any]) -> None:
    reason = refused_by(cases.case(**changes), "holdout")

    assert f"The rows begin at row {worlds.CUT}" in reason
    assert f"those up to {MOMENT}" in reason
    assert "Let an operator promote the first version under the new clock by hand, with a reason." in reason


def test_a_model_that_gained_a_time_column_is_told_the_same_once() -> None:
    given = worlds.world()
    days = [
        f"{2000 + row // 336}-{row // 28 % 12 + 1:02}-{row % 28 + 1:02}T00:00:00.000000Z" for row in range(worlds.END)
    ]
    case = cases.case(
        manifest=cases.manifest(cut=days[worlds.CUT - 1]),
        evidence=cases.evidence(given, clock=days[worlds.CUT :]),
        profile=worlds.snapshot(given, clock=days),
    )

    reason = refused_by(case, "holdout")

    assert f"the champion was trained on those up to row {worlds.KNOWN - 1}." in reason
    assert f"an earlier verdict has used those up to row {worlds.KNOWN - 1}." in reason
    assert reason.count("has gained or lost its time column") == 1


# ── sanity ───────────────────────────────────────────────────────────────────────────────────────


def answers(**changes: Any) -> Case:
    return cases.case(evidence=cases.evidence(**changes))


def test_answers_that_are_no_numbers_are_not_sane() -> None:
    out = cases.evidence().candidate_out.tolist()
    out[3] = [float("nan"), 0.5]
    out[4] = None

    found = failed(answers(candidate_out=out))

    assert set(found) == {"sanity", "floors", "comparison"}
    assert found["sanity"] == "It gave no finite answer to 2 of 300 rows."


@pytest.mark.parametrize("row", [[0.9, 0.3], [-0.2, 1.2], [0.0, 0.0], [2.0, -1.0]])
def test_probabilities_that_are_none_are_not_sane(row: list[float]) -> None:
    out = cases.evidence().candidate_out.tolist()
    out[3] = row

    assert failed(answers(candidate_out=out))["sanity"] == "Its answers to 1 rows are out of all range."


def test_a_number_far_from_every_label_is_not_sane() -> None:
    out = (10 * worlds.world().truth[worlds.CUT :]).tolist()
    near, far = ([*out[:-1], last] for last in (30.0, 300.0))

    assert "sanity" not in failed(regression(answers={"candidate_out": near}))
    assert "out of all range" in failed(regression(answers={"candidate_out": far}))["sanity"]


def test_one_answer_to_everything_is_not_sane() -> None:
    constant = np.tile([0.55, 0.45], (worlds.END - worlds.CUT, 1))

    assert failed(answers(candidate_out=constant))["sanity"] == "It answers the same to every row."


# ── floors ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("floors", "kept"),
    [
        ({"accuracy": 0.6}, True),
        ({"accuracy": 0.95}, False),
        ({"log_loss": 0.7}, True),
        ({"log_loss": 0.1}, False),
        ({"auc": 0.5, "brier": 0.01}, False),
    ],
)
def test_a_floor_is_a_contract(floors: dict[str, float], kept: bool) -> None:
    found = failed(cases.case(policy=policy(floors=floors)))

    assert found == {} if kept else "the owner wants" in found["floors"]


@pytest.mark.parametrize(("floors", "kept"), [({"r2": 0.5}, True), ({"mae": 0.01}, False), ({"accuracy": 0.1}, False)])
def test_a_floor_on_a_regression_is_one_too(floors: dict[str, float], kept: bool) -> None:
    assert set(failed(regression(policy=policy(floors=floors)))) == (set() if kept else {"floors"})


def test_a_bundle_larger_than_allowed_is_refused() -> None:
    case = cases.case(size=3_000_000, policy=policy(max_size_mb=2.5))

    assert refused_by(case, "floors") == "The bundle has 3.0 MB, at most 2.5 are allowed."


def test_what_does_not_beat_the_constant_predictor_is_refused_even_if_it_beats_the_champion() -> None:
    given = worlds.world()
    wrong = cases.both(1 - given.truth[worlds.CUT :])
    case = cases.case(evidence=cases.evidence(given, candidate_out=0.5 * wrong + 0.25, champion_out=wrong))

    reason = refused_by(case, "floors")

    assert "is not below that of the constant predictor" in reason


@pytest.mark.fault(68)
@pytest.mark.parametrize("forged", [{"shares": [9.0, 9.0]}, {"shares": [0.0, 1.0]}, {"median": 1e6}, None])
def test_what_the_candidate_says_of_the_constant_predictor_counts_for_nothing(forged: Any) -> None:
    given = worlds.world()
    wrong = cases.both(1 - given.truth[worlds.CUT :])
    bad = cases.without_champion(
        manifest={**cases.manifest(), "baseline": forged},
        evidence=cases.evidence(given, candidate_out=wrong, champion=None, champion_out=None),
    )
    good = cases.without_champion(manifest={**cases.manifest(), "baseline": forged})

    assert set(failed(bad)) == {"floors", "comparison"}
    assert failed(good) == {}


def test_a_forged_median_does_not_help_either() -> None:
    given = worlds.world()
    case = regression(answers={"candidate_out": 20 * given.truth[worlds.CUT :] + 10, "champion_out": [90.0] * 300})
    forged = replace(case, manifest={**case.manifest, "baseline": {"median": 1e6}})

    assert "the constant predictor" in refused_by(forged, "floors")


def test_the_constant_predictor_follows_the_candidates_order_of_classes() -> None:
    given = worlds.world()
    order: dict[str, Any] = {"classes": [1, 0]}
    case = cases.without_champion(
        manifest=cases.manifest(**order),
        evidence=cases.evidence(
            given,
            **order,
            candidate_out=cases.both(given.truth[worlds.CUT :])[:, ::-1],
            champion=None,
            champion_out=None,
        ),
    )

    assert judge(case).comparison.champion_loss == pytest.approx(
        judge(cases.without_champion()).comparison.champion_loss
    )


# ── latency ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("candidate", "champion", "passes"),
    [
        ([2.0] * 5, [1.0] * 5, False),
        ([1.4] * 5, [1.0] * 5, True),  # not 1.5 times
        ([0.04] * 5, [0.01] * 5, True),  # four times, and nobody would notice
        ([2.0, 2.0, 2.0, 2.0, 0.9], [1.0] * 5, False),
        ([2.0, 2.0, 2.0, 1.0, 0.9], [1.0] * 5, True),  # in three rounds only
        ([1.0] * 5, [2.0] * 5, True),
    ],
)
def test_a_candidate_may_not_be_much_slower(candidate: list[float], champion: list[float], passes: bool) -> None:
    found = failed(cases.case(trial=cases.trial(report=cases.latency(candidate, champion))))

    assert set(found) == (set() if passes else {"latency"})


@pytest.mark.parametrize("against", [cases.case, cases.without_champion])
def test_the_owners_limit_on_latency_is_a_floor(against: Any) -> None:
    case = against(policy=policy(max_latency_ms=0.01))

    assert refused_by(case, "latency") == "An answer takes 0.02 ms, at most 0.01 are allowed."


def test_latency_beside_another_champion_is_stale() -> None:
    case = cases.case(trial=cases.trial(against="0"))

    assert refused_by(case, "latency") == "Its latency was measured beside version 0, and 1 serves now."


@pytest.mark.parametrize(
    "report",
    [{}, {"latency": None}, cases.latency([0.02] * 4), cases.latency(["x"] * 5), cases.latency([0.02] * 5, None)],
)
def test_latency_that_was_not_measured_properly_is_no(report: dict[str, Any]) -> None:
    assert "could not be judged" in refused_by(cases.case(trial=cases.trial(report=report)), "latency")


# ── comparison ───────────────────────────────────────────────────────────────────────────────────


def test_only_better_is_enough() -> None:
    given = worlds.world()
    truth = given.truth[worlds.CUT :]
    alike = cases.evidence(given, champion_out=cases.both(truth))
    worse = cases.evidence(given, candidate_out=cases.both(0.4 + 0.2 * (truth - 0.4)), champion_out=cases.both(truth))

    found = {
        judge(cases.case(evidence=one)).comparison.answer: failed(cases.case(evidence=one)) for one in (alike, worse)
    }

    assert {answer: set(gates) for answer, gates in found.items()} == {
        "cannot_tell": {"comparison"},
        "worse": {"comparison"},
    }


def test_the_bar_of_the_policy_is_the_bar_of_the_comparison() -> None:
    rng = np.random.default_rng(4)
    truth = worlds.world().truth[worlds.CUT :]
    odds = np.log(truth / (1 - truth))
    blurred = 1 / (1 + np.exp(-(odds + rng.normal(0, 0.45, len(odds)))))
    case = answers(champion_out=cases.both(blurred))

    found = {bar: judge(replace(case, policy=policy(bar=bar))).comparison for bar in (0.5, 0.99)}

    assert found[0.5].p == found[0.99].p
    assert (found[0.5].answer, found[0.99].answer) == ("better", "cannot_tell")


@pytest.mark.parametrize("loss", ["brier", "log_loss"])
def test_the_loss_of_the_policy_is_the_loss_of_the_comparison(loss: Any) -> None:
    case = cases.case(policy=policy(loss=loss))
    assert case.evidence is not None

    expected = row_losses(loss, case.evidence.candidate_out, case.evidence.labels).mean()

    assert judge(case).comparison.candidate_loss == pytest.approx(expected)


# ── data ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_profile_of_another_snapshot_is_no() -> None:
    old = worlds.reference(worlds.world())

    assert "another snapshot" in refused_by(cases.case(profile=old), "data")


def test_a_first_snapshot_with_a_telltale_column_passes_with_a_word_of_warning() -> None:
    given = worlds.world()
    telltale = worlds.changed(given, slice(None), wind=given.label)

    data = judge(cases.without_champion(profile=worlds.snapshot(telltale, known=0))).gate("data")

    assert data.passed
    assert "But is `wind`, which alone tells the label, known beforehand?" in data.reason
