from pathlib import Path

import pytest

from understudy.adapters import definitions
from understudy.adapters.stored_definition import load_stored
from understudy.errors import BadDefinition, NotFound

DEFINITION = """
from sklearn.linear_model import LogisticRegression
from models.helper import C
from understudy import Model
from understudy.adapters.sources import Csv

model = Model("stream", source=Csv({path!r}), target="label", estimator=LogisticRegression(C=C))
"""
CSV = "x,label\n1,0\n2,1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Definitions with data beside them, in a folder below, and in one next door."""
    folder = tmp_path / "home" / "definitions"
    (folder / "deep").mkdir(parents=True)
    (folder / "helper.py").write_text("C = 0.5\n")
    for place in (folder, folder / "deep", tmp_path / "home" / "data"):
        place.mkdir(exist_ok=True)
        (place / "rows.csv").write_text(CSV)
    return folder


def record(folder: Path, path: str = "rows.csv") -> bytes:
    (folder / "rules.py").write_text(DEFINITION.format(path=path))
    return definitions.load(folder / "rules.py").source_bytes()


def test_a_definition_that_has_not_changed_is_loaded_where_it_stands(folder: Path, tmp_path: Path) -> None:
    source = record(folder)

    model = load_stored(source, "stream", folder=folder, scratch=tmp_path / "scratch")

    assert model.estimator.C == 0.5
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize("path", ["rows.csv", "deep/rows.csv", "../data/rows.csv"])
def test_a_definition_that_was_edited_since_is_loaded_as_it_was_and_finds_its_data(
    folder: Path, tmp_path: Path, path: str
) -> None:
    source = record(folder, path)
    (folder / "helper.py").write_text("C = 7\n")

    model = load_stored(source, "stream", folder=folder, scratch=tmp_path / "scratch")

    assert model.estimator.C == 0.5
    assert len(model.source.get_dataframe(None)) == 2


def test_a_definition_whose_file_is_gone_is_loaded_from_the_record(folder: Path, tmp_path: Path) -> None:
    source = record(folder)
    (folder / "rules.py").unlink()

    assert load_stored(source, "stream", folder=folder, scratch=tmp_path / "scratch").name == "stream"


def test_another_file_that_is_broken_by_now_does_not_matter(folder: Path, tmp_path: Path) -> None:
    source = record(folder)
    (folder / "other.py").write_text("1 / 0\n")

    assert load_stored(source, "stream", folder=folder, scratch=tmp_path / "scratch").name == "stream"


def test_a_record_that_does_not_define_the_model_says_so(folder: Path, tmp_path: Path) -> None:
    source = record(folder)

    with pytest.raises(NotFound, match="No file defines a model `rain`"):
        load_stored(source, "rain", folder=folder, scratch=tmp_path / "scratch")
    with pytest.raises(BadDefinition, match="no source of a definition"):
        load_stored(b"[1", "rain", folder=folder, scratch=tmp_path / "scratch")
