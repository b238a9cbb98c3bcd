"""What `/metrics` says is what happened, in a form that Prometheus' own library reads."""

import os
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from api.answered import Answered
from api.counts import BOUNDS_S, MOST_CODES, MOST_NOTES, MOST_VERSIONS, Counts, Latencies
from api.estate import MOST_DEAD, gather, read, sweep
from api.families import FAMILIES, Family
from api.metrics import Found
from api.sheets import Sheet, lives
from api.tests import given
from tests.workers import wait_for
from understudy.adapters.handover import FORM, boot

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
GAUGES = {"livesum": "sum", "livemax": "greatest", "livemin": "least", "liveall": "each"}
NASTY = 'a"} 1\nforged_total{b="\\'
ROW = {"x": 0.1, "y": 0.2}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[given.Api]:
    """An API with a model that answers; one for all tests, which look at what has changed."""
    with given.api(tmp_path_factory.mktemp("metrics")) as api:
        api.serve(given.bundle())
        yield api


Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Series:
    """Every series, by name and labels."""
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    samples = [sample for family in families for sample in family.samples]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples)
    return found


def scraped(api: given.Api) -> Series:
    answer = api.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parsed(answer.text)


def value(found: Series, name: str, **labels: str) -> float | None:
    return found.get((f"understudy_{name}", frozenset(labels.items())))


def in_folder(folder: Path) -> Series:
    return parsed(generate_latest(Found(read(folder))).decode())


def sheet_in(folder: Path) -> closing[Sheet]:
    return closing(Sheet(folder))


def call(*seconds: float, model: str = "rain", version: str = "1", rows: int | None = None) -> Answered:
    """A call of a model that answered requests which took so long."""
    served: Any = SimpleNamespace(model=model, version=version)
    return Answered(served, 0, b"", b"", len(seconds) if rows is None else rows, None, [*seconds], None)


def test_without_any_model_there_is_a_page_that_prometheus_can_read(api: given.Api) -> None:
    found = scraped(api)

    assert value(found, "ready") == 1
    assert value(found, "workers") == 1
    assert not [name for name, _ in found if name.startswith("understudy_requests")]


def test_the_page_counts_what_clients_were_answered(serving: given.Api) -> None:
    before = scraped(serving)
    sent = [{"records": [ROW] * 7}, ROW, ROW, {"values": [0.1, 0.2]}, {"x": "wet", "y": 1}]
    answers = [serving.client.post("/predict", json=body) for body in sent]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 422]
    assert serving.client.post("/models/snow/predict", json=ROW).status_code == 404

    after = scraped(serving)

    version = answers[0].json()["version"]
    grown = {key: number - before.get(key, 0) for key, number in after.items()}
    assert value(grown, "requests_total", model="rain", version=version, code="ok") == 4
    assert value(grown, "rows_total", model="rain") == 10
    assert value(grown, "requests_total", model="rain", version="", code="bad_row") == 1
    assert value(grown, "errors_total", model="rain", code="bad_row") == 1
    assert value(grown, "errors_total", model="", code="not_found") == 1
    assert value(grown, "request_duration_seconds_count", model="rain") == 4
    assert value(grown, "request_duration_seconds_bucket", model="rain", le="+Inf") == 4


def test_what_killed_processes_lost_is_counted_among_the_records_that_are_missing(serving: given.Api) -> None:
    folder, stamp = serving.home / "var" / "recorders", b"%011x" % 10
    (folder / "abc123").write_bytes(FORM.pack(42, stamp, 5, boot().encode()))
    (folder / "def456").write_bytes(FORM.pack(42, stamp, 5, b"another boot"))  # nobody can know how many

    wait_for(lambda: value(scraped(serving), "records_dropped_total") == 43, "the gaps")


def test_the_page_tells_what_serves_since_when_and_how_often_that_changed(serving: given.Api) -> None:
    before = scraped(serving)
    serving.serve(given.bundle(shuffled=True))

    after = scraped(serving)

    assert value(before, "serves", model="rain", version="1", role="champion") == 1
    assert value(after, "serves", model="rain", version="1", role="champion") is None
    assert value(after, "serves", model="rain", version="2", role="champion") == 1
    assert (value(before, "swaps_total", model="rain"), value(after, "swaps_total", model="rain")) == (1, 2)
    assert (value(after, "champion_age_seconds", model="rain") or 0) >= 0


def test_every_metric_on_the_page_is_documented_and_the_other_way_round() -> None:
    listed = [line for line in PAGE.splitlines() if line.startswith("| `understudy_")]

    assert listed == [documented(family) for family in FAMILIES]


def documented(family: Family) -> str:
    kind = f"gauge, {GAUGES[family.over]}" if family.over in GAUGES else family.over
    labels = [*family.labels, *(["pid"] if family.over == "liveall" else [])]
    name = family.full_name + ("_total" if family.over == "counter" else "")
    return f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels) or '–'} | {family.help} |"


