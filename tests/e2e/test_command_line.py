"""The command line on a real installation: both services, a small model, and what people type."""

import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests

from tests.services import Installation, installation
from understudy.adapters.bundle import Golden, pack, unpack
from understudy.adapters.folder_store import FolderStore
from understudy.events import GENESIS, chain
from understudy.fingerprint import canonical_json

pytestmark = pytest.mark.timeout(240)

FIRST_MODEL_WITHIN_S = 90.0
STOPPED_WITHIN_S = 30.0

DEFINITION = """
from sklearn.linear_model import LogisticRegression
from understudy import Model, Promotion, Schedule
from understudy.adapters.sources import Csv

def surprise(labels, outputs):
    return abs(labels - outputs[:, 1])

model = Model(
    name="coins",
    source=Csv("coins.csv"),
    target="heads",
    estimator=LogisticRegression(),
    retrain=Schedule.cron("0 0 29 2 *", zone="UTC"),
    promotion=Promotion(refit="off", loss=surprise),
    slices=("x",),
    protected=("mint",),
)
"""


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    problem: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Somebody who types commands at one installation, and remembers everything that was shown."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment, self.shown = environment, list[str]()

    def __call__(self, *arguments: str) -> Said:
        done = subprocess.run(command(*arguments), env=self.environment, capture_output=True, text=True, check=False)
        self.shown += [done.stdout, done.stderr]
        assert "Traceback" not in done.stderr, done.stderr
        return Said(done.returncode, done.stdout, done.stderr)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "understudy.adapters.cli", *arguments]


def models(folder: Path) -> Path:
    """A folder with one small model, whose next slot is years away: nothing happens that the test did not ask for."""
    folder.mkdir()
    random = np.random.default_rng(0)
    x, y = random.uniform(size=(2, 400))
    heads, mint = (x + y > 1).astype(int), np.where(x > 0.9, "Perth", "Bern")
    pd.DataFrame({"x": x, "y": y, "mint": mint, "heads": heads}).to_csv(folder / "coins.csv", index=False)
    (folder / "coins.py").write_text(DEFINITION)
    return folder


class Running:
    """`understudy run` on a home of its own."""

    def __init__(self, home: Path, models_dir: Path) -> None:
        home.mkdir(exist_ok=True)
        installed = Installation(home, UNDERSTUDY_MODELS_DIR=str(models_dir), UNDERSTUDY_DEFAULT_MODEL="coins")
        self.home, self.port, self.url = home, installed.port, installed.url
        self.environment = {**installed.environment, "PYTHONUNBUFFERED": "1"}
        del self.environment["UNDERSTUDY_API_URL"]  # it follows from the port
        self.shell = Shell(self.environment)
        with (home / "out").open("wb") as out, (home / "err").open("wb") as err:
            self.process = subprocess.Popen(command("run"), env=self.environment, stdout=out, stderr=err)

    def said(self) -> str:
        return (self.home / "out").read_text()

    def until_said(self, text: str, within_s: float = FIRST_MODEL_WITHIN_S) -> str:
        wait(lambda: text in self.said() or self.process.poll() is not None, within_s)
        assert text in self.said(), self.said() + (self.home / "err").read_text()
        return self.said()

    def children(self) -> list[int]:
        files = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for file in files for pid in file.read_text().split()]

    def ended(self) -> Said:
        code = self.process.wait(STOPPED_WITHIN_S)
        return Said(code, self.said(), (self.home / "err").read_text())

    def stop(self) -> Said:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.ended()


