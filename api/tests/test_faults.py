"""What breaks under the API: the log's file, its lock, its volume, the store. Predictions go on with what is loaded."""

import contextlib
import json
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from api.errors import problem
from api.tests import given
from tests.conftest import need, nobody

SECOND = given.Rows(20, 380)
ROW = {"x": 0.25, "y": 0.5}


def predicts(api: given.Api) -> bool:
    """True where version 1 answers as before."""
    answer = api.client.post("/predict", json=ROW)
    return bool(answer.status_code == 200 and answer.json()["version"] == "1")


def two_versions(api: given.Api) -> None:
    """Version 1 serves, version 2 could."""
    api.serve(given.bundle())
    api.register(given.bundle(trained_on=SECOND))


@pytest.mark.fault(50)
def test_a_log_that_somebody_has_locked_makes_control_answer_503_within_its_wait_and_predictions_go_on(
    api: given.Api,
) -> None:
    two_versions(api)
    with closing(sqlite3.connect(api.home / "var" / "events.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")

        while_locked = predicts(api)
        refused = api.promote("2", override="now")
        other.execute("ROLLBACK")

    assert while_locked
    assert (refused.status_code, refused.json()["code"]) == (503, "storage_unavailable")
    assert api.kinds().count("promotion.started") == 1
    assert api.promote("2", override="now").status_code == 200


def flipped(file: Path) -> None:
    """Change one character of a fact, past SQLite's own triggers."""
    with closing(sqlite3.connect(file)) as db:
        db.execute("DROP TRIGGER events_are_never_changed")
        db.execute("UPDATE events SET data = replace(data, 'a test', 'no test') WHERE kind = 'version.promoted'")
        db.execute(
            "UPDATE events SET hash = 'x' || substr(hash, 2) WHERE position = (SELECT max(position) FROM events)"
        )
        db.commit()


def overwritten(file: Path) -> None:
    with file.open("r+b") as db:
        db.write(b"\0" * 4096)


@pytest.mark.fault(51)
@pytest.mark.parametrize("damage", [flipped, overwritten, Path.unlink])
def test_a_damaged_log_makes_control_read_only_and_predictions_go_on(
    api: given.Api, damage: Callable[[Path], None]
) -> None:
    two_versions(api)
    damage(api.home / "var" / "events.db")

    refused = api.promote("2", override="now")

    assert refused.status_code == 503
    assert refused.json()["code"] in ("log_tampered", "storage_unavailable")
    assert "verify log" in refused.json()["remedy"]
    assert predicts(api)
    assert api.client.get("/current_model").json()["version"] == "1"


@contextmanager
def volume(folder: Path, size: str) -> Iterator[None]:
    """Mount a volume of its own over `folder`, with what was in it."""
    content = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", folder], check=False)
    need(mounted.returncode == 0, "only root may mount a volume")
    try:
        for path, data in content.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", folder], check=True)


@contextmanager
def read_only_over(folder: Path) -> Iterator[None]:
    """Let `folder` be read-only to whoever opens something in it, also while files in it are open for writing."""
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def filled(folder: Path) -> Path:
    """Write until there is no room left; return the file that takes it."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"x" * 512):
            pass
    assert os.statvfs(folder).f_bavail == 0
    return filler


@pytest.fixture
def on_a_volume(tmp_path: Path) -> Iterator[Callable[[str, str], Any]]:
    """Start an API with one folder of its home on a small volume of its own."""
    with contextlib.ExitStack() as stack:

        def start(name: str, size: str) -> given.Api:
            (tmp_path / name).mkdir(parents=True)
            stack.enter_context(volume(tmp_path / name, size))
            return stack.enter_context(given.api(tmp_path))

        yield start


@pytest.mark.fault(17)
def test_a_store_that_cannot_be_written_or_read_leaves_the_running_version_serving(
    on_a_volume: Callable[[str, str], given.Api],
) -> None:
    api = on_a_volume("api/prod_models", "8m")
    two_versions(api)
    store = api.home / "api" / "prod_models"

    remount(store, "ro")
    read_only = api.register(given.bundle(trained_on=given.Rows(30, 370)))
    remount(store, "rw")
    store.joinpath("sha256").rename(store / "elsewhere")
    emptied = api.promote("2", override="now")
    still = predicts(api)
    store.joinpath("elsewhere").rename(store / "sha256")

    assert (read_only.status_code, read_only.json()["code"]) == (503, "storage_unavailable")
    assert emptied.status_code in (409, 503)
    assert still
    assert api.promote("2", override="now").status_code == 200


@pytest.mark.fault(17)
def test_a_store_without_permission_answers_503_and_the_running_version_serves() -> None:
    with tempfile.TemporaryDirectory(prefix="understudy-") as name, given.api(Path(name)) as api:
        two_versions(api)
        for path in (api.home, api.home / "var", *api.home.joinpath("var").iterdir()):
            path.chmod(0o777)
        blobs = api.home / "api" / "prod_models" / "sha256"
        blobs.chmod(0)

        with nobody():
            refused, still = api.promote("2", override="now"), predicts(api)
        blobs.chmod(0o755)

    assert (refused.status_code, refused.json()["code"]) == (503, "storage_unavailable")
    assert still


@pytest.mark.fault(17)
def test_a_start_without_the_champions_bytes_says_which_model_is_not_loaded(tmp_path: Path) -> None:
    with given.api(tmp_path) as api:
        api.serve(given.bundle())
    (tmp_path / "api" / "prod_models" / "sha256").rename(tmp_path / "elsewhere")

    with given.api(tmp_path) as api:
        ready = api.client.get("/ready")
        answer = api.client.post("/predict", json=ROW)

    assert ready.status_code == 503
    assert "champion of rain is not loaded" in ready.json()["reason"]
    assert answer.status_code == 503


@pytest.mark.fault(18)
def test_a_full_store_answers_507_keeps_no_part_of_the_blob_and_takes_the_next_one_that_fits(
    on_a_volume: Callable[[str, str], given.Api],
) -> None:
    api = on_a_volume("api/prod_models", "1m")
    api.serve(given.bundle())
    store = api.home / "api" / "prod_models"
    filler = filled(store)

    full = api.register(given.bundle(trained_on=SECOND))
    left = list((store / "writing").iterdir())
    filler.unlink()
    fits = api.register(given.bundle(trained_on=SECOND))

    assert (full.status_code, full.json()["code"]) == (507, "storage_full")
    assert left == []
    assert fits.status_code == 201
    assert predicts(api)


@pytest.mark.fault(52)
def test_a_full_or_read_only_volume_of_the_log_costs_no_half_event_and_no_prediction(
    on_a_volume: Callable[[str, str], given.Api],
) -> None:
    api = on_a_volume("var", "2m")
    two_versions(api)
    var, before = api.home / "var", api.kinds()
    filler = filled(var)

    full, on_full = api.promote("2", override="now " * 400), predicts(api)
    filler.unlink()
    with read_only_over(var):
        read_only, on_read_only = api.promote("2", override="now"), predicts(api)

    assert full.status_code in (503, 507)
    assert full.json()["code"] in ("storage_full", "storage_unavailable")
    assert (read_only.status_code, read_only.json()["code"]) == (503, "storage_unavailable")
    assert on_full
    assert on_read_only
    assert api.kinds() == before
    assert api.promote("2", override="now").status_code == 200


@pytest.mark.parametrize("sign", ["a", "é", "😀", "<", '"', "\ud800", "\0"])
def test_the_size_of_an_error_has_an_end_whatever_a_column_is_called(sign: str) -> None:
    found = problem({"path": "/v2/models/rain/infer", "request_id": "0" * 16}, 422, "bad_row", sign * 9999, sign * 9999)

    assert len(bytes(found.body)) <= 4096
    assert json.loads(bytes(found.body))["code"] == "bad_row"
