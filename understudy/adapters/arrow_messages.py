"""What an Arrow stream says of itself, read before anything in it is believed.

A few hundred bytes can announce a thousand million rows, or buffers that unpack to terabytes: whoever lets Arrow read
them has paid already. So the messages are walked first. Their headers are flatbuffers: a table begins with the distance
back to its vtable, which says where each numbered field lies; what is absent has the field's default.

Field numbers are those of `Message.fbs` in Apache Arrow's format.
"""

import struct
from dataclasses import dataclass
from typing import Any

from understudy.errors import BadInput

MOST_MESSAGES = 1_000
"""Each costs Arrow some ten microseconds, however little it holds."""

#: Fields of the tables that are looked into.
HEADER, CUSTOM_METADATA = 2, 4
LENGTH, COMPRESSION = 0, 3
DICTIONARY_DATA, IS_DELTA = 1, 2

BATCH, DICTIONARY, SCHEMA = "record batch", "dictionary", "schema"


@dataclass(frozen=True)
class Announced:
    """One message: its kind, and how many rows or words it says to have."""

    kind: str
    length: int


def announced(body: bytes) -> list[Announced]:
    """All messages of a stream.

    Raises BadInput where it is none, and for what is not read here: compressed buffers, deltas of dictionaries,
    tensors, many small messages.
    """
    import pyarrow

    found: list[Announced] = []
    try:
        reader = pyarrow.ipc.MessageReader.open_stream(pyarrow.py_buffer(body))
        while (message := _next(reader)) is not None:
            found.append(_announced(message))
            if len(found) > MOST_MESSAGES:
                raise BadInput(
                    f"The stream has more than {MOST_MESSAGES} messages.", remedy="Send fewer and larger batches."
                )
    except (pyarrow.ArrowException, OSError, ValueError, struct.error):
        raise broken() from None
    if not found or found[0].kind != SCHEMA or any(message.kind == SCHEMA for message in found[1:]):
        raise broken()
    return found


def broken() -> BadInput:
    return BadInput("The body is no stream of Arrow.", remedy="Send Arrow's IPC stream format; a file is another one.")


def _next(reader: Any) -> Any:
    try:
        return reader.read_next_message()
    except StopIteration:
        return None


def _announced(message: Any) -> Announced:
    kind = message.type
    if kind == SCHEMA:
        return Announced(kind, 0)
    if kind not in (BATCH, DICTIONARY):
        raise broken()
    return _announced_by(kind, memoryview(message.metadata))


def _announced_by(kind: str, metadata: memoryview) -> Announced:
    message = _table(metadata, 0)
    batch = header = _table(metadata, _required(metadata, message, HEADER))
    if kind == DICTIONARY:
        batch = _table(metadata, _required(metadata, header, DICTIONARY_DATA))
        delta = _field(metadata, header, IS_DELTA)
        if delta is not None and metadata[delta] != 0:
            raise BadInput("Deltas of dictionaries are not read here.", remedy="Send whole dictionaries.")
    if _field(metadata, batch, COMPRESSION) is not None:
        raise BadInput("Compressed batches are not read here.", remedy="Write the stream without compression.")
    if (
        _field(metadata, message, CUSTOM_METADATA) is not None
    ):  # where Arrow 0.17 named the compression, and Arrow looks
        raise BadInput(
            "Batches with metadata are not read here.", remedy="Write them without; the schema may have some."
        )
    length = _field(metadata, batch, LENGTH)
    return Announced(kind, 0 if length is None else _read(metadata, "<q", length))


def _read(data: memoryview, form: str, place: int) -> int:
    if place < 0:  # struct would count from the end
        raise struct.error
    value: int = struct.unpack_from(form, data, place)[0]
    return value


def _table(data: memoryview, place: int) -> int:
    """Where a table lies to which `place` holds the distance."""
    return place + _read(data, "<I", place)


def _field(data: memoryview, table: int, number: int) -> int | None:
    """Where a field of a table lies; None where it is absent."""
    vtable = table - _read(data, "<i", table)
    slot = 4 + 2 * number
    if slot + 2 > _read(data, "<H", vtable):
        return None
    offset = _read(data, "<H", vtable + slot)
    if offset and table + offset >= len(data):
        raise struct.error
    return table + offset if offset else None


def _required(data: memoryview, table: int, number: int) -> int:
    place = _field(data, table, number)
    if place is None:
        raise struct.error
    return place
