"""docs/glossary.md is the referee of words: what it names is there."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from understudy.events import KINDS

GLOSSARY = (Path(__file__).parents[2] / "docs" / "glossary.md").read_text()
NAMES = sorted(set(re.findall(r"`((?:understudy|api|scheduled_task|models)\.[\w.]+)`", GLOSSARY)))


def find(name: str) -> object:
    """The module, or what a module holds, that a dotted name means. Raises ImportError or AttributeError."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        module = ".".join(parts[:end])
        try:
            found: object = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not module.startswith(error.name):
                raise  # something that the module needs is missing, not the module
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ImportError(name)


@pytest.fixture(autouse=True)
def _our_own_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that loaded definitions from a folder of its own leaves that folder's `models` behind."""
    for name in [name for name in sys.modules if name.split(".")[0] == "models"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_glossary_names_is_there(name: str) -> None:
    assert find(name) is not None


@pytest.mark.parametrize("name", ["understudy.nowhere", "understudy.events.VersionBaked", "nowhere.at.all"])
def test_a_name_that_is_gone_would_be_noticed(name: str) -> None:
    with pytest.raises((ImportError, AttributeError)):
        find(name)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_event_uses_words_of_the_glossary(kind: str) -> None:
    noun = kind.split(".")[0].removesuffix("s")

    assert re.search(rf"^\| [\w, ]*\b{noun}s?\b", GLOSSARY, re.MULTILINE), f"no word of the glossary is {noun}"
