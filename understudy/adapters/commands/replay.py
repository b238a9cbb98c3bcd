"""`understudy replay`: what would have been promoted under another policy, and what it would have scored."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from understudy.adapters.commands.connection import current_settings
from understudy.adapters.commands.terminal import AsJson, answer, console, say, say_problem, say_table, utc_now
from understudy.errors import BadInput
from understudy.policy import CannotTell, Refit
from understudy.settings import Settings
from understudy.spans import Span, read_moment

STOPPED = 130
"""What a shell says of a command that Ctrl-C has ended."""
AGES_SHOWN = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377)
FEWEST_HELD_OUT = 100


def add_to(app: typer.Typer) -> None:
    app.command()(replay)


def replay(
    model: str,
    since: Annotated[
        str | None, typer.Option(help="First date: 2026-01-31, or 90d before the end. By default a fourth of the rows.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Last date. By default the newest at which a run was due.")] = None,
    every: Annotated[str | None, typer.Option(help="Retrain every 7d, 12h, 30m or 365rows.")] = None,
    window: Annotated[str | None, typer.Option(help="Look at the newest 90d or 5000rows only, or at all.")] = None,
    bar: Annotated[float | None, typer.Option(help="Confidence that a candidate is better, 0.5 to 1.")] = None,
    refit: Annotated[Refit | None, typer.Option(help="Fit once more on all rows after a pass.")] = None,
    cannot_tell: Annotated[CannotTell | None, typer.Option(help="What follows where the holdout cannot tell.")] = None,
    holdout: Annotated[int | None, typer.Option(metavar="ROWS", help="Judge by so many of the newest rows.")] = None,
    show_dates: Annotated[bool, typer.Option("--dates", help="Show what became of every date.")] = False,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw how versions age, as SVG; in a folder, as replay-MODEL.svg."),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither use what is known nor keep it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Lead another policy through the model's own past.

    Trains the model as of each date at which a run would have been due, with the data that had arrived by then. Says
    what the gate would have promoted and what that would have scored on all later rows: under the policy in force,
    under the one that the options describe, without any retraining, and promoting whatever is trained. What was trained
    is kept, so a second policy takes seconds. Nothing is registered and nobody is asked: the API need not run.
    """
    from understudy.adapters import definitions
    from understudy.adapters.past import home_of_sources
    from understudy.adapters.replay_cache import ReplayCache
    from understudy.adapters.replay_plan import Wish, carry_out, plan

    wish = Wish(
        since=None if since is None else read_moment(since),
        until=None if until is None else read_moment(until),
        every=None if every is None else Span.parse(every),
        window=None if window in (None, "all") else Span.parse(str(window)),
        bar=checked_bar(bar),
        refit=refit,
        cannot_tell=cannot_tell,
        held_out=checked_holdout(holdout),
    )
    checked_place(picture)
    settings = current_settings()
    cache = ReplayCache(None if no_cache else folder_of(settings))
    try:
        with (
            home_of_sources(settings.home, in_use=in_use(settings)),
            redirect_stdout(sys.stderr),  # what the user's own code prints is no part of the answer
        ):
            definition = definitions.load_named(settings.definitions, model)
            planned = plan(definition, wish, now=utc_now())
            with progress(planned.dates, planned.trainings) as tick:
                report = carry_out(planned, cache, tick=tick)
    except KeyboardInterrupt:
        kept = "Nothing is kept." if no_cache else "What was trained is kept: the same command goes on from there."
        say_problem("Stopped.", kept)
        raise typer.Exit(STOPPED) from None
    drawn = draw(report, picture)
    answer(as_json, {**report, "picture": drawn}, lambda value: show(value, show_dates))


def checked_bar(bar: float | None) -> float | None:
    if bar is not None and not 0.5 <= bar < 1:
        raise BadInput(f"A bar of {bar:g} is no confidence.", remedy="Write at least 0.5, and less than 1.")
    return bar


def checked_holdout(rows: int | None) -> int | None:
    if rows is not None and rows < FEWEST_HELD_OUT:
        raise BadInput(f"{rows} rows are too few to judge by.", remedy=f"Hold out at least {FEWEST_HELD_OUT}.")
    return rows


def checked_place(picture: Path | None) -> None:
    """Before anything is trained."""
    if picture is not None and not picture.is_dir() and not picture.absolute().parent.is_dir():
        raise BadInput(f"There is no folder for the picture {str(picture)!a}.", remedy="Make it, or choose another.")


