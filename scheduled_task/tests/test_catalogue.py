import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from scheduled_task.catalogue import Catalogue
from scheduled_task.tests.given import DEFINITION
from scheduled_task.tests.site import Site
from tests.services import installation
from understudy.schedule import Schedule

MINUTE = Schedule.every(minutes=1)


class Known:
    """Remembers what the catalogue says."""

    def __init__(self) -> None:
        self.schedules: Mapping[str, Schedule] = {}
        self.changed: list[frozenset[str]] = []

    def __call__(self, schedules: Mapping[str, Schedule], changed: frozenset[str]) -> None:
        self.schedules = schedules
        self.changed.append(changed)


@pytest.fixture
def known() -> Known:
    return Known()


@pytest.fixture
def catalogue(site: Site, known: Known) -> Iterator[Catalogue]:
    for file in site.settings.definitions.glob("*.py"):
        file.unlink()
    site.settings.definitions.mkdir(exist_ok=True)
    made = Catalogue(site.settings, site.connect(), known)
    yield made
    made.close()


def write(site: Site, name: str, text: str = DEFINITION) -> None:
    (site.settings.definitions / f"{name}.py").write_text(text.replace('"stream"', f'"{name}"'))


def test_every_definition_is_told_to_the_api_once(site: Site, catalogue: Catalogue, known: Known) -> None:
    write(site, "one")
    write(site, "two")
    site.settings.definitions.joinpath("helper.py").write_text("C = 1\n")

    catalogue.check()
    catalogue.check()

    assert known.schedules == {"one": MINUTE, "two": MINUTE}
    assert known.changed == [{"one", "two"}, frozenset()]
    assert len(site.events("model.defined", "one")) == 1
    assert site.api.get("/models/two")["definition"]["target"] == "label"


def test_an_api_whose_log_was_replaced_is_told_everything_again(tmp_path: Path, known: Known) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with installation(home) as installed:
        installed.start_api()
        site = Site(installed)
        site.settings.definitions.mkdir()
        write(site, "kept")
        catalogue = Catalogue(site.settings, site.connect(), known)
        catalogue.check()

        installed.stop()
        shutil.rmtree(site.settings.var)
        installed.start_api()
        catalogue.check()

        assert known.changed == [{"kept"}, {"kept"}]
        assert len(site.events("model.defined", "kept")) == 1
        catalogue.close()
        site.api.close()


def test_a_file_that_is_edited_is_told_again(site: Site, catalogue: Catalogue, known: Known) -> None:
    write(site, "edited")
    catalogue.check()

    write(site, "edited", DEFINITION.replace("minutes=1", "hours=1"))
    catalogue.check()

    assert known.schedules == {"edited": Schedule.every(hours=1)}
    assert known.changed == [{"edited"}, {"edited"}]
    assert len(site.events("model.defined", "edited")) == 2


def test_a_helper_that_is_edited_changes_what_imports_it(site: Site, catalogue: Catalogue, known: Known) -> None:
    write(site, "helped", "from models.numbers import C\n" + DEFINITION.replace("Regression()", "Regression(C=C)"))
    write(site, "alone")
    helper = site.settings.definitions / "numbers.py"
    helper.write_text("C = 1\n")
    catalogue.check()

    helper.write_text("C = 0.1\n")
    catalogue.check()

    assert known.changed == [{"helped", "alone"}, {"helped"}]


def test_a_broken_file_is_logged_with_what_is_wrong_and_hides_no_other(
    site: Site, catalogue: Catalogue, known: Known, caplog: pytest.LogCaptureFixture
) -> None:
    write(site, "mended")
    write(site, "whole")
    catalogue.check()
    caplog.set_level(logging.ERROR)

    write(site, "mended", "1 / 0\n")
    write(site, "new")
    catalogue.check()

    (record,) = [record for record in caplog.records if getattr(record, "action", "") == "definition.broken"]
    assert "`mended.py`, line 1: ZeroDivisionError" in record.getMessage()
    assert set(known.schedules) == {"mended", "whole", "new"}  # its model keeps its last definition
    assert known.changed[-1] == {"new"}


@pytest.mark.parametrize("statement", ["import sys; sys.exit(1)", "import os; os._exit(3)"])
def test_a_file_that_ends_the_process_that_reads_it_does_not_end_the_scheduler(
    site: Site, catalogue: Catalogue, known: Known, caplog: pytest.LogCaptureFixture, statement: str
) -> None:
    write(site, "steady")
    catalogue.check()

    write(site, "quits", statement)
    catalogue.check()

    assert set(known.schedules) == {"steady"}
    assert [record for record in caplog.records if record.levelno == logging.ERROR]


def test_a_definition_whose_file_is_gone_is_scheduled_no_more_and_stays_known(
    site: Site, catalogue: Catalogue, known: Known
) -> None:
    write(site, "leaving")
    write(site, "staying")
    catalogue.check()

    (site.settings.definitions / "leaving.py").unlink()
    catalogue.check()

    assert set(known.schedules) == {"staying"}
    assert site.api.get("/models/leaving")["definition"] is not None


@pytest.mark.fault(59)
def test_two_that_disagree_do_not_take_turns_and_who_is_overruled_says_so_once(
    site: Site, catalogue: Catalogue, known: Known, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(site, "disputed")
    elsewhere = site.settings.model_copy(update={"home": site.settings.home, "models_dir": tmp_path})
    (tmp_path / "disputed.py").write_text(DEFINITION.replace('"stream"', '"disputed"').replace("minutes=1", "hours=1"))
    other_known = Known()
    other = Catalogue(elsewhere, site.connect(), other_known)
    caplog.set_level(logging.WARNING)

    for _ in range(3):
        catalogue.check()
        other.check()

    other.close()
    overruled = [record for record in caplog.records if getattr(record, "action", "") == "definition.overruled"]
    assert len(site.events("model.defined", "disputed")) == 2
    assert len(overruled) == 1
    assert "Give all schedulers the same files." in overruled[0].getMessage()
    assert known.schedules == other_known.schedules == {"disputed": Schedule.every(hours=1)}
    assert known.changed == [{"disputed"}, frozenset(), frozenset()]


@pytest.mark.fault(59)
def test_two_with_the_same_files_are_one_definition(site: Site, catalogue: Catalogue, known: Known) -> None:
    write(site, "shared")
    other_known = Known()
    other = Catalogue(site.settings, site.connect(), other_known)

    catalogue.check()
    other.check()

    other.close()
    assert len(site.events("model.defined", "shared")) == 1
    assert known.changed == [{"shared"}]
    assert other_known.changed == [frozenset()]
