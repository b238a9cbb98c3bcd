"""A bundle: one file that holds a trained version in all its forms, with answers to check them by.

    manifest.json   signature, metrics, what it was trained from and with, which form serves and why
    golden.json     some rows, and what scikit-learn answered to them
    model.onnx      the twin, where it answers like the original
    model.skops     the original, where our scheduler trained it

Reading one imports neither pandas nor scikit-learn.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from understudy.adapters import stored_zip
from understudy.errors import BundleRefused, DigestMismatch
from understudy.fingerprint import canonical_json, digest_of
from understudy.nesting import inside, is_shallow
from understudy.parity import Answer
from understudy.signature import RESERVED_NAMES, Signature, Value

MANIFEST, GOLDEN, ONNX, SKOPS = MEMBERS = ("manifest.json", "golden.json", "model.onnx", "model.skops")
MAX_BYTES = 256 * 2**20
MAX_DIRECTORY = 1024
"""Bytes of its ZIP file's table of contents: four short names."""
MAX_JSON = {MANIFEST: 4 * 2**20, GOLDEN: 8 * 2**20}
"""Bytes that the API itself parses; a column is worth some 150 in the manifest."""
MAX_FACTS = 2**16
"""Bytes of the manifest besides columns, classes and the baseline: these go into the log."""
MAX_GOLDEN_ROWS = 1_000
MAX_CLASSES = 1_000
FORMAT = 1

Form = Literal["onnx", "skops"]


@dataclass(frozen=True, slots=True)
class Golden:
    """Rows in signature order, and the answers that every form must give to them."""

    rows: list[list[Value]]
    predictions: list[Value]
    probabilities: list[list[float]] | None
    scale: float
    """Standard deviation of the target in the training rows; 1 for a classification."""

    @property
    def answer(self) -> Answer:
        return Answer(self.predictions, self.probabilities)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a bundle was found to hold; every member has the digest that the manifest names."""

    manifest: Mapping[str, Any]
    signature: Signature
    serves: Form
    golden: Golden
    forms: Mapping[str, bytes]
    """Member name -> bytes, of `model.onnx` and `model.skops`."""


class _Data(msgspec.Struct, forbid_unknown_fields=True):
    digest: str
    rows: int
    train_rows: int
    cut: str | int
    """Clock of the last row that was fitted."""
    end: str | int
    judged_cut: str | int | msgspec.UnsetType = msgspec.UNSET
    """Of a refit: the cut of the candidate that was judged, whose metrics these are."""


class _Parity(msgspec.Struct, forbid_unknown_fields=True):
    rows: int
    worst: float


class _Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """The only shape that a manifest may have."""

    format: Literal[1]
    model: str
    signature: Signature
    metrics: dict[str, float]
    metric: str
    params: dict[str, Any]
    seed: int
    data: _Data
    baseline: dict[str, list[float] | float]
    fingerprint: str
    libraries: dict[str, str]
    serves: Form
    why: str
    parity: _Parity | None
    members: dict[str, str]


#: Made once, when this module is: msgspec crashes where two threads are the first to decode a type at the same time.
MANIFESTS, GOLDENS = msgspec.json.Decoder(_Manifest), msgspec.json.Decoder(Golden)


def pack(manifest: Mapping[str, Any], golden: Golden, forms: Mapping[str, bytes]) -> bytes:
    """Write a bundle; the same arguments give the same bytes. `members` is added to the manifest here."""
    members = {GOLDEN: canonical_json(msgspec.to_builtins(golden))}
    members |= {name: forms[name] for name in (ONNX, SKOPS) if name in forms}
    digests = {name: digest_of(data) for name, data in members.items()}
    return stored_zip.write({MANIFEST: canonical_json({**manifest, "members": digests}), **members})


def check_digest(data: bytes, digest: str) -> None:
    """Raises DigestMismatch. Comes before anything parses `data`."""
    found = digest_of(data)
    if found != digest:
        raise DigestMismatch(
            f"These {len(data)} bytes have the sha256 {found[:16]}…, not {digest[:16]}… as recorded.",
            remedy="They were damaged or exchanged on the way: send or restore the original file.",
        )


def unpack(data: bytes, *, digest: str) -> Parts:
    """Check a bundle from the outside in, and take it apart. No model is loaded.

    Raises DigestMismatch before anything is parsed, and BundleRefused for whatever is no whole bundle.
    """
    if len(data) > MAX_BYTES:
        raise BundleRefused(
            f"A bundle has at most {MAX_BYTES // 2**20} MiB; this one has more.", remedy="Train a smaller model."
        )
    check_digest(data, digest)
    members = stored_zip.read(data, of="bundle", directory=MAX_DIRECTORY)
    if MANIFEST not in members or GOLDEN not in members or not set(members) <= set(MEMBERS):
        raise _refused("does not hold exactly the files of a bundle")
    for name, most in MAX_JSON.items():
        if len(members[name]) > most:
            raise _refused(f"has a {name} of more than {most // 2**20} MiB")
    read, manifest = _read_manifest(members.pop(MANIFEST))
    if read.members != {name: digest_of(member) for name, member in members.items()}:
        raise _refused("holds other files than its manifest names")
    golden = _read_golden(members.pop(GOLDEN), read.signature)
    if not members or f"model.{read.serves}" not in members:
        raise _refused("lacks the form that its manifest says is served")
    return Parts(manifest, read.signature, read.serves, golden, members)


def first_difference(one: bytes, other: bytes) -> str | None:
    """Name the first part in which two bundles differ, for example "manifest.json: data.cut"; None: the same bytes.

    Raises BundleRefused where one of them is no ZIP file of ours.
    """
    if one == other:
        return None
    ours, theirs = stored_zip.read(one, of="first bundle"), stored_zip.read(other, of="second bundle")
    for name in MEMBERS:
        found = _member_difference(name, ours.get(name), theirs.get(name))
        if found is not None:
            return found
    return "the container around the same members"


def _member_difference(name: str, one: bytes | None, other: bytes | None) -> str | None:
    if one == other:
        return None
    if one is None or other is None:
        return f"{name} (only in the {'second' if one is None else 'first'})"
    if not name.endswith(".json"):
        return name
    try:
        path = _differing_path(json.loads(one), json.loads(other))
    except (ValueError, RecursionError):
        return name
    if name == MANIFEST and (not path or path[0] == "members"):
        return None  # its digests repeat what another member will show
    return f"{name}: {'.'.join(path)}" if path else name


def _differing_path(one: Any, other: Any) -> list[str]:
    """Keys that lead to the first difference."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys(), key=lambda key: (key == "members", key)):
            if one.get(key) != other.get(key):
                return [key, *_differing_path(one.get(key), other.get(key))]
    return []


