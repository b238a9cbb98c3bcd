"""A loaded version: rows in, answers out.

ONNX answers without pandas and scikit-learn; a skops form imports both when it is loaded. A Runtime holds no state
that a prediction changes, so any number of threads may use one.
"""

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import starmap
from typing import Any

import numpy as np

from understudy.adapters import bundle, skops_form, stored_zip
from understudy.errors import BundleRefused, ModelFailed, NotFinite
from understudy.parity import Answer, compare
from understudy.rows import NULL_TEXT
from understudy.signature import Signature, Value

#: Inputs of an ONNX form.
NUMBERS, TEXTS = "numbers", "texts"

Rows = Sequence[Sequence[Value]]


class Packer:
    """Rows of numbers and booleans as float32, the way an ONNX form reads them."""

    def __init__(self, columns: int) -> None:
        self.columns, self.stride = columns, 4 * columns
        self._form = struct.Struct(f"{columns}f")

    def into(self, buffer: bytearray, place: int, row: Sequence[Value]) -> None:
        """Write one row as number `place` of `buffer`; a null becomes NaN."""
        try:
            self._form.pack_into(buffer, place * self.stride, *row)
        except struct.error:
            self._form.pack_into(buffer, place * self.stride, *without_nulls(row))

    def pack(self, rows: Rows) -> bytes:
        try:
            return b"".join(starmap(self._form.pack, rows))
        except struct.error:
            return b"".join(starmap(self._form.pack, map(without_nulls, rows)))

    def matrix(self, packed: bytes | bytearray | memoryview) -> "np.ndarray[Any, Any]":
        """The same bytes as (n, columns)."""
        return np.frombuffer(packed, np.float32).reshape(-1, self.columns)


def without_nulls(values: Sequence[Value]) -> list[Value]:
    return [NAN if value is None else value for value in values]


NAN = float("nan")


class Runtime:
    """One version, ready to answer."""

    def __init__(self, parts: bundle.Parts, *, digest: str, trees: bool) -> None:
        self.signature: Signature = parts.signature
        self.manifest: Mapping[str, Any] = parts.manifest
        self.digest = digest
        self.golden = parts.golden
        form = parts.forms[f"model.{parts.serves}"]
        self._model: OnnxModel | SklearnModel = (
            OnnxModel(form, parts.signature) if parts.serves == "onnx" else _load_skops(form, parts, trees=trees)
        )
        self.packer = self._model.packer
        """How rows become the matrix that `run` takes; None where the model takes rows."""

    def predict(self, rows: Rows) -> Answer:
        """Answer rows in signature order that a RowDecoder has let pass.

        Raises ModelFailed where the model raises, or answers with NaN, infinities or another shape.
        """
        if self.packer is None:
            return self.said(self.run(rows))
        try:
            packed = self.packer.pack(rows)
        except (struct.error, OverflowError) as error:
            raise ModelFailed("The rows are not those of its signature.", remedy=REMEDY) from error
        return self.said(self.run(self.packer.matrix(packed)))

    def run(self, rows: "Rows | np.ndarray[Any, Any]", options: Any = None) -> "Answer | np.ndarray[Any, Any]":
        """What the model itself says: to rows, or to a float32 matrix (n, columns) where there is a `packer`.

        An ONNX form says (n, classes) or (n, 1), checked to be finite; `options` are its `RunOptions`. Raises
        ModelFailed as `predict` does.
        """
        try:
            return self._model.run(rows, options)
        except ModelFailed:
            raise
        except Exception as error:
            wants_memory = isinstance(error, MemoryError) or "allocate memory" in str(error)
            problem = "wants more memory than there is" if wants_memory else f"raised {type(error).__name__}"
            raise ModelFailed(f"The model {problem}.", remedy=REMEDY) from error

    def interruptible(self) -> Any:
        """Options for one `run`, which is given up as soon as their `terminate` is set; None where that cannot be."""
        return self._model.interruptible()

    def said(self, output: "Answer | np.ndarray[Any, Any]") -> Answer:
        """What `run` gave, in Python's values."""
        return output if isinstance(output, Answer) else _answer(output, self.signature.classes)

    def check_golden(self) -> None:
        """Answer the golden rows. Raises BundleRefused where the answers are not those of the manifest's training."""
        golden = self.golden
        try:
            answer = self.predict(golden.rows)
        except ModelFailed as error:
            raise BundleRefused(f"The golden rows got no answer. {error.problem}", remedy=TRAIN_AGAIN) from error
        try:
            found = compare(golden.answer, answer, classes=self.signature.classes, scale=golden.scale)
        except (TypeError, ValueError, OverflowError) as error:
            raise BundleRefused("The golden answers are no answers to its task.", remedy=TRAIN_AGAIN) from error
        if found.problem:
            raise BundleRefused(f"The golden rows are answered differently: {found.problem}.", remedy=TRAIN_AGAIN)


