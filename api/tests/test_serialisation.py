"""Bundles over HTTP: registered, recognised, downloaded, and refused where they are not what they say."""

import base64
import hashlib
import json
import pickle
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from api.tests import given
from understudy.adapters.bundle import unpack
from understudy.fingerprint import digest_of


def test_a_registered_bundle_is_a_numbered_version_with_a_passed_trial(api: given.Api) -> None:
    api.define()

    answer = api.register(given.bundle())

    assert answer.status_code == 201
    assert answer.json()["version"] == "1"
    assert answer.json()["digest"] == digest_of(given.bundle())
    assert answer.json()["trial"]["passed"] is True
    assert api.kinds()[-2:] == ["version.registered", "version.tried"]


def test_the_same_bytes_are_the_same_version(api: given.Api) -> None:
    api.define()
    first = api.register(given.bundle())

    second = api.register(given.bundle())

    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json()["version"] == first.json()["version"]
    assert api.kinds().count("version.registered") == 1


def test_a_downloaded_bundle_is_the_one_that_was_registered_and_needs_a_token(api: given.Api) -> None:
    api.define()
    api.register(given.bundle())

    without = api.client.get("/models/rain/versions/1/artifact")
    answer = api.client.get("/models/rain/versions/1/artifact", headers=api.token("client"))

    assert without.status_code == 401
    assert answer.content == given.bundle()
    assert answer.headers["Content-Disposition"].startswith("attachment")


def test_a_digest_of_what_is_in_the_store_registers_it_without_its_bytes(api: given.Api) -> None:
    api.define()
    digest = api.store.put(given.bundle())

    answer = api.client.post("/models/rain/versions", json={"digest": digest}, headers=api.token("scheduler"))

    assert answer.status_code == 201
    assert answer.json()["digest"] == digest


def test_a_bundle_of_another_model_is_refused(api: given.Api) -> None:
    api.define("sun")

    answer = api.register(given.bundle(), model="sun")

    assert answer.status_code == 422
    assert "trained for 'rain'" in answer.json()["detail"]


@pytest.mark.fault(3)
def test_bytes_that_are_not_those_of_their_content_digest_are_refused(api: given.Api) -> None:
    api.define()
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    right = base64.b64encode(hashlib.sha256(given.bundle()).digest()).decode()

    refused = api.register(given.bundle(), **{"Content-Digest": f"sha-256=:{wrong}:"})
    accepted = api.register(given.bundle(), **{"Content-Digest": f"sha-256=:{right}:"})

    assert (refused.status_code, refused.json()["code"]) == (422, "digest_mismatch")
    assert accepted.status_code == 201


@pytest.mark.fault(1)
def test_a_bundle_cut_at_any_fiftieth_is_refused_and_the_old_version_serves_on(api: given.Api) -> None:
    api.serve(given.bundle())
    whole = given.bundle(trained_on=given.Rows(10, 400))

    refused = [api.register(whole[: len(whole) * part // 50]) for part in range(50)]

    assert {answer.status_code for answer in refused} == {422}
    assert api.kinds().count("version.registered") == 1
    assert api.client.post("/predict", json={"x": 0.1, "y": 0.2}).json()["version"] == "1"


@pytest.mark.fault(1)
def test_a_blob_cut_in_the_store_is_refused_by_its_digest_before_it_is_parsed(api: given.Api) -> None:
    api.serve(given.bundle())
    second = given.bundle(trained_on=given.Rows(10, 400))
    api.register(second)
    blob = damage(api, second, lambda data: data[: len(data) // 2])

    answer = api.promote("2", override="a test says so")

    assert answer.status_code == 409
    assert "are not what they were" in answer.json()["detail"]
    assert api.client.get("/current_model").json()["version"] == "1"
    assert blob.exists()


class Canary:
    """Whoever unpickles this leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


@pytest.mark.fault(7)
@pytest.mark.parametrize("where", ["bundle", "model.skops", "model.onnx", "golden.json", "manifest.json"])
def test_a_pickle_under_any_name_is_never_unpickled(api: given.Api, tmp_path: Path, where: str) -> None:
    api.define()
    canary = tmp_path / "canary"
    hostile = pickle.dumps(Canary(canary))
    data = hostile if where == "bundle" else exchanged(given.bundle(), where, hostile)

    answer = api.register(data)

    assert answer.status_code == 422 or answer.json()["trial"]["passed"] is False
    assert not canary.exists()
    pickle.loads(hostile)  # noqa: S301 - our own, two lines above
    assert canary.exists()  # the canary works


@pytest.mark.fault(14)
@pytest.mark.parametrize(
    "wrong",
    [
        {"predictions": [1, 1]},  # another shape
        {"probabilities": [[0.123, 0.877]]},  # another answer
        {"rows": [["text", 1.0]]},  # rows on which it raises
    ],
)
def test_a_version_that_does_not_answer_its_golden_rows_fails_its_trial_and_cannot_be_promoted(
    api: given.Api, wrong: dict[str, Any]
) -> None:
    api.serve(given.bundle())
    data = edited(given.bundle(trained_on=given.Rows(10, 400)), wrong)

    registered = api.register(data)
    promoted = api.promote("2", override="I insist")

    if registered.status_code == 201:
        assert registered.json()["trial"]["passed"] is False
        assert promoted.status_code == 409
        assert "failed its trial" in promoted.json()["detail"]
    else:
        assert registered.status_code == 422
    assert api.client.get("/current_model").json()["version"] == "1"


def test_json_that_is_no_bundle_and_a_body_of_nothing_are_refused_with_a_remedy(api: given.Api) -> None:
    api.define()

    answers = [
        api.client.post("/models/rain/versions", content=body, headers={**api.token("scheduler"), "Content-Type": kind})
        for body, kind in [(b"", "application/zip"), (b"{}", "application/json"), (b"[1", "application/json")]
    ]

    assert [answer.status_code for answer in answers] == [422, 422, 400]
    assert all(answer.json()["remedy"] for answer in answers)


def damage(api: given.Api, data: bytes, change: Any) -> Path:
    """Change a stored blob behind the store's back."""
    digest = digest_of(data)
    blob: Path = api.home / "api" / "prod_models" / "sha256" / digest[:2] / digest
    blob.chmod(0o644)
    blob.write_bytes(change(data))
    return blob


def exchanged(data: bytes, name: str, content: bytes) -> bytes:
    """The same zip with another member."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    members[name] = content
    target = BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for member, text in members.items():
            archive.writestr(zipfile.ZipInfo(member, (1980, 1, 1, 0, 0, 0)), text)
    return target.getvalue()


def edited(data: bytes, golden: dict[str, Any]) -> bytes:
    """A bundle with other golden rows, and a manifest that vouches for them."""
    parts = unpack(data, digest=digest_of(data))
    rows = 1
    with zipfile.ZipFile(BytesIO(data)) as archive:
        whole = json.loads(archive.read("golden.json"))
    whole = {key: (value[:rows] if isinstance(value, list) else value) for key, value in whole.items()} | golden
    text = json.dumps(whole, sort_keys=True, separators=(",", ":")).encode()
    manifest = {**parts.manifest, "members": {**parts.manifest["members"], "golden.json": digest_of(text)}}
    sealed = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    return exchanged(exchanged(data, "golden.json", text), "manifest.json", sealed)