def wait(is_so: Callable[[], bool], within_s: float) -> None:
    until_s = time.monotonic() + within_s
    while not is_so() and time.monotonic() < until_s:
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Both services, with a first champion: version 1 of coins."""
    folder = tmp_path_factory.mktemp("command-line")
    running = Running(folder / "home", models(folder / "models"))
    try:
        running.until_said("curl")
        for name in ("var", "secrets", "api"):
            shutil.copytree(running.home / name, folder / "fresh" / name)
        yield running
    finally:
        running.stop()


@pytest.fixture
def understudy(running: Running) -> Shell:
    return running.shell


@pytest.fixture
def copied(running: Running, tmp_path: Path) -> Iterator[Installation]:
    """The first state in another place, for a test to spoil, with an API that is not started yet."""
    shutil.copytree(running.home.with_name("fresh"), tmp_path, dirs_exist_ok=True)
    with installation(tmp_path) as copied:
        yield copied


def test_run_says_where_everything_is_and_how_to_ask_the_first_model(running: Running) -> None:
    said = running.said()

    assert f"{running.url}/docs" in said
    assert f"token lies in {running.home}/var/operator.token" in said
    assert "Model coins serves, version 1." in said
    _, _, _, url, _, header, _, body = shlex.split(said[said.index("curl") :])
    name, _, value = header.partition(": ")
    answer = requests.post(url, data=body, headers={name: value}, timeout=10)
    assert answer.status_code == 200
    assert answer.json()["version"] == "1"


def test_status_shows_what_serves_and_when_the_next_slot_is_due(understudy: Shell) -> None:
    shown, read = understudy("status"), understudy("status", "--json")

    assert (shown.code, read.code) == (0, 0)
    assert "coins (default)" in shown.out
    (model,) = read.json["models"]
    assert (model["name"], model["champion"]) == ("coins", "1")
    assert re.fullmatch(r"coins-\d+", model["last_run"]["id"])
    assert re.fullmatch(r"\d{4}-02-29T00:00:00\.000000Z", model["next_slot"])
    assert read.json["api"]["ready"] is True


def test_why_gives_the_ground_of_the_champion_with_every_gate(copied: Installation) -> None:
    copied.start_api()
    understudy = Shell(copied.environment)
    shown, read = understudy("why", "coins"), understudy("why", "coins", "--json")

    assert shown.code == 0
    assert "Version 1 of coins serves since" in shown.out
    assert "against the constant predictor" in shown.out
    gates = [gate["name"] for gate in read.json["ground"]["verdict"]["gates"]]
    assert gates[0] == "data"
    assert gates[-1] == "comparison"
    assert all(gate in shown.out for gate in gates)
    assert len([one for one in read.json["ground"]["verdict"]["slices"] if one["column"] == "x"]) == 4
    assert "mint = Perth (protected)" in shown.out


def test_why_knows_that_nothing_served_before_the_beginning(understudy: Shell) -> None:
    said = understudy("why", "coins", "--at", "2026-01-01T00:00:00Z")

    assert said.code == 1
    assert "No version of coins served at 2026-01-01T00:00:00Z." in said.out


def test_why_wants_a_moment_with_a_zone(understudy: Shell) -> None:
    said = understudy("why", "coins", "--at", "yesterday")

    assert said.code == 2
    assert "such as 2026-01-31T12:00:00Z" in said.problem


def test_a_candidate_trained_by_hand_is_refused_and_why_says_for_what_reason(understudy: Shell) -> None:
    trained = understudy("train", "coins", "--param", "C=0.001", "--wait", "--json")
    refused = understudy("why", "coins", "--json").json["refused"]
    shown = understudy("why", "coins")
    apart = understudy("diff", "coins", "champion", trained.json["version"])

    assert trained.code == 1
    assert (trained.json["state"], trained.json["params"]) == ("refused", {"C": 0.001})
    assert refused[0]["version"] == trained.json["version"]
    assert refused[0]["reasons"]
    assert f"Refused: version {trained.json['version']}" in shown.out
    assert refused[0]["reasons"][0] in shown.out
    assert apart.code == 0
    assert re.search(r"^C +1\.0 +0\.001$", apart.out, re.MULTILINE)
    assert "The rows whose answer changed most:" in apart.out


def test_a_refused_version_serves_with_a_reason_only_and_a_demotion_brings_the_old_one_back(understudy: Shell) -> None:
    version = understudy("train", "coins", "--param", "C=0.01", "--wait", "--json").json["version"]

    without = understudy("promote", "coins", version)
    promoted = understudy("promote", "coins", version, "--reason", "the test wants it")
    why = understudy("why", "coins")
    demoted = understudy("demote", "coins", "--reason", "the test wants it back")

    assert (without.code, "no passing verdict" in without.problem) == (1, True)
    assert (promoted.code, f"Version {version} of coins serves" in promoted.out) == (0, True)
    assert "by override" in why.out
    assert "the test wants it" in why.out
    assert (demoted.code, "Version 1 of coins serves" in demoted.out) == (0, True)


def test_train_without_waiting_says_how_to_follow_it(understudy: Shell) -> None:
    said = understudy("train", "coins", "--param", "C=5")

    assert said.code == 0
    assert re.match(r"Run coins-\d+ is queued\. `understudy status`", said.out)
    wait(lambda: understudy("status", "--json").json["models"][0]["last_run"]["state"] == "refused", 60)


def test_a_token_is_printed_by_the_command_for_it_and_by_no_other(running: Running, understudy: Shell) -> None:
    for arguments in (["status"], ["why", "coins", "--json"], ["doctor"], ["verify", "log"], ["--help"]):
        understudy(*arguments)
    shown = "".join([*understudy.shown, running.said(), (running.home / "err").read_text()])
    tokens = {role: understudy("token", "--role", role).out.strip() for role in ("operator", "scheduler", "client")}

    assert tokens["operator"] == (running.home / "var" / "operator.token").read_text().strip()
    assert tokens["scheduler"] == (running.home / "secrets" / "scheduler.token").read_text().strip()
    assert [role for role, token in tokens.items() if token in shown] == []


def test_the_doctor_finds_nothing_wrong_with_a_fresh_installation(understudy: Shell) -> None:
    said = understudy("doctor", "--json")

    assert [check for check in said.json["checks"] if not check["ok"]] == []
    assert said.code == 0


def test_the_doctor_names_what_is_wrong_and_what_to_do(copied: Installation) -> None:
    (copied.home / "var" / "operator.token").chmod(0o644)
    (copied.home / "secrets").chmod(0o777)
    blob = largest_blob(copied.home)
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1])
    understudy = Shell(copied.environment)

    said, read = understudy("doctor"), understudy("doctor", "--json")

    assert said.code == 1
    problems = {check["name"]: check["remedy"] for check in read.json["checks"] if not check["ok"]}
    assert problems["operator's token"].startswith("chmod 600")
    assert problems["folder secrets"].startswith("chmod o-w")
    assert "make run" in problems["API"]
    assert all(remedy in said.out for remedy in problems.values())


def test_the_doctor_finds_a_champion_whose_bundle_was_damaged(copied: Installation) -> None:
    (champion,) = registered(copied.home)
    blob = copied.home / "api" / "prod_models" / "sha256" / champion[:2] / champion
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes() + b"x")

    read = Shell(copied.environment)("doctor", "--json")

    (store,) = [check for check in read.json["checks"] if check["name"] == "store"]
    assert not store["ok"]
    assert store["found"].startswith("version 1 of coins: The stored bytes of")


def test_the_log_verifies_through_the_api_and_from_its_file(running: Running, understudy: Shell) -> None:
    by_api = understudy("verify", "log", "--json")
    by_file = understudy("verify", "log", "--json", "--file", str(running.home / "var" / "events.db"))

    assert (by_api.code, by_file.code) == (0, 0)
    assert by_api.json["verified"] is True
    assert by_api.json["events"] <= by_file.json["events"]


@pytest.mark.fault(51)
def test_a_log_that_was_changed_is_named_by_the_position_of_the_change(copied: Installation) -> None:
    file = copied.home / "var" / "events.db"
    with closing(sqlite3.connect(file)) as db, db:
        (position,) = db.execute("SELECT min(position) FROM events WHERE kind = 'run.requested'").fetchone()
        db.execute("DROP TRIGGER events_are_never_changed")
        db.execute("UPDATE events SET data = replace(data, 'first', 'later') WHERE position = ?", (position,))
    understudy = Shell(copied.environment)

    said, read = (understudy("verify", "log", "--file", str(file), *more) for more in ([], ["--json"]))

    assert (said.code, read.code) == (1, 1)
    assert read.json["broken_at"] == position
    assert f"was changed at event {position}" in said.out


@pytest.mark.fault(51)
def test_where_the_api_no_longer_trusts_its_log_it_says_so_and_verify_reads_the_file(copied: Installation) -> None:
    copied.start_api()
    with closing(sqlite3.connect(copied.home / "var" / "events.db")) as db, db:
        db.execute("DROP TRIGGER events_are_never_changed")
        db.execute("UPDATE events SET data = replace(data, 'coins', 'cones') WHERE position = 2")
        db.execute("UPDATE events SET hash = 'f' WHERE position = (SELECT max(position) FROM events)")
    understudy = Shell(copied.environment)
    wait(lambda: not requests.get(f"{copied.url}/ready", timeout=10).ok, 30)

    status, log = understudy("status"), understudy("verify", "log", "--json")
    checks = {check["name"]: check for check in understudy("doctor", "--json").json["checks"]}

    assert status.code == 1
    assert "as it was read" in status.problem
    assert "as it was read" in checks["API"]["found"]
    assert checks["log"]["found"] == "The event log was changed at event 2."
    assert log.code == 1
    assert log.json["broken_at"] == 2


def test_a_verdict_verifies(understudy: Shell) -> None:
    said = understudy("verify", "verdict", "coins", "1")

    assert (said.code, said.problem) == (0, "")
    assert "is what its evidence says" in said.out


def test_a_verdict_that_its_evidence_does_not_give_is_named_though_the_log_verifies(copied: Installation) -> None:
    rewrite(copied.home / "var" / "events.db", "version.judged", forged)
    copied.start_api()
    understudy = Shell(copied.environment)

    log, verdict = understudy("verify", "log"), understudy("verify", "verdict", "coins", "1")

    assert log.code == 0
    assert verdict.code == 1
    assert re.search(r"The log says comparison\.p 1e-09, and the evidence [0-9.e-]+", verdict.out)


def test_evidence_that_was_edited_in_the_store_is_named(copied: Installation) -> None:
    copied.start_api()
    items = requests.get(f"{copied.url}/events?limit=1000", timeout=10).json()["items"]
    evidence = next(item["data"]["evidence"] for item in items if item["kind"] == "version.judged")
    blob = copied.home / "api" / "prod_models" / "sha256" / evidence[:2] / evidence
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes().replace(b"0.9", b"0.8", 1))

    said = Shell(copied.environment)("verify", "verdict", "coins", "1")

    assert said.code == 1
    assert "The stored bytes of" in said.out


def test_a_run_trained_again_gives_the_same_bytes(understudy: Shell) -> None:
    said = understudy("verify", "run", "coins-1")

    assert (said.code, said.problem) == (0, "")
    assert "Run coins-1 gives the same bytes again" in said.out


def test_a_bundle_that_was_edited_in_the_store_is_named(copied: Installation) -> None:
    (digest,) = registered(copied.home)
    copied.start_api()
    blob = copied.home / "api" / "prod_models" / "sha256" / digest[:2] / digest
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1])

    said = Shell(copied.environment)("verify", "run", "coins-1")

    assert said.code == 1
    assert "The bundle of version 1: The stored bytes of" in said.out


@pytest.mark.parametrize(("tampered", "part"), [("metrics", "manifest.json: metrics"), ("golden", "golden.json")])
def test_a_registered_bundle_that_its_run_did_not_give_is_named_by_its_first_differing_part(
    copied: Installation, tampered: str, part: str
) -> None:
    copied.start_api()
    store = FolderStore(copied.home / "api" / "prod_models")
    (digest,) = registered(copied.home)
    run = hand_in(copied, store.put(edited(store.get(digest), digest, tampered)))

    said = Shell(copied.environment)("verify", "run", run)

    assert said.code == 1
    assert f"they differ in {part}" in said.out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["status"], 3),
        (["promote", "coins", "1"], 3),
        (["verify", "log"], 3),
        (["status", "--loud"], 2),
        (["dance"], 2),
    ],
    ids=str,
)
def test_exit_codes_tell_a_silent_api_from_a_wrong_word(copied: Installation, arguments: list[str], code: int) -> None:
    said = Shell(copied.environment)(*arguments)

    assert said.code == code
    assert said.out == ""


def test_a_setting_that_is_wrong_is_said_in_two_lines(tmp_path: Path) -> None:
    said = Shell({**os.environ, "UNDERSTUDY_HOME": str(tmp_path), "UNDERSTUDY_API_PORTS": "1"})("status")

    assert said.code == 2
    assert said.problem == "understudy: UNDERSTUDY_API_PORTS is no setting.\nSee the settings table in README.md.\n"


def test_an_operator_without_a_token_is_told_where_it_comes_from(tmp_path: Path) -> None:
    said = Shell({**os.environ, "UNDERSTUDY_HOME": str(tmp_path)})("token")

    assert said.code == 1
    assert said.problem.startswith("understudy: There is no operator.token that could be read.\n")


def test_help_documents_the_exit_codes(understudy: Shell) -> None:
    said = understudy("--help")

    assert said.code == 0
    assert "3 the API cannot be reached" in " ".join(said.out.split())


def test_a_definition_without_faults_passes_its_check_and_what_it_prints_is_no_part_of_the_answer(
    tmp_path: Path,
) -> None:
    file = models(tmp_path / "models") / "coins.py"
    file.write_text('print("hello from the definition")\n' + DEFINITION)

    said = Shell(dict(os.environ))("check", str(file), "--json")

    assert (said.code, said.json) == (0, {"file": str(file), "ok": True, "complaints": []})
    assert "hello from the definition" in said.problem


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('target="heads"', 'target="tails"', "The source gives no column `tails`, the model's target."),
        ("LogisticRegression()", "LogisticRegression(C=-1)", "The estimator cannot learn from these rows"),
        ("model = ", "modell = ", "calls its model `modell`"),
    ],
    ids=["column", "estimator", "name"],
)
def test_a_check_says_in_plain_words_what_is_wrong(tmp_path: Path, old: str, new: str, words: str) -> None:
    file = models(tmp_path / "models") / "coins.py"
    file.write_text(DEFINITION.replace(old, new))

    said = Shell(dict(os.environ))("check", str(file))

    assert said.code == 1
    assert said.out.startswith("Wrong: ")
    assert words in said.out
    assert "can be trained" not in said.out


def test_run_says_that_its_port_is_taken(running: Running, tmp_path: Path) -> None:
    said = Shell({**running.environment, "UNDERSTUDY_HOME": str(tmp_path)})("run")

    assert said.code == 1
    assert said.problem.startswith(f"understudy: Port {running.port} of 127.0.0.1 is taken.\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_run_ends_with_both_services_when_it_is_told_to(tmp_path: Path, number: signal.Signals) -> None:
    running = Running(tmp_path / "home", models(tmp_path / "models"))
    running.until_said("Ctrl-C stops both.")
    children = running.children()

    running.process.send_signal(number)
    said = running.ended()

    assert said.code == 0
    assert len(children) == 2
    assert [pid for pid in children if alive(pid)] == []


@pytest.mark.parametrize(("killed", "name"), [(0, "API"), (1, "scheduler")], ids=["api", "scheduler"])
def test_run_stops_the_other_service_when_one_dies(tmp_path: Path, killed: int, name: str) -> None:
    running = Running(tmp_path / "home", models(tmp_path / "models"))
    running.until_said("Ctrl-C stops both.")
    children = running.children()

    os.kill(children[killed], signal.SIGKILL)
    said = running.ended()

    assert said.code == 1
    assert f"understudy: The {name} ended by itself (killed by SIGKILL), so everything is stopped." in said.problem
    assert [pid for pid in children if alive(pid)] == []


def test_run_starts_an_api_again_that_a_model_has_crashed(tmp_path: Path) -> None:
    running = Running(tmp_path / "home", models(tmp_path / "models"))
    running.until_said("Ctrl-C stops both.")
    api, scheduler = running.children()

    os.kill(api, signal.SIGSEGV)
    running.until_said("The API has ended (killed by SIGSEGV) and is started again")
    now = running.children()
    running.process.send_signal(signal.SIGTERM)

    assert running.ended().code == 0
    assert scheduler in now
    assert api not in now


@pytest.mark.fault(87)
def test_run_says_so_when_a_service_cannot_even_start(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "var").mkdir(parents=True)
    (home / "var" / "client.token").write_text("short")
    running = Running(home, models(tmp_path / "models"))

    said = running.ended()

    assert said.code == 1
    assert "client.token holds fewer than 32 characters." in said.problem
    assert "The API ended by itself (exit code 2)" in said.problem


def registered(home: Path) -> list[str]:
    """Digests of the bundles that version 1 of each model is."""
    with closing(sqlite3.connect(home / "var" / "events.db")) as db:
        rows = db.execute("SELECT data FROM events WHERE kind = 'version.registered' ORDER BY position LIMIT 1")
        return [json.loads(data)["digest"] for (data,) in rows]


def largest_blob(home: Path) -> Path:
    blobs = (home / "api" / "prod_models" / "sha256").glob("*/*")
    return max(blobs, key=lambda path: path.stat().st_size)


def forged(data: dict[str, Any]) -> None:
    data["verdict"]["comparison"]["p"] = 1e-09


def rewrite(file: Path, kind: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the first event of a kind, and chain everything anew: what somebody does who knows how."""
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("DROP TRIGGER events_are_never_changed")
        rows = db.execute("SELECT position, time, kind, schema, data FROM events ORDER BY position").fetchall()
        first = next(position for position, _, found, _, _ in rows if found == kind)
        before = GENESIS
        for position, at, found, schema, data in rows:
            if position == first:
                fields = json.loads(data)
                change(fields)
                data = canonical_json(fields).decode()
            before = chain(before, position=position, time=at, kind=found, schema=schema, data=data)
            db.execute("UPDATE events SET data = ?, hash = ? WHERE position = ?", (data, before, position))