def folder_of(settings: Settings) -> Path:
    """Where replays keep what they have trained."""
    return settings.scratch / "replays"


def in_use(settings: Settings) -> bool:
    """Whether something has run here: then sources may have remembered something."""
    ours = folder_of(settings)
    runs = settings.scratch.iterdir() if settings.scratch.is_dir() else ()
    return settings.events_file.is_file() or any(folder != ours for folder in runs)


@contextmanager
def progress(dates: int, trainings: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr, where somebody looks on; before it, how much there is to do."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    shown = console(stderr=True)
    if not shown.is_terminal:
        yield lambda: None
        return
    shown.print(f"At most {trainings} trainings, at {dates} dates; what is in the cache is not trained again.")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=shown, transient=True) as bar:
        task = bar.add_task("dates", total=dates)
        yield lambda: bar.advance(task)


def draw(report: dict[str, Any], file: Path | None) -> str | None:
    """Write the picture, and say where it is."""
    if file is None:
        return None
    from understudy.adapters.staleness_picture import picture
    from understudy.staleness import Age

    place = file / f"replay-{report['model']}.svg" if file.is_dir() else file
    ages = [Age(**age) for age in report["staleness"]["ages"]]
    if len(ages) < 2:
        raise BadInput("One version does not make a curve.", remedy="Choose a shorter --every, or an earlier --since.")
    place.write_text(picture(report["model"], report["loss"], ages), encoding="utf-8")
    return str(place)


def show(report: dict[str, Any], with_dates: bool) -> None:
    say(
        f"{report['model']}, {short(report['since'])} to {short(report['until'])}: {report['rows']} rows that every "
        f"policy answered, {report['trained']} trainings that were not known yet."
    )
    counts = ("trained", "promoted", "refused", "not trained", "rolled back", "lifted")
    titles = ("policy", *counts, f"{report['loss']} loss", report["metric"], "against in force")
    say_table(titles, [row(one) for one in report["policies"]])
    for one in report["policies"]:
        say(f"{one['policy']}: {one['rule']}.")
    for one in report["policies"] if with_dates else ():
        say(f"{one['policy']}, date by date:")
        say_table(("date", "what", "serves", "why"), [decision(each) for each in one["dates"]])
    show_ages(report)
    for note in report["notes"]:
        say(note)
    if report["picture"]:
        say(f"The curve is drawn in {report['picture']}.")


def decision(one: dict[str, Any]) -> tuple[object, ...]:
    return short(one["at"]), one["did"], one["serves"] and short(one["serves"]), one["reason"]


def short(clock: str) -> str:
    """A time to the second; or the number of rows, as it is."""
    return f"{clock[:10]} {clock[11:19]}" if clock.endswith("Z") else clock


def row(one: dict[str, Any]) -> tuple[object, ...]:
    return (
        one["policy"],
        one["trained"],
        one["promotions"],
        one["kept"],
        one["refused"] + one["skipped"],
        one["rolled_back"],
        one["lifted"],
        one["loss"],
        one["metric"],
        against(one["against"], one["interval"]),
    )


def against(change: float | None, interval: list[float] | tuple[float, float] | None) -> str | None:
    """A share with its interval: "−2.1 % (−3.0 to −1.2)"."""
    if change is None:
        return None
    between = "" if interval is None else f" ({100 * interval[0]:+.1f} to {100 * interval[1]:+.1f})"
    return f"{100 * change:+.1f} %{between}".replace("-", "−")


def show_ages(report: dict[str, Any]) -> None:
    """The staleness curve as a table: few ages where there are many."""
    from understudy.adapters.staleness_picture import duration

    ages = report["staleness"]["ages"]
    shown = [age for age in ages if age["steps"] in AGES_SHOWN or age is ages[-1]]
    if len(ages) < 2:
        return
    say("How versions age, against a fresh one on the same rows:")
    rows = [
        (
            age["steps"],
            None if age["days"] is None else duration(age["days"]),
            f"{100 * age['change']:+.1f} %".replace("-", "−"),
            None if age["error"] is None else f"{100 * age['error']:.1f} %",
            age["dates"],
            age["rows"],
        )
        for age in shown
    ]
    say_table(("retrains ago", "age", "more loss", "standard error", "dates", "rows"), rows)
