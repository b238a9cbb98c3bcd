"""The shape of the code, kept by reading its syntax trees: who may import what, and what nobody may do."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = sorted((ROOT / "understudy").glob("*.py"))
SOURCES = sorted(
    path
    for folder in ("understudy", "api", "scheduled_task", "models", "examples", "bench", "tests")
    for path in (ROOT / folder).rglob("*.py")
)

#: The world, which the core leaves to its callers: files, processes, networks, databases, clocks, services.
WORLD = frozenset(
    """
    apscheduler asyncio ctypes fastapi glob http httptools httpx2 io logging multiprocessing obstore onnxruntime
    os pandas pyarrow psycopg random requests secrets select shutil signal sklearn skops socket sqlite3 starlette
    subprocess sys tempfile threading time typer urllib urllib3 uvicorn
    """.split()
)

#: Methods that ask what time it is, or open a file.
WORLDLY = frozenset({"now", "today", "utcnow", "read_text", "read_bytes", "write_text", "write_bytes"})

#: What can execute code that somebody put into bytes.
UNPICKLERS = frozenset({"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"})


def shipped(folder: str) -> list[Path]:
    """The files of a package that an installation runs: its tests may know both services, and forge what they like."""
    return [path for path in sorted((ROOT / folder).rglob("*.py")) if "tests" not in path.parts]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports_of(source: str) -> set[str]:
    """Dotted names of all modules that `source` may import when it runs, wherever in it the import stands."""
    return set(_imports(ast.parse(source)))


def _imports(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
        children: list[ast.AST] = [*node.orelse]
    else:
        children = [*ast.iter_child_nodes(node)]
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        yield from (f"{module}.{alias.name}" for alias in node.names)
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
        yield from (str(arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant))
    for child in children:
        yield from _imports(child)


def roots(source: str) -> set[str]:
    return {name.split(".")[0] for name in imports_of(source)}


def worldly_calls(source: str) -> set[str]:
    """Calls that open something or ask what time it is, as they are written."""
    called = (ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return {name for name in called if name in {"open", "input", "print"} or name.split(".")[-1] in WORLDLY}


def shells(source: str) -> list[str]:
    """Calls that hand a text to a shell, as they are written."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [ast.unparse(call) for call in calls if _is_shell(call)]


def _is_shell(call: ast.Call) -> bool:
    asked = any(
        word.arg == "shell" and not (isinstance(word.value, ast.Constant) and not word.value.value)
        for word in call.keywords
    )
    named = ast.unparse(call.func) in {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
    return asked or named or ast.unparse(call.func).endswith("create_subprocess_shell")


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_a_file_of_the_core_imports_nothing_that_touches_the_world(path: Path) -> None:
    source = path.read_text()

    assert roots(source) & WORLD == set()
    assert not [name for name in imports_of(source) if name.startswith("understudy.adapters")]


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_a_file_of_the_core_opens_nothing_and_asks_no_clock(path: Path) -> None:
    assert worldly_calls(path.read_text()) == set()


@pytest.mark.parametrize(
    ("folder", "foreign"),
    [
        ("understudy", {"api", "scheduled_task", "models", "tests"}),
        ("api", {"scheduled_task", "models"}),
        ("scheduled_task", {"api"}),
    ],
    ids=["understudy", "api", "scheduled_task"],
)
def test_the_packages_import_each_other_in_one_direction_only(folder: str, foreign: set[str]) -> None:
    found = {name_of(path): roots(path.read_text()) & foreign for path in shipped(folder)}

    assert {name: bad for name, bad in found.items() if bad} == {}


def test_nothing_in_the_api_can_unpickle() -> None:
    found = {name_of(path): roots(path.read_text()) & UNPICKLERS for path in shipped("api")}

    assert {name: bad for name, bad in found.items() if bad} == {}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_text_is_ever_handed_to_a_shell(path: Path) -> None:
    assert shells(path.read_text()) == []


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ([f"understudy.{path.stem}" for path in CORE], {"pandas", "sklearn", "requests", "fastapi", "apscheduler"}),
        (["api.main"], {"pandas", "sklearn", "skops", "scipy", "onnx", "joblib", "pyarrow", "apscheduler"}),
    ],
    ids=["core", "api"],
)
def test_importing_it_loads_no_heavy_library(modules: list[str], heavy: set[str]) -> None:
    program = f"import sys, {', '.join(modules)}; print(*sorted({heavy!r} & sys.modules.keys()))"

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [], "")


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "import os.path as p",
        "from os import path",
        "from os.path import join",
        "def late():\n    import os",
        "if not TYPE_CHECKING:\n    import os",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import os",
        "import importlib\nimportlib.import_module('os.path')",
        "__import__('os')",
    ],
)
def test_the_walk_sees_an_import_however_it_is_written(source: str) -> None:
    assert "os" in roots(source)


@pytest.mark.parametrize("guard", ["TYPE_CHECKING", "typing.TYPE_CHECKING"])
def test_the_walk_passes_over_what_only_a_type_checker_imports(guard: str) -> None:
    assert roots(f"if {guard}:\n    import pandas\nimport json") == {"json"}


@pytest.mark.parametrize("source", ["open('x')", "Path('x').read_text()", "datetime.now(UTC)", "date.today()"])
def test_the_walk_sees_what_opens_a_file_or_asks_a_clock(source: str) -> None:
    assert worldly_calls(source)


@pytest.mark.parametrize(
    "source",
    [
        "subprocess.run('ls', shell=True)",
        "run(text, shell=quiet)",
        "os.system('ls')",
        "os.popen('ls')",
        "subprocess.getoutput('ls')",
        "asyncio.create_subprocess_shell('ls')",
    ],
)
def test_the_walk_sees_a_shell_however_it_is_called(source: str) -> None:
    assert shells(source) == [source]


def test_the_walk_lets_a_list_of_arguments_pass() -> None:
    assert shells("subprocess.run(['ls', name], shell=False)") == []
