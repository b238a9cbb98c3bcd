"""The Open Inference Protocol, version 2: what a signature is in its words, its requests, and its answers.

A model of numbers takes one tensor, `input` (n, columns), in the order of its signature. Every model takes one input a
column by the column's name, (n,) or (n, 1); a mixed table has no other form, since a tensor has one datatype. What
comes out is `predictions` (n,) and, of a classification, `probabilities` (n, classes).

A body is JSON, or, with the extension for binary tensors, JSON and then the bytes of the tensors that say so, in the
order of the inputs.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from understudy.errors import BadInput
from understudy.foreign_rows import check_count, excerpt, read_json
from understudy.parity import Answer
from understudy.signature import Column, Signature
from understudy.tensors import DATATYPES, FITTING, FLOATS, INTEGERS, from_binary, from_json, to_binary

MATRIX = "input"
PREDICTIONS, PROBABILITIES = "predictions", "probabilities"
LONGEST_ID = 128
TENSORS = "Send `inputs`, each with name, shape, datatype and data; see /docs for an example."

Parameters = dict[str, Any]


class Input(msgspec.Struct, forbid_unknown_fields=True):
    """One tensor of a request."""

    name: str
    shape: Annotated[list[Annotated[int, msgspec.Meta(ge=0)]], msgspec.Meta(min_length=1, max_length=2)]
    datatype: str
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET
    parameters: Parameters | msgspec.UnsetType = msgspec.UNSET


class Output(msgspec.Struct, forbid_unknown_fields=True):
    """One tensor that is to be answered."""

    name: str
    parameters: Parameters | msgspec.UnsetType = msgspec.UNSET


class Body(msgspec.Struct, forbid_unknown_fields=True):
    inputs: list[Input]
    id: str | msgspec.UnsetType = msgspec.UNSET
    outputs: list[Output] | msgspec.UnsetType = msgspec.UNSET
    parameters: Parameters | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True)
class Asked:
    """A request, read and not yet checked against the signature's kinds."""

    id: str | None
    rows: list[Sequence[Any]]
    """Values in signature order; None for null."""
    outputs: Mapping[str, bool]
    """Name of a tensor to answer -> True for bytes, False for JSON."""


def is_matrix(signature: Signature) -> bool:
    """True where all columns fit into one tensor, and none of them has its name."""
    return MATRIX not in signature.names and all(column.kind in ("number", "integer") for column in signature.columns)


def metadata(signature: Signature, *, model: str, version: str, platform: str) -> dict[str, Any]:
    """What `GET /v2/models/{model}` answers."""
    inputs: list[dict[str, Any]] = [
        {"name": column.name, "datatype": FITTING[column.kind][0], "shape": [-1, 1]} for column in signature.columns
    ]
    if is_matrix(signature):
        order = {"columns": json.dumps(signature.names, ensure_ascii=False)}
        inputs = [{"name": MATRIX, "datatype": "FP64", "shape": [-1, len(signature.columns)], "parameters": order}]
    outputs: list[dict[str, Any]] = [
        {"name": name, "datatype": datatype, "shape": [-1, *shape]}
        for name, (datatype, shape) in outputs_of(signature).items()
    ]
    if signature.classes is not None:
        outputs[1]["parameters"] = {"classes": json.dumps(signature.classes, ensure_ascii=False)}
    return {"name": model, "versions": [version], "platform": platform, "inputs": inputs, "outputs": outputs}


def inputs_of(signature: Signature, row: Sequence[Any]) -> list[dict[str, Any]]:
    """A request of one row in JSON, in the form that `metadata` names."""
    if is_matrix(signature):
        return [{"name": MATRIX, "shape": [1, len(row)], "datatype": "FP64", "data": list(row)}]
    return [
        {"name": column.name, "shape": [1, 1], "datatype": FITTING[column.kind][0], "data": [value]}
        for column, value in zip(signature.columns, row, strict=True)
    ]