def test_every_metric_appears(serving: given.Api) -> None:
    assert serving.client.post("/predict", json=ROW).status_code == 200
    serving.service.counts.refused("rain", "overloaded")

    names = {name for name, _ in scraped(serving)}

    missing = [family.name for family in FAMILIES if not any(name.startswith(family.full_name) for name in names)]
    assert missing == ["queue_length"], "no model here has a lane"


@pytest.mark.parametrize("together", [1, 7, 256])
def test_the_histogram_is_the_one_that_prometheus_own_library_would_have_made(tmp_path: Path, together: int) -> None:
    """Bounds, sums and the file's form: the guard of the fit to the pinned library."""
    seconds = [*BOUNDS_S, *(random.Random(1).uniform(0, 4) for _ in range(500)), 0.0, 60.0]
    registry = CollectorRegistry()
    theirs = Histogram("understudy_request_duration_seconds", "h", ["model"], registry=registry, buckets=BOUNDS_S)
    ours = Counts(lambda: {"rain"})
    for second in seconds:
        theirs.labels("rain").observe(second)
    for first in range(0, len(seconds), together):
        ours.answered(call(*seconds[first : first + together]))
    with sheet_in(tmp_path) as sheet:
        sheet.write({"request_duration_seconds": {("rain",): ours.fold().latencies["rain"]}})

    expected = parsed(generate_latest(registry).decode())
    expected = {key: number for key, number in expected.items() if not key[0].endswith("_created")}
    assert in_folder(tmp_path) == pytest.approx(expected)


def test_names_that_clients_make_up_are_counted_as_one() -> None:
    counts = Counts(lambda: {"rain"})
    for i in range(1000):
        counts.refused(f"model-{i}", "not_found")
        counts.refused("rain", f"code-{i}")
        counts.answered(call(0.1, version=str(i)))
        counts.answered(call(0.1, model=f"model-{i}"))

    totals = counts.fold()

    assert totals.errors["", "not_found"] == 1000
    assert sum(totals.errors.values()) == 2000
    assert len(totals.errors) == 1 + MOST_CODES
    assert (totals.rows["rain"], totals.rows[""]) == (1000, 1000)
    assert len({version for model, version, _ in totals.requests if model == "rain"}) == MOST_VERSIONS + 1
    assert sum(totals.requests.values()) == 4000


def test_notes_have_an_end_while_nobody_folds_them() -> None:
    counts, n = Counts(lambda: {"rain"}), MOST_NOTES + 1_000
    for _ in range(n):
        counts.answered(call(0.1))
        counts.refused("rain", "bad_row")

    assert sum(counts.totals.requests.values()) > 1_000  # only what is more than the notes that may wait
    totals = counts.fold()
    assert totals.requests == {("rain", "1", "ok"): n, ("rain", "", "bad_row"): n}


def test_a_process_that_can_open_no_file_counts_all_the_same() -> None:
    script = "import resource, api.readings as r; resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0)); "
    ended = subprocess.run([sys.executable, "-c", script + "print(*r.of_process(1.5).values())"], capture_output=True)

    assert (ended.stdout, ended.stderr) == (b"{(): 1.5}\n", b"")


def test_a_label_is_never_read_as_more_than_a_label(tmp_path: Path) -> None:
    with sheet_in(tmp_path) as sheet:
        sheet.write({"errors": {(NASTY, "bad_row"): 3}, "serves": {(NASTY, NASTY, "champion"): 1}})
        found = in_folder(tmp_path)

    assert value(found, "errors_total", model=NASTY, code="bad_row") == 3
    assert value(found, "serves", model=NASTY, version=NASTY, role="champion") == 1
    assert len(found) == 2


def test_hundreds_of_models_are_counted_as_well_as_one(tmp_path: Path) -> None:
    """The file grows several times; whoever reads meanwhile finds whole numbers."""
    models = 300
    with sheet_in(tmp_path) as sheet:
        for last in (1, 100, models):
            sheet.write({"request_duration_seconds": {(f"model-{i}",): Latencies([i] * 15, 1.5) for i in range(last)}})
            found = in_folder(tmp_path)

    assert len(found) == models * (len(BOUNDS_S) + 3)
    assert value(found, "request_duration_seconds_count", model="model-299") == 299 * 15
    file = next(tmp_path.glob("histogram_*"))
    assert file.stat().st_blocks * 512 >= file.stat().st_size, "a page without a block ends the process on a full disk"


def test_where_there_is_no_room_for_new_numbers_the_old_ones_go_on(tmp_path: Path) -> None:
    with sheet_in(tmp_path) as sheet:
        sheet.write({"rows": {("rain",): 1}, "workers": {(): 1}})
        new: dict[tuple[str, ...], float] = {(f"model-{i}",): 1 for i in range(1000)}
        with at_most(96 * 1024), pytest.raises(OSError, match="File too large"):
            sheet.write({"rows": {**new, ("rain",): 2}, "workers": {(): 3}})
        found = in_folder(tmp_path)

    assert (value(found, "rows_total", model="rain"), value(found, "workers")) == (2, 3)


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """No file of this process may grow larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


WRITE_AND_DIE = """
import os, pathlib, signal, sys
from api.sheets import Sheet
Sheet(pathlib.Path(sys.argv[1])).write({"rows": {("rain",): 5}, "workers": {(): 1}, "ready": {(): 0}})
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def with_a_dead_one(tmp_path: Path) -> Path:
    """A folder in which a process has died that had counted five rows, and one lives that has counted seven."""
    subprocess.run([sys.executable, "-c", WRITE_AND_DIE, str(tmp_path)], check=False, timeout=60)
    return tmp_path


