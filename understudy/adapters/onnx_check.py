"""What an ONNX file must not contain.

ONNX can name other files for its tensors, and libraries have followed such names out of their folder again and again,
each time by a kind of tensor that a check had forgotten. So this walks every message of the file by reflection,
whatever its kind.

Imports onnx: run it in the trial's child, not in the API.
"""

from collections.abc import Iterator
from typing import Any

from understudy.errors import BundleRefused

#: Operators that we serve: ONNX's own, and those for classic machine learning.
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})


def check_onnx(data: bytes) -> None:
    """Raises BundleRefused for external data, foreign operators, training parts, and what is no ONNX at all."""
    import onnx

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
        for message in _messages(model):
            _check(message)
        onnx.checker.check_model(model)
    except BundleRefused:
        raise
    except Exception as error:
        raise BundleRefused("The ONNX form is damaged or breaks ONNX's own rules.", remedy=REMEDY) from error


def _messages(message: Any) -> Iterator[Any]:
    waiting = [message]
    while waiting:
        current = waiting.pop()
        yield current
        for field, value in current.ListFields():
            if field.type == field.TYPE_MESSAGE:
                waiting.extend(_values(field, value))


def _values(field: Any, value: Any) -> list[Any]:
    if not field.is_repeated:
        return [value]
    if field.message_type.GetOptions().map_entry:
        return [item for item in value.values() if hasattr(item, "ListFields")]
    return list(value)


def _check(message: Any) -> None:
    kind = message.DESCRIPTOR.name
    if kind == "TensorProto" and (message.external_data or message.data_location):
        raise BundleRefused("The ONNX form wants to read its data from another file.", remedy=REMEDY)
    if kind in ("NodeProto", "OperatorSetIdProto", "FunctionProto") and message.domain not in DOMAINS:
        raise BundleRefused("The ONNX form uses operators that are not ONNX's own.", remedy=REMEDY)
    if kind == "TrainingInfoProto":
        raise BundleRefused("The ONNX form holds parts for training.", remedy=REMEDY)


REMEDY = "Convert the model again, in one file and with the operators of ONNX and ai.onnx.ml only."
