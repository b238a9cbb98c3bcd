"""Hostile outsides: archives that lie, manifests and golden rows that cost more than they are worth, pickles."""

import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from tests.bundles import ONE_NUMBER, by_hand, identity
from tests.hostile.hostile import Hostile, Targets, pickled
from understudy.adapters import bundle, stored_zip
from understudy.fingerprint import digest_of

Row = tuple[str, str, Callable[[Targets], bytes]]
"""Name, what is said, and the whole file."""

PARTS = "exactly the files of a bundle"
MANIFEST, GOLDEN = "a manifest that cannot be read", "golden rows that cannot be read"


def files() -> Iterator[Hostile]:
    for group, rows in {
        "files": _files(),
        "archives": _archives(),
        "manifest": _manifests(),
        "golden": _golden(),
    }.items():
        for name, says, make in rows:
            yield Hostile(f"{group}/{name}", "container", says, make)


def sound() -> bytes:
    return by_hand({"model.onnx": identity()})


def _files() -> list[Row]:
    return [
        ("nothing", "ZIP", lambda targets: b""),
        ("text", "ZIP", lambda targets: b"no bundle"),
        ("zeros", "ZIP", lambda targets: bytes(1_000)),
        ("a pickle of protocol 0", "ZIP", lambda targets: pickled(targets, 0)),
        ("a pickle of protocol 2", "ZIP", lambda targets: pickled(targets, 2)),
        ("a pickle of protocol 5", "ZIP", pickled),
        ("a pickle before a bundle", "ZIP", lambda targets: pickled(targets) + sound()),
        ("a pickle after a bundle", "ZIP", lambda targets: sound() + pickled(targets)),
        ("joblib's, compressed", "ZIP", lambda targets: b"\x78\x9c" + pickled(targets)),
        ("an ONNX form alone", "ZIP", lambda targets: identity()),
        ("a script", "ZIP", lambda targets: f"#!/bin/sh\ntouch {targets.canary}\n".encode()),
        ("an ELF file", "ZIP", lambda targets: b"\x7fELF" + bytes(60)),
        ("an empty archive", PARTS, lambda targets: stored_zip.write({})),
        ("more than 256 MiB", "at most 256 MiB", lambda targets: bytes(bundle.MAX_BYTES + 1)),
    ]


def with_members(**members: bytes) -> Callable[[Targets], bytes]:
    """The sound bundle with other or more members, whatever its manifest says of them."""
    named = {name.replace("__", "/").replace("_", "."): content for name, content in members.items()}
    return lambda targets: stored_zip.write({**stored_zip.read(sound(), of="bundle"), **named})


def added(name: str) -> Row:
    return (
        f"a member called {ascii(name)[:30].replace('/', '|')}",
        "" if len(name) > 60 else PARTS,
        lambda targets: stored_zip.write({**stored_zip.read(sound(), of="bundle"), name: b"x"}),
    )


NAMES = [
    "../model.onnx",
    "../../api/prod_models/x",
    "/etc/cron.d/x",
    "C:\\x",
    "..\\x",
    "model.onnx/",
    "model.onnx/../x",
    "./model.onnx",
    "MODEL.ONNX",
    "model.pkl",
    "model.joblib",
    "__main__.py",
    "%2e%2e%2fx",
    "\u2025/x",
    "model.onnx\u200b",
    "x" * 60_000,
]


