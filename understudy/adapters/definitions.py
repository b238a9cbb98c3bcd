"""Model definitions: files of Python under one folder, which they know as the package `models`.

Loading a file runs it, and nothing else: no source is asked, no byte code is read or written. What ran is remembered as
text, its helpers included, so that a run can be repeated with the very same definition (`write_sources`). So a process
loads a definition as the only one that it works for; the text of an earlier load does not change any more.
"""

import json
import sys
import traceback
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import decode_source, spec_from_file_location
from pathlib import Path, PurePosixPath

from understudy.errors import BadDefinition, NotFound, UnderstudyError
from understudy.model import Model

PACKAGE = "models"


@dataclass(frozen=True, eq=False)
class Definition:
    """A model, and all the text that made it."""

    model: Model
    file: str
    """Name of its file in the folder."""
    sources: Mapping[str, str]
    """Path below the folder -> text: its own file, and every helper that was imported."""

    def source_bytes(self) -> bytes:
        """The text as the store keeps it: the same files give the same bytes."""
        return json.dumps(dict(self.sources), sort_keys=True, ensure_ascii=False).encode()


@dataclass(frozen=True)
class Problem:
    """A file that could not be loaded."""

    file: str
    error: BadDefinition


@dataclass(frozen=True, eq=False)
class Loaded:
    """Every model of a folder, by name; and the files that are broken, which never hide the others."""

    definitions: Mapping[str, Definition]
    problems: tuple[Problem, ...]


def load(path: Path) -> Definition:
    """Load one definition. Raises BadDefinition, with the line, for a file that defines no model or does not load."""
    definition = _load(path.absolute())
    if definition is None:
        raise BadDefinition(
            f"`{path.name}` defines no `model`.",
            remedy="Write `model = Model(...)`. A file without one is a helper, for definitions to import.",
        )
    return definition


def load_all(folder: Path) -> Loaded:
    """Load every file directly in a folder. Raises BadDefinition only where there is no such folder."""
    if not folder.is_dir():
        raise BadDefinition("There is no folder of model definitions.", remedy="Set UNDERSTUDY_MODELS_DIR to one.")
    found, problems = [], []
    for path in sorted(folder.absolute().glob("*.py")):
        try:
            found.append(_load(path))
        except BadDefinition as error:
            problems.append(Problem(path.name, error))
    definitions: dict[str, Definition] = {}
    # A copy that still has the name of its original must not take its place: the file named like the model keeps it.
    for definition in sorted(filter(None, found), key=lambda one: one.file != f"{one.model.name}.py"):
        try:
            _refuse_second(definition, definitions)
            definitions[definition.model.name] = definition
        except BadDefinition as error:
            problems.append(Problem(definition.file, error))
    return Loaded(dict(sorted(definitions.items())), tuple(problems))


def load_named(folder: Path, name: str) -> Definition:
    """Load the model of that name. Raises NotFound; or BadDefinition, where a file is broken that might hold it."""
    loaded = load_all(folder)
    if name in loaded.definitions:
        return loaded.definitions[name]
    if loaded.problems:
        raise loaded.problems[0].error
    raise NotFound(f"No file defines a model `{name[:60]}`.", remedy="See which there are: `understudy status`.")


def write_sources(data: bytes, folder: Path) -> None:
    """Write what `source_bytes` kept below `folder`; `load_named` loads it from there. Raises BadDefinition."""
    try:
        sources = json.loads(data)
        places = {_place(name): str(text) for name, text in sources.items()}
    except (ValueError, AttributeError) as error:
        raise BadDefinition("This is no source of a definition.", remedy="Give what the store keeps.") from error
    for place, text in places.items():
        file = folder / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="")


def _place(name: str) -> PurePosixPath:
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or "\\" in name or place.suffix != ".py":
        raise ValueError("a path that leads elsewhere")
    return place


def _load(path: Path) -> Definition | None:
    """Run one file as a module of the package; None where it defines no model."""
    folder, name = path.parent, f"{PACKAGE}.{path.stem}"
    sources: dict[str, str] = {}
    if not path.is_file():
        raise BadDefinition(f"There is no file `{path.name}`.", remedy="Check the path.")
    finder = _Finder(folder, sources)
    _forget()
    sys.meta_path.insert(0, finder)
    try:
        module = import_module(name)
    except (Exception, SystemExit) as error:
        raise _explained(error, path) from error
    finally:
        sys.meta_path.remove(finder)
    model = _model_of(module, path.name)
    return None if model is None else Definition(model, path.name, types.MappingProxyType(sources))