def test_counters_of_the_dead_stay_and_their_gauges_go(with_a_dead_one: Path) -> None:
    with sheet_in(with_a_dead_one) as sheet:
        sheet.write({"rows": {("rain",): 7}, "workers": {(): 1}, "ready": {(): 1}})
        found = in_folder(with_a_dead_one)

    assert value(found, "rows_total", model="rain") == 12
    assert (value(found, "workers"), value(found, "ready")) == (1, 1)
    assert {name for name, _ in in_folder(with_a_dead_one)} == {"understudy_rows_total"}, "it has stopped"


def test_a_start_sweeps_what_the_dead_have_left_and_nothing_of_the_living(with_a_dead_one: Path) -> None:
    with sheet_in(with_a_dead_one) as sheet:
        sheet.write({"rows": {("rain",): 7}, "workers": {(): 1}})

        sweep(with_a_dead_one)

        found = in_folder(with_a_dead_one)
    assert (value(found, "rows_total", model="rain"), value(found, "workers")) == (7, 1)
    assert {file.stem.rpartition("_")[2] for file in with_a_dead_one.iterdir()} == {sheet.name, "estate"}


def test_a_process_never_writes_over_the_counters_of_one_that_had_its_id(tmp_path: Path) -> None:
    with sheet_in(tmp_path) as first:
        first.write({"rows": {("rain",): 7}})

    with sheet_in(tmp_path) as second:
        second.write({"rows": {("rain",): 1}})
        living = lives(tmp_path, first.name), lives(tmp_path, second.name)

    assert (first.name, second.name) == (str(os.getpid()), f"{os.getpid()}.1")
    assert living == (False, True)
    assert value(in_folder(tmp_path), "rows_total", model="rain") == 8


def test_however_many_have_died_a_scrape_reads_few_files(tmp_path: Path) -> None:
    for _ in range(3 * MOST_DEAD):
        with sheet_in(tmp_path) as sheet:
            sheet.write({"rows": {("rain",): 1}, "swaps": {("rain",): 2}})
        gather(tmp_path)

    found = in_folder(tmp_path)

    assert (value(found, "rows_total", model="rain"), value(found, "swaps_total", model="rain")) == (48, 96)
    assert len([*tmp_path.glob("*.db")]) <= 2 * (MOST_DEAD + 1)


def test_a_gathering_that_is_cut_off_anywhere_neither_loses_a_count_nor_doubles_it(tmp_path: Path) -> None:
    for step in count(1):
        folder = tmp_path / str(step)
        for rows in (1, 10, 100, 1000):
            with sheet_in(folder) as sheet:
                sheet.write(
                    {"rows": {("rain",): rows}, "request_duration_seconds": {("rain",): Latencies([rows] * 15)}}
                )
            if rows == 10:
                gather(folder, most=0)  # so that there is an estate to be added to

        cut = is_cut_off(folder, step)

        assert counted(folder) == (1111, 15 * 1111), step
        with sheet_in(folder) as sheet:  # under the name of one who is in the estate, once that is free
            sheet.write({"rows": {("rain",): 5}})
            assert counted(folder) == (1116, 15 * 1111), step
        gather(folder, most=0)
        assert counted(folder) == (1116, 15 * 1111), step
        if not cut:
            break

    assert step > 20, "renames and removals, and each was a place to die"


def counted(folder: Path) -> tuple[float | None, float | None]:
    found = in_folder(folder)
    return value(found, "rows_total", model="rain"), value(found, "request_duration_seconds_count", model="rain")


def is_cut_off(folder: Path, step: int) -> bool:
    """Gather in a process that dies before it changes a file for the `step`th time; False where it came to its end."""
    process = get_context("fork").Process(target=gather_until, args=(folder, step))
    process.start()
    process.join()
    return process.exitcode != 0


def gather_until(folder: Path, step: int) -> None:
    left = step

    def die_at_last(event: str, _: object) -> None:
        nonlocal left
        left -= event in ("open", "os.rename", "os.remove", "os.truncate")
        if left == 0:
            os._exit(9)

    sys.addaudithook(die_at_last)
    gather(folder, most=0)
    os._exit(0)


def test_a_volume_that_fails_is_said_to_whoever_scrapes(api: given.Api) -> None:
    folder = api.home / "var" / "metrics"
    (folder / "counter_1.db").mkdir()  # cannot be read as a file, whoever tries

    answer = api.client.get("/metrics")

    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
