"""The skops form of a model: scikit-learn estimators without pickle.

skops writes an archive of arrays and one `schema.json` that says how to put them together. As it writes them, names
are memory addresses and the archive carries dates, so we rewrite what it wrote: names come from content, ids count
up, dates are fixed.

What may be loaded is decided by the list below and by nothing in the file. Both sides of this module import scikit-
learn only when a model is written or loaded; `check` needs neither.
"""

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from understudy.adapters import stored_zip
from understudy.adapters.estimators import forget_process
from understudy.errors import BundleRefused, UncheckedContent
from understudy.fingerprint import digest_of

SCHEMA = "schema.json"
MAX_DEPTH = 200
MAX_SCHEMA_BYTES = 128 * 2**20

#: Types with indices that compiled code follows without checking them: a crafted one reads foreign memory, or crashes.
TREES = frozenset(
    {
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.tree._tree.Tree",
    }
)

#: What else only our own training may bring: companions of trees, and types that were not reviewed against crafted
#: content.
TRAINED_HERE = TREES | {
    "functools.partial",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.metrics._dist_metrics.MinkowskiDistance64",
    "sklearn.utils.validation.check_array",
}

#: Modules whose estimators numpy computes, and which check the shapes of what they hold. Compiled code is elsewhere:
#: support vectors, neighbours and clusters follow the numbers in a file without checking them, as trees do.
REVIEWED = (
    "sklearn._loss.link",
    "sklearn._loss.loss",
    "sklearn.calibration",
    "sklearn.compose.",
    "sklearn.decomposition._pca",
    "sklearn.discriminant_analysis",
    "sklearn.dummy",
    "sklearn.ensemble._bagging",
    "sklearn.ensemble._stacking",
    "sklearn.ensemble._voting",
    "sklearn.feature_extraction.text",
    "sklearn.feature_selection.",
    "sklearn.gaussian_process.",
    "sklearn.impute._base",
    "sklearn.kernel_approximation",
    "sklearn.linear_model.",
    "sklearn.metrics._classification",
    "sklearn.metrics._ranking",
    "sklearn.metrics._regression",
    "sklearn.metrics._scorer",
    "sklearn.model_selection.",
    "sklearn.multiclass",
    "sklearn.multioutput",
    "sklearn.naive_bayes",
    "sklearn.neural_network.",
    "sklearn.pipeline",
    "sklearn.preprocessing.",
    "sklearn.utils._bunch",
    "sklearn.utils._metadata_requests",
)
#: What of it an upload may be built from; among the rest are sparse matrices and random generators, whose content
#: compiled code trusts.
LOADERS = frozenset(
    "BytesNode CachedNode DTypeNode DefaultDictNode DictNode FunctionNode JsonNode ListNode LossNode MaskedArrayNode "
    "NdArrayNode ObjectNode SetNode SliceNode TupleNode TypeNode".split()
)
MAX_UPLOADED_SCHEMA_BYTES = 4 * 2**20
"""An upload is looked into by the API itself, before it becomes a version."""
WORDS = r'"(?u)\\b\\w\\w+\\b"'
"""scikit-learn's own pattern for words, as JSON. Another one may take for ever on a text made for it."""

_METRICS = "accuracy_score balanced_accuracy_score brier_score_loss f1_score log_loss precision_score recall_score"
_KERNELS = "ConstantKernel DotProduct ExpSineSquared Matern Product RBF RationalQuadratic Sum WhiteKernel"
_SELECTORS = "chi2 f_classif f_regression"

#: What skops 0.16 does not trust by itself, and scikit-learn 1.9 needs. A list of ours: never what a file asks for.
ALLOWED = frozenset(
    {
        "numpy.dtype",
        "numpy.mean",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.feature_selection._mutual_info.mutual_info_classif",
        "sklearn.feature_selection._mutual_info.mutual_info_regression",
        "sklearn.metrics._ranking.roc_auc_score",
        "sklearn.metrics._regression.mean_absolute_error",
        "sklearn.metrics._regression.mean_squared_error",
        "sklearn.metrics._scorer._CurveScorer",
        "sklearn.metrics._scorer._PassthroughScorer",
        "sklearn.metrics._scorer._Scorer",
        "sklearn.model_selection._split.KFold",
        "sklearn.model_selection._split.StratifiedKFold",
        "sklearn.model_selection._split.TimeSeriesSplit",
        "sklearn.multiclass._ConstantPredictor",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.utils._bunch.Bunch",
        "sklearn.utils._metadata_requests.MetadataRequest",
        "sklearn.utils._metadata_requests.MethodMetadataRequest",
        *(f"sklearn.metrics._classification.{name}" for name in _METRICS.split()),
        *(f"sklearn.gaussian_process.kernels.{name}" for name in _KERNELS.split()),
        *(f"sklearn.feature_selection._univariate_selection.{name}" for name in _SELECTORS.split()),
    }
)


