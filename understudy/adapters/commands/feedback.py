"""`understudy feedback`: labels from a file."""

import csv
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from understudy.adapters.api_client import ApiClient
from understudy.adapters.commands.connection import current_settings, operating
from understudy.adapters.commands.terminal import AsJson, Exit, answer, say
from understudy.errors import BadInput, Conflict, Forbidden, NotFound, TooMany, UnderstudyError

AT_ONCE = 5_000
PAUSE_S = 2.0
COUNTS = ("accepted", "known", "changed", "late")
MOST_SHOWN = 10
COLUMNS = frozenset({"prediction_id", "key", "model", "label", "source"})
HEADER = "Name the columns `prediction_id` (or `key` and `model`), `label`, and maybe `source`."

Item = dict[str, Any]


def add_to(app: typer.Typer) -> None:
    app.command()(feedback)


def feedback(
    file: Annotated[Path, typer.Argument(help="CSV with a header, or JSON Lines: one object a line.")],
    source: Annotated[str | None, typer.Option(help="Who tells these labels, where the file does not say.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send the labels of a file: `prediction_id` (or `key` and `model`), `label`, and maybe `source`.

    It may be sent again: what is known is known. Exits with 1 where any was refused.
    """
    items = [{**({} if source is None else {"source": source}), **item} for item in read(file)]
    total: dict[str, Any] = {**dict.fromkeys(COUNTS, 0), "refused": []}
    with operating(current_settings()) as client:
        for start in range(0, len(items), AT_ONCE):
            add(total, sent(client, items[start : start + AT_ONCE]), start)
    answer(as_json, total, show)
    if total["refused"]:
        raise typer.Exit(Exit.NO)


def read(file: Path) -> list[Item]:
    """The items of a file. Raises BadInput."""
    with file.open(encoding="utf-8-sig", newline="") as lines:
        try:
            return list(from_csv(lines) if file.suffix == ".csv" else map(from_json, lines))
        except (ValueError, csv.Error) as error:
            problem = f"{file.name} cannot be read as {'CSV' if file.suffix == '.csv' else 'JSON Lines'}."
            raise BadInput(problem, remedy="Write `prediction_id,label` and a line for each label.") from error


def from_csv(lines: Any) -> Iterator[Item]:
    """What looks like a number or true or false in `label` and `key` is one; what is empty is not there."""
    for row in csv.DictReader(lines, strict=True):
        if None in row:
            raise ValueError("more values than columns")
        filled = {name: text for name, text in row.items() if text}
        if unknown := sorted(filled.keys() - COLUMNS):
            raise BadInput(f"The CSV has a column {unknown[0][:60]!r}, which is none of a label's.", remedy=HEADER)
        yield {name: value_of(text) if name in ("label", "key") else text for name, text in filled.items()}


def from_json(line: str) -> Item:
    item = json.loads(line)
    if not isinstance(item, dict):
        raise ValueError("no object")
    return item


def value_of(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) else text


def sent(client: ApiClient, items: Sequence[Item]) -> dict[str, Any]:
    """What became of them; where too many come at once, later."""
    while True:
        try:
            said: dict[str, Any] = client.post_list("/feedback", items)
        except TooMany:
            time.sleep(PAUSE_S)
        except (BadInput, Conflict, Forbidden, NotFound) as refusal:  # all of them are, the first for this reason
            return dict.fromkeys(COUNTS, 0) | {"refused": [refused(i, refusal) for i in range(len(items))]}
        else:
            return said


def refused(index: int, error: UnderstudyError) -> dict[str, Any]:
    return {"index": index, "code": error.code, "detail": error.problem, "remedy": error.remedy}


def add(total: dict[str, Any], said: dict[str, Any], start: int) -> None:
    for name in COUNTS:
        total[name] += said[name]
    total["refused"] += [{**one, "index": one["index"] + start} for one in said["refused"]]


def show(total: dict[str, Any]) -> None:
    say(", ".join(f"{total[name]} {name}" for name in COUNTS) + f", {len(total['refused'])} refused.")
    for one in total["refused"][:MOST_SHOWN]:
        say(f"Label {one['index'] + 1}: {one['detail']} {one['remedy']}")
    if len(total["refused"]) > MOST_SHOWN:
        say(f"… and {len(total['refused']) - MOST_SHOWN} more; `--json` gives all.")
