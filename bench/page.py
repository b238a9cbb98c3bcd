"""`docs/performance.md` from the figures: its last part is what all numbers on it are printed from.

A test reads that part, prints the page again and compares, so no figure can be typed.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Any

from bench.figures import Figures, Place, cpu_to_floor, floor, middle, of, places, to_floor, to_other
from bench.goals import GOALS, Goal

RAW = "## The raw figures"
NAMES = {
    "empty": "F1: FastAPI + pydantic, empty",
    "usual": "the usual way",
    "plain": "the plain path",
    "fast": "the fast path",
}
FORMS = {"values": "values", "records": "records", "arrow": "Arrow"}

INTRODUCTION = """\
# Performance

What `/predict` can do, measured by `make bench`, which also writes this page: no figure on it was typed, and a test
prints it again from the raw figures at its end.

The servers that are compared, each one process on a core of its own, while `wrk` sends from another:

- **F0**, the floor: a raw ASGI function on uvicorn (uvloop, httptools, no access log). It reads the body and answers 60
  fixed bytes. In theory nothing that uvicorn serves can be faster.
- **F1**: FastAPI with a pydantic model of the row, and a handler that does nothing.
- **the usual way**: FastAPI, pydantic, `joblib.load`, a DataFrame for each request, `predict` and `predict_proba`.
- **the plain path**: this API, `UNDERSTUDY_FAST_PATH=off`.
- **the fast path**: this API as it is shipped, with strict validation, metrics and every prediction recorded.

