"""Watching without labels: what moved is noticed and named, noise is not, and the same news comes once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from understudy import drift, drift_words, shift
from understudy.calibration import confidences, isotonic
from understudy.drift import Delay, Report, beyond, settle
from understudy.errors import BadInput
from understudy.metrics import FloatArray
from understudy.profile import Profile, profile_columns
from understudy.watching import Other, Reference, Window, measure

LONG, RECENT = 10_000, 2_000
KINDS: Mapping[str, Any] = {"temp": "number", "sky": "text", "open": "boolean", "wind": "number"}


def series(rng: np.random.Generator, n: int, phi: float) -> FloatArray:
    """An autoregression of variance 1: its neighbours are alike by `phi`."""
    noise = rng.normal(size=n) * np.sqrt(1 - phi**2)
    found = np.empty(n)
    found[0] = rng.normal()
    for i in range(1, n):
        found[i] = phi * found[i - 1] + noise[i]
    return found


def table(rng: np.random.Generator, n: int, *, phi: float = 0.0) -> dict[str, list[Any]]:
    sky = np.array(["clear", "cloud", "rain", "fog"], dtype=object)[rng.choice(4, n, p=[0.5, 0.3, 0.15, 0.05])]
    wind = [None if gone else value for gone, value in zip(rng.random(n) < 0.1, rng.normal(size=n), strict=True)]
    return {
        "temp": series(rng, n, phi).tolist(),
        "sky": sky.tolist(),
        "open": (rng.random(n) < 0.3).tolist(),
        "wind": wind,
    }


def profile_of(columns: Mapping[str, Sequence[Any]], *, new_from: int = 0) -> Profile:
    n = len(columns["temp"])
    return profile_columns(
        {name: np.array(values, dtype=object) for name, values in columns.items()},
        kinds=KINDS,
        label=[i % 2 for i in range(n)],
        task="binary",
        clock=list(range(n)),
        new_from=new_from,
        fitted_until=n,
    )


def reference(rng: np.random.Generator, columns: Mapping[str, Sequence[Any]], *, new_from: int = 0) -> Reference:
    """A champion whose scores are honest on its holdout."""
    scores = rng.beta(2, 2, size=1_000)
    return Reference(
        task="binary",
        profile=profile_of(columns, new_from=new_from),
        names=("0", "1"),
        classes=(0, 1),
        holdout=np.column_stack([1 - scores, scores]),
        labels=(rng.random(1_000) < scores).astype(np.int64),
    )


def window(columns: Mapping[str, Sequence[Any]], scores: FloatArray | None = None) -> Window:
    n = len(columns["temp"])
    return Window(
        version="3",
        since="2026-01-01T00:00:00.000000Z",
        until="2026-01-02T00:00:00.000000Z",
        rows=n,
        columns=columns,
        withheld=frozenset(),
        outputs=None if scores is None else np.column_stack([1 - scores, scores]),
    )


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def moved(report: Report) -> set[tuple[str, str]]:
    return {(one.name, one.measure) for one in report.columns if one.beyond}


def test_rows_like_those_of_the_training_move_nothing(rng: np.random.Generator) -> None:
    report = measure(
        window(table(rng, RECENT), rng.beta(2, 2, size=RECENT)), reference(rng, table(rng, LONG)), None, None
    )

    assert (moved(report), beyond(report), report.unmeasured) == (set(), frozenset(), {})
    assert {(one.name, one.measure) for one in report.columns} == {
        (name, measure) for name in KINDS for measure in ("values", "nulls")
    }


PLANTED: Mapping[tuple[str, str], Any] = {
    ("temp", "values"): lambda value: value + 0.6,
    ("sky", "values"): lambda value: "hail" if value == "clear" else value,
    ("open", "values"): lambda value: not value,
    ("wind", "nulls"): lambda value: None if value is not None and value > 0.8 else value,
}


@pytest.mark.parametrize("planted", PLANTED, ids=str)
def test_a_shift_in_one_column_is_noticed_and_named_and_no_other_column_is(
    planted: tuple[str, str], rng: np.random.Generator
) -> None:
    name = planted[0]
    recent = table(rng, RECENT)
    recent[name] = [PLANTED[planted](value) for value in recent[name]]

    report = measure(window(recent), reference(rng, table(rng, LONG)), None, None)

    assert planted in moved(report)
    assert {column for column, _ in moved(report)} == {name}
    assert report.columns[0].name == name
    assert f"`{name}`" in drift_words.reason(report, "columns")


def test_what_the_newest_rows_of_the_training_did_as_well_is_no_news(rng: np.random.Generator) -> None:
    training, recent = table(rng, LONG), table(rng, RECENT)
    training["temp"] = [value + (1.0 if i >= LONG - 2_000 else 0.0) for i, value in enumerate(training["temp"])]
    recent["temp"] = [value + 1.0 for value in recent["temp"]]

    known = measure(window(recent), reference(rng, training, new_from=LONG - 2_000), None, None)
    unknown = measure(window(recent), reference(rng, training), None, None)

    assert moved(known) == set()
    assert moved(unknown) == {("temp", "values")}


@pytest.mark.parametrize(("phi", "most"), [(0.0, 0), (0.9, 0), (0.97, 1)])
def test_noise_fires_no_alarm_however_much_neighbours_are_alike(
    phi: float, most: int, rng: np.random.Generator
) -> None:
    training = series(rng, 40_000, phi)
    profile = np.quantile(training, np.linspace(0, 1, 101), method="inverted_cdf").tolist()

    alarms = 0
    for _ in range(40):
        recent = series(rng, RECENT, phi)
        alarms += shift.of_numbers(profile, 40_000, recent, measures=20).low > drift.THRESHOLDS["values"]

    assert alarms <= most


def test_rows_taken_for_independent_would_have_fired(rng: np.random.Generator) -> None:
    """The guard that the test before this one rests on: with n rows counted as n, noise is drift."""
    profile = np.quantile(series(rng, 40_000, 0.97), np.linspace(0, 1, 101), method="inverted_cdf").tolist()
    recent = [series(rng, RECENT, 0.97) for _ in range(40)]

    found = [shift.of_numbers(profile, 40_000, values, measures=20) for values in recent]
    blind = [one.effect - shift.deviation(one.rows, one.rows, 40_000, 20) for one in found]

    assert sum(low > drift.THRESHOLDS["values"] for low in blind) > 2
    assert np.median([one.effective for one in found]) < RECENT / 20


def test_the_distance_to_quantiles_is_below_the_true_one_and_by_one_hundredth_at_most(
    rng: np.random.Generator,
) -> None:
    for then, now in [
        (rng.normal(size=3_000), rng.normal(0.3, 1, size=500)),
        (rng.integers(0, 4, 3_000).astype(float), rng.integers(1, 5, 500).astype(float)),
        (np.zeros(3_000), np.zeros(500)),
        (rng.random(3_000) < 0.3, rng.random(500) < 0.7),
    ]:
        before, after = np.asarray(then, dtype=float), np.asarray(now, dtype=float)
        points = np.unique(np.concatenate([before, after]))
        true = max(abs((before <= point).mean() - (after <= point).mean()) for point in points)

        found = shift.kolmogorov(np.quantile(before, np.linspace(0, 1, 101), method="inverted_cdf").tolist(), after)

        assert true - 0.01 - 1e-12 <= found <= true + 1e-12


def test_scores_that_crowd_the_middle_cost_expected_quality_and_are_a_shift(rng: np.random.Generator) -> None:
    report = measure(
        window(table(rng, RECENT), rng.beta(20, 20, size=RECENT)), reference(rng, table(rng, LONG)), None, None
    )

    assert beyond(report) == {"scores", "quality"}
    assert report.quality is not None
    assert report.quality.then == pytest.approx(report.quality.measured, abs=0.02)
    assert report.quality.now < report.quality.then - 0.05
    assert "over-optimistic" in drift_words.reason(report, "quality")


def test_isotonic_levels_never_fall_and_keep_the_mean(rng: np.random.Generator) -> None:
    scores = rng.random(500).round(2)
    outcomes = (rng.random(500) < scores**2).astype(float)

    fitted = isotonic(scores, outcomes)(scores)

    assert np.all(np.diff(fitted[np.argsort(scores)]) >= 0)
    assert fitted.mean() == pytest.approx(outcomes.mean())
    assert np.abs(isotonic(np.array([1.0, 2, 3, 4]), np.array([0.0, 1, 0, 1])).hits - [0, 0, 0.5, 0.5, 1, 1]).max() == 0


def test_of_more_than_two_classes_the_highest_probability_is_read_as_a_share_of_hits(
    rng: np.random.Generator,
) -> None:
    raw = rng.dirichlet([2, 1, 1], size=2_000)
    labels = np.array([rng.choice(3, p=row) for row in raw])

    before, after = confidences(raw, labels, np.full((50, 3), 1 / 3))

    assert before.mean() == pytest.approx((raw.argmax(1) == labels).mean())
    assert after.max() <= before.min() + 0.2


def test_the_share_of_rows_that_two_versions_answer_otherwise_bounds_what_is_at_stake(
    rng: np.random.Generator,
) -> None:
    scores = rng.random(RECENT)
    other = np.where(rng.random(RECENT) < 0.03, 1 - scores, scores)
    asked = Other(version="4", outputs=np.column_stack([1 - other, other]))

    report = measure(window(table(rng, RECENT), scores), reference(rng, table(rng, LONG)), asked, None)

    assert report.disagreement is not None
    assert report.disagreement.low < 0.03 < report.disagreement.high < 0.05
    assert "at most" in drift_words.of_disagreement(report.disagreement)
    same = measure(
        window(table(rng, RECENT), scores),
        reference(rng, table(rng, LONG)),
        replace(asked, outputs=np.column_stack([1 - scores, scores])),
        None,
    )
    assert same.disagreement is not None
    assert same.disagreement.share == 0.0
    assert same.disagreement.high == pytest.approx(3 / RECENT)


def test_of_a_regression_the_answers_are_measured_and_no_quality_is_estimated(rng: np.random.Generator) -> None:
    seen = replace(window(table(rng, RECENT)), outputs=rng.normal(1.0, 1.0, RECENT))
    known = replace(
        reference(rng, table(rng, LONG)),
        task="regression",
        names=("the answers",),
        classes=None,
        holdout=rng.normal(size=1_000),
        labels=rng.normal(size=1_000),
    )
    assert seen.outputs is not None
    other = Other(version="4", outputs=seen.outputs + 0.1)

    report = measure(seen, known, other, None)

    assert beyond(report) == {"scores"}
    assert "A regression has no scores" in report.unmeasured["quality"]
    assert report.disagreement is not None
    assert report.disagreement.share == pytest.approx(0.1)
    assert report.disagreement.relative == pytest.approx(0.125, abs=0.01)
    assert "the mean absolute error" in drift_words.of_disagreement(report.disagreement)


def test_too_few_rows_say_so_and_nothing_else(rng: np.random.Generator) -> None:
    report = measure(window(table(rng, 150)), reference(rng, table(rng, LONG)), None, None)

    assert report.columns == []
    assert "200 are needed" in report.unmeasured["rows"]


def test_a_withheld_column_is_not_measured_and_says_why(rng: np.random.Generator) -> None:
    hidden = replace(window(table(rng, RECENT)), withheld=frozenset({"temp"}))

    report = measure(hidden, reference(rng, table(rng, LONG)), None, None)

    assert "withheld" in report.unmeasured["temp"]
    assert "temp" not in {one.name for one in report.columns}


def test_a_text_that_may_be_one_persons_is_not_named(rng: np.random.Generator) -> None:
    training, recent = table(rng, LONG), table(rng, RECENT)
    training["sky"] = [f"name {i}" for i in range(LONG)]
    recent["sky"] = [f"other {i}" for i in range(RECENT)]

    report = measure(window(recent), reference(rng, training), None, None)

    [sky] = [one for one in report.columns if (one.name, one.measure) == ("sky", "values")]
    assert "other" not in sky.told
    assert "name" not in sky.told


def with_effect(report: Report, effect: float) -> Report:
    """The same look, with `temp` this far off and an interval of a tenth on either side."""
    found = report.to_json()
    for one in found["columns"]:
        if (one["name"], one["measure"]) == ("temp", "values"):
            one |= {"effect": effect, "low": max(0.0, effect - 0.1), "high": effect + 0.1}
    return Report.from_json(json.loads(json.dumps(found)))


def test_drift_is_news_once_until_it_has_calmed(rng: np.random.Generator) -> None:
    report = measure(window(table(rng, RECENT)), reference(rng, table(rng, LONG)), None, None)
    noticed: frozenset[drift.Kind] = frozenset()
    told = []

    for effect in (0.05, 0.25, 0.3, 0.15, 0.3, 0.09, 0.3):
        news, noticed = settle(with_effect(report, effect), noticed)
        told.append(bool(news))

    assert told == [False, True, False, False, False, False, True]


@pytest.mark.parametrize("change", [{"rows": "many"}, {"columns": [{"name": "temp"}]}, {"passed": True}])
def test_what_is_no_report_is_refused(change: dict[str, Any], rng: np.random.Generator) -> None:
    report = measure(window(table(rng, RECENT)), None, None, None).to_json()

    with pytest.raises(BadInput, match="no report of drift"):
        Report.from_json({**report, **change})


@pytest.mark.parametrize(
    ("delay", "words"),
    [
        (None, "No label has come back"),
        (Delay(labels=0, p50_s=0, p90_s=0, step_s=3600), "No label has come back"),
        (Delay(labels=500, p50_s=60, p90_s=1200, step_s=3600), "within 20 min of the prediction."),
        (Delay(labels=500, p50_s=60, p90_s=8e5, step_s=None), "within 9 d of the prediction."),
        (Delay(labels=500, p50_s=60, p90_s=8e5, step_s=3600), "is worth more than any retraining"),
    ],
)
def test_labels_that_come_later_than_the_next_training_are_worth_more_than_it(delay: Delay | None, words: str) -> None:
    assert words in drift_words.of_delay(delay)
