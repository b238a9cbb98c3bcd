"""Secrets are planted in tokens, variables, paths and errors; then everything that anybody may read is searched."""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from scheduled_task.tests.given import DEFINITION, stream
from tests.services import Installation, installation
from tests.workers import wait_for

SCHEDULER = "scheduled_task.scheduler_service"
TOKENS = {role: f"c4nary-{role}-" + "t" * 32 for role in ("operator", "scheduler", "client")}
VARIABLE, PASSWORD, FOLDER = "c4nary-variable", "c4nary-password", "c4nary-folder"

QUOTES = f"could not connect to postgresql://me:{PASSWORD}@db.example:5432/sales (password={PASSWORD})"

SOURCE = """
class Unreachable:
    def get_dataframe(self, as_of):
        {what}

model = Model("""

#: A source that cannot be reached, and says with what it tried; a file that fails as it is read; one that dies talking.
REACHES = DEFINITION.replace('source=Csv("rows.csv", time="at")', "source=Unreachable()")
UNREACHABLE = REACHES.replace('"stream"', '"unreachable"').replace(
    "model = Model(", SOURCE.format(what=f"raise ConnectionError({QUOTES!r})")
)
BROKEN = f"raise RuntimeError({QUOTES!r})"
DYING = REACHES.replace('"stream"', '"dying"').replace(
    "model = Model(", SOURCE.format(what=f"import os; print({QUOTES!r}, flush=True); os._exit(3)")
)

pytestmark = pytest.mark.timeout(300)