def outputs_of(signature: Signature) -> Mapping[str, tuple[str, list[int]]]:
    """Name -> datatype, and shape behind the rows."""
    if signature.classes is None:
        return {PREDICTIONS: ("FP64", [])}
    types = {bool: "BOOL", int: "INT64", str: "BYTES"}
    kinds = {types.get(type(label), "FP64") for label in signature.classes}
    label = kinds.pop() if len(kinds) == 1 else "FP64"
    return {PREDICTIONS: (label, []), PROBABILITIES: ("FP64", [len(signature.classes)])}


def read(body: bytes, header_length: int | None, signature: Signature) -> Asked:
    """Read a request.

    Args:
        header_length: bytes of the JSON, where binary tensors follow it; None: all of it is JSON.

    Raises BadInput where it is no request of the protocol or does not name the inputs of the signature; TooLarge.
    """
    view = memoryview(body)
    length = len(view) if header_length is None else header_length
    if length > len(view):
        raise BadInput(
            f"The JSON should have {length} bytes, and the body has {len(view)}.",
            remedy="Send the length of the JSON as Inference-Header-Content-Length.",
        )
    asked = read_json(view[:length], Body, form="the Open Inference Protocol", remedy=TENSORS)
    _check_rows(asked.inputs)
    rows = _rows(asked.inputs, _binaries(asked.inputs, view[length:]), signature)
    return Asked(_id(asked), rows, _outputs(asked, signature))


def written(
    asked: Asked, answer: Answer, signature: Signature, *, model: str, version: str, prediction_id: str
) -> tuple[bytes, int | None]:
    """The answer to a request, and the length of its JSON where binary tensors follow."""
    tensors, tail = [], b""
    for name, binary in asked.outputs.items():
        datatype, shape = outputs_of(signature)[name]
        values = answer.predictions if name == PREDICTIONS else [p for row in answer.probabilities or () for p in row]
        tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": [len(asked.rows), *shape]}
        if binary:
            data = to_binary(datatype, values)
            tail += data
            tensor["parameters"] = {"binary_data_size": len(data)}
        else:
            tensor["data"] = values
        tensors.append(tensor)
    head: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": tensors}
    if asked.id is not None:
        head["id"] = asked.id
    content = msgspec.json.encode({**head, "parameters": {"prediction_id": prediction_id}})
    return (content + tail, len(content)) if any(asked.outputs.values()) else (content, None)


def _check_rows(inputs: Sequence[Input]) -> None:
    """The same number of rows in every input, and not too many, before any value is made."""
    counts = {tensor.shape[0] for tensor in inputs}
    if len(counts) > 1:
        raise BadInput("The inputs differ in their number of rows.", remedy="Send inputs of one length.")
    check_count(max(counts, default=0))


def _binaries(inputs: Sequence[Input], tail: memoryview) -> list[memoryview | None]:
    """The bytes of each input that has some."""
    parts: list[memoryview | None] = []
    place = 0
    for tensor in inputs:
        size = _parameters(tensor).get("binary_data_size")
        if size is None:
            parts.append(None)
            continue
        if type(size) is not int or not 0 <= size <= len(tail) - place:
            raise BadInput(
                f"The input {excerpt(tensor.name)} says another `binary_data_size` than was sent.",
                remedy="Send the bytes of each binary input behind the JSON, in the order of the inputs.",
            )
        parts.append(tail[place : place + size])
        place += size
    if place != len(tail):
        raise BadInput(
            f"{len(tail) - place} bytes behind the JSON belong to no input.",
            remedy="Say `binary_data_size` in the parameters of each binary input.",
        )
    return parts