def open_bundle(data: bytes, *, digest: str, trees: bool) -> Runtime:
    """Load a bundle; its digest is compared before anything is parsed.

    Args:
        digest: the sha256 that was recorded for it.
        trees: True for what the scheduler's role registered; anyone else's may hold no trees in skops.

    Raises DigestMismatch or BundleRefused.
    """
    parts = bundle.unpack(data, digest=digest)
    if bundle.SKOPS in parts.forms and not trees:  # whoever brings one that does not even serve is refused as well
        skops_form.check(parts.forms[bundle.SKOPS], trees=False)
    return Runtime(parts, digest=digest, trees=trees)


class OnnxModel:
    """An ONNX form, answering on the caller's thread."""

    def __init__(self, form: bytes, signature: Signature) -> None:
        """Raises BundleRefused where the form cannot be loaded, or does not fit the signature."""
        self._classes = signature.classes
        self._width = 1 if signature.classes is None else len(signature.classes)
        self._session, self._options = _session(form)
        self._feed = _feed_maker(self._session, signature)
        has_text = any(column.kind == "text" for column in signature.columns)
        self.packer = None if has_text else Packer(len(signature.columns))
        outputs = [output.name for output in self._session.get_outputs()]
        self._wanted = outputs[:1] if signature.classes is None else outputs[1:2]
        if not self._wanted:
            raise BundleRefused("The ONNX form answers no probabilities.", remedy=stored_zip.REMEDY)

    def run(self, rows: Any, options: Any = None) -> "np.ndarray[Any, Any]":
        """(n, classes) or (n, 1)."""
        raw = self._session.run(self._wanted, self._feed(rows), options or self._options)[0]
        said = _shaped(raw, len(rows), self._width)
        return said if said.ndim == 2 else said.reshape(-1, self._width)

    def interruptible(self) -> Any:
        return type(self._options)()

    def __call__(self, rows: Rows) -> Answer:
        asked = rows if self.packer is None else self.packer.matrix(self.packer.pack(rows))
        return _answer(self.run(asked), self._classes)


class SklearnModel:
    """A fitted estimator, which takes rows: float32 would change what it sees."""

    packer = None

    def __init__(self, model: Any, signature: Signature) -> None:
        from understudy.adapters import frames

        self._model, self._columns, self.classes = model, signature.columns, signature.classes
        self._frame = frames.request_frame

    def run(self, rows: Any, options: Any = None) -> Answer:
        return self(rows)

    def interruptible(self) -> None:
        return None

    def __call__(self, rows: Rows) -> Answer:
        return self.answer_frame(self._frame(self._columns, rows))

    def answer_frame(self, frame: Any) -> Answer:
        """Answer a `frames.feature_frame`. Raises ModelFailed, and whatever the estimator raises."""
        if self.classes is None:
            return _answer(_shaped(self._model.predict(frame), len(frame), 1), None)
        probabilities = _shaped(self._model.predict_proba(frame), len(frame), len(self.classes))
        return Answer(self._model.predict(frame).tolist(), probabilities.tolist())


