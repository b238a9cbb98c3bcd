"""From a frame to a bundle: fit, find out what the fitted model answers, and pack it.

The same training gives the same bytes, in any process. Runs where the scheduler trains, with one BLAS and OpenMP
thread.
"""

import platform
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from understudy.adapters import bundle, onnx_twin, skops_form
from understudy.adapters.asking import Asked, ask_holdout, ask_probes, learn_signature
from understudy.adapters.estimators import set_seeds
from understudy.adapters.frames import Target
from understudy.adapters.probes import Known, known_of
from understudy.adapters.runtime import OnnxModel, SklearnModel
from understudy.errors import BadDefinition, BundleRefused, ModelFailed
from understudy.metrics import measure
from understudy.parity import Answer, compare
from understudy.signature import Signature, Task

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
    metrics: Mapping[str, float] | None = None
    """What its metrics are, where it has learnt from the holdout; None: they are taken on it."""


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
        holdout: later rows as a `feature_frame` with the same columns; parity, and metrics unless `facts` has them, are
            taken on them.

    Raises:
        BadDefinition: the estimator is none that can serve; see `learn_signature`.
        BundleRefused: it holds code that is not scikit-learn's.
        ModelFailed: it cannot answer the holdout.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the questions below are odd on purpose
        return _bundle_of(model, facts, task, target, features, labels, holdout, holdout_labels)


def _bundle_of(
    model: Any,
    facts: Facts,
    task: Task,
    target: str,
    features: pd.DataFrame,
    labels: Target,
    holdout: pd.DataFrame,
    holdout_labels: Target,
) -> bytes:
    signature = learn_signature(model, task=task, target=target, features=features, labels=labels)
    known = known_of(signature.columns, features)
    outcome = _outcome(SklearnModel(model, signature), holdout)
    asked = ask_holdout(model, signature, holdout)
    probed = ask_probes(model, signature, features, known)
    form = skops_form.dump(model)
    scale = float(np.std(labels.values)) if task == "regression" else 1.0
    twin = _twin(form, signature, asked + probed, scale, known)
    manifest = {
        "format": bundle.FORMAT,
        "model": facts.model,
        "signature": signature.to_json(),
        "metrics": facts.metrics or measure(task, _outputs(outcome), _codes(signature, holdout_labels)),
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


def _rounds_integers(signature: Signature, known: Mapping[str, Known]) -> bool:
    """Whether the model has learnt from integers that float32 cannot tell from their neighbours."""
    integers = [known[column.name] for column in signature.columns if column.kind == "integer"]
    return any(max(abs(seen.low), abs(seen.high)) > LARGEST_EXACT for seen in integers)


def _twin(form: bytes, signature: Signature, asked: Asked, scale: float, known: Mapping[str, Known]) -> Twin:
    """Convert, and let the twin answer everything that the original was asked."""
    if _rounds_integers(signature, known):
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
    chosen = asked.some(GOLDEN_ROWS) + probed.some(GOLDEN_ROWS)
    return bundle.Golden(chosen.rows, chosen.answer.predictions, chosen.answer.probabilities, scale)


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