def _archives() -> list[Row]:
    return [
        *map(added, NAMES),
        ("deflated zeros", "compressed", lambda targets: _zipped(zipfile.ZIP_DEFLATED)),
        ("compressed by bzip2", "compressed", lambda targets: _zipped(zipfile.ZIP_BZIP2)),
        ("compressed by LZMA", "compressed", lambda targets: _zipped(zipfile.ZIP_LZMA)),
        ("encrypted", "", lambda targets: _patched(b"PK\x01\x02", 8, b"\x01\x00")),
        ("of unknown compression", "compressed", lambda targets: _patched(b"PK\x01\x02", 10, b"\x63\x00")),
        ("two members of one name", "two members of one name", lambda targets: _twice()),
        ("a member of 4 GB", "more than its own size", lambda t: _patched(b"PK\x01\x02", 24, b"\xfe\xff\xff\xff")),
        ("a member elsewhere", "ZIP", lambda t: _patched(b"PK\x01\x02", 42, b"\xf0\xff\xff\x7f")),
        ("members that overlap", "", lambda targets: _overlapping()),
        ("another sum", "ZIP", lambda targets: _patched(b"PK\x01\x02", 16, b"\0\0\0\0")),
        ("another name inside", "ZIP", lambda targets: _patched(b"PK\x03\x04", 30, b"XXXX")),
        ("100,000 members", "more members than", lambda targets: _many(100_000)),
        ("a directory beyond the file", "", lambda t: _patched(b"PK\x05\x06", 12, b"\xff\x03\0\0")),
        ("64-bit sizes that lie", "ZIP", lambda targets: _sixty_four()),
        ("a comment", "ZIP", lambda targets: _commented()),
        ("cut in the middle", "ZIP", lambda targets: sound()[: len(sound()) // 2]),
        ("another member than its manifest's", "other files than", with_members(model_onnx=identity() + b"\0")),
        ("no manifest", PARTS, lambda targets: stored_zip.write({"model.onnx": identity()})),
        ("no model", "lacks the form", lambda targets: by_hand({})),
        ("another model than serves", "lacks the form", lambda t: by_hand({"model.onnx": identity()}, serves="skops")),
    ]


def _zipped(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("model.onnx", bytes(5_000_000))
    return buffer.getvalue()


def _patched(mark: bytes, offset: int, content: bytes) -> bytes:
    """The sound bundle with other bytes in the first record of a kind."""
    data = bytearray(sound())
    start = data.index(mark) + offset
    data[start : start + len(content)] = content
    return bytes(data)


def _twice() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")
        for content in (b"1", b"2"):
            archive.writestr("model.onnx", content)
    return buffer.getvalue()


def _overlapping() -> bytes:
    """Every entry leads to the first member."""
    data = bytearray(sound())
    place = data.find(b"PK\x01\x02")
    while place >= 0:
        data[place + 42 : place + 46] = bytes(4)
        place = data.find(b"PK\x01\x02", place + 4)
    return bytes(data)


def _many(n: int) -> bytes:
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"x"
    directory = entry * n
    first = b"PK\x03\x04" + bytes(26)
    return first + directory + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, n % 65536, n % 65536, len(directory), 30, 0)


def _sixty_four() -> bytes:
    data = sound()
    end = data[-22:]
    size, start = struct.unpack("<2L", end[12:20])
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 2**62, 2**62, size, start)
    return data[:-22] + record + struct.pack("<4sLQL", b"PK\x06\x07", 0, len(data) - 22, 1) + end


def _commented() -> bytes:
    buffer = io.BytesIO(sound())
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = b"PK\x05\x06" * 1_000
    return buffer.getvalue()


def manifest_of() -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(stored_zip.read(sound(), of="bundle")["manifest.json"])
    return manifest


def with_manifest(**changes: Any) -> Callable[[Targets], bytes]:
    return with_text(lambda: json.dumps({**manifest_of(), **changes}).encode())


def with_text(text: Callable[[], bytes]) -> Callable[[Targets], bytes]:
    return lambda targets: with_members(manifest_json=text())(targets)


def with_signature(**changes: Any) -> Callable[[Targets], bytes]:
    return with_manifest(signature={**ONE_NUMBER.to_json(), **changes})


def column(**changes: Any) -> dict[str, Any]:
    return {**ONE_NUMBER.to_json()["columns"][0], **changes}


def replaced(before: str, after: str) -> Callable[[Targets], bytes]:
    return with_text(lambda: json.dumps(manifest_of()).replace(before, after, 1).encode())


def _manifests() -> list[Row]:
    deep = json.loads("[" * 100 + "]" * 100)
    classes = {"task": "multiclass"}
    return [
        ("empty", MANIFEST, with_text(lambda: b"")),
        ("null", MANIFEST, with_text(lambda: b"null")),
        ("a list", MANIFEST, with_text(lambda: b"[]")),
        ("a pickle", MANIFEST, lambda targets: with_members(manifest_json=pickled(targets))(targets)),
        ("cut", MANIFEST, with_text(lambda: json.dumps(manifest_of()).encode()[:-9])),
        ("no UTF-8", MANIFEST, replaced("by_hand", "\\ud800")),
        ("UTF-16", MANIFEST, with_text(lambda: json.dumps(manifest_of()).encode("utf-16"))),
        ("a mark before it", MANIFEST, with_text(lambda: b"\xef\xbb\xbf" + json.dumps(manifest_of()).encode())),
        ("not a number", MANIFEST, replaced('"metrics": {}', '"metrics": {"mae": NaN}')),
        ("infinite", MANIFEST, replaced('"metrics": {}', '"metrics": {"mae": Infinity}')),
        ("1e400", MANIFEST, replaced('"metrics": {}', '"metrics": {"mae": 1e400}')),
        ("an integer of 10,000 digits", MANIFEST, replaced('"params": {}', f'"params": {{"n": {"9" * 10_000}}}')),
        ("an integer of 100 digits", "large integers", replaced('"params": {}', f'"params": {{"n": {"9" * 100}}}')),
        ("100 lists deep", "nests too deep", with_manifest(params={"a": deep})),
        ("100,000 lists deep", MANIFEST, replaced('"params": {}', '"params": {"a": ' + "[" * 100_000)),
        ("5 MiB", "more than 4 MiB", with_manifest(why="x" * 5 * 2**20)),
        ("a long story", "more than 64 KiB", with_manifest(why="x" * 2**17)),
        ("many metrics", "more than 64 KiB", with_manifest(metrics={f"m{i}": 1.0 for i in range(10_000)})),
        ("a million classes", "more than 4 MiB", with_signature(classes=list(range(10**6)), **classes)),
        ("1,001 classes", "more than 1,000 classes", with_signature(classes=list(range(1_001)), **classes)),
        ("100,000 columns", "more than 4 MiB", with_text(lambda: _wide(10**5))),
        ("no columns", "without usable columns", with_signature(columns=[])),
        ("the same column twice", "without usable columns", with_signature(columns=[column(), column()])),
        ("a column called records", "without usable columns", with_signature(columns=[column(name="records")])),
        ("a column of another kind", MANIFEST, with_signature(columns=[column(kind="image")])),
        ("another format", MANIFEST, with_manifest(format=2)),
        ("another form", MANIFEST, with_manifest(serves="pickle")),
        ("a path for a form", MANIFEST, with_manifest(serves="../../x")),
        ("a field too many", MANIFEST, with_manifest(surprise=1)),
        ("a member elsewhere", "other files than", with_manifest(members={"../x": "0" * 64})),
        ("no members", "other files than", with_manifest(members={})),
    ]


def _wide(n: int) -> bytes:
    text = json.dumps(column())
    columns = ",".join(text.replace('"x"', f'"{i}"') for i in range(n))
    return json.dumps(manifest_of() | {"signature": ONE_NUMBER.to_json()}).replace(text, columns).encode()


def with_golden(text: Callable[[], bytes]) -> Callable[[Targets], bytes]:
    """The sound bundle with other golden rows, vouched for by its manifest."""

    def make(targets: Targets) -> bytes:
        golden = text()
        manifest = manifest_of()
        manifest["members"]["golden.json"] = digest_of(golden)
        return with_members(golden_json=golden, manifest_json=json.dumps(manifest).encode())(targets)

    return make


def golden_of(**changes: Any) -> Callable[[Targets], bytes]:
    plain = {"rows": [[1.0]], "predictions": [1.0], "probabilities": None, "scale": 1.0}
    return with_golden(lambda: json.dumps({**plain, **changes}).encode())


def _golden() -> list[Row]:
    fit = "do not fit its signature"
    return [
        ("empty", GOLDEN, with_golden(lambda: b"")),
        ("a list", GOLDEN, with_golden(lambda: b"[]")),
        ("a pickle", GOLDEN, lambda targets: with_golden(lambda: pickled(targets))(targets)),
        ("not a number", GOLDEN, golden_of(rows=[[float("nan")]])),
        ("100,000 lists deep", GOLDEN, with_golden(lambda: b"[" * 100_000)),
        ("9 MiB", "more than 8 MiB", with_golden(lambda: b" " * 9 * 2**20)),
        ("no rows", fit, golden_of(rows=[], predictions=[])),
        ("200,000 rows", fit, golden_of(rows=[[1]] * 200_000, predictions=[1] * 200_000)),
        ("a row too wide", fit, golden_of(rows=[[1.0, 2.0]])),
        ("an answer too many", fit, golden_of(predictions=[1.0, 2.0])),
        ("answers of another task", "do not fit its task", golden_of(probabilities=[[0.5, 0.5]])),
        ("an integer of 100 digits", "too large integers", golden_of(rows=[[10**100]])),
        ("rows of objects", GOLDEN, golden_of(rows=[[{"a": 1}]])),
    ]
