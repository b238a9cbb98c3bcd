"""Tensors of the Open Inference Protocol: datatypes, and values as JSON or as bytes.

As bytes a number stands little-endian, row after row; a text is its length (four bytes) and its UTF-8. A null is JSON's
null, and NaN among binary floats.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Optional

import msgspec
import numpy as np

from understudy.errors import BadInput
from understudy.signature import ColumnKind


@dataclass(frozen=True)
class Datatype:
    """How one datatype stands in bytes and in JSON."""

    dtype: str | None
    """numpy's name for it, little-endian; None for texts."""
    element: Any
    """What msgspec lets pass as one value."""


def _integers(bits: int, *, signed: bool) -> Datatype:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    limits = msgspec.Meta(ge=low, le=min(high, 2**63 - 1))  # no column holds more than an int64
    return Datatype(f"<{'i' if signed else 'u'}{bits // 8}", Annotated[int, limits])


INTEGERS: Mapping[str, Datatype] = {f"INT{bits}": _integers(bits, signed=True) for bits in (8, 16, 32, 64)} | {
    f"UINT{bits}": _integers(bits, signed=False) for bits in (8, 16, 32, 64)
}
FLOATS: Mapping[str, Datatype] = {f"FP{bits}": Datatype(f"<f{bits // 8}", float) for bits in (16, 32, 64)}
DATATYPES: Mapping[str, Datatype] = {**INTEGERS, **FLOATS, "BOOL": Datatype("|u1", bool), "BYTES": Datatype(None, str)}

#: Kind of a column -> what may be sent for it, the first of which is what metadata name.
FITTING: Mapping[ColumnKind, tuple[str, ...]] = {
    "number": ("FP64", "FP32", "FP16", *INTEGERS),
    "integer": ("INT64", *(name for name in INTEGERS if name != "INT64")),
    "boolean": ("BOOL",),
    "text": ("BYTES",),
}

_LENGTH = struct.Struct("<I")


def from_json(name: str, datatype: str, shape: Sequence[int], data: Any) -> list[Any]:
    """Values of one tensor, flat and row after row; `data` is flat, or nested as its shape says.

    Raises BadInput.
    """
    element = Optional.__getitem__(DATATYPES[datatype].element)
    kind: Any = list.__class_getitem__(element)
    if len(shape) == 2 and data and isinstance(data[0], list):
        data = _flat(name, shape, data)
    try:
        values: list[Any] = msgspec.convert(data, kind)
    except msgspec.ValidationError:
        raise _unfit(name, f"holds values that are no {datatype}") from None
    if len(values) != math.prod(shape):
        raise _unfit(name, f"holds {len(values)} values, and its shape says {math.prod(shape)}")
    return values


def from_binary(name: str, datatype: str, shape: Sequence[int], data: memoryview) -> list[Any]:
    """Values of one tensor, flat and row after row; NaN becomes None. Raises BadInput."""
    dtype, n = DATATYPES[datatype].dtype, math.prod(shape)
    if dtype is None:
        return _texts(name, n, data)
    if len(data) != n * np.dtype(dtype).itemsize:
        raise _unfit(name, f"holds {len(data)} bytes, and its shape says {n * np.dtype(dtype).itemsize}")
    values = np.frombuffer(data, dtype)
    if datatype == "BOOL":
        if n and values.max() > 1:
            raise _unfit(name, "holds bytes that are neither 0 nor 1")
        return values.astype(bool).tolist()  # type: ignore[no-any-return]  # numpy's stubs say Any
    if datatype in FLOATS:
        return _without_nans(name, values.astype(np.float64))
    return values.tolist()  # type: ignore[no-any-return]  # numpy's stubs say Any


def to_binary(datatype: str, values: Sequence[Any]) -> bytes:
    """One tensor in bytes; `values` are flat, without nulls."""
    dtype = DATATYPES[datatype].dtype
    if dtype is not None:
        return np.asarray(values, dtype).tobytes()
    encoded = [value.encode() for value in values]
    return b"".join(part for text in encoded for part in (_LENGTH.pack(len(text)), text))


def _flat(name: str, shape: Sequence[int], data: list[Any]) -> list[Any]:
    if not all(isinstance(row, list) and len(row) == shape[1] for row in data):
        raise _unfit(name, f"holds rows that are not {shape[1]} values each, as its shape says")
    return [value for row in data for value in row]


def _texts(name: str, n: int, data: memoryview) -> list[Any]:
    """`n` texts, each behind its length."""
    values, place = [], 0
    try:
        for _ in range(n):
            (length,) = _LENGTH.unpack_from(data, place)
            place += _LENGTH.size + length
            values.append(str(data[place - length : place], "utf-8"))
    except (struct.error, UnicodeDecodeError):
        raise _unfit(name, f"holds no {n} texts in UTF-8, each behind its length in four bytes") from None
    if place != len(data):
        raise _unfit(name, f"holds {len(data)} bytes, and its {n} texts have {place}")
    return values


def _without_nans(name: str, values: "np.ndarray[Any, Any]") -> list[Any]:
    if np.isinf(values).any():
        raise _unfit(name, "holds an infinity")
    missing = np.flatnonzero(np.isnan(values))
    found: list[Any] = values.tolist()
    for i in missing.tolist():
        found[i] = None
    return found


def _unfit(name: str, what: str) -> BadInput:
    return BadInput(f"The input `{name}` {what}.", remedy="Send shape, datatype and data that say the same.")
