"""The outside of a bundle: bytes that are whole, unchanged and shaped as one, or a refusal before anything loads."""

import io
import json
import zipfile
from typing import Any

import msgspec
import pytest

from tests.bundles import ONE_NUMBER, by_hand, identity, made
from understudy.adapters import bundle, stored_zip
from understudy.adapters.runtime import open_bundle
from understudy.errors import BundleRefused, DigestMismatch
from understudy.fingerprint import digest_of


def opened(data: bytes) -> None:
    open_bundle(data, digest=digest_of(data), trees=True).check_golden()


def repacked(data: bytes, **members: bytes | None) -> bytes:
    """The bundle with some members replaced or, for None, left out; `manifest_json` names `manifest.json`."""
    found = stored_zip.read(data, of="bundle")
    for name, content in members.items():
        found[name.replace("_", ".")] = content or b""
        if content is None:
            del found[name.replace("_", ".")]
    return stored_zip.write(found)


def with_manifest(data: bytes, **changes: Any) -> bytes:
    manifest = json.loads(stored_zip.read(data, of="bundle")["manifest.json"])
    return repacked(data, manifest_json=json.dumps({**manifest, **changes}).encode())


@pytest.mark.fault(1)
def test_a_bundle_cut_at_every_fiftieth_of_its_size_is_refused_before_it_is_parsed() -> None:
    data, digest = made("logistic").data, made("logistic").digest

    for part in range(50):
        with pytest.raises(DigestMismatch):
            open_bundle(data[: len(data) * part // 50], digest=digest, trees=True)


@pytest.mark.fault(1)
def test_a_cut_bundle_is_refused_under_its_own_digest_too() -> None:
    data = made("logistic").data

    for part in range(50):
        with pytest.raises(BundleRefused):
            opened(data[: len(data) * part // 50])


def test_a_changed_byte_anywhere_is_found() -> None:
    data, digest = made("logistic").data, made("logistic").digest

    for place in range(0, len(data), len(data) // 40):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(DigestMismatch, match="damaged or exchanged"):
            open_bundle(changed, digest=digest, trees=True)


def test_bytes_that_do_not_belong_to_a_digest_are_not_parsed() -> None:
    with pytest.raises(DigestMismatch, match=r"These 9 bytes have the sha256 [0-9a-f]{16}…, not 0000000000000000…"):
        open_bundle(b"no bundle", digest="0" * 64, trees=True)


@pytest.mark.parametrize("data", [b"", b"no bundle", b"PK\x05\x06" + bytes(18), bytes(1000)])
def test_what_is_no_bundle_is_refused(data: bytes) -> None:
    with pytest.raises(BundleRefused):
        opened(data)


@pytest.mark.parametrize("name", ["manifest.json", "golden.json", "model.onnx"])
def test_a_bundle_without_one_of_its_parts_is_refused(name: str) -> None:
    members = stored_zip.read(by_hand({"model.onnx": identity()}), of="bundle")
    del members[name]

    with pytest.raises(BundleRefused):
        opened(stored_zip.write(members))


@pytest.mark.parametrize("name", ["../model.onnx", "model.pkl", "model.joblib", "MANIFEST.JSON"])
def test_a_bundle_with_a_member_too_many_is_refused(name: str) -> None:
    members = stored_zip.read(by_hand({"model.onnx": identity()}), of="bundle")

    with pytest.raises(BundleRefused, match="exactly the files of a bundle"):
        opened(stored_zip.write({**members, name: b""}))


def test_a_member_that_the_manifest_does_not_vouch_for_is_refused() -> None:
    data = repacked(by_hand({"model.onnx": identity()}), model_onnx=identity() + b"\0")

    with pytest.raises(BundleRefused, match="other files than its manifest names"):
        opened(data)


def test_compressed_members_are_refused_so_nothing_grows_when_it_is_unpacked() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.onnx", bytes(50_000_000))

    with pytest.raises(BundleRefused, match="compressed"):
        opened(buffer.getvalue())


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model.onnx", b"1")
        archive.writestr("model.onnx", b"2")

    with pytest.raises(BundleRefused, match="two members of one name"):
        opened(buffer.getvalue())


def test_a_bundle_above_the_size_limit_is_refused() -> None:
    with pytest.raises(BundleRefused, match="at most 256 MiB"):
        bundle.unpack(bytes(bundle.MAX_BYTES + 1), digest="0" * 64)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"serves": "pickle"},
        {"serves": "skops"},
        {"signature": {}},
        {"signature": {**ONE_NUMBER.to_json(), "columns": []}},
        {"signature": {**ONE_NUMBER.to_json(), "columns": 2 * ONE_NUMBER.to_json()["columns"]}},
        {"signature": {**ONE_NUMBER.to_json(), "classes": [0, 1]}},
        {"signature": {**ONE_NUMBER.to_json(), "task": "ranking"}},
        {"metrics": {"mae": "small"}},
        {"seed": None},
        {"surprise": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_manifest_of_another_shape_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BundleRefused):
        opened(with_manifest(by_hand({"model.onnx": identity()}), **changes))


def test_a_column_cannot_have_a_name_that_requests_use_themselves() -> None:
    column = {**ONE_NUMBER.to_json()["columns"][0], "name": "records"}

    with pytest.raises(BundleRefused, match="without usable columns"):
        opened(
            with_manifest(by_hand({"model.onnx": identity()}), signature={**ONE_NUMBER.to_json(), "columns": [column]})
        )


@pytest.mark.parametrize(
    "manifest", [b"", b"{", b"[]", b"null", b"\xff", b'{"format": NaN}', b"[" * 100_000], ids=lambda text: text[:9]
)
def test_a_manifest_that_is_no_json_is_refused(manifest: bytes) -> None:
    with pytest.raises(BundleRefused):
        opened(repacked(by_hand({"model.onnx": identity()}), manifest_json=manifest))


@pytest.mark.parametrize(
    "golden",
    [
        bundle.Golden([], [], None, 1.0),
        bundle.Golden([[1.0, 2.0]], [1.0], None, 1.0),
        bundle.Golden([[1.0]], [1.0, 2.0], None, 1.0),
        bundle.Golden([[1.0]], [1.0], [[0.5, 0.5]], 1.0),
    ],
)
def test_golden_rows_that_do_not_fit_the_signature_are_refused(golden: bundle.Golden) -> None:
    with pytest.raises(BundleRefused, match="golden"):
        opened(by_hand({"model.onnx": identity()}, golden=golden))


def test_a_bundle_written_by_hand_in_the_right_shape_is_opened() -> None:
    data = by_hand({"model.onnx": identity()})

    runtime = open_bundle(data, digest=digest_of(data), trees=False)

    assert runtime.predict([[3.5]]).predictions == [3.5]


def test_the_same_bytes_have_no_first_difference() -> None:
    assert bundle.first_difference(made("logistic").data, made("logistic").data) is None


def test_a_container_that_was_packed_another_way_is_told_apart() -> None:
    data = by_hand({"model.onnx": identity()})
    members = stored_zip.read(data, of="bundle")
    other = stored_zip.write(dict(reversed(members.items())))

    assert bundle.first_difference(data, other) == "the container around the same members"


def test_the_first_differing_part_of_two_bundles_is_named() -> None:
    one = by_hand({"model.onnx": identity()})
    moved = by_hand({"model.onnx": identity()}, data={**facts_of(one)["data"], "cut": 5})
    golden = by_hand({"model.onnx": identity()}, golden=bundle.Golden([[1.0]], [1.0], None, 1.0))

    assert bundle.first_difference(one, moved) == "manifest.json: data.cut"
    assert bundle.first_difference(one, golden) == "golden.json: predictions"
    assert bundle.first_difference(one, repacked(one, model_onnx=b"other")) == "model.onnx"
    assert bundle.first_difference(one, repacked(one, model_skops=b"more")) == "model.skops (only in the second)"


def facts_of(data: bytes) -> dict[str, Any]:
    manifest: dict[str, Any] = msgspec.json.decode(stored_zip.read(data, of="bundle")["manifest.json"])
    return manifest
