"""One flipped bit anywhere in a bundle is found, before anything parses it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bundles import made
from tests.flips import flipped, flips_of, forged, found_in, place_of, stage_of
from understudy.adapters import bundle, frames
from understudy.adapters.folder_store import FolderStore
from understudy.adapters.runtime import open_bundle
from understudy.errors import DigestMismatch

FLIPS = 400


@pytest.mark.fault(2)
@pytest.mark.parametrize("name", bundle.MEMBERS)
def test_each_of_400_flips_of_a_member_is_refused_by_the_recorded_digest(name: str, tmp_path: Path) -> None:
    one, store = made("forest"), FolderStore(tmp_path)
    first, blob = 8 * place_of(one.data, name), tmp_path / "sha256" / one.digest[:2] / store.put(one.data)
    blob.chmod(0o600)

    for bit in flips_of(found_in(one.data, name), FLIPS, name):
        changed = flipped(one.data, first + bit)
        blob.write_bytes(changed)
        with pytest.raises(DigestMismatch, match="are not what they were"):
            store.get(one.digest)
        with pytest.raises(DigestMismatch, match="damaged or exchanged"):
            open_bundle(changed, digest=one.digest, trees=True)


@pytest.mark.fault(2)
def test_without_the_digest_some_flips_would_be_found_by_nobody() -> None:
    one = made("forest")
    rows, original = frames.rows_of(one.holdout), one.open()

    stages = {
        stage_of(forged(one.data, bundle.MANIFEST, bit), original, rows)
        for bit in flips_of(found_in(one.data, bundle.MANIFEST), 20, "unseen")
    }

    assert {0, 4} <= stages, "refused by the container, and not refused at all"


@pytest.mark.slow
@pytest.mark.fault(2)
@pytest.mark.timeout(1800)
def test_what_the_later_stages_find_of_400_flips_is_told() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.flips", "--flips", str(FLIPS)], check=True, capture_output=True, text=True
    ).stdout

    sys.stdout.write(told)
    assert len(told.splitlines()) == 2 * len(bundle.MEMBERS)
    assert "signal" not in told, "a flip ended the process that a trial would have been"