def _rows(inputs: Sequence[Input], parts: Sequence[memoryview | None], signature: Signature) -> list[Sequence[Any]]:
    given = {tensor.name: (tensor, part) for tensor, part in zip(inputs, parts, strict=True)}
    width = len(signature.columns)
    if len(given) != len(inputs):
        raise BadInput("An input is given twice.", remedy="Give each input once.")
    if MATRIX in given and is_matrix(signature):
        _check_names(given, (MATRIX,), signature)
        values = _values(*given[MATRIX], allowed=(*FLOATS, *INTEGERS), width=width)
        return [values[i : i + width] for i in range(0, len(values), width)]
    _check_names(given, signature.names, signature)
    return list(zip(*(_column(column, *given[column.name]) for column in signature.columns), strict=True))


def _column(column: Column, tensor: Input, part: memoryview | None) -> list[Any]:
    return _values(tensor, part, allowed=FITTING[column.kind], width=1)


def _values(tensor: Input, part: memoryview | None, *, allowed: Sequence[str], width: int) -> list[Any]:
    """Flat values of an input whose name is known."""
    if tensor.datatype not in DATATYPES or tensor.datatype not in allowed:
        raise BadInput(f"`{tensor.name}` has a datatype that does not fit.", remedy=f"Send {', '.join(allowed)}.")
    if tensor.shape[1:] not in ([width], [] if width == 1 else [width]):
        raise BadInput(f"`{tensor.name}` has another shape.", remedy=f"Send the shape [rows, {width}].")
    if (part is None) == (tensor.data is msgspec.UNSET):
        raise BadInput(f"`{tensor.name}` has no data, or two.", remedy="Send either `data`, or bytes behind the JSON.")
    if part is not None:
        return from_binary(tensor.name, tensor.datatype, tensor.shape, part)
    return from_json(tensor.name, tensor.datatype, tensor.shape, tensor.data)


def _check_names(given: Mapping[str, Any], expected: Sequence[str], signature: Signature) -> None:
    missing = next((name for name in expected if name not in given), None)
    unknown = next((name for name in given if name not in expected), None)
    if missing is None and unknown is None:
        return
    found = f"The input `{missing}` is missing." if unknown is None else f"There is no input `{excerpt(unknown)}`."
    listed = ", ".join(signature.names[:20]) + (", …" if len(signature.names) > 20 else "")
    one = (
        f"Send one input `{MATRIX}` of shape [rows, {len(signature.columns)}], or " if is_matrix(signature) else "Send "
    )
    raise BadInput(found, remedy=f"{one}one input a column: {listed}.")


def _parameters(part: Input | Output | Body) -> Parameters:
    """Parameters of a tensor; those that would move its data elsewhere are refused, and unknown ones passed over."""
    found = {} if part.parameters is msgspec.UNSET else part.parameters
    if any(name.startswith("shared_memory") or name == "classification" for name in found):
        raise BadInput(
            "Shared memory and Triton's classification are not offered here.",
            remedy="Send data in the request, and take `predictions` and `probabilities`.",
        )
    return found


def _id(asked: Body) -> str | None:
    if asked.id is msgspec.UNSET:
        return None
    if len(asked.id) > LONGEST_ID or not asked.id.isprintable():
        raise BadInput(
            f"The `id` has more than {LONGEST_ID} characters, or some that cannot be printed.",
            remedy="Send a short name, or none.",
        )
    return asked.id


def _outputs(asked: Body, signature: Signature) -> Mapping[str, bool]:
    known = outputs_of(signature)
    binary = _parameters(asked).get("binary_data_output") is True
    wanted = [] if asked.outputs is msgspec.UNSET else asked.outputs
    names = [output.name for output in wanted]
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise BadInput(f"There is no output `{excerpt(unknown)}`.", remedy=f"Ask for {' or '.join(known)}.")
    if len(set(names)) < len(names):
        raise BadInput("An output is asked for twice.", remedy="Name each output once.")
    if not wanted:
        return dict.fromkeys(known, binary)
    return {output.name: _parameters(output).get("binary_data", binary) is True for output in wanted}
