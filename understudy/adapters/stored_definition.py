"""A definition as it was recorded, loaded again: its text from the store, its data where they have always been.

Where the folder of definitions still says the same, it is loaded from there. Otherwise (it was edited since, or a run
is to be like an older one) the recorded text is written to a folder of its own, with links to everything that stood
around it, so that a relative path leads to the same file as before.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from understudy.adapters import definitions
from understudy.errors import BadDefinition
from understudy.model import Model


def load_stored(source: bytes, name: str, *, folder: Path, scratch: Path) -> Model:
    """The model `name` of a recorded source.

    Args:
        source: what the store keeps.
        folder: the definitions as they are now.
        scratch: an empty folder to write to, where they say something else by now.

    Raises BadDefinition, NotFound.
    """
    for file in _own_files(source, name):
        definition = _load(folder / file)
        if definition is not None and definition.model.name == name and definition.source_bytes() == source:
            return definition.model
    place = scratch / folder.name
    definitions.write_sources(source, place)
    _link(folder, place)
    _link(folder.parent, scratch)
    return definitions.load_named(place, name).model


def _own_files(source: bytes, name: str) -> Iterator[str]:
    """Files that may define the model, the likeliest one first; helpers are among them."""
    try:
        files = [file for file in json.loads(source) if "/" not in file]
    except (ValueError, TypeError) as error:
        raise BadDefinition("This is no source of a definition.", remedy="Define the model again.") from error
    yield from sorted(files, key=lambda file: (file != f"{name}.py", file))


def _load(file: Path) -> definitions.Definition | None:
    try:
        return definitions.load(file) if file.is_file() else None
    except BadDefinition:
        return None  # a helper, or broken since


def _link(origin: Path, copy: Path) -> None:
    """Link into `copy` what lies in `origin` and is no code; where both have a folder, look into it."""
    for there in origin.iterdir() if origin.is_dir() else ():
        here = copy / there.name
        if there.suffix == ".py" or there.name == "__pycache__":
            continue
        if here.is_dir() and not here.is_symlink():
            if there.is_dir():
                _link(there, here)
        elif not here.is_symlink():
            here.symlink_to(there.absolute())
