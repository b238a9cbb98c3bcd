"""What is installed is what was tried: the files of pins against each other and against pyproject.toml."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(name: str) -> dict[str, str]:
    """Package to version, from lines `package==version ; marker`."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith(("#", "--only"))]
    return dict(line.split(" ")[0].split("==") for line in lines)


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=,; ]", requirement)[0] for requirement in requirements}


@pytest.mark.parametrize(
    ("file", "requirements"),
    [
        ("requirements.txt", PROJECT["dependencies"]),
        ("requirements-dev.txt", PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]),
    ],
    ids=["run", "dev"],
)
def test_every_package_that_the_project_names_is_pinned(file: str, requirements: list[str]) -> None:
    assert names(requirements) - pins(file).keys() == set()


def test_the_tests_run_with_the_versions_that_people_run_with() -> None:
    assert pins("requirements.txt").items() <= pins("requirements-dev.txt").items()


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_pins_name_no_place_to_install_from(file: str) -> None:
    assert not re.search(r"https?:|file:|index-url|find-links|\s@\s", (ROOT / file).read_text())
