"""The ONNX twin of a fitted estimator: made in a child process with a time limit, since a conversion may never end.

    parent: convert(model, columns) -> ONNX bytes, or the reason why there are none
    child:  python -m understudy.adapters.onnx_twin, skops form in, ONNX out

Everything is float32: in float64 most imputers and tree regressors convert wrongly, or not at all. Whether a twin
answers as the original does is for `training.py` to find out.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.adapters import child, onnx_check, skops_form
from understudy.adapters.estimators import parts_of
from understudy.adapters.onnx_trees import mend_trees
from understudy.adapters.runtime import NUMBERS, TEXTS
from understudy.errors import BundleRefused
from understudy.rows import NULL_TEXT
from understudy.signature import Column, ColumnKind

TIME_LIMIT_S = 60.0


@dataclass(frozen=True)
class NoTwin:
    """There is none, and why: half a sentence."""

    why: str


def convert(form: bytes, columns: Sequence[Column], *, time_limit_s: float = TIME_LIMIT_S) -> bytes | NoTwin:
    """Convert the skops form of a fitted estimator to ONNX."""
    header = json.dumps([column.kind for column in columns]).encode() + b"\n"
    command = child.command("understudy.adapters.onnx_twin")
    try:
        ended = subprocess.run(
            command, input=header + form, capture_output=True, timeout=time_limit_s, env=child.environment()
        )
    except subprocess.TimeoutExpired:
        return NoTwin(f"its conversion to ONNX did not end within {time_limit_s:g} s")
    if ended.returncode:
        return NoTwin("its conversion to ONNX crashed")
    verdict, _, onnx = ended.stdout.partition(b"\n")
    return NoTwin(verdict.decode()) if verdict else onnx


def main() -> None:
    """Answer on stdout: an empty line and ONNX, or one line that says why there is none."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between the lines
    kinds = json.loads(sys.stdin.buffer.readline())
    model = skops_form.load(sys.stdin.buffer.read(), trees=True)
    try:
        onnx = _convert(model, kinds)
        onnx_check.check_onnx(onnx)
        out.write(b"\n" + onnx)
    except BundleRefused as refusal:
        out.write(f"its ONNX form is not one that is served ({refusal.problem})\n".encode())
    except Exception as error:  # noqa: BLE001 - converters raise anything, and none of it is worth a failed training
        out.write(f"{_reason(error, model)}\n".encode())
    out.flush()


def _reason(error: Exception, model: Any) -> str:
    """Half a sentence without anything that changes from process to process: the part that the error speaks of."""
    names = {type(part).__name__ for part in parts_of(model)}
    named = next((word for word in re.findall(r"\w+", str(error)) if word in names), None)
    return f"{named} does not convert to ONNX" if named else f"it does not convert to ONNX ({type(error).__name__})"


def _convert(model: Any, kinds: list[ColumnKind]) -> bytes:
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    texts = kinds.count("text")
    _prepare(model, kinds)
    inputs = [(NUMBERS, FloatTensorType([None, len(kinds) - texts])), (TEXTS, StringTensorType([None, texts]))]
    options = {"zipmap": False} if hasattr(model, "predict_proba") else None
    used = [(name, kind) for name, kind in inputs if kind.shape[1]]
    onnx = skl2onnx.to_onnx(model, initial_types=used, options=options)
    mend_trees(onnx, model)
    _encode_nulls(onnx, model)
    return bytes(onnx.SerializeToString())


def _prepare(model: Any, kinds: list[ColumnKind]) -> None:
    """Make a model speak as the twin's inputs do: of columns by place, and of null texts by a text of our own."""
    places = _places(kinds)
    for part in parts_of(model):
        if hasattr(part, "_transformer_to_input_indices"):  # a ColumnTransformer
            indices = part._transformer_to_input_indices
            part.transformers_ = [
                (name, step, [places[i] for i in indices[name]]) for name, step, _ in part.transformers_
            ]
        if hasattr(part, "statistics_") and part.statistics_.dtype == object:  # an imputer of texts
            part.missing_values = NULL_TEXT
        if hasattr(part, "categories_"):  # an encoder
            part.categories_ = [_without_nulls(categories) for categories in part.categories_]
        if hasattr(part, "encoded_missing_value"):  # an ordinal encoder: its codes must be able to hold NaN
            known_only = part.handle_unknown == "error"
            part.handle_unknown, part.unknown_value = (
                "use_encoded_value",
                np.nan if known_only else float(part.unknown_value),
            )
        if hasattr(part, "flatten_transform"):  # a vote, which converts only so; it concerns `transform` alone
            part.flatten_transform = False


def _encode_nulls(onnx: Any, model: Any) -> None:
    """Give null texts the code that ordinal encoders give them; the converter numbers them as if they were a text."""
    codes = {
        str(part.encoded_missing_value): part.encoded_missing_value for part in parts_of(model) if _is_ordinal(part)
    }
    if len(codes) != 1:
        return
    for node in onnx.graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "LabelEncoder" and {"keys_strings", "values_floats"} <= set(attributes):
            keys = list(attributes["keys_strings"].strings)
            if NULL_TEXT.encode() in keys:
                attributes["values_floats"].floats[keys.index(NULL_TEXT.encode())] = next(iter(codes.values()))


def _is_ordinal(part: Any) -> bool:
    return hasattr(part, "encoded_missing_value") and hasattr(part, "categories_")


def _places(kinds: list[ColumnKind]) -> list[int]:
    """Where each column of the signature is, once all but text come first."""
    order = sorted(range(len(kinds)), key=lambda i: kinds[i] == "text")
    return [order.index(i) for i in range(len(kinds))]


def _without_nulls(categories: Any) -> Any:
    if categories.dtype != object:
        return categories
    nulls = [value is None or value != value for value in categories]
    return np.where(nulls, NULL_TEXT, categories)


if __name__ == "__main__":
    main()