def _read_manifest(data: bytes) -> tuple[_Manifest, dict[str, Any]]:
    try:
        manifest = MANIFESTS.decode(data)
        plain: dict[str, Any] = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refused("has a manifest that cannot be read") from error
    if not is_shallow(plain) or not _are_small(plain):
        raise _refused("has a manifest that nests too deep, or holds too large integers")
    if len(canonical_json({key: plain[key] for key in plain.keys() - {"signature", "baseline"}})) > MAX_FACTS:
        raise _refused(f"has a manifest that says more than {MAX_FACTS // 2**10} KiB about its training")
    signature = manifest.signature
    names = signature.names
    if not names or len(set(names)) != len(names) or RESERVED_NAMES & set(names):
        raise _refused("has a signature without usable columns")
    if (signature.classes is None) != (signature.task == "regression"):
        raise _refused("has a signature whose classes do not fit its task")
    if len(signature.classes or ()) > MAX_CLASSES:
        raise _refused(f"has more than {MAX_CLASSES:,} classes")
    return manifest, plain


def _read_golden(data: bytes, signature: Signature) -> Golden:
    try:
        golden = GOLDENS.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refused("has golden rows that cannot be read") from error
    n, width = len(golden.rows), len(signature.columns)
    if not 0 < n <= MAX_GOLDEN_ROWS or any(len(row) != width for row in golden.rows) or len(golden.predictions) != n:
        raise _refused("has golden rows that do not fit its signature")
    if not _are_small(golden.rows) or not _are_small(golden.predictions):
        raise _refused("has golden rows with too large integers")
    if (golden.probabilities is None) != (signature.classes is None):
        raise _refused("has golden answers that do not fit its task")
    return golden


def _are_small(value: Any) -> bool:
    """True where no integer in a JSON value has more than 64 bits: others fit no array, and no column."""
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if isinstance(current, int) and not -(2**63) <= current < 2**63:
            return False
        waiting.extend(inside(current))
    return True


def _refused(what: str) -> BundleRefused:
    return BundleRefused(f"This bundle {what}.", remedy=stored_zip.REMEDY)
