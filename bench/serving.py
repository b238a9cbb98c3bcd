"""How fast predictions are served, against other ways to serve them; writes `docs/performance.md`.

    make bench
    .venv/bin/python -m bench.serving --rounds 2 --seconds 1 --only rates --only workers

Needs two cores, wrk, and some quiet: close what else is running. With `--only` nothing is written but to the terminal.
"""

import argparse
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import endurance, footprint, machine, page, rates, steps
from bench.rates import Bench, Point
from bench.servers import Server, api, other
from bench.tumours import ESTIMATORS, Fitted, fitted
from bench.wrk import NoLoad, check_wrk

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"

COLD_STARTS = 5

FEWEST_ROUNDS = 5
TWO = {"api_workers": "2"}

#: What is switched, and by which settings.
SWITCHES: Mapping[str, Mapping[str, str]] = {
    "fast": {},
    "nothing recorded": {"records_sample": "0"},
    "durable records": {"records": "durable"},
    "plain": {"fast_path": "off"},
}


@dataclass(frozen=True)
class Plan:
    """What a run consists of."""

    rounds: int
    seconds: float
    endure_s: float
    models: Sequence[str]
    server_cores: frozenset[int]
    client_cores: frozenset[int]
    folder: Path
    fitted: Mapping[str, Fitted]

    def bench(self, servers: Mapping[str, Server], name: str) -> Bench:
        folder = self.folder / name
        return Bench(servers, self.fitted, folder, self.client_cores, self.seconds)

    @contextmanager
    def apis(
        self, wanted: Mapping[str, Mapping[str, str]], part: str, cores: frozenset[int] | None = None
    ) -> Iterator[dict[str, Server]]:
        """The floor, and an API of its own folder for each name, with these settings; on the server's core."""
        with ExitStack() as running:
            servers = {"floor": running.enter_context(other("bench.floor", name="floor", cores=self.server_cores))}
            for name, settings in wanted.items():
                home = self.folder / f"{part}-{re.sub('[ ,]+', '-', name)}"
                home.mkdir()
                bundles = {model: made.bundle for model, made in self.fitted.items()}
                started = api(home, bundles, name=name, cores=cores or self.server_cores, **settings)
                servers[name] = running.enter_context(started)
            yield servers


def measured_rates(plan: Plan) -> Any:
    """Every server and every load."""
    with ExitStack() as running:
        servers = running.enter_context(plan.apis({"plain": {"fast_path": "off"}, "fast": {}}, "rates"))
        for name in ("empty", "usual"):
            folder = str(plan.folder / "models")
            started = other(f"bench.{name}", folder, name=name, cores=plan.server_cores)
            servers[name] = running.enter_context(started)
        return ran(plan, servers, rates.points_of(plan.models), "rates")


def ran(plan: Plan, servers: Mapping[str, Server], points: Sequence[Point], part: str) -> list[dict[str, Any]]:
    """Rounds of these points, told while they run."""
    found = []
    for run in rates.rounds(plan.bench(servers, part), points, plan.rounds):
        ratio = 2 * run.rate / sum(run.floor_rates)
        point = f"{run.point.server} {run.point.model} {run.point.form} c={run.point.connections}"
        told(f"  round {run.round + 1}: {point:36} {run.rate:9,.0f}/s  {ratio:6.3f} × F0  {run.cpu_us:9.1f} µs")
        found.append(rates.to_json(run))
    return found


def measured_endurance(plan: Plan) -> Any:
    with plan.apis({"fast": {}}, "endurance") as servers:
        point = Point("fast", plan.models[0], "record", 32)
        bench = plan.bench(servers, "endurance-load")
        bench.check(point)
        return endurance.to_json(endurance.endure(bench, point, plan.endure_s))