The models answer rows of 30 numbers (scikit-learn's breast cancer data): a logistic regression, a forest of 100 trees,
histogram gradient boosting. Every request of a run carries another row than the one before it, and before and after
each run the answers are compared with scikit-learn's own.

Speeds of machines wander, so every run stands between two runs of F0, the order turns round after each round, and
ratios are taken within a round. Runs take {seconds} s; rounds: {rounds}, of which the tables show the median. Processor
time is that of all the server's processes, in the kernel too, until the last record is written.
"""

TRICKS = """\
## Why it is faster than a constant

- **One turn of the event loop, no task.** A uvicorn protocol class (`api/fast.py`) takes plain predictions when their
  last byte is parsed. uvicorn would make a request cycle, a task, two events and a scope for each; none of them helps a
  model.
- **A head is read once.** A kept connection sends the same head with every request, but for the digits of its length.
  What begins with bytes that the parser has read before, and holds exactly one request, is known by comparing memory
  (`api/familiar.py`).
- **Gathering.** Rows that arrived in the same turn share one call of the model (`api/gather.py`). There is no timer: a
  lone request waits for nothing. A call in place costs several times what the same call costs in a loop of its own,
  because processor caches have been used for other things meanwhile; shared by many, that no longer matters.
- **One write.** Head and body leave in one `write()`; uvicorn makes two.
- **A decoder made from the signature.** msgspec reads the body straight into the fields of the champion's own columns,
  and checks types and names as it goes; `struct` packs them into one float32 buffer, which *is* the model's input.
- **Records and metrics a call, not a request.** What a call leaves behind is one note, with the rows as the bytes that
  the model saw. Threads do the rest: chunks of records in one commit, counters when they are asked for.
- **Unusual requests pay for being unusual.** Whatever needs a decision (other headers, bad rows, tokens that are wrong,
  slow models, a log that was not looked at) goes the plain path, which is always right.
"""


def render(figures: Figures) -> str:
    """The whole page."""
    parts = (
        INTRODUCTION.format(**figures["taken"]),
        taken(figures),
        goals(figures),
        one_row(figures),
        many_rows(figures),
        endurance(figures),
        workers(figures),
        footprint(figures),
        steps(figures),
        TRICKS,
        raw(figures),
    )
    return "\n".join(part for part in parts if part)


def figures_of(page: str) -> Any:
    """The raw figures that a page ends with."""
    return json.loads(page.split(RAW)[1].split("```json\n")[1].split("\n```")[0])


def taken(figures: Figures) -> str:
    found = figures["taken"]
    libraries = ", ".join(f"{name} {version}" for name, version in found["libraries"].items())
    return (
        f"- Taken on {found['taken']} with `{found['command']}`.\n"
        f"- Machine: {found['cores']} cores of {found['processor']}, {found['memory_gb']} GB, {found['kernel']}.\n"
        f"- Python {found['python']}; {libraries}.\n"
        f"- Load of the machine by others when it began: {found['load_before']}.\n"
    )


def goals(figures: Figures) -> str:
    rows = [(goal.what, f"{goal.sense} {limit(goal, figures)}", *verdict(goal, figures)) for goal in GOALS]
    return section("## The goals", table(("what", "goal", "measured", "met"), rows))


def limit(goal: Goal, figures: Figures) -> str:
    return f"{goal.limit(figures):.3g}"


def verdict(goal: Goal, figures: Figures) -> tuple[str, str]:
    found = goal.measured(figures)
    said = {True: "met", False: "**missed**", None: "not measured"}[goal.met(figures)]
    return number(found, goal.digits), said


def one_row(figures: Figures) -> str:
    """A table for each number of connections, of every server that answered one row."""
    text = []
    for connections in sorted({place.connections for place in places(figures)}, reverse=True):
        found = floor(figures, connections)
        if found is None:
            continue
        head = f"### One row, {connections} connection{'s' if connections > 1 else ''}\n\n"
        head += f"F0: {found[0]:,.0f} answers a second, {found[1]:.1f} µs of processor time each.\n"
        rows = [row for server in NAMES for row in rows_of(figures, server, connections)]
        names = (
            "server",
            "model",
            "× F0",
            "× F1",
            "× the usual way",
            "answers/s",
            "CPU µs",
            "CPU × F0",
            "p50 ms",
            "p99 ms",
        )
        text.append(head + "\n" + table(names, rows))
    return section("## One row", "\n".join(text))


def rows_of(figures: Figures, server: str, connections: int) -> Iterator[tuple[str, ...]]:
    first = next(places(figures)).model
    for place in places(figures):
        runs = of(figures, server, place)
        if not runs or place.form != "record" or place.connections != connections:
            continue
        empty = of(figures, "empty", Place(first, "record", connections))
        usual = of(figures, "usual", place)
        yield (
            NAMES[server],
            "–" if server == "empty" else place.model,
            number(to_floor(runs), 3),
            number(to_other(runs, empty), 1),
            number(to_other(runs, usual), 1),
            number(middle(runs, "rate"), 0),
            number(middle(runs, "cpu_us"), 1),
            number(cpu_to_floor(runs), 2),
            number(middle(runs, "p50_ms"), 2),
            number(middle(runs, "p99_ms"), 2),
        )


def many_rows(figures: Figures) -> str:
    rows = []
    for place in places(figures):
        for server in NAMES:
            if place.form != "record" and (runs := of(figures, server, place)):
                rate, cost = middle(runs, "rate"), middle(runs, "cpu_us")
                rows.append(
                    (
                        NAMES[server],
                        place.model,
                        FORMS[place.form],
                        number(to_floor(runs), 3),
                        number(rate, 0),
                        number(None if rate is None else 100 * rate, 0),
                        number(cost, 0),
                        number(middle(runs, "p99_ms"), 1),
                    )
                )
    names = ("server", "model", "body", "× F0", "answers/s", "rows/s", "CPU µs", "p99 ms")
    text = "32 connections; F0 is the same as above, which reads one row.\n\n" + table(names, rows)
    return section("## A hundred rows", text)


def endurance(figures: Figures) -> str:
    found = figures["endurance"]
    settled, last, most = found["resident_mb"]
    counted = "an unknown number" if found["answered"] is None else f"{found['answered']:,}"
    return section(
        "## At full load",
        f"{found['seconds']:.0f} s, one row, 32 connections, logistic, an API that had answered nothing before:\n"
        f"{found['rate']:,.0f} answers a second, {found['cpu_us']} µs of processor time each.\n\n"
        f"- The load saw {found['seen']:,} answers; the API counted {counted}; {found['recorded']:,} are on record.\n"
        f"- Requests that failed: {found['failed']}.\n"
        f"- Largest lag of the records in {len(found['looks'])} looks at `/metrics`: "
        f"{number(found['largest_lag_s'], 2)} s.\n"
        f"- Memory: {settled:.1f} MB after a fifth of the time, {last:.1f} MB at the end, {most:.1f} MB at most.\n",
    )


def workers(figures: Figures) -> str:
    rows = []
    for server, connections in dict.fromkeys((run["server"], run["connections"]) for run in figures["workers"]):
        runs = of(figures, server, Place(connections=connections), "workers")
        rows.append(
            (
                server,
                str(connections),
                number(to_floor(runs), 3),
                number(middle(runs, "rate"), 0),
                number(middle(runs, "cpu_us"), 1),
            )
        )
    return section(
        "## Two workers", WORKERS + "\n" + table(("server", "connections", "× F0", "answers/s", "CPU µs"), rows)
    )


WORKERS = """\
On one core, two processes take turns, so each finds fewer requests when its turn comes, and shares a call among fewer.
On two cores they do not, but here the load runs on one of these cores too, so rates say little; processor time does.
"""


def footprint(figures: Figures) -> str:
    found = figures["footprint"]
    heavy = ", ".join(found["heavy"]) or "none"
    starts = ", ".join(f"{seconds:.2f}" for seconds in found["cold_s"])
    return section(
        "## Memory and start",
        f"An API process that serves {found['models']} ONNX models holds {found['resident_mb']} MB after "
        f"answering. Of scikit-learn, skops, pandas, joblib, SciPy and Arrow it has imported: {heavy}.\n"
        f"{found['further']} further models took {found['further_mb']} MB each; the ONNX form of one has "
        f"{found['further_onnx_mb']} MB.\n"
        f"From the start of the process to the first answer, the champions in the log: {median(found['cold_s']):.2f} s "
        f"(median of {starts}).\n",
    )


def steps(figures: Figures) -> str:
    rows = [
        (step["what"], step["paid"], number(step["us"], 2), number(step["each_us"], 2)) for step in figures["steps"]
    ]
    parts = table(("step", "paid", "µs", "µs a request, 32 a call"), rows)
    return section("## Where every microsecond goes", f"{STEPS}\n{parts}\n{SWITCHES}\n{switched(figures)}")


STEPS = """\
Each step by itself, in a loop, in one process. The steps add up to less than the whole: alone, each finds its data and
its code in the processor's caches, and the whole also pays for the kernel (receiving, sending, waking up), which no
loop over a function shows. So this table says what is worth a look; only ratios of the whole path say what it is worth.
"""

SWITCHES = """\
The whole path with parts of it switched over, measured as above (one row, 32 connections, logistic):
"""


def switched(figures: Figures) -> str:
    rows = []
    for server in dict.fromkeys(run["server"] for run in figures["switches"]):
        runs = of(figures, server, Place(), "switches")
        whole = of(figures, "fast", Place(), "switches")
        rows.append(
            (
                NAMES.get(server, server),
                number(to_floor(runs), 3),
                number(to_other(runs, whole), 2),
                number(middle(runs, "cpu_us"), 1),
            )
        )
    return table(("server", "× F0", "× the fast path", "CPU µs"), rows) if rows else ""


def raw(figures: Figures) -> str:
    """One line for each run, so that a difference can be read."""
    return section(RAW, "```json\n" + as_json(figures) + "\n```\n")


def as_json(figures: Figures) -> str:
    lines = []
    for name, value in figures.items():
        if isinstance(value, list):
            inner = ",\n".join("  " + json.dumps(item, ensure_ascii=False) for item in value)
            lines.append(f'"{name}": [\n{inner}\n]' if value else f'"{name}": []')
        else:
            lines.append(f'"{name}": {json.dumps(value, ensure_ascii=False)}')
    return "{\n" + ",\n".join(lines) + "\n}"


def section(title: str, text: str) -> str:
    return f"{title}\n\n{text}"


def table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"
