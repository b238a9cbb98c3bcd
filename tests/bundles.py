"""Bundles that tests begin with: small real models, each made once per process, and ONNX models written by hand."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from understudy.adapters import bundle, frames, training
from understudy.adapters.runtime import Runtime, open_bundle
from understudy.fingerprint import digest_of
from understudy.signature import Column, Signature, Task

ROWS, CUT = 400, 300

NUMBERS, WORDS = ["age", "income", "visits"], ["city", "plan"]


def customers() -> pd.DataFrame:
    """Numbers and texts, some of them missing, and targets of every kind that depend on them."""
    rng = np.random.default_rng(11)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 12, ROWS).round(1),
            "income": rng.lognormal(10, 0.5, ROWS).round(2),
            "visits": rng.integers(0, 6, ROWS),
            "city": rng.choice(["Bern", "Genève", "nan", "Zürich"], ROWS),
            "plan": rng.choice(["a", "b"], ROWS),
        }
    )
    score = (frame["age"] - 40) / 12 + frame["visits"] / 3 + (frame["city"] == "Bern") + rng.normal(0, 1, ROWS)
    frame["stays"] = (score > 1).astype(int)
    frame["said"] = score > 1
    frame["segment"] = np.select([score > 2, score > 0.5], ["high", "mid"], "low")
    frame["spend"] = 100 * score
    frame["age_known"] = frame["age"]
    frame.loc[rng.random(ROWS) < 0.1, "age"] = np.nan
    frame.loc[rng.random(ROWS) < 0.1, "city"] = None
    return frame


def mixed(words: BaseEstimator) -> BaseEstimator:
    """Impute and scale the numbers, treat the texts with `words`."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    return make_column_transformer((numbers, NUMBERS), (words, WORDS))


@dataclass(frozen=True)
class Recipe:
    """What to fit, on which columns."""

    estimator: BaseEstimator
    columns: list[str]
    target: str
    task: Task


one_hot = OneHotEncoder(handle_unknown="ignore")
codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
complete = ["age_known", "income", "visits"]

RECIPES: dict[str, Callable[[], Recipe]] = {
    "logistic": lambda: Recipe(make_pipeline(StandardScaler(), LogisticRegression()), complete, "stays", "binary"),
    "logistic of booleans": lambda: Recipe(LogisticRegression(max_iter=5000), complete, "said", "binary"),
    "logistic of texts": lambda: Recipe(
        make_pipeline(StandardScaler(), LogisticRegression()), complete, "segment", "multiclass"
    ),
    "forest": lambda: Recipe(RandomForestClassifier(20), NUMBERS, "segment", "multiclass"),
    "forest regression": lambda: Recipe(RandomForestRegressor(20), NUMBERS, "spend", "regression"),
    "boosting": lambda: Recipe(HistGradientBoostingClassifier(max_iter=20), NUMBERS, "stays", "binary"),
    "boosting of categories": lambda: Recipe(
        HistGradientBoostingClassifier(max_iter=20, categorical_features=["visits"]), NUMBERS, "stays", "binary"
    ),
    "boosting of codes": lambda: Recipe(
        make_pipeline(
            make_column_transformer((codes, WORDS), remainder="passthrough"),
            HistGradientBoostingRegressor(max_iter=20),
        ),
        [*NUMBERS, *WORDS],
        "spend",
        "regression",
    ),
    "ridge": lambda: Recipe(make_pipeline(StandardScaler(), Ridge()), complete, "spend", "regression"),
    "mixed": lambda: Recipe(
        make_pipeline(
            mixed(make_pipeline(SimpleImputer(strategy="most_frequent"), one_hot)), LogisticRegression(max_iter=500)
        ),
        [*NUMBERS, *WORDS],
        "segment",
        "multiclass",
    ),
    "mixed, nulls as a category": lambda: Recipe(
        make_pipeline(mixed(one_hot), LogisticRegression(max_iter=500)), [*NUMBERS, *WORDS], "stays", "binary"
    ),
    "known categories only": lambda: Recipe(
        make_pipeline(
            make_column_transformer((OneHotEncoder(), ["plan", "visits"]), (SimpleImputer(), ["age"])), Ridge()
        ),
        ["age", "visits", "plan"],
        "spend",
        "regression",
    ),
    "tuned threshold": lambda: Recipe(
        TunedThresholdClassifierCV(
            make_pipeline(StandardScaler(), LogisticRegression(class_weight={0: 1, 1: 9})), scoring="accuracy"
        ),
        complete,
        "stays",
        "binary",
    ),
    "logarithms": lambda: Recipe(
        make_pipeline(FunctionTransformer(np.cbrt), StandardScaler(), LogisticRegression()), complete, "stays", "binary"
    ),
}


@dataclass(frozen=True)
class Made:
    """A bundle, and what it was made from."""

    model: Any
    data: bytes
    digest: str
    features: pd.DataFrame
    holdout: pd.DataFrame

    def open(self) -> Runtime:
        return open_bundle(self.data, digest=self.digest, trees=True)


