"""Bodies made to be read wrongly, each with what is owed for it. `row` is the row of the table of faults.

They are sent to the models of `tests/wire/models.py`: `rain` takes the numbers x and y, `echo` gives back its number x,
`spelt` has the columns `café` (composed) and `🌧`, `customers` takes numbers, integers and texts, some of them nullable.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.wire.messages import JSON, x

OK, BAD, TOO_MUCH, UNREAD = frozenset({200}), frozenset({422}), frozenset({413}), frozenset({415})


@dataclass(frozen=True)
class Body:
    """One body, and what it is owed."""

    name: str
    content: bytes
    row: int
    owed: frozenset[int] = BAD
    model: str = "rain"
    says: str = ""
    """Part of the detail of a refusal."""
    gives: object = None
    """The predictions that are owed, where they are known."""
    headers: tuple[bytes, ...] = (JSON,)


def bodies() -> Iterator[Body]:
    """All but the very large."""
    for part in (numbers, texts, columns, types, sizes, forms, grammar):
        yield from part()


def two(**values: Any) -> dict[str, Any]:
    return {"x": 0.25, "y": 0.5, **values}


def customer(**values: Any) -> bytes:
    known = {"age": 31.5, "income": 900.0, "visits": 2, "city": "Bern", "plan": "a"}
    return json.dumps({**known, **values}).encode()


def numbers() -> Iterator[Body]:
    """Row 30: what JSON cannot say or float32 cannot hold, and numbers of thousands of digits."""
    for word in (
        "NaN",
        "-NaN",
        "Infinity",
        "-Infinity",
        "inf",
        "nan",
        "1e",
        "+1",
        "01",
        ".5",
        "1.",
        "0x10",
        "1_0",
        "--1",
        "1,0",
    ):
        yield Body(f"the word {word}", x(word), 30, model="echo", says="not JSON")
    for word in ("1e400", "-1e400", "1e999999999", "1e39", "-1e39", "1.1e15", "9" * 4000, "9" * 5000, "-" + "9" * 5000):
        yield Body(f"the number {word[:12]}, {len(word)} long", x(word), 30, model="echo", says="")
    yield Body("a float of 5,000 digits before the point", x("1" + "0" * 5000 + ".5"), 30, model="echo")
    for word in ('"nan"', '"NaN"', '"inf"', '"1"', '""'):
        yield Body(f"the text {word}", x(word), 30, model="echo", says="`x` should be a number")
    kept = {"0": 0.0, "-0": 0.0, "-0.0": 0.0, "1e-400": 0.0, "-1e-400": 0.0, "5e-324": 0.0, "1E+2": 100.0, "3": 3.0}
    for word, value in kept.items():
        yield Body(f"the small number {word}", x(word), 30, OK, model="echo", gives=[value])
    yield Body("a fraction of 5,000 digits", x("0." + "3" * 5000), 30, OK, model="echo")
    yield Body("1 with 5,000 zeros after the point", x("1." + "0" * 5000), 30, OK, model="echo", gives=[1.0])
    yield Body("the largest number that is taken", x("1e15"), 30, OK, model="echo")
    yield Body("an integer beyond 64 bits", customer(visits=2**63), 30, model="customers", says="`visits` is beyond")
    yield Body(
        "an integer of 5,000 digits", customer().replace(b": 2,", b": " + b"7" * 5000 + b","), 30, model="customers"
    )
    yield Body(
        "an integer with a fraction", customer(visits=2.5), 30, model="customers", says="`visits` should be an integer"
    )
    yield Body("an integer written as a float", customer(visits=2.0), 30, OK, model="customers")
    yield Body("an integer too large for a float", customer(visits=1e300), 30, model="customers")
    yield Body("infinity among the integers", customer().replace(b": 2,", b": 1e400,"), 30, model="customers")


def texts() -> Iterator[Body]:
    """Row 31: texts that are no Unicode, are very long, run from right to left, or look like another."""
    yield Body("a lone high surrogate as a value", customer().replace(b"Bern", b"\\ud800"), 31, model="customers")
    yield Body("a lone low surrogate as a value", customer().replace(b"Bern", b"\\udfff"), 31, model="customers")
    yield Body("a lone surrogate in bytes", customer().replace(b"Bern", b"\xed\xa0\x80"), 31, model="customers")
    yield Body("a lone surrogate as a name", b'{"\\ud800": 1, "x": 1, "y": 1}', 31)
    yield Body("a lone surrogate in place of a number", b'{"x": "\\ud800", "y": 1}', 31)
    yield Body("a pair of surrogates", customer().replace(b"Bern", b"\\ud83c\\udf27"), 31, OK, model="customers")
    yield Body("a NUL as an escape", customer(city="Be\0rn"), 31, OK, model="customers")
    yield Body("a NUL as a byte", customer().replace(b"Bern", b"Be\0rn"), 31, model="customers", says="not JSON")
    yield Body("a NUL in a name", b'{"x\\u0000": 1, "y": 1}', 31)
    yield Body("right to left", customer(city="\u202eנרב"), 31, OK, model="customers")
    yield Body("the noncharacter U+FFFF", customer(city="\uffff"), 31, model="customers", says="U+FFFF")
    yield Body("a megabyte of text", customer(city="B" * 2**20), 31, model="customers", says="`city` is beyond")
    yield Body("a text of the limit", customer(city="é" * 100_000), 31, OK, model="customers")
    yield Body("a text above the limit", customer(city="é" * 100_001), 31, model="customers")
    yield Body("a megabyte as a name", json.dumps(two(**{"n" * 2**20: 1})).encode(), 31, says="no column")
    spelt = {"café": 0.25, "🌧": 0.5}
    yield Body("composed names and an emoji", json.dumps(spelt).encode(), 31, OK, model="spelt")
    yield Body("the same names in UTF-8", json.dumps(spelt, ensure_ascii=False).encode(), 31, OK, model="spelt")
    decomposed = json.dumps({"cafe\u0301": 0.25, "🌧": 0.5}).encode()
    yield Body("a decomposed name is another one", decomposed, 31, model="spelt", says="no column 'cafe")
    yield Body("an emoji in another style", json.dumps({"café": 0.25, "🌧\ufe0f": 0.5}).encode(), 31, model="spelt")
    yield Body("full-width letters", json.dumps({"\uff58": 1, "y": 1}).encode(), 31)
    yield Body("markup", json.dumps(two(x="<script>alert(1)</script>")).encode(), 31, says="`x` should be a number")


def columns() -> Iterator[Body]:
    """Row 32: by name, in any order, each once."""
    yield Body("a column missing", b'{"x": 0.1}', 32, says="`y` is missing")
    yield Body("all columns missing", b"{}", 32, says="is missing")
    yield Body("one column more", json.dumps(two(z=1.0)).encode(), 32, says="no column 'z'")
    yield Body("a name in capitals", b'{"X": 1, "y": 1}', 32)
    yield Body("a name with a space", b'{"x ": 1, "y": 1}', 32)
    yield Body("an empty name", json.dumps(two(**{"": 1})).encode(), 32)
    yield Body("a name of Python's", json.dumps(two(__class__=1)).encode(), 32)
    yield Body("columns in another order", b'{"y": 0.5, "x": 0.25}', 32, OK)
    yield Body("a column twice", b'{"x": 1, "x": 2, "y": 1}', 32, says="twice")
    yield Body("a column twice with one value", b'{"x": 1, "y": 1, "x": 1}', 32, says="twice")
    yield Body("a column twice, once as an escape", b'{"x": 1, "\\u0078": 1, "y": 1}', 32, says="twice")
    yield Body(
        "a column twice in the second record", b'{"records": [{"x":1,"y":1},{"x":1,"y":1,"y":2}]}', 32, says="twice"
    )
    yield Body("records twice", b'{"records": [{"x":1,"y":1}], "records": [{"x":2,"y":1}]}', 32)
    yield Body("values twice", b'{"values": [[1,1]], "values": [[2,1]]}', 32)
    yield Body("values and records", b'{"values": [[1,1]], "records": [{"x":2,"y":1}]}', 32)
    yield Body("records and a column", b'{"records": [{"x":2,"y":1}], "x": 1}', 32)
    yield Body("a row too short", b'{"values": [[0.1]]}', 32, says="2 values")
    yield Body("a row too long", b'{"values": [[0.1, 0.2, 0.3]]}', 32, says="2 values")
    yield Body("rows of several lengths", b'{"values": [[0.1, 0.2], [0.1]]}', 32, says="Row 1")


def types() -> Iterator[Body]:
    """Row 33: a type is what it is."""
    for value in ("true", "false", '"0.1"', "[]", "[1]", "{}", '{"x": 1}'):
        yield Body(f"{value} for a number", f'{{"x": {value}, "y": 1}}'.encode(), 33, says="`x` should be a number")
    yield Body("null for a number that is needed", b'{"x": null, "y": 1}', 33, says="`x` is null")
    yield Body("null for a number that may be missing", customer(age=None), 33, OK, model="customers")
    yield Body("null for a text that may be missing", customer(city=None), 33, OK, model="customers")
    yield Body("a number for a text", customer(city=7), 33, model="customers", says="`city` should be text")
    yield Body("a plan that is unknown", customer(plan="c"), 33, model="customers", says="no category that")
    yield Body("null for a category", customer(plan=None), 33, model="customers", says="no category that")
    yield Body("a text that was never seen", customer(city="Xanadu"), 33, OK, model="customers")
    yield Body("a boolean for an integer", customer(visits=True), 33, model="customers")
    yield Body("the second row is wrong", b'{"records": [{"x":1,"y":1},{"x":true,"y":1}]}', 33, says="Row 1")
    for whole in ("null", "true", "3", '"x"', "[]", "[1, 2]", '[{"x": 1, "y": 1}]', "[[1, 2]]"):
        yield Body(f"{whole} for the whole", whole.encode(), 33, says="no record")
    for inner in ("null", "3", '"x"', "{}", '{"x": 1}'):
        yield Body(f"records of {inner}", f'{{"records": {inner}}}'.encode(), 33)
        yield Body(f"values of {inner}", f'{{"values": {inner}}}'.encode(), 33)
        yield Body(f"a record of {inner}", f'{{"records": [{inner}]}}'.encode(), 33)
    yield Body("values of records", b'{"values": [{"x": 1, "y": 1}]}', 33)
    yield Body("records of values", b'{"records": [[1, 1]]}', 33)
    yield Body("values three deep", b'{"values": [[[1, 1]]]}', 33)


def sizes() -> Iterator[Body]:
    """Row 34, up to the limit and one more."""
    for empty in ('{"records": []}', '{"values": []}', '{"values": [[]]}'):
        yield Body(f"no rows: {empty}", empty.encode(), 34)
    yield Body("one record", b'{"records": [{"x": 7}]}', 34, OK, model="echo", gives=[7.0])
    yield Body("one row of values", b'{"values": [[7]]}', 34, OK, model="echo", gives=[7.0])
    yield Body("one flat row", b'{"values": [0.25, 0.5]}', 34, OK)
    yield Body("one flat column", b'{"values": [7, 8]}', 34, OK, model="echo", gives=[7.0, 8.0])
    for n in (2, 63, 64, 65, 255, 256, 257, 10_000):
        yield Body(f"{n} rows", rows(n), 34, OK, model="echo", gives=[float(i) for i in range(n)])
        yield Body(f"{n} records", records(n), 34, OK, model="echo", gives=[float(i) for i in range(n)])
    yield Body("one row more than the limit", rows(10_001), 34, TOO_MUCH, model="echo", says="10001 rows")
    yield Body("one record more than the limit", records(10_001), 34, TOO_MUCH, model="echo", says="10001 rows")


def rows(n: int) -> bytes:
    return json.dumps({"values": [[i] for i in range(n)]}).encode()


def records(n: int) -> bytes:
    return json.dumps({"records": [{"x": i} for i in range(n)]}).encode()


def forms() -> Iterator[Body]:
    """Row 35, by what the head says of the body."""
    one = json.dumps(two()).encode()
    for coding in (b"gzip", b"deflate", b"br", b"zstd", b"gzip, identity", b"identity, gzip", b"x"):
        yield Body(f"content coding {coding!r}", one, 35, UNREAD, headers=(JSON, b"Content-Encoding: " + coding))
    yield Body(
        "what gzip begins with", b"\x1f\x8b\x08" + bytes(60), 35, UNREAD, headers=(JSON, b"Content-Encoding: gzip")
    )
    yield Body("gzip without a word of it", b"\x1f\x8b\x08" + bytes(60), 35, says="not JSON")
    yield Body("no coding at all", one, 35, OK, headers=(JSON, b"Content-Encoding: Identity"))
    for charset in (b"utf-16", b"latin-1", b"us-ascii", b'"utf-16"', b"utf-8x"):
        header = b"Content-Type: application/json; charset=" + charset
        yield Body(f"charset {charset!r}", one, 35, UNREAD, headers=(header,))
    for charset in (b"utf-8", b"UTF-8", b'"utf-8"', b"utf8"):
        header = b"content-type: application/json;charset=" + charset
        yield Body(f"charset {charset!r}", one, 35, OK, headers=(header,))
    yield Body("no content type", one, 35, OK, headers=())


def grammar() -> Iterator[Body]:
    """Row 36: what is nearly JSON, or JSON in another encoding."""
    one = json.dumps(two()).encode()
    broken = {
        "nothing": b"",
        "spaces": b" \r\n\t ",
        "a brace": b"{",
        "half of it": one[: len(one) // 2],
        "all but the last byte": one[:-1],
        "a second document": one + one,
        "a letter after the end": one + b"x",
        "a NUL after the end": one + b"\0",
        "a comma after the last column": one[:-1] + b",}",
        "a comment": b"/* x */" + one,
        "single quotes": one.replace(b'"', b"'"),
        "names without quotes": one.replace(b'"', b""),
        "a form": b"x=0.25&y=0.5",
        "a page": b"<x>0.25</x>",
        "a byte order mark": b"\xef\xbb\xbf" + one,
        "UTF-16": one.decode().encode("utf-16"),
        "UTF-16, big end first": one.decode().encode("utf-16-be"),
        "UTF-32": one.decode().encode("utf-32"),
        "no UTF-8": b'{"x\xff": 1, "y": 1}',
        "UTF-8 that is longer than it need be": b'{"x\xc0\x80": 1, "y": 1}',
        "a record separator": b"\x1e" + one + b"\n",
        "a non-breaking space": b"\xc2\xa0" + one,
        "a backslash": b'{"x\\": 1, "y": 1}',
        "an escape that is none": b'{"\\q": 1, "y": 1}',
        "half an escape": b'{"\\u12": 1, "y": 1}',
        "a line end in a name": b'{"x\n": 1, "y": 1}',
    }
    for name, content in broken.items():
        yield Body(name, content, 36, says="not JSON")
    for depth in (100, 1_000, 5_000, 100_000):
        yield Body(f"{depth} brackets", b"[" * depth, 36)
        yield Body(f"{depth} brackets and their ends", b"[" * depth + b"]" * depth, 36)
        yield Body(f"{depth} objects", b'{"x":' * depth + b"1" + b"}" * depth, 36)
        yield Body(
            f"{depth} deep in a column that is none", b'{"x":1,"y":1,"z":' + b"[" * depth + b"]" * depth + b"}", 36
        )
        yield Body(f"{depth} deep among the values", b'{"values":' + b"[" * depth + b"]" * depth + b"}", 36)
    yield Body("spaces around it", b" \t\r\n" + one + b" \r\n", 36, OK)
    yield Body("names as escapes", b'{"\\u0078": 0.25, "\\u0079": 0.5}', 36, OK)
    yield Body("100,000 names", json.dumps({f"c{i}": i for i in range(100_000)}).encode(), 36, says="no column")
    yield Body("one name 100,000 times", b'{"x":1,' + b'"x":1,' * 100_000 + b'"y":1}', 36, says="twice")


def vast() -> Iterator[Body]:
    """Rows 34 and 35: what takes long to make and to send."""
    yield Body(
        "a million rows", b'{"values":[' + b"[0.1,0.2]," * 999_999 + b"[0.1,0.2]]}", 34, TOO_MUCH, says="1000000 rows"
    )
    yield Body("a hundred megabytes", b" " * (100 * 2**20), 35, TOO_MUCH)
    yield Body("one byte above the limit", b" " * (16 * 2**20 + 1), 35, TOO_MUCH)
    yield Body("spaces up to the limit", b" " * (16 * 2**20), 35, says="not JSON")
