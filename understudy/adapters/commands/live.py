"""`understudy live`: what labels of predictions compare now, and how it stands."""

from datetime import datetime
from typing import Any

import typer

from understudy.adapters.commands.connection import current_settings, reading
from understudy.adapters.commands.terminal import AsJson, answer, cell, say, utc_now, when

ALONE = {
    "promotion": "there is no champion before it that it was compared with",
    "return": "it came back by a demotion",
    "switch": "labels have decided once since the last verdict, and the next one begins anew",
}
"""Why a champion is watched without another version, by what began that."""

BESIDE = {
    "promotion": "the champion that it replaced",
    "refusal": "which nothing but the comparison spoke against",
}
"""What the version in shadow is."""


def add_to(app: typer.Typer) -> None:
    app.command()(live)


def live(model: str, as_json: AsJson = False) -> None:
    """Say which version is compared with the champion on labels of predictions, and how that stands.

    Labels come by `POST /feedback` or from the source. At a capital of 20 the other version takes over.
    """
    with reading(current_settings()) as client:
        found = client.get(f"/models/{model}/live")
    answer(as_json, found, lambda value: say(*words(value, utc_now())))


def words(found: dict[str, Any], now: datetime) -> list[str]:
    """What `GET /models/{m}/live` says, for people."""
    pair = found["pair"]
    if pair is None:
        return [f"Nothing of {found['model']} is compared yet: that begins with its first promotion."]
    return [who(found["model"], pair, now), losses(found), *standing(found)]


def in_a_line(found: dict[str, Any], now: datetime) -> str | None:
    """The same in one line, for a list of models; None where nothing is compared."""
    pair = found["pair"]
    if pair is None:
        return None
    stands, rows = found["standing"], f"{found['rows']} labelled rows since {when(pair['since'], now)}"
    if pair["other"] is None:
        return f"{found['model']}: version {pair['serving']['version']} alone, {rows}"
    both = f"{found['model']}: version {pair['serving']['version']} beside {pair['other']['version']} in shadow, {rows}"
    if not found["rows"]:
        return both
    if stands is None or stands["block"] is None:
        return f"{both}, which cannot be compared"
    decided = "" if stands["crossed"] is None else f"; decided after {stands['crossed']}"
    return f"{both}, capital {cell(stands['capital'])} of {enough()}{decided}"


def who(model: str, pair: dict[str, Any], now: datetime) -> str:
    serving, other, since = pair["serving"]["version"], pair["other"], when(pair["since"], now)
    if other is None:
        return f"Version {serving} of {model} is watched alone since {since}: {ALONE.get(pair['why'], pair['why'])}."
    beside = BESIDE.get(pair["why"], pair["why"])
    return f"Version {serving} of {model} serves, and version {other['version']} in shadow, {beside}, since {since}."


def losses(found: dict[str, Any]) -> str:
    """Mean losses, as far as there are any."""
    if not found["rows"]:
        return "None of its predictions has a label yet that can be judged by."
    other = "" if found["other_loss"] is None else f"; that of the other {cell(found['other_loss'])}"
    before = "" if found["loss_on_holdout"] is None else f", and on its holdout {cell(found['loss_on_holdout'])}"
    return (
        f"Labelled predictions: {found['rows']}. Its loss ({found['loss']}) on them is {cell(found['serving_loss'])}"
        f"{before}{other}."
    )


def standing(found: dict[str, Any]) -> list[str]:
    """How the bet stands; nothing where there is no other version, or no label."""
    pair, stands = found["pair"], found["standing"]
    if pair["other"] is None or not found["rows"]:
        return []
    other = pair["other"]["version"]
    if stands is None:
        return ["They cannot be compared: no holdout is known on which both answered."]
    if stands["block"] is None:
        return [f"They cannot be compared: {stands['reason']}"]
    bet = (
        f"Whoever bets on version {other} has made {cell(stands['capital'])} of 1 in {stands['rows']} rows "
        f"({stands['blocks']} blocks of {stands['block']}); at {enough()} it takes over, which an equal one does in at "
        f"most {100 / float(enough()):g} % of comparisons."
    )
    if stands["crossed"] is None:
        return [bet]
    place = "" if pair["settled_at"] is None else f": see position {pair['settled_at']} of the log"
    return [bet, f"After {stands['crossed']} rows labels preferred version {other}{place}."]


def enough() -> str:
    """The capital that decides."""
    from understudy.eprocess import ENOUGH

    return f"{ENOUGH:g}"