def edited(data: bytes, digest: str, what: str) -> bytes:
    """A whole bundle that says something else: better metrics, or golden answers to fit another model."""
    parts = unpack(data, digest=digest)
    manifest = json.loads(json.dumps(parts.manifest))
    golden = parts.golden
    if what == "metrics":
        manifest["metrics"]["log_loss"] = 0.001
    else:
        golden = Golden(golden.rows, golden.predictions, [[0.5, 0.5] for _ in golden.rows], golden.scale)
    return pack(manifest, golden, parts.forms)


def hand_in(installed: Installation, digest: str) -> str:
    """As a dishonest scheduler: claim a run, register a bundle that it did not give, and report honest inputs."""
    honest = requests.get(f"{installed.url}/runs/coins-1", timeout=10).json()["result"]

    def post(path: str, body: dict[str, Any], role: str = "scheduler") -> Any:
        answer = requests.post(installed.url + path, json=body, headers=installed.token(role), timeout=60)
        assert answer.ok, answer.text
        return answer.json()

    post("/job/train", {"model_name": "coins"}, role="operator")
    claimed = post("/runs/claim", {"claimant": "test"})
    run, token = claimed["run"]["id"], claimed["token"]
    post("/models/coins/versions", {"digest": digest, "run": run, "token": token})
    post(f"/runs/{run}/finish", {"token": token, "outcome": "refused", "reason": "", "result": honest})
    return str(run)
