"""Which form of a model serves, and that it answers what scikit-learn does, through the whole path of a request."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from tests.bundles import CUT, NUMBERS, RECIPES, Recipe, customers, made, make
from understudy.adapters import frames, onnx_twin, skops_form, training
from understudy.adapters.onnx_trees import as_float32
from understudy.errors import BadDefinition, BundleRefused, ModelFailed
from understudy.parity import Answer, compare
from understudy.rows import LARGEST_NUMBER, RowDecoder

SERVED_BY = {
    "logistic": "onnx",
    "logistic of booleans": "onnx",
    "logistic of texts": "onnx",
    "forest": "onnx",
    "forest regression": "onnx",
    "boosting": "onnx",
    "boosting of categories": "skops",
    "boosting of codes": "onnx",
    "ridge": "onnx",
    "mixed": "onnx",
    "mixed, nulls as a category": "onnx",
    "known categories only": "onnx",
    "tuned threshold": "skops",
    "logarithms": "skops",
}


def test_every_recipe_is_expected_to_be_served_by_one_form() -> None:
    assert set(SERVED_BY) == set(RECIPES)


@pytest.mark.parametrize(("name", "form"), SERVED_BY.items())
def test_a_version_answers_each_row_of_the_holdout_as_scikit_learn_does(name: str, form: str) -> None:
    bundle = made(name)
    runtime = bundle.open()
    rows = [dict(zip(bundle.holdout, row, strict=True)) for row in frames.rows_of(bundle.holdout)]

    answer = runtime.predict(RowDecoder(runtime.signature).decode(json.dumps({"records": rows}).encode()))

    classes = runtime.signature.classes
    probabilities = None if classes is None else bundle.model.predict_proba(bundle.holdout).tolist()
    expected = Answer(bundle.model.predict(bundle.holdout).tolist(), probabilities)
    assert compare(expected, answer, classes=classes, scale=50.0).problem is None
    assert runtime.manifest["serves"] == form
    runtime.check_golden()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("boosting of categories", "a probability differs"),
        ("tuned threshold", "labels differ"),
        ("logarithms", "FunctionTransformer does not convert to ONNX"),
    ],
)
def test_the_manifest_says_why_a_version_is_served_by_scikit_learn(name: str, why: str) -> None:
    manifest = made(name).open().manifest

    assert manifest["why"].startswith("Served as scikit-learn: ")
    assert why in manifest["why"]
    assert manifest["parity"] is None


def test_integers_that_float32_would_round_are_served_by_scikit_learn() -> None:
    frame = customers().assign(account=2**24 + 1 + np.arange(400))
    recipe = RECIPES["ridge"]()

    manifest = make(Recipe(recipe.estimator, ["account"], "spend", "regression"), frame).open().manifest

    assert manifest["serves"] == "skops"
    assert "integers" in manifest["why"]


def test_labels_come_back_as_the_type_that_they_were() -> None:
    said, segment = made("logistic of booleans").open(), made("logistic of texts").open()

    answered = [runtime.predict(runtime.golden.rows).predictions for runtime in (said, segment)]

    assert {type(label) for label in answered[0]} == {bool}
    assert {type(label) for label in answered[1]} == {str}
    assert segment.signature.classes == ("high", "low", "mid")


def test_a_column_is_nullable_where_the_fitted_model_answers_a_null() -> None:
    nullable = {name: [c.nullable for c in made(name).open().signature.columns] for name in ("logistic", "boosting")}

    assert nullable == {"logistic": [False] * 3, "boosting": [True] * 3}


def test_categories_are_listed_where_the_fitted_model_knows_no_others() -> None:
    columns = {column.name: column.categories for column in made("known categories only").open().signature.columns}

    assert columns == {"age": None, "visits": (0, 1, 2, 3, 4, 5), "plan": ("a", "b")}


def test_golden_rows_hold_nulls_unknown_categories_and_extremes_where_the_model_answers_them() -> None:
    values = {value for row in made("mixed").open().golden.rows for value in row}

    assert None in values
    assert any(isinstance(value, float) and abs(value) >= LARGEST_NUMBER for value in values)
    assert values & {"", "no such category", "NO SUCH CATEGORY"}


def test_a_text_that_reads_nan_is_not_taken_for_a_null() -> None:
    runtime = made("mixed, nulls as a category").open()
    typical = [column.example for column in runtime.signature.columns]
    city = runtime.signature.names.index("city")
    rows = [[*typical[:city], value, *typical[city + 1 :]] for value in ("nan", None, "unheard of")]

    probabilities = np.array(runtime.predict(rows).probabilities)

    frame = frames.request_frame(runtime.signature.columns, rows)
    expected = made("mixed, nulls as a category").model.predict_proba(frame)
    assert np.abs(probabilities - expected).max() < 1e-5
    assert len({tuple(row) for row in probabilities.round(4)}) == 3


def test_trees_part_numbers_as_scikit_learn_does_where_people_would_write_the_threshold() -> None:
    """Training knows 0.2 and 0.3 but not 0.25, which in float32 may fall on either side of its own threshold."""
    bundle = made("boosting")
    runtime = bundle.open()
    ages = sorted(set(bundle.features["age"].dropna()))
    rows = [[round((a + b) / 2, 2), 20_000.0, 2] for a, b in pairwise(ages)]

    probabilities = np.array(runtime.predict(rows).probabilities)

    expected = bundle.model.predict_proba(frames.request_frame(runtime.signature.columns, rows))
    assert np.abs(probabilities - expected).max() < 1e-5


@pytest.mark.parametrize(
    "threshold", [0.25, 35.85, 35.849999999999994, 35.85000000000001, -3.3, 0.1 + 0.2, 1e-40, np.inf]
)
def test_a_threshold_in_float32_leaves_short_decimals_on_their_side(threshold: float) -> None:
    shorts = [threshold if np.isinf(threshold) else float(f"{threshold:.7g}"), 0.25, 35.85, 35.86, -3.3, 0.3, 0.0]

    for short in shorts:
        assert (np.float32(short) <= np.float32(as_float32(threshold))) == (short <= threshold)


def test_a_forest_behind_a_scaler_parts_some_numbers_otherwise_and_is_served_by_scikit_learn() -> None:
    estimator = make_pipeline(StandardScaler(), RandomForestClassifier(20))

    manifest = make(Recipe(estimator, ["age_known"], "stays", "binary")).open().manifest

    assert "a probability differs" in manifest["why"]


def test_a_conversion_that_does_not_end_is_given_up() -> None:
    form = skops_form.dump(made("ridge").model)

    found = onnx_twin.convert(form, made("ridge").open().signature.columns, time_limit_s=0.05)

    assert found == onnx_twin.NoTwin("its conversion to ONNX did not end within 0.05 s")


def test_a_conversion_that_crashes_is_given_up() -> None:
    found = onnx_twin.convert(b"no skops form", made("ridge").open().signature.columns)

    assert found == onnx_twin.NoTwin("its conversion to ONNX crashed")


def test_metrics_are_those_of_the_holdout() -> None:
    bundle = made("ridge")
    spend = customers()["spend"].iloc[CUT:].to_numpy()

    metrics = bundle.open().manifest["metrics"]

    errors = bundle.model.predict(bundle.holdout) - spend
    assert metrics["mae"] == pytest.approx(np.abs(errors).mean())
    assert set(metrics) == {"mae", "rmse", "r2"}


def test_the_baseline_is_what_a_constant_would_say() -> None:
    shares = made("logistic").open().manifest["baseline"]["shares"]

    assert shares[1] == pytest.approx(customers()["stays"].iloc[:CUT].mean())


def test_a_classifier_without_probabilities_is_refused_with_the_way_out() -> None:
    with pytest.raises(BadDefinition, match="Wrap it: CalibratedClassifierCV"):
        make(Recipe(RidgeClassifier(), NUMBERS[1:], "stays", "binary"))


def test_code_of_the_user_in_an_estimator_is_refused_with_the_way_out() -> None:
    def double(frame: pd.DataFrame) -> pd.DataFrame:
        return frame * 2

    estimator = make_pipeline(FunctionTransformer(double), StandardScaler(), LogisticRegression())

    with pytest.raises(BundleRefused, match=r"double.* move the code of a custom transformer into the source"):
        make(Recipe(estimator, NUMBERS[1:], "stays", "binary"))


def test_params_of_a_run_are_set_on_the_clone_and_unknown_ones_refused() -> None:
    frame = customers()
    features = frames.feature_frame(frame, NUMBERS[1:])
    target = frames.target_of(frame["spend"], task="regression")
    estimator = RECIPES["ridge"]().estimator

    model = training.fit(estimator, features, target, seed=1, params={"ridge__alpha": 5.0})

    assert (model[-1].alpha, estimator[-1].alpha) == (5.0, 1.0)
    with pytest.raises(BadDefinition, match="no parameter 'depth'"):
        training.fit(estimator, features, target, seed=1, params={"depth": 3})


def test_the_seed_goes_to_every_random_state_that_was_left_open() -> None:
    frame = customers()
    features = frames.feature_frame(frame, NUMBERS)
    target = frames.target_of(frame["segment"], task="multiclass")

    search = GridSearchCV(RandomForestClassifier(3), {"max_depth": [2]}, cv=KFold(3, shuffle=True))
    given = RandomForestClassifier(3, random_state=4)

    model = training.fit(search, features, target, seed=99)

    assert (model.best_estimator_.random_state, model.cv.random_state) == (99, 99)
    assert search.cv.random_state is None
    assert training.fit(given, features, target, seed=99).random_state == 4


def test_a_model_that_raises_on_numbers_it_has_not_seen_is_refused_with_the_way_out() -> None:
    estimator = make_pipeline(OneHotEncoder(), LogisticRegression())

    with pytest.raises(BadDefinition, match=r"`income` that it has not seen\. Let it ignore them"):
        make(Recipe(estimator, ["income"], "stays", "binary"), customers().assign(income=[1.0, 2.5] * 200))


def test_a_model_that_cannot_answer_its_holdout_is_no_version() -> None:
    frame = customers()
    frame.loc[CUT:, "plan"] = "new"

    with pytest.raises(ModelFailed, match="handle_unknown"):
        make(RECIPES["known categories only"](), frame)
