"""From a frame to a bundle: fit, find out what the fitted model answers, and pack it.

The same training gives the same bytes, in any process. Runs where the scheduler trains, with one BLAS and OpenMP
thread.
"""

import dataclasses
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from understudy.adapters import bundle, frames, onnx_twin, probes, skops_form
from understudy.adapters.estimators import set_seeds
from understudy.adapters.frames import Target
from understudy.adapters.probes import Row
from understudy.adapters.runtime import OnnxModel, SklearnModel
from understudy.errors import BadDefinition, BundleRefused, ModelFailed
from understudy.metrics import measure
from understudy.parity import Answer, compare
from understudy.rows import LARGEST_NUMBER
from understudy.signature import Column, Signature, Task, Value

T = TypeVar("T")

LIBRARIES = ("numpy", "scikit-learn", "skops", "skl2onnx", "onnx", "onnxruntime")

LARGEST_EXACT = 2**24
"""float32 holds every integer up to here."""

GOLDEN_ROWS = 12
"""Golden rows from the holdout; as many again come from the probes."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a manifest says beyond what can be seen in the model: all of it follows from the run's inputs."""

    model: str
    metric: str
    params: Mapping[str, Any]
    seed: int
    data: Mapping[str, Any]
    """digest, rows, train_rows, cut, end."""
    fingerprint: str


@dataclass(frozen=True)
class Asked:
    """Rows, and what scikit-learn answered to them."""

    rows: list[Row]
    answer: Answer


@dataclass(frozen=True)
class Twin:
    """What became of the ONNX form: None where it does not serve, and why."""

    form: bytes | None
    why: str
    worst: float = 0.0