@functools.cache
def made(name: str) -> Made:
    """Fit and pack one of the recipes."""
    return make(RECIPES[name]())


def make(recipe: Recipe, frame: pd.DataFrame | None = None, *, seed: int = 7) -> Made:
    frame = customers() if frame is None else frame
    features = frames.feature_frame(frame, recipe.columns)
    before = frames.target_of(frame[recipe.target].iloc[:CUT], task=recipe.task)
    after = frames.target_of(frame[recipe.target].iloc[CUT:], task=recipe.task)
    model = fit(recipe, frame, seed=seed)
    data = training.make_bundle(
        model,
        facts=facts(seed),
        task=recipe.task,
        target=recipe.target,
        features=features.iloc[:CUT],
        labels=before,
        holdout=features.iloc[CUT:],
        holdout_labels=after,
    )
    return Made(model, data, digest_of(data), features.iloc[:CUT], features.iloc[CUT:])


def fit(recipe: Recipe, frame: pd.DataFrame | None = None, *, seed: int = 7) -> Any:
    """Fit on the rows before the cut."""
    frame = (customers() if frame is None else frame).iloc[:CUT]
    target = frames.target_of(frame[recipe.target], task=recipe.task)
    return training.fit(recipe.estimator, frames.feature_frame(frame, recipe.columns), target, seed=seed)


def facts(seed: int = 7) -> training.Facts:
    data = {"digest": "0" * 64, "rows": ROWS, "train_rows": CUT, "cut": CUT - 1, "end": ROWS - 1}
    return training.Facts(model="customers", metric="mae", params={}, seed=seed, data=data, fingerprint="f" * 64)


ONE_NUMBER = Signature(
    columns=(Column(name="x", kind="number", dtype="float64", nullable=False, example=1.0),),
    target="y",
    task="regression",
    classes=None,
)


def by_hand(
    forms: dict[str, bytes],
    *,
    signature: Signature = ONE_NUMBER,
    golden: bundle.Golden | None = None,
    **changes: Any,
) -> bytes:
    """Pack forms as if they had been trained; by default a regression on one number that answers that number."""
    golden = golden or bundle.Golden([[1.0], [2.0]], [1.0, 2.0], None, 1.0)
    manifest = {
        "format": 1,
        "model": "by_hand",
        "signature": signature.to_json(),
        "metrics": {},
        "metric": "mae",
        "params": {},
        "seed": 0,
        "data": facts().data,
        "baseline": {"median": 0.0},
        "fingerprint": "f" * 64,
        "libraries": training.libraries(),
        "serves": "onnx",
        "why": "Written by hand.",
        "parity": None,
    }
    return bundle.pack({**manifest, **changes}, golden, forms)


def onnx_of(nodes: list[onnx.NodeProto], *, constants: list[onnx.TensorProto] | None = None) -> bytes:
    """An ONNX model from `numbers`, shape (n, 1), to `out`."""
    graph = helper.make_graph(
        nodes,
        "by_hand",
        [helper.make_tensor_value_info("numbers", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None, None])],
        initializer=constants or [],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(model.SerializeToString())


def identity() -> bytes:
    return onnx_of([helper.make_node("Identity", ["numbers"], ["out"])])


def number(value: float, name: str) -> onnx.TensorProto:
    return helper.make_tensor(name, TensorProto.FLOAT, [1], [value])


def endless() -> bytes:
    """A loop of 10**12 rounds, in a few hundred bytes."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["go_on"]),
            helper.make_node("Cos", ["before"], ["after"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, [None, 1]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, [None, 1]),
        ],
    )
    rounds = helper.make_tensor("rounds", TensorProto.INT64, [], [10**12])
    going = helper.make_tensor("true", TensorProto.BOOL, [], [True])
    return onnx_of(
        [helper.make_node("Loop", ["rounds", "true", "numbers"], ["out"], body=body)], constants=[rounds, going]
    )


def toiling(rounds: int = 20, *, at_load: bool = False) -> bytes:
    """Products of matrices with 10,000 rows, one after another: minutes of work with operators that are served.

    Args:
        at_load: the matrices are constants, so that a session computes them while it is made.
    """
    side = helper.make_tensor("side", TensorProto.INT64, [2], [10_000, 10_000])
    matrix = helper.make_node("ConstantOfShape", ["side"], ["ones"])
    of_rows = [helper.make_node("ReduceMean", ["numbers"], ["one"]), helper.make_node("Add", ["ones", "one"], ["m0"])]
    first = [helper.make_node("Identity", ["ones"], ["m0"])] if at_load else of_rows
    products = [helper.make_node("MatMul", [f"m{i}", f"m{i}"], [f"m{i + 1}"]) for i in range(rounds)]
    last = [
        helper.make_node("ReduceMean", [f"m{rounds}"], ["mean"]),
        helper.make_node("Add", ["numbers", "mean"], ["out"]),
    ]
    return onnx_of([matrix, *first, *products, *last], constants=[side])
