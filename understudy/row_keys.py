"""Keys of rows: a request may name each of its rows by the key column of the model, so that labels find them by it.

The key stands among the columns of a record, is taken out before the row is read, and is never given to the model.
"""

from typing import Any

import msgspec

from understudy.errors import BadRow
from understudy.rows import check_distinct_names

LONGEST = 200
"""Characters of a key."""

Key = str | int


class _Records(msgspec.Struct, forbid_unknown_fields=True):
    records: list[dict[str, msgspec.Raw]]


_ONE, _MANY = msgspec.json.Decoder(dict[str, msgspec.Raw]), msgspec.json.Decoder(_Records)
_KEY = msgspec.json.Decoder(str | int)
_WRITTEN = msgspec.json.Encoder()


def text_of(key: Key) -> str:
    """A key as it is stored: JSON, for 7 and "7" are two."""
    return _WRITTEN.encode(key).decode()


def take_out(body: bytes, column: str) -> tuple[bytes, list[str | None]] | None:
    """The body without the keys of its rows, and these as `text_of` writes them; None where it names none.

    Raises BadRow where a key is none, or a name is given twice.
    """
    try:
        records = _MANY.decode(body).records
        wrapped = True
    except msgspec.MsgspecError:
        try:
            records, wrapped = [_ONE.decode(body)], False
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
    except (UnicodeDecodeError, RecursionError):
        return None
    if not any(column in record for record in records):
        return None
    if body.count(b":") != wrapped + sum(map(len, records)):
        check_distinct_names(body)
    keys = [_key(record.pop(column, None), i if wrapped else None) for i, record in enumerate(records)]
    rest: Any = {"records": records} if wrapped else records[0]
    return _WRITTEN.encode(rest), keys


def _key(raw: msgspec.Raw | None, row: int | None) -> str | None:
    if raw is None:
        return None
    try:
        key = _KEY.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        key = ""
    if isinstance(key, str) and not 0 < len(key) <= LONGEST:
        where = "The" if row is None else f"Row {row}: the"
        raise BadRow(f"{where} key is no key.", remedy=f"Send an integer, or a text of up to {LONGEST} characters.")
    return text_of(key)
