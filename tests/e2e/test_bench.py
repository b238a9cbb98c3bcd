"""The bench measures what it says: real servers, right answers, every run between two of the floor."""

import dataclasses
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from bench import endurance, rates
from bench.figures import Place, of, to_floor
from bench.rates import Bench, Point, WrongAnswer
from bench.servers import api, other
from bench.tumours import fitted
from bench.wrk import Load
from tests.conftest import need

ONE_ROW = Point("fast", "logistic", "record", 4)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Every server with one model, on whatever cores there are."""
    need(shutil.which("wrk") is not None, "wrk is not installed")
    folder, home, cores = tmp_path_factory.mktemp("bench"), tmp_path_factory.mktemp("api"), os.sched_getaffinity(0)
    model = fitted("logistic", folder)
    with ExitStack() as running:
        servers = {
            name: running.enter_context(other(f"bench.{name}", str(folder), name=name, cores=cores))
            for name in ("floor", "empty", "usual")
        }
        servers["fast"] = running.enter_context(api(home, {"logistic": model.bundle}, name="fast", cores=cores))
        yield Bench(servers, {"logistic": model}, folder, cores, seconds=1)


@pytest.mark.parametrize("server", ["floor", "empty", "usual", "fast"])
def test_every_server_answers_as_it_should(bench: Bench, server: str) -> None:
    bench.check(Point(server, "logistic", "record", 1))


@pytest.mark.parametrize("form", ["values", "records"])
def test_every_row_of_a_batch_is_answered_as_scikit_learn_answers_it(bench: Bench, form: str) -> None:
    bench.check(Point("fast", "logistic", form, 1))


@pytest.mark.parametrize("server", ["usual", "fast"])
def test_a_server_that_answers_wrongly_is_not_measured(bench: Bench, server: str) -> None:
    model = bench.models["logistic"]
    others = dataclasses.replace(model, probabilities=model.probabilities[:, ::-1])

    with pytest.raises(WrongAnswer, match="probabilities"):
        dataclasses.replace(bench, models={"logistic": others}).check(Point(server, "logistic", "record", 1))


def test_a_run_stands_between_two_of_the_floor_and_all_that_it_was_answered_is_on_record(bench: Bench) -> None:
    before = endurance.recorded(bench.servers["fast"])

    (run,) = rates.rounds(bench, [ONE_ROW], 1)
    figures = {"runs": [rates.to_json(run)]}

    assert run.failed == 0
    assert min(run.rate, run.cpu_us, *run.floor_rates, *run.floor_cpu_us) > 0
    assert to_floor(of(figures, "fast", Place(connections=4))) == run.rate / (sum(run.floor_rates) / 2)
    assert endurance.recorded(bench.servers["fast"]) - before >= run.rate


def test_answers_that_are_refusals_are_counted_as_such(bench: Bench) -> None:
    load = Load.of(bench.folder / "bad", "/predict", "application/json", [b"{}"])

    seen = load.run(bench.servers["fast"].port, connections=1, seconds=1, cores=bench.client_cores)

    assert seen.refused == seen.answered > 0
