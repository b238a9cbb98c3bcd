"""The tables of README.md say what the code says."""

import re
from pathlib import Path
from typing import get_args

import pytest

from api.access import ROLES
from understudy.events import Role
from understudy.settings import PREFIX, Settings
from understudy.verdict import Name

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def table(section: str) -> list[list[str]]:
    """The cells of the first table of a section, without its head."""
    text = README.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def shown(default: object) -> str:
    """A default as a person would set it."""
    if default is None or default in ("", ()):
        return "–"
    text = (
        ",".join(default) if isinstance(default, tuple) else f"{default:g}" if isinstance(default, float) else default
    )
    return f"`{text}`"


def test_the_settings_are_those_of_the_code() -> None:
    expected = [
        [f"`{PREFIX}{name.upper()}`", shown(field.default), str(field.description)]
        for name, field in Settings.model_fields.items()
    ]

    lines = "\n".join("| " + " | ".join(row) + " |" for row in expected)
    assert table("Settings") == expected, f"the table should be:\n{lines}"


def test_the_gates_are_those_of_the_code_in_their_order() -> None:
    names = [row[0].strip("`") for row in table("How a candidate becomes champion")]

    assert names == list(get_args(Name))


def test_the_roles_are_those_of_the_code() -> None:
    names = [row[0].strip("`") for row in table("Tokens and roles")]

    assert sorted(names) == sorted(get_args(Role)) == sorted(set[str]().union(*ROLES.values()))


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?\bmake ([a-z]+)\b`?", README)) - {"sure"}))
def test_every_make_target_of_the_readme_exists(target: str) -> None:
    assert re.search(rf"^{target}:.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