def libraries() -> dict[str, str]:
    """Versions of what a bundle's bytes depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def fit(
    estimator: Any, features: pd.DataFrame, target: Target, *, seed: int, params: Mapping[str, Any] | None = None
) -> Any:
    """Fit a clone of `estimator` whose every open `random_state` is the seed.

    Args:
        features: a `feature_frame`.
        params: set on the clone first, as `set_params` takes them.

    Raises BadDefinition for params that the estimator does not have.
    """
    from sklearn.base import clone

    model = clone(estimator)
    given = model.get_params(deep=True)
    unknown = sorted(set(params or {}) - set(given))
    if unknown:
        raise BadDefinition(
            f"The estimator has no parameter {unknown[0][:60]!a}.",
            remedy="Use the names that `estimator.get_params()` lists.",
        )
    model.set_params(**(params or {}))
    set_seeds(model, seed)
    return model.fit(features, target.values)


def make_bundle(
    model: Any,
    *,
    facts: Facts,
    task: Task,
    target: str,
    features: pd.DataFrame,
    labels: Target,
    holdout: pd.DataFrame,
    holdout_labels: Target,
) -> bytes:
    """Pack a fitted model.

    Args:
        model: what `fit` returned for `features` and `labels`.
        target: name of the predicted column.
        holdout: later rows as a `feature_frame` with the same columns; metrics and parity are taken on them.

    Raises:
        BadDefinition: the estimator is none that can be served: it gives no probabilities, or holds foreign code.
        ModelFailed: it cannot answer the holdout.
    """
    signature = _learn_signature(model, task=task, target=target, features=features, labels=labels)
    original = SklearnModel(model, signature)
    outcome = _outcome(original, holdout)
    known = frames.rows_of(features)
    asked = _ask(original, [row for row in frames.rows_of(holdout) if _fits(signature, row)])
    probed = _ask(original, probes.probe_rows(signature.columns, known))
    form = skops_form.dump(model)
    scale = float(np.std(labels.values)) if task == "regression" else 1.0
    twin = _twin(form, signature, _joined(asked, probed), scale, integers=_largest_integer(signature, known))
    manifest = {
        "format": bundle.FORMAT,
        "model": facts.model,
        "signature": signature.to_json(),
        "metrics": measure(task, _outputs(outcome), _codes(signature, holdout_labels)),
        "metric": facts.metric,
        "params": dict(facts.params),
        "seed": facts.seed,
        "data": dict(facts.data),
        "baseline": _baseline(signature, labels),
        "fingerprint": facts.fingerprint,
        "libraries": libraries(),
        "serves": "skops" if twin.form is None else "onnx",
        "why": twin.why,
        "parity": None if twin.form is None else {"rows": len(asked.rows) + len(probed.rows), "worst": twin.worst},
    }
    forms = {bundle.SKOPS: form} | ({} if twin.form is None else {bundle.ONNX: twin.form})
    return bundle.pack(manifest, _golden(asked, probed, scale), forms)


def _outcome(original: SklearnModel, holdout: pd.DataFrame) -> Answer:
    try:
        return original.answer_frame(holdout)
    except ModelFailed:
        raise
    except Exception as error:
        raise ModelFailed(
            f"The fitted model raises {type(error).__name__} on rows of the holdout.",
            remedy='Make it answer what it has not seen, for example with OneHotEncoder(handle_unknown="ignore").',
        ) from error


def _learn_signature(model: Any, *, task: Task, target: str, features: pd.DataFrame, labels: Target) -> Signature:
    if task != "regression" and not hasattr(model, "predict_proba"):
        raise BadDefinition(
            f"{type(model).__name__} gives no probabilities, so it cannot be compared with another version.",
            remedy="Wrap it: CalibratedClassifierCV(estimator).",
        )
    classes = None if task == "regression" else tuple(np.asarray(model.classes_).tolist())
    if classes is not None and classes != labels.classes:
        raise BadDefinition("The model knows other classes than its training rows.", remedy="Leave labels as they are.")
    signature = Signature(columns=frames.learn_columns(features), target=target, task=task, classes=classes)
    return dataclasses.replace(signature, columns=_tried_columns(model, signature, features))


def _tried_columns(model: Any, signature: Signature, features: pd.DataFrame) -> tuple[Column, ...]:
    """Find out by asking where the model answers a null, and where it knows only the categories that it has seen."""
    original = SklearnModel(model, signature)
    rows = _spread(frames.rows_of(features), 20)
    columns = []
    for i, column in enumerate(signature.columns):
        known = features[column.name].dropna().tolist()
        nullable = _answers(original, [_replaced(row, i, None) for row in rows])
        column = dataclasses.replace(column, nullable=nullable)
        unknown = probes.unknown_values(column, known)
        if unknown and not _answers(original, [_replaced(row, i, value) for row in rows for value in unknown]):
            column = dataclasses.replace(column, categories=_categories(column, known))
        columns.append(column)
    return tuple(columns)


def _categories(column: Column, known: list[Any]) -> tuple[str | int, ...]:
    if column.kind == "number":
        raise BadDefinition(
            f"The model raises on numbers in `{column.name}` that it has not seen.",
            remedy='Use OneHotEncoder(handle_unknown="ignore"), or make the column text in the source.',
        )
    return tuple(sorted(set(known)))


def _replaced(row: Row, i: int, value: Value) -> Row:
    return [*row[:i], value, *row[i + 1 :]]


def _answers(original: SklearnModel, rows: list[Row]) -> bool:
    try:
        original(rows)
    except Exception:  # noqa: BLE001 - that it raises, whatever it raises, is the answer
        return False
    return True


def _ask(original: SklearnModel, rows: list[Row]) -> Asked:
    """Ask about all rows at once; where that raises, one by one, without those that the model cannot answer."""
    if not _answers(original, rows):
        rows = [row for row in rows if _answers(original, [row])]
    return Asked(rows, original(rows) if rows else Answer([], None if original.classes is None else []))


def _joined(one: Asked, other: Asked) -> Asked:
    probabilities = None
    if one.answer.probabilities is not None:
        probabilities = one.answer.probabilities + (other.answer.probabilities or [])
    predictions = one.answer.predictions + other.answer.predictions
    return Asked(one.rows + other.rows, Answer(predictions, probabilities))


def _fits(signature: Signature, row: Row) -> bool:
    """Whether a request could send this row."""
    return all(_fits_column(column, value) for column, value in zip(signature.columns, row, strict=True))


def _fits_column(column: Column, value: Value) -> bool:
    if value is None:
        return column.nullable
    if column.categories is not None:
        return value in column.categories
    return column.kind != "number" or abs(float(value)) <= LARGEST_NUMBER


def _largest_integer(signature: Signature, rows: list[Row]) -> int:
    """The largest whole number that the training rows hold in an integer column."""
    places = [i for i, column in enumerate(signature.columns) if column.kind == "integer"]
    return max((abs(int(row[i] or 0)) for row in rows for i in places), default=0)


def _twin(form: bytes, signature: Signature, asked: Asked, scale: float, *, integers: int) -> Twin:
    """Convert, and let the twin answer everything that the original was asked."""
    if integers > LARGEST_EXACT:
        return Twin(None, "Served as scikit-learn: it has seen integers that ONNX's float32 would round.")
    made = onnx_twin.convert(form, signature.columns)
    if isinstance(made, onnx_twin.NoTwin):
        return Twin(None, f"Served as scikit-learn: {made.why}.")
    try:
        answer = OnnxModel(made, signature)(asked.rows)
    except (BundleRefused, ModelFailed) as error:
        return Twin(None, f"Served as scikit-learn: {error.problem}")
    except Exception as error:  # noqa: BLE001 - ONNX Runtime has no common base for what it raises
        return Twin(None, f"Served as scikit-learn: its ONNX form raises {type(error).__name__}.")
    found = compare(asked.answer, answer, classes=signature.classes, scale=scale)
    if found.problem:
        return Twin(None, f"Served as scikit-learn: of its ONNX form, {found.problem}.")
    return Twin(made, f"Served as ONNX: it answers {len(asked.rows)} rows as scikit-learn does.", found.worst)


def _golden(asked: Asked, probed: Asked, scale: float) -> bundle.Golden:
    """Some rows of the holdout and some probes, evenly spread over both."""
    chosen = _joined(_some(asked), _some(probed))
    return bundle.Golden(chosen.rows, chosen.answer.predictions, chosen.answer.probabilities, scale)


def _some(asked: Asked) -> Asked:
    n = range(len(asked.rows))
    places = _spread(list(n), GOLDEN_ROWS)
    probabilities = asked.answer.probabilities
    return Asked(
        [asked.rows[i] for i in places],
        Answer(
            [asked.answer.predictions[i] for i in places],
            None if probabilities is None else [probabilities[i] for i in places],
        ),
    )


def _spread(items: Sequence[T], n: int) -> list[T]:
    """At most n of `items`, evenly spread, the first and last among them."""
    if len(items) <= n:
        return list(items)
    return [items[round(i * (len(items) - 1) / (n - 1))] for i in range(n)]


def _outputs(answer: Answer) -> "np.ndarray[Any, Any]":
    return np.asarray(answer.predictions if answer.probabilities is None else answer.probabilities, dtype="float64")


def _codes(signature: Signature, labels: Target) -> "np.ndarray[Any, Any]":
    """Labels as places in the signature's classes, -1 for one that is none of them; or the numbers of a regression."""
    if signature.classes is None:
        return labels.values
    places = {label: i for i, label in enumerate(signature.classes)}
    return np.array([places.get(label, -1) for label in labels.values.tolist()], dtype="int64")


def _baseline(signature: Signature, labels: Target) -> dict[str, Any]:
    if signature.classes is None:
        return {"median": float(np.median(labels.values))}
    given = labels.values.tolist()
    return {"shares": [given.count(label) / len(given) for label in signature.classes]}