def measured_workers(plan: Plan) -> Any:
    """One worker, two on the same core, and two on a core each, which they share with the load."""
    both = plan.server_cores | plan.client_cores
    near, far = {"one worker": {}, "two workers, one core": TWO}, {"two workers, two cores": TWO}
    with plan.apis(near, "near") as servers, plan.apis(far, "far", both) as others:
        points = [Point(server, plan.models[0], "record", count) for server in near | far for count in (32, 64)]
        return ran(plan, others | servers, points, "workers-load")


def measured_switches(plan: Plan) -> Any:
    with plan.apis(SWITCHES, "switches") as servers:
        points = [Point(server, plan.models[0], "record", 32) for server in SWITCHES]
        return ran(plan, servers, points, "switches-load")


def measured_footprint(plan: Plan) -> Any:
    home = plan.folder / "footprint"
    home.mkdir()
    return asdict(footprint.measure(home, plan.fitted, cores=plan.server_cores, starts=COLD_STARTS))


def measured_steps(plan: Plan) -> Any:
    """The functions of the path, in a process that finds a champion in its log as an API does."""
    with plan.apis({"steps": {}}, "steps") as servers:
        home = servers["steps"].home
    assert home is not None
    return steps.measure(home, plan.models[0], plan.server_cores)


PARTS: Mapping[str, tuple[str, Callable[[Plan], Any]]] = {
    "rates": ("runs", measured_rates),
    "endurance": ("endurance", measured_endurance),
    "workers": ("workers", measured_workers),
    "footprint": ("footprint", measured_footprint),
    "steps": ("steps", measured_steps),
    "switches": ("switches", measured_switches),
}


def main() -> int:
    options = arguments().parse_args()
    try:
        check_wrk()
        if options.page == PAGE and options.rounds < FEWEST_ROUNDS and not options.only:
            raise NoLoad(f"The page is made of at least {FEWEST_ROUNDS} rounds. For a try, add --only or --page FILE.")
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise NoLoad("The server and the load need a core each, and there is only one.")
        with tempfile.TemporaryDirectory(prefix="understudy-bench-") as folder:
            figures = measure(options, Path(folder), frozenset(cores[-1:]), frozenset(cores[:-1]))
    except (NoLoad, rates.WrongAnswer) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if options.only:
        print(page.as_json(figures))
        return 0
    options.page.write_text(page.render(figures))
    print(page.goals(figures))
    print(f"{options.page} is written.")
    return 0


def arguments() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--rounds", type=int, default=5)
    found.add_argument("--seconds", type=int, default=1, help="of each run of the load")
    found.add_argument("--endure", type=float, default=60.0, help="seconds of the run at full load")
    found.add_argument("--only", action="append", choices=PARTS, help="a part; again for more")
    found.add_argument("--models", nargs="+", choices=ESTIMATORS, default=[*ESTIMATORS])
    found.add_argument("--page", type=Path, default=PAGE)
    return found


def measure(
    options: argparse.Namespace, folder: Path, server_cores: frozenset[int], client_cores: frozenset[int]
) -> dict[str, Any]:
    """Take all figures that are wanted, in the order of the page."""
    about = machine.described()
    models = folder / "models"
    models.mkdir()
    told("training " + ", ".join(options.models))
    made = {name: fitted(name, models) for name in options.models}
    os.sched_setaffinity(0, client_cores)  # whatever this process does from now on must not disturb a server
    plan = Plan(
        rounds=options.rounds,
        seconds=options.seconds,
        endure_s=options.endure,
        models=options.models,
        server_cores=server_cores,
        client_cores=client_cores,
        folder=folder,
        fitted=made,
    )
    words = ["--rounds", options.rounds, "--seconds", options.seconds, "--endure", f"{options.endure:g}"]
    command = shlex.join(["python", "-m", "bench.serving", *map(str, words)])
    figures: dict[str, Any] = {
        "taken": {**about, "command": command, "rounds": options.rounds, "seconds": options.seconds}
    }
    for name, (key, take) in PARTS.items():
        if not options.only or name in options.only:
            told(name)
            figures[key] = take(plan)
    return figures


def told(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
