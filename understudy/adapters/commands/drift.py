"""`understudy drift MODEL`: how far what a champion is asked, and answers, lies from its training and its holdout."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from understudy.adapters.commands.connection import current_settings, reading
from understudy.adapters.commands.terminal import AsJson, answer, say, say_table, utc_now, when
from understudy.drift import Effect, Report

TITLES = ("column", "what", "moved", "at least", "at most", "notice above", "", "rows", "tell as much as", "was → is")


def add_to(app: typer.Typer) -> None:
    app.command()(drift)


def drift(model: Annotated[str, typer.Argument(help="The model.")], as_json: AsJson = False) -> None:
    """Show how far recent rows lie from those of the training.

    "moved" is the share of the rows that would have to be others for both to be alike. A slow season moves rows, too:
    drift does not say that the model is worse. It warns and may ask for a training; it promotes nothing.
    """
    with reading(current_settings()) as client:
        found = client.get(f"/models/{model}/drift")
    answer(as_json, found, lambda value: show(value, utc_now()))


def show(found: Mapping[str, Any], now: datetime) -> None:
    report = Report.from_json(found["report"])
    seen = f"{report.rows} rows until {when(report.until, now)}" if report.until else "no rows"
    say(f"Version {report.version} of {found['model']}: {seen}, measured {when(found['time'], now)}.")
    if rows := table(found):
        say_table(TITLES, rows)
    say(*found["words"])
    for name, why in report.unmeasured.items():
        say(f"Not measured: {name}. {why}")


def table(found: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """A line for each measure, what crossed its threshold first."""
    report = Report.from_json(found["report"])
    return [line(one) for one in (*report.columns, *([] if report.scores is None else [report.scores]))]


def line(one: Effect) -> tuple[object, ...]:
    name = f"answers ({one.name})" if one.measure == "scores" else one.name
    share = (f"{value:.1%}" for value in (one.effect, one.low, one.high, one.threshold))
    return (name, one.measure, *share, "drift" if one.beyond else None, one.rows, f"{one.effective:.0f}", one.told)