def dump(model: Any) -> bytes:
    """Write a fitted estimator, without what it remembers of this process: equal ones give equal bytes in any other.

    Raises BundleRefused where a part of it is of a type that could not be loaded again.
    """
    import skops.io

    forget_process(model)
    try:
        raw = stored_zip.read(skops.io.dumps(model), of="skops form")
    except BundleRefused:
        raise
    except Exception as error:
        raise BundleRefused(
            f"A {type(model).__name__} with such parts cannot be stored without pickle.",
            remedy="Use scikit-learn's own estimators; move other code into the source.",
        ) from error
    data = _canonical(raw)
    foreign = foreign_types(data)
    if foreign:
        raise BundleRefused(
            f"The model holds `{foreign[0]}`, which cannot be stored in a bundle.",
            remedy="Use scikit-learn's own estimators; move the code of a custom transformer into the source.",
        )
    return data


def load(data: bytes, *, trees: bool) -> Any:
    """Load an estimator of the allowed types.

    Raises BundleRefused for everything else: unknown types, trees where they are not allowed, damage, deep nesting.
    """
    import skops.io

    check(data, trees=trees)
    try:
        return skops.io.loads(data, trusted=sorted(ALLOWED | TRAINED_HERE if trees else ALLOWED))
    except MemoryError:
        raise
    except Exception as error:
        raise BundleRefused("The skops form cannot be loaded.", remedy=stored_zip.REMEDY) from error


def check(data: bytes, *, trees: bool) -> None:
    """Look at an archive without loading it. Raises BundleRefused."""
    members = stored_zip.read(data, of="skops form")
    if not trees and len(members.get(SCHEMA, b"")) > MAX_UPLOADED_SCHEMA_BYTES:
        raise UncheckedContent("The skops form has too many parts for an upload.", remedy=TRAIN_HERE)
    nodes = list(_nodes(_read_schema(members)))
    _check_ids(nodes)
    if not trees:
        _check_upload(nodes)
    if any(_reads_files(node) for node in nodes):
        raise BundleRefused(
            "The skops form takes what a request says for the name of a file, and reads it.",
            remedy='Use `input="content"`.',
        )


def _check_ids(nodes: list[dict[str, Any]]) -> None:
    """Whoever has the id of an earlier part is that part when skops loads it, whatever else it says."""
    known: dict[int, dict[str, Any]] = {}
    for node in nodes:
        number = node.get("__id__")
        if number is None or isinstance(number, dict):  # an entry of a dictionary may have that name
            continue
        if not isinstance(number, int) or not _are_same(known.setdefault(number, node), node):
            raise BundleRefused("The skops form gives two different parts one id.", remedy=stored_zip.REMEDY)