def _forget() -> None:
    """Drop what an earlier load left, so that every helper runs again, and is remembered again."""
    for name in [name for name in sys.modules if name == PACKAGE or name.startswith(f"{PACKAGE}.")]:
        del sys.modules[name]


class _Loader(SourceFileLoader):
    """Remembers the text of what it runs. Neither reads nor writes byte code, which can be staler than it looks."""

    def __init__(self, folder: Path, sources: dict[str, str], name: str, path: str) -> None:
        super().__init__(name, path)
        self._folder, self._sources = folder, sources

    def get_code(self, fullname: str) -> types.CodeType:
        data = self.get_data(self.path)
        code: types.CodeType = self.source_to_code(data, self.path)
        self._sources[Path(self.path).relative_to(self._folder).as_posix()] = decode_source(data)
        return code


class _Finder:
    """Finds the package `models` in one folder, whatever that folder's name."""

    def __init__(self, folder: Path, sources: dict[str, str]) -> None:
        self._folder, self._sources = folder, sources

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == PACKAGE:
            return self._spec(name, self._folder / "__init__.py") or self._package_without_init()
        if not name.startswith(f"{PACKAGE}."):
            return None
        tail = name.rpartition(".")[2]
        places = [Path(entry) / end for entry in path or () for end in (f"{tail}.py", f"{tail}/__init__.py")]
        return next(filter(None, (self._spec(name, place) for place in places)), None)

    def _spec(self, name: str, file: Path) -> ModuleSpec | None:
        if not file.is_file():
            return None
        loader = _Loader(self._folder, self._sources, name, str(file))
        return spec_from_file_location(name, file, loader=loader)

    def _package_without_init(self) -> ModuleSpec:
        spec = ModuleSpec(PACKAGE, None, is_package=True)
        spec.submodule_search_locations = [str(self._folder)]
        return spec


def _model_of(module: types.ModuleType, file: str) -> Model | None:
    model = getattr(module, "model", None)
    if isinstance(model, Model):
        return model
    if model is not None and not isinstance(model, types.ModuleType):
        raise BadDefinition(
            f"`model` in `{file}` is a {type(model).__name__}.",
            remedy="Write `model = Model(...)`, with understudy's Model.",
        )
    imported = {id(vars(other).get("model")) for name, other in sys.modules.items() if name.startswith(f"{PACKAGE}.")}
    for name, value in vars(module).items():
        if isinstance(value, Model) and id(value) not in imported:
            raise BadDefinition(
                f"`{file}` calls its model `{name}`.", remedy="Call it `model`: that is what is looked for."
            )
    return None


def _refuse_second(definition: Definition, known: Mapping[str, Definition]) -> None:
    name = definition.model.name
    if name in known:
        raise BadDefinition(
            f"`{definition.file}` defines a second model `{name}`; the first is in `{known[name].file}`.",
            remedy="Give each model a name of its own.",
        )


def _explained(error: BaseException, path: Path) -> BadDefinition:
    """What went wrong, where in the user's own files, and what to do."""
    if isinstance(error, UnderstudyError):
        return BadDefinition(f"{_where(error, path)}: {error.problem}", remedy=error.remedy)
    words = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())[:300]
    problem = f"{_where(error, path)}: {type(error).__name__}{': ' if words else ''}{words.rstrip('.')}."
    return BadDefinition(problem, remedy=_remedy(error, path.parent))


def _where(error: BaseException, path: Path) -> str:
    """`rain.py, line 7`: the innermost line that is the user's."""
    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        lines.append((error.filename, error.lineno))
    own = [(Path(file), line) for file, line in lines if Path(file).is_relative_to(path.parent)]
    file, line = own[-1] if own else (path, None)
    return f"`{file.relative_to(path.parent).as_posix()}`" + (f", line {line}" if line else "")


def _remedy(error: BaseException, folder: Path) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        if (folder / f"{error.name}.py").exists():
            return f"Write `from {PACKAGE}.{error.name} import …`: the folder is the package `{PACKAGE}`."
        if error.name.startswith(f"{PACKAGE}."):
            return f"Put `{error.name.removeprefix(f'{PACKAGE}.')}.py` into the folder, or correct the name."
        return f"Install what provides `{error.name.split('.')[0]}` into the environment of the scheduler."
    if isinstance(error, SystemExit):
        return "A definition describes a model and is then left alone: take the call that exits out of it."
    return "Correct that line; `understudy check` says when the file is right."