@dataclass
class Watch:
    """The command lines and environments of all that two services have started."""

    seen: dict[str, str] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def look(self, parents: list[int]) -> None:
        while not self.stop.wait(0.02):
            for pid in descendants(parents):
                try:
                    command, variables = (Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
                except OSError:
                    continue  # it has ended
                said = command.replace(b"\0", b" ").decode(errors="replace")
                self.seen[said] = variables.replace(b"\0", b"\n").decode(errors="replace")


def descendants(parents: list[int]) -> Iterator[int]:
    for parent in parents:
        try:
            tasks = [path.read_text().split() for path in Path(f"/proc/{parent}/task").glob("*/children")]
        except OSError:
            continue
        children = [int(child) for task in tasks for child in task]
        yield from children
        yield from descendants(children)


@contextmanager
def watched(installed: Installation) -> Iterator[Watch]:
    watch = Watch()
    thread = threading.Thread(target=watch.look, args=([process.pid for process in installed.processes.values()],))
    thread.start()
    try:
        yield watch
    finally:
        watch.stop.set()
        thread.join()


@dataclass(frozen=True)
class Found:
    """What was left by an installation that has worked, and what it answered."""

    home: Path
    answers: dict[str, str]
    watch: Watch


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Both services, three models of which two fail talking, and every answer that could be got."""
    home = tmp_path_factory.mktemp("base") / FOLDER
    models = home / "models"
    models.mkdir(parents=True)
    for name, text in {"stream": DEFINITION, "unreachable": UNREACHABLE, "broken": BROKEN, "dying": DYING}.items():
        (models / f"{name}.py").write_text(text.replace("minutes=1", "days=300"))
    stream(400).to_csv(models / "rows.csv", index=False)
    settings = {f"UNDERSTUDY_{role.upper()}_TOKEN": token for role, token in TOKENS.items()}
    with installation(home, UNDERSTUDY_DEFAULT_MODEL="stream", SOURCE_SECRET=VARIABLE, **settings) as installed:
        installed.start_api()
        installed.start(SCHEDULER)
        with watched(installed) as watch:
            wait_for(lambda: installed.get("/current_model").status_code == 200, "a first champion")
            wait_for(lambda: "unreachable" in failed(installed), "a run whose source fails")
            wait_for(lambda: "dying" in failed(installed), "a run that dies")
            answers = dict(everything(installed))
            time.sleep(0.3)  # for the records
    return Found(home, answers, watch)


def failed(installed: Installation) -> set[str]:
    return {run["model"] for run in installed.get("/runs").json()["items"] if run["state"] == "failed"}


def everything(installed: Installation) -> Iterator[tuple[str, str]]:
    """Each page with each role, and the answers to what nobody should send."""
    schema = installed.get("/openapi.json").json()
    names = {"{model}": "stream", "{version}": "1", "{run}": "unreachable-1", "{id}": "0" * 25, "{row}": "0"}
    pages = {
        re.sub(r"{\w+}", lambda name: names[name[0]], path) for path, ways in schema["paths"].items() if "get" in ways
    }
    pages |= {"/", "/docs", "/openapi.json", "/events?limit=1000", "/runs?limit=1000", "/metrics", "/runs/dying-1"}
    for page in sorted(pages - {"/models/stream/versions/1/artifact"}):
        for role in TOKENS:
            answer = installed.get(page, headers={"Authorization": f"Bearer {TOKENS[role]}"})
            yield f"{role} {page}", answer.text + str(answer.headers)
    for path, ways in schema["paths"].items():
        url = re.sub(r"{\w+}", lambda name: names[name[0]], path)
        for way in ways:
            for body in NONSENSE:
                headers = {"Authorization": f"Bearer {TOKENS['operator']}", "Content-Type": "application/json"}
                answer = requests.request(way, installed.url + url, data=body, headers=headers, timeout=60)
                yield f"{way} {url} {body[:20]!r}", answer.text + str(answer.headers)
    for header in ("Bearer wrong" * 9, "Basic b3BlcmF0b3I6eA==", f"Bearer {TOKENS['operator']}x", "\xff"):
        answer = installed.get("/models", headers={"Authorization": header.encode("latin-1")})
        yield f"as {header[:20]}", answer.text + str(answer.headers)


NONSENSE: list[bytes] = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"{}",
    b'{"x": NaN}',
    b'{"model_name": 1}',
    b"\xff\xfe",
    b"[" * 5000,
]
NONSENSE += [
    json.dumps(dict.fromkeys(["model_name", "model_version_id", "reason", "evidence", "digest"], "0")).encode()
]


def holders(texts: dict[str, str], *secrets: str) -> list[str]:
    return [name for name, text in texts.items() for secret in secrets if secret in text]


def files(found: Found, *folders: str) -> dict[str, str]:
    paths = [path for folder in folders for path in (found.home / folder).rglob("*") if path.is_file()]
    return {str(path): path.read_bytes().decode("latin-1") for path in paths}


def test_it_was_worth_searching(found: Found) -> None:
    reasons = found.answers["operator /runs?limit=1000"]
    commands = " ".join(found.watch.seen)

    assert len(found.answers) > 200
    assert "could not connect to postgresql://me:…@db.example" in reasons
    assert "trial_child" in commands
    assert "scheduled_task.train" in commands
    assert "scheduled_task.describe" in commands


def test_no_answer_holds_a_token_a_variable_a_password_or_a_path(found: Found) -> None:
    assert holders(found.answers, *TOKENS.values(), VARIABLE, PASSWORD, FOLDER, "Traceback", "site-packages") == []


def test_no_log_and_no_line_that_was_printed_holds_a_secret(found: Found) -> None:
    printed = {path.name: path.read_text() for path in found.home.glob("*.out")}

    assert holders(files(found, "logs") | printed, *TOKENS.values(), VARIABLE, PASSWORD) == []
    assert any("postgresql://me:" in text for text in files(found, "logs").values())


def test_no_event_no_record_and_no_blob_holds_a_secret(found: Found) -> None:
    """But for the source of a definition, which its author wrote a password into: it is kept as it is."""
    kept = files(found, "var", "api", "scheduled_task", "secrets")

    assert holders(kept, *TOKENS.values(), VARIABLE) == []
    assert all("get_dataframe" in kept[name] or "RuntimeError" in kept[name] for name in holders(kept, PASSWORD))
    assert holders(files(found, "var"), PASSWORD) == []


def test_no_process_is_started_with_a_secret_in_its_command_line(found: Found) -> None:
    assert holders({command: command for command in found.watch.seen}, *TOKENS.values(), VARIABLE, PASSWORD) == []


def test_no_process_that_runs_others_code_or_models_is_given_a_token(found: Found) -> None:
    """A training keeps what it inherits, for its source may need it; a trial is given nothing at all."""
    children = {
        command: given
        for command, given in found.watch.seen.items()
        if "scheduled_task.train" in command or "scheduled_task.describe" in command
    }
    trials = {command: given for command, given in found.watch.seen.items() if "trial_child" in command}

    assert children
    assert holders(children | trials, *TOKENS.values(), "UNDERSTUDY_OPERATOR") == []
    assert trials
    assert holders(trials, VARIABLE, FOLDER) == []
