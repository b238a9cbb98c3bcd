"""What the documents show is what happens: links lead somewhere, and the sessions of README.md are typed again.

A session is a block marked `console`. Lines that begin with `$` are commands, what follows is their output. Numbers,
times and digests differ from run to run; names, members and sentences do not. `…` stands for what is left out.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import need
from tests.services import Installation, installation

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FIRST_MODEL_WITHIN_S = 150
STABLE = frozenset({"how", "kind", "name", "title"})
"""Members whose values are the same each time."""


def sections(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def sessions() -> Iterator[tuple[str, str]]:
    """Each command of the README with the output that stands below it, in order."""
    for block in sections("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def typed(command: str, installed: Installation) -> str:
    """What a command answers on this installation; a refusal has an output too."""
    while inner := re.search(r"\$\(([^()]*)\)", command):
        command = command.replace(inner.group(), typed(inner.group(1), installed).strip())
    programs = {
        ".venv/bin/understudy": [sys.executable, "-m", "understudy.adapters.cli"],
        ".venv/bin/python": [sys.executable],
        "curl": ["curl", "--silent", "--show-error"],
    }
    first, *rest = shlex.split(command.replace("localhost:8000", f"localhost:{installed.port}"))
    done = subprocess.run(
        [*programs.get(first, [first]), *rest],
        cwd=installed.home,
        env={**installed.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def names(output: str) -> list[str]:
    """What an output gives a name to, as later commands write it: a prediction, the version of a training."""
    return re.findall(r'"prediction_id": ?"(\w+)"', output) + re.findall(r"Its version is (\d+)\.", output)


def renamed(command: str, here: dict[str, str]) -> str:
    """A command with what is named otherwise on this installation: a slot that came first has made versions too."""
    return re.sub(r"(?<=\brain )\d+|\w{20,}", lambda word: here.get(word[0], word[0]), command)


def differences(shown: str, found: str) -> list[str]:
    """In what an output is not like the one that is shown, as sentences."""
    try:
        value = json.loads(found)
    except ValueError:
        begins = {first_word(line) for line in found.splitlines()}
        return [f"no line begins as: {line}" for line in shown.splitlines() if first_word(line) not in begins | {"…"}]
    return [*unlike(json.loads(completed(shown)), value, "answer")]


def first_word(line: str) -> str:
    return re.sub(r"\d+", "#", (line.split() or [""])[0])


def completed(shown: str) -> str:
    """JSON from what is shown of it: `…` on a line of its own, and in brackets, becomes a value."""
    text, open_brackets = [], list[str]()
    for line in re.sub(r"[{\[]…[}\]]", '"…"', shown).splitlines():
        if line.strip().rstrip(",") == "…":
            line = line.replace("…", '"…": "…"' if open_brackets[-1] == "{" else '"…"')
        text.append(line)
        for bracket in re.findall(r"[{}\[\]]", re.sub(r'"(?:[^"\\]|\\.)*"', "", line)):
            open_brackets.append(bracket) if bracket in "{[" else open_brackets.pop()
    return "\n".join(text)


def unlike(shown: Any, found: Any, place: str) -> Iterator[str]:
    if shown in ("…", None) or found is None:
        return
    if isinstance(shown, dict) and isinstance(found, dict):
        missing = shown.keys() - found.keys() - {"…"}
        more = set() if "…" in shown else found.keys() - shown.keys()
        yield from (f"{place}.{name} is {'gone' if name in missing else 'new'}" for name in sorted(missing | more))
        for name in shown.keys() & found.keys():
            yield from unlike(shown[name], found[name], f"{place}.{name}")
    elif isinstance(shown, list) and isinstance(found, list):
        if "…" not in shown and len(shown) != len(found):
            yield f"{place} has {len(found)} items, not {len(shown)}"
        for number, (one, other) in enumerate(zip(shown, found, strict=False)):
            yield from unlike(one, other, f"{place}[{number}]")
    elif kind_of(shown) != kind_of(found) or (shown != found and place.rpartition(".")[2] in STABLE):
        yield f"{place} is {found!r}, not {shown!r}"


def kind_of(value: object) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def wait_for_a_model(installed: Installation) -> None:
    until = time.monotonic() + FIRST_MODEL_WITHIN_S
    while requests.get(f"{installed.url}/current_model", timeout=10).status_code != 200:
        assert time.monotonic() < until, installed.home.joinpath("scheduled_task.scheduler_service.out").read_text()
        time.sleep(0.2)


@pytest.mark.timeout(600)
def test_each_session_of_the_readme_goes_as_it_is_shown(tmp_path: Path) -> None:
    need(shutil.which("curl") is not None, "the README's first five minutes are typed with curl")
    with installation(tmp_path, UNDERSTUDY_MODELS_DIR=str(ROOT / "models")) as installed:
        installed.start_api()
        installed.start("scheduled_task.scheduler_service")
        wait_for_a_model(installed)

        wrong, here = dict[str, list[str]](), dict[str, str]()
        for command, shown in sessions():
            found = typed(renamed(command, here), installed)
            wrong[command] = differences(shown, found)
            here |= zip(names(shown), names(found), strict=False)

    assert {command: found for command, found in wrong.items() if found} == {}


def test_the_model_of_the_readme_is_one_that_can_be_trained(tmp_path: Path) -> None:
    (example,) = [block for block in sections("python") if block.startswith("# models/")]
    file = tmp_path / example.splitlines()[0].removeprefix("# ")
    shutil.copytree(ROOT / "models", file.parent, ignore=shutil.ignore_patterns("__pycache__"))
    file.write_text(example)

    done = subprocess.run(
        [sys.executable, "-m", "understudy.adapters.cli", "check", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())

    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        ('{"version": "1"}', '{"version": 1}'),
        ('{"version": "1"}', "{}"),
        ("{}", '{"version": "1"}'),
        ('{"kind": "version.promoted"}', '{"kind": "version.baked"}'),
        ('{"gates": [{"name": "data"}]}', '{"gates": []}'),
        ('{"gates": [{"name": "data"}]}', '{"gates": [{"name": "api"}]}'),
        ('{\n"version": "1",\n…\n}', '{"model": "rain"}'),
        ("Version 1 serves", "Nothing serves"),
    ],
)
def test_an_output_that_has_changed_would_be_noticed(shown: str, found: str) -> None:
    assert differences(shown, found)


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        ('{"version": "1", "loss": 0.5}', '{"version": "2", "loss": 1}'),
        ('{\n"version": "1",\n…\n}', '{"version": "1", "model": "rain"}'),
        ('{"signature": {…}}', '{"signature": {"columns": []}}'),
        ('{"gates": [\n{"name": "data"},\n…\n]}', '{"gates": [{"name": "data"}, {"name": "api"}]}'),
        ("38 events follow\n…", "41 events follow\nand more"),
    ],
)
def test_an_output_may_differ_in_what_changes_from_run_to_run(shown: str, found: str) -> None:
    assert differences(shown, found) == []