def _load_skops(form: bytes, parts: bundle.Parts, *, trees: bool) -> SklearnModel:
    """Load a scikit-learn model, where it is the scikit-learn that wrote it."""
    import sklearn

    trained_with = parts.manifest["libraries"].get("scikit-learn", "an unknown version")
    if trained_with != sklearn.__version__:
        raise BundleRefused(
            f"This version was trained with scikit-learn {trained_with}, and {sklearn.__version__} is installed here.",
            remedy="Train it again, or install the version it was trained with.",
        )
    model = skops_form.load(form, trees=trees)
    try:
        pools = [name for name in model.get_params(deep=True) if name.split("__")[-1] == "n_jobs"]
        model.set_params(**dict.fromkeys(pools))  # a pool of threads for one row costs more than it saves
    except Exception as error:
        raise BundleRefused("The skops form holds no usable estimator.", remedy=stored_zip.REMEDY) from error
    return SklearnModel(model, parts.signature)


def _session(form: bytes) -> tuple[Any, Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # a refusal is raised; nothing is written to the API's stderr
    # Left to itself it guesses, and would load a format of its own that no check has looked into.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        session = onnxruntime.InferenceSession(form, options, providers=["CPUExecutionProvider"])
        return session, onnxruntime.RunOptions()  # without any, each run makes its own
    except Exception as error:
        raise BundleRefused("ONNX Runtime cannot load the ONNX form.", remedy=stored_zip.REMEDY) from error


def _feed_maker(session: Any, signature: Signature) -> Callable[[Any], dict[str, Any]]:
    """How rows become inputs: a matrix of all columns but text, and one of the text columns; either may be missing.

    Without text it is given the matrix itself.
    """
    texts = [i for i, column in enumerate(signature.columns) if column.kind == "text"]
    numbers = [i for i in range(len(signature.columns)) if i not in texts]
    found = {i.name: (i.type, i.shape[1:]) for i in session.get_inputs()}
    expected = {NUMBERS: ("tensor(float)", [len(numbers)]), TEXTS: ("tensor(string)", [len(texts)])}
    if found != {name: shape for name, shape in expected.items() if shape[1] != [0]}:
        raise BundleRefused(
            "The inputs of the ONNX form are not the columns of the signature.", remedy=stored_zip.REMEDY
        )
    if not texts:
        return lambda matrix: {NUMBERS: matrix}
    if not numbers:
        return lambda rows: {TEXTS: _texts(rows, texts)}
    return lambda rows: {
        NUMBERS: np.array([[row[i] for i in numbers] for row in rows], np.float32),
        TEXTS: _texts(rows, texts),
    }


def _texts(rows: Rows, columns: list[int]) -> "np.ndarray[Any, Any]":
    return np.array([[NULL_TEXT if row[i] is None else row[i] for i in columns] for row in rows], object)


def _answer(output: "np.ndarray[Any, Any]", classes: Sequence[Value] | None) -> Answer:
    """From (n, classes) or (n, 1), finite; the label is the likeliest class, the first of equals."""
    if classes is None:
        return Answer(output.ravel().tolist(), None)
    return Answer([classes[i] for i in output.argmax(axis=1).tolist()], output.tolist())


def _shaped(raw: "np.ndarray[Any, Any]", n: int, width: int) -> "np.ndarray[Any, Any]":
    """The same numbers, one row each for n rows, and finite."""
    if raw.size != n * width or len(raw) != n:
        raise ModelFailed("The model answered with another shape.", remedy=REMEDY)
    return _finite(raw)


FEW = 256
"""Numbers that are added up in Python before numpy's own code, which is seldom in the processor's caches, has begun."""


def _finite(raw: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    surely = raw.size <= FEW and math.isfinite(sum(raw.ravel().tolist()))
    if not surely and not np.isfinite(raw).all():
        raise NotFinite("The model answered with numbers that are not finite.", remedy=REMEDY)
    return raw


TRAIN_AGAIN = "Train it again, with the libraries that are installed here."
REMEDY = "The request was fine: look at the version's training data, or demote it."