def _are_same(one: Any, other: Any) -> bool:
    """Whether two parts say the same but for the ids within them: those of passing values are new each time."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = (one.keys() | other.keys()) - {"__id__"}
        return one is other or all(key in one and key in other and _are_same(one[key], other[key]) for key in keys)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_are_same, one, other))
    return bool(one == other)


def _check_upload(nodes: list[dict[str, Any]]) -> None:
    """What is not from our own training holds nothing whose content compiled code would trust."""
    names = {f"{node.get('__module__')}.{node.get('__class__')}" for node in nodes}
    if names & TREES:
        raise UncheckedContent(
            "The skops form holds decision trees, whose content cannot be checked.",
            remedy="Send a forest as ONNX alone, or have the scheduler train it.",
        )
    unreviewed = sorted(name for name in names if name.startswith("sklearn.") and not name.startswith(REVIEWED))
    loaders = sorted({str(node["__loader__"]) for node in nodes if "__loader__" in node} - LOADERS)
    if unreviewed or loaders:
        raise UncheckedContent(
            f"The skops form holds `{(unreviewed + loaders)[0][:80]}`, whose content cannot be checked.",
            remedy=TRAIN_HERE,
        )
    if any(_has_pattern(node) for node in nodes):
        raise UncheckedContent("The skops form finds words by a pattern of its own.", remedy=TRAIN_HERE)


def _has_pattern(node: dict[str, Any]) -> bool:
    """Whether a vectorizer of texts brings a regular expression."""
    given = node.get("token_pattern")
    return isinstance(given, dict) and given.get("content") not in (WORDS, "null")


def _reads_files(node: dict[str, Any]) -> bool:
    """Whether a vectorizer of texts was told that its texts are file names; an array can stand for a text, too."""
    given = node.get("input")
    if not isinstance(given, dict):
        return False
    try:
        plain = json.loads(given.get("content", "null"))
    except (TypeError, ValueError):
        plain = None
    return given.get("__loader__") == "NdArrayNode" or plain in ("filename", "file")


def foreign_types(data: bytes) -> list[str]:
    """Names of types that `load` would refuse, sorted."""
    import skops.io

    return sorted(set(skops.io.get_untrusted_types(data=data)) - ALLOWED - TRAINED_HERE)


def _read_schema(members: dict[str, bytes]) -> dict[str, Any]:
    text = members.get(SCHEMA, b"")
    if not 0 < len(text) <= MAX_SCHEMA_BYTES or _depth(text) > MAX_DEPTH:
        raise BundleRefused("The skops form is empty, or nested too deeply.", remedy=stored_zip.REMEDY)
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleRefused("The skops form has no readable schema.", remedy=stored_zip.REMEDY) from error
    if not isinstance(schema, dict):
        raise BundleRefused("The skops form has no readable schema.", remedy=stored_zip.REMEDY)
    return schema


def _depth(text: bytes) -> int:
    """Deepest nesting of a JSON text, found without parsing it."""
    deepest = depth = 0
    for token in re.finditer(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', text):
        match token.group()[:1]:
            case b"[" | b"{":
                depth += 1
                deepest = max(deepest, depth)
            case b"]" | b"}":
                depth -= 1
    return deepest


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """All objects of a schema, parents first, in order of appearance."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(reversed(list(node.values())))
        elif isinstance(node, list):
            waiting.extend(reversed(node))


def _canonical(members: dict[str, bytes]) -> bytes:
    schema = _read_schema(members)
    contents = {name: _canonical_member(name, data) for name, data in members.items() if name != SCHEMA}
    names = {name: f"{digest_of(data)[:32]}{name[name.rindex('.') :]}" for name, data in contents.items()}
    for node in _nodes(schema):
        if isinstance(node.get("file"), str):
            node["file"] = names[node["file"]]
    _sort_sets(schema)
    _number_ids(schema)
    files = {names[name]: data for name, data in contents.items()}
    text = json.dumps(schema, separators=(",", ":"), ensure_ascii=False).encode()
    return stored_zip.write({SCHEMA: text, **dict(sorted(files.items()))})


def _number_ids(schema: dict[str, Any]) -> None:
    """Count ids up in order of appearance, and drop those of plain values: which of these are shared is Python's
    choice.
    """
    numbers: dict[int, int] = {}
    for node in _nodes(schema):
        if node.get("__loader__") == "JsonNode":
            node.pop("__id__", None)
        elif "__id__" in node:
            node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)


def _sort_sets(schema: dict[str, Any]) -> None:
    """Order the members of sets, which come in an order of their own in each process."""
    for node in _nodes(schema):
        if node.get("__loader__") == "SetNode":
            node["content"].sort(key=lambda item: re.sub(r'"__id__": \d+', "", json.dumps(item, sort_keys=True)))


def _canonical_member(name: str, data: bytes) -> bytes:
    if name.endswith(".npz"):
        return _canonical_npz(data)
    return _canonical_array(data) if name.endswith(".npy") else data


def _canonical_npz(data: bytes) -> bytes:
    """A sparse matrix without compression."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return stored_zip.write({f"{name}.npy": _array_bytes(arrays[name]) for name in sorted(arrays.files)})


def _canonical_array(data: bytes) -> bytes:
    """Set to zero what is in an array of records without having been written: padding, and one field of the leaves of
    a tree.
    """
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.dtype.names is None:
        return data
    clean = np.zeros(array.shape, dtype=array.dtype)
    for field in array.dtype.names:
        clean[field] = array[field]
    if {"left_child", "missing_go_to_left"} <= set(array.dtype.names):
        clean["missing_go_to_left"][clean["left_child"] < 0] = 0
    return _array_bytes(clean)


def _array_bytes(array: "np.ndarray[Any, Any]") -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


TRAIN_HERE = "Send it as ONNX alone, or have the scheduler train it."
