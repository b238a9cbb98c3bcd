"""Rows that came in the form of another protocol, put into the words of `/predict`: one decoder checks them all.

So a row is right or wrong for the same reasons, and in the same words, whichever protocol brought it. That costs a
second reading, about as much as the first; who counts microseconds sends the form of `/predict`.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from understudy.errors import BadInput, BadRow, TooLarge
from understudy.rows import MAX_ROWS, Row, RowDecoder

CHUNK_ROWS = 1_000
"""Rows restated at a time: a thread that does it lets others of the process in between, every millisecond or two."""

LONGEST_EXCERPT = 120

T = TypeVar("T")

_ROW = re.compile(r"Row (\d+):")
_encode = msgspec.json.Encoder().encode


def read_json(body: bytes | memoryview, kind: type[T], *, form: str, remedy: str) -> T:
    """Read a JSON body as `kind`, in which no object names anything twice.

    Args:
        form: the protocol, for the message.
        remedy: what to send, where it is JSON of another shape.

    Raises BadInput where it is no JSON in UTF-8, or JSON of another shape.
    """
    try:
        decoded = msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise BadInput(f"This is no request of {form}: {excerpt(str(error))}.", remedy=remedy) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadInput(
            "The body is not JSON in UTF-8.", remedy="Send one JSON object; null stands for a missing number."
        ) from None
    _check_distinct_names(bytes(body), decoded)
    return decoded


def checked(decoder: RowDecoder, rows: Sequence[Sequence[Any]], *, first: int = 0) -> list[Row]:
    """The rows as the decoder of a version reads them from `/predict`.

    Args:
        rows: values in signature order; floats are finite.
        first: number of the first row, for the message.

    Raises BadRow as the decoder does, with the number that the row has here.
    """
    found: list[Row] = []
    for start in range(0, len(rows), CHUNK_ROWS):
        found += _decoded(decoder, rows[start : start + CHUNK_ROWS], first + start)
    return found


def check_count(n: int, *, most: int = MAX_ROWS) -> None:
    """Raises BadRow for no rows, TooLarge for more than are answered at once."""
    if n < 1:
        raise BadRow("The request holds no rows.", remedy="Send at least one row.")
    if n > most:
        raise too_many(n, most)


def too_many(n: int, most: int) -> TooLarge:
    larger = "send an Arrow stream to /predict, " if most == MAX_ROWS else ""
    return TooLarge(
        f"The request holds {n} rows; at most {most} are answered at once in this form.",
        remedy=f"Send fewer at a time, {larger}or leave a whole table to a batch job.",
    )


def excerpt(text: str) -> str:
    """A short, escaped piece of what a client sent."""
    return ascii(text[:LONGEST_EXCERPT])[1:-1] + ("…" if len(text) > LONGEST_EXCERPT else "")


def _decoded(decoder: RowDecoder, rows: Sequence[Sequence[Any]], first: int) -> list[Row]:
    try:
        return decoder.decode(_encode({"values": rows}))
    except BadRow as error:
        problem = _ROW.sub(lambda found: f"Row {int(found[1]) + first}:", error.problem, count=1)
        raise BadRow(problem, remedy=error.remedy) from None


def _check_distinct_names(body: bytes, decoded: Any) -> None:
    """Raises BadInput where an object names something twice: the decoder has silently taken the last.

    A name that was dropped took its colon along; only then, or where a colon may be hidden in an escape, is the body
    read again, slowly.
    """
    if body.count(b":") == _encode(decoded).count(b":") and b"\\u003" not in body:
        return

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise BadInput("A name is given twice in one object.", remedy="Give each name once.")
        return {}

    try:
        json.loads(body, object_pairs_hook=distinct, parse_int=len, parse_float=len)
    except RecursionError:
        raise BadInput("The body is nested too deeply.", remedy="Send flat rows.") from None
