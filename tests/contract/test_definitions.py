"""Definitions: loaded from any folder, remembered with every helper, and explained where they are wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from understudy.adapters.definitions import load, load_all, load_named, write_sources
from understudy.errors import BadDefinition, NotFound

RAIN = """
from sklearn.dummy import DummyClassifier
from understudy import Model
from models.weather import Station

model = Model(name="rain", source=Station(), target="rain", estimator=DummyClassifier())
"""

WEATHER = """
from models.units import DEGREES

class Station:
    def get_dataframe(self, as_of):
        raise AssertionError("loading a definition asks no source")
"""


def folder_with(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder that is not called `models`."""
    return folder_with(tmp_path / "my_models", rain=RAIN, weather=WEATHER, units="DEGREES = 'F'\n", unused="x = 1\n")


def test_a_definition_is_loaded_with_the_text_of_every_helper_it_imports(models: Path) -> None:
    definition = load(models / "rain.py")

    assert definition.model.name == "rain"
    assert definition.file == "rain.py"
    assert definition.sources == {"rain.py": RAIN, "weather.py": WEATHER, "units.py": "DEGREES = 'F'\n"}


def test_files_without_a_model_are_helpers(models: Path) -> None:
    loaded = load_all(models)

    assert list(loaded.definitions) == ["rain"]
    assert loaded.problems == ()


def test_one_bad_file_never_hides_the_others(models: Path) -> None:
    folder_with(models, broken="import sys\nsys.exit('bye')\n", wrong="model = 5\n", typo="model = \n")

    loaded = load_all(models)

    assert list(loaded.definitions) == ["rain"]
    assert [problem.file for problem in loaded.problems] == ["broken.py", "typo.py", "wrong.py"]


def test_a_definition_written_again_elsewhere_is_the_same_definition(models: Path, tmp_path: Path) -> None:
    kept = load(models / "rain.py").source_bytes()

    write_sources(kept, tmp_path / "scratch")

    again = load_named(tmp_path / "scratch", "rain")
    assert again.source_bytes() == kept
    assert json.loads(kept)["rain.py"] == RAIN


def test_helpers_in_subfolders_are_remembered_too(tmp_path: Path) -> None:
    text = RAIN.replace("models.weather", "models.lib.weather")
    models = folder_with(tmp_path / "m", rain=text)
    folder_with(models / "lib", __init__="", weather=WEATHER.replace("models.units", ".units"), units="DEGREES = 'F'\n")

    definition = load(models / "rain.py")

    assert sorted(definition.sources) == ["lib/__init__.py", "lib/units.py", "lib/weather.py", "rain.py"]
    write_sources(definition.source_bytes(), tmp_path / "again")
    assert load(tmp_path / "again" / "rain.py").source_bytes() == definition.source_bytes()


def test_a_folder_may_be_a_package_of_its_own(models: Path) -> None:
    (models / "__init__.py").write_text("WHERE = 'here'\n")

    assert "__init__.py" in load(models / "rain.py").sources
    assert load_all(models).problems == ()


def test_a_changed_helper_is_seen_at_the_next_load_even_within_the_same_second(models: Path) -> None:
    load(models / "rain.py")
    stat = (models / "units.py").stat()
    (models / "units.py").write_text("DEGREES = 'C'\n")
    os.utime(models / "units.py", ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert load(models / "rain.py").sources["units.py"] == "DEGREES = 'C'\n"
    assert not (models / "__pycache__").exists()


def test_the_folder_counts_and_not_a_package_models_that_lies_in_the_way(models: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "import models.feed\n"
        "from understudy.adapters.definitions import load\n"
        "print(load(Path(sys.argv[1])).model.source.__class__.__module__)"
    )
    root = Path(__file__).parents[2]

    answer = subprocess.run(
        [sys.executable, "-c", code, str(models / "rain.py")], capture_output=True, text=True, check=True, cwd=root
    )

    assert answer.stdout.strip() == "models.weather"


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        ("x = 1\nmodel = Model(\n", r"`bad\.py`, line 2: SyntaxError: '\(' was never closed", "Correct that line"),
        (
            "\nimport no_such_thing\n",
            r"`bad\.py`, line 2: ModuleNotFoundError",
            "Install what provides `no_such_thing`",
        ),
        ("from weather import Station\n", r"`bad\.py`, line 1", "from models.weather import"),
        ("from models.wether import Station\n", r"`bad\.py`, line 1", "Put `wether.py` into the folder"),
        ("1 / 0\n", r"`bad\.py`, line 1: ZeroDivisionError: division by zero", "Correct that line"),
        ("import models.hot\n", r"`hot\.py`, line 3: RuntimeError: too hot", "Correct that line"),
        ("raise SystemExit(3)\n", r"`bad\.py`, line 1: SystemExit: 3", "take the call that exits out"),
        (RAIN.replace('"rain", s', '"Rain!", s'), r"`bad\.py`, line 6: .*cannot be the name", "small letters"),
        (RAIN.replace("model =", "modle ="), r"`bad\.py` calls its model `modle`", "Call it `model`"),
        ("model = {}\n", r"`model` in `bad\.py` is a dict", "with understudy's Model"),
        ("x = 1\n", r"`bad\.py` defines no `model`", "is a helper"),
        ("# caf\udce9\n", r"`bad\.py`", "Correct that line"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(text: str, problem: str, remedy: str, models: Path) -> None:
    folder_with(models, hot="def go():\n    # deep inside\n    raise RuntimeError('too hot')\ngo()\n")
    (models / "bad.py").write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(BadDefinition, match=problem) as caught:
        load(models / "bad.py")

    assert remedy in caught.value.remedy
    assert str(models) not in str(caught.value)


def test_a_helper_may_import_somebody_elses_model_under_another_name(models: Path) -> None:
    folder_with(models, helper="from models.rain import model as rain\n")

    assert load_all(models).problems == ()


def test_two_files_cannot_define_the_same_model(models: Path) -> None:
    folder_with(models, second=RAIN)

    loaded = load_all(models)

    assert loaded.definitions["rain"].file == "rain.py"
    assert "a second model `rain`; the first is in `rain.py`" in loaded.problems[0].error.problem


def test_what_is_not_there_is_said(tmp_path: Path, models: Path) -> None:
    with pytest.raises(BadDefinition, match=r"no file `nothing\.py`"):
        load(models / "nothing.py")
    with pytest.raises(BadDefinition, match="no folder"):
        load_all(tmp_path / "nowhere")
    with pytest.raises(NotFound, match="`snow`"):
        load_named(models, "snow")


@pytest.mark.fault(86)
@pytest.mark.parametrize("path", ["../x.py", "/tmp/x.py", "a/../../x.py", "x.sh", "..\\x.py", ""])
def test_sources_are_written_below_their_folder_only(path: str, tmp_path: Path) -> None:
    with pytest.raises(BadDefinition):
        write_sources(json.dumps({path: "x = 1\n"}).encode(), tmp_path / "scratch")

    assert list(tmp_path.rglob("*.*")) == []


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"3"])
def test_what_is_no_kept_source_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadDefinition, match="no source"):
        write_sources(data, tmp_path)


def test_a_copy_that_kept_the_name_of_its_original_does_not_take_its_place(models: Path) -> None:
    (models / "a_copy.py").write_text(RAIN)

    loaded = load_all(models)

    assert loaded.definitions["rain"].file == "rain.py"
    assert [problem.file for problem in loaded.problems] == ["a_copy.py"]
