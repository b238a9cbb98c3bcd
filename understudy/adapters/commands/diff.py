"""`understudy diff`: what sets two versions of a model apart, in their data, their code and their answers."""

from typing import Annotated, Any

import typer

from understudy.adapters.api_client import ApiClient
from understudy.adapters.commands.connection import current_settings, get_if_found, reading
from understudy.adapters.commands.terminal import AsJson, answer, cell, console, say, say_table
from understudy.adapters.commands.verification import listed_version
from understudy.errors import BadInput, NotFound
from understudy.settings import Settings

NAMES = "A number, or `champion`, `previous` (the champion before) or `candidate` (the newest)."
VALUES_SHOWN = 6
"""Values of a row that a person is shown, unless asked for all."""


def add_to(app: typer.Typer) -> None:
    app.command()(diff)


def diff(
    model: str,
    then: Annotated[str, typer.Argument(help=NAMES)] = "previous",
    now: Annotated[str, typer.Argument(help=NAMES)] = "champion",
    everything: Annotated[
        bool, typer.Option("--all", help="Every column, line and row, and not only the first.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what sets two versions apart.

    Rows that came and went, columns that moved, params, libraries, source, metrics; and the rows whose answer changed
    most, asked anew. What the store has lost is said, and the rest is compared.
    """
    from understudy.adapters.versions_apart import ALL, Limits, roles_of, versions_apart

    settings = current_settings()
    with reading(settings) as client:
        found = client.get(f"/models/{model}")
        versions = (numbered(client, found, then), numbered(client, found, now))
        if versions[0] == versions[1]:
            raise BadInput(f"Both are version {versions[0]}.", remedy=f"Name two; see `understudy why {model}`.")
        both = [stored(client, settings, model, version) for version in versions]
    roles = roles_of(found["definition"], frozenset(settings.records_withhold))
    with console(stderr=True).status("Asking both versions the same rows."):
        value = {"model": model, **versions_apart(both[0], both[1], roles, ALL if everything else Limits())}
    answer(as_json, value, lambda value: show(value, None if everything else VALUES_SHOWN))


def numbered(client: ApiClient, model: dict[str, Any], name: str) -> str:
    """The number of a version that may be named by what it is. Raises NotFound where the model has none such."""
    match name:
        case "champion":
            found = model["champion"]
        case "previous":
            found = (get_if_found(client, "/current_model", model=model["name"]) or {}).get("replaces")
        case "candidate":
            found = str(model["versions"]) if model["versions"] else None
        case _:
            return name
    if found is None:
        raise NotFound(f"Model {model['name']} has no {name}.", remedy=f"See `understudy why {model['name']}`.")
    return str(found)


def stored(client: ApiClient, settings: Settings, model: str, version: str) -> Any:
    """A `StoredVersion`: what the log says of it, and where the rest may lie."""
    from understudy.adapters.stored_version import StoredVersion

    listed = listed_version(client, model, version)
    run = None if listed["run"] is None else client.get(f"/runs/{listed['run']}")
    refit_of = listed.get("refit_of")
    basis = None if refit_of is None else listed_version(client, model, refit_of)
    return StoredVersion(listed, run, settings.store, basis)


def show(value: dict[str, Any], values_shown: int | None) -> None:
    then, now = value["then"], value["now"]
    say(f"Version {then['version']} of {value['model']} ({described(then)}) → {now['version']} ({described(now)})")
    show_data(value, then, now)
    show_settings(value, then, now)
    show_code(value["code"])
    if value["metrics"]:
        repeated = f"; version {now['version']} has those of its candidate" if now["refit_of"] else ""
        say(f"Metrics as they were registered, each on rows of its own{repeated}:")
        say_table(
            ("", "then", "now", "better is"),
            [(one["name"], one["then"], one["now"], one["better"]) for one in value["metrics"]],
        )
    if value["answers"] is not None:
        show_answers(value["answers"], then, now, values_shown)
    for gone in value["gone"]:
        say(f"Not compared: {gone['what']} of version {gone['version']}. {gone['why']}")


def described(version: dict[str, Any]) -> str:
    refit = f", the refit of {version['refit_of']}" if version["refit_of"] else ""
    made = f"by {version['run']}" if version["run"] else f"uploaded by the {version['registered_by']}"
    return f"{version['stage']}, {made}{refit}"


def show_data(value: dict[str, Any], then: dict[str, Any], now: dict[str, Any]) -> None:
    data = value["data"]
    before, after = then["data"], now["data"]
    say(
        f"Rows: {before['rows']} up to {before['end']} → {after['rows']} up to {after['end']}; learnt from "
        f"{before['train_rows']} up to {before['cut']} → {after['train_rows']} up to {after['cut']}."
    )
    if data["rows"] is not None:
        counted = data["rows"]
        say(
            f"  added {counted['added']}, removed {counted['removed']}, changed {counted['changed']}, "
            f"the same {counted['same']}"
        )
    if data["label"] is not None:
        say(f"Label: {labelled(data['label'][0])} → {labelled(data['label'][1])}")
    if data["columns"] is not None:
        show_columns(data, then, now)


def labelled(label: dict[str, Any]) -> str:
    if label["shares"] is None:
        return f"median {cell(label['median'])}"
    return ", ".join(f"{name} {100 * share:.1f} %" for name, share in list(label["shares"].items())[:10])


def show_columns(data: dict[str, Any], then: dict[str, Any], now: dict[str, Any]) -> None:
    for what, names in (
        (f"only in version {then['version']}", data["only_then"]),
        (f"only in version {now['version']}", data["only_now"]),
        ("of another kind, and not compared", data["other_kind"]),
    ):
        if names:
            say(f"Columns {what}: {', '.join(names)}")
    say("How far the columns moved, as a share of rows:")
    say_table(
        ("column", "rows that are new", "from", "to", "moved", "all rows", "nulls", "typical"),
        [column_row(column) for column in data["columns"]],
    )
    left_out(data["left_out"], "columns")


def column_row(column: dict[str, Any]) -> tuple[object, ...]:
    new = column["new"] or dict.fromkeys(("effect", "low", "high"))
    return (
        column["name"],
        *(percent(new[name]) for name in ("effect", "low", "high")),
        column["moved"],
        percent(column["effect"]),
        " → ".join(map(percent, column["nulls"])),
        " → ".join(map(cell, column["typical"])),
    )


def percent(share: float | None) -> str:
    return cell(None) if share is None else f"{100 * share:.1f} %".replace("-", "−")


def show_settings(value: dict[str, Any], then: dict[str, Any], now: dict[str, Any]) -> None:
    params = value["params"]
    show_changes("Params of the run", params["given"])
    if params["estimator"] is not None:
        show_changes("Params of the estimator", params["estimator"])
    show_changes("Libraries", value["libraries"])
    form = then["form"] if then["form"] == now["form"] else f"{then['form']} → {now['form']}: {now['why_form']}"
    say(f"Form: {form}. Size: {then['size']} → {now['size']} bytes.")


def show_changes(what: str, found: list[dict[str, Any]]) -> None:
    if not found:
        say(f"{what}: the same.")
        return
    say(f"{what}:")
    say_table(("", "then", "now"), [(change["name"], change["then"], change["now"]) for change in found])


def show_code(code: dict[str, Any]) -> None:
    if code["changed"] is None:
        return
    say("Definition: changed." if code["changed"] else "Definition: the same.", *code["lines"])
    left_out(code["left_out"], "lines")


def show_metrics(metrics: list[dict[str, Any]], measured: list[str], asked: list[str]) -> None:
    if not metrics:
        return
    candidate = "; a refit that has learnt from them is measured by its candidate" if measured != asked else ""
    say(f"Metrics of versions {measured[0]} and {measured[1]} on these rows{candidate}:")
    say_table(
        ("", "then", "now", "better is", "the second is"),
        [(one["name"], one["then"], one["now"], one["better"], one["says"]) for one in metrics],
    )


def show_answers(answers: dict[str, Any], then: dict[str, Any], now: dict[str, Any], values_shown: int | None) -> None:
    say(f"Both were asked {answers['rows']} rows: {answers['which']}.")
    if answers["problem"] is not None:
        say(f"  Not all were answered: {answers['problem']}")
    if answers["mean"] is None:
        return
    other = answers["other_class"]
    classes = "" if other is None else f"; another class in {100 * other:.1f} % of the rows"
    say(f"  Their answers are {cell(answers['mean'])} apart on average, {cell(answers['largest'])} at most{classes}.")
    for version, count in answers["learnt"].items():
        if count:
            say(f"  Version {version} has learnt from {count} of them, which flatters it.")
    show_metrics(answers["metrics"], answers["measured"], [then["version"], now["version"]])
    if not answers["fair"]:
        say("  One has learnt from more of these rows than the other, so they do not say which is better.")
    if answers["withheld"]:
        say(f"Withheld by their tags: {', '.join(answers['withheld'])}")
    say("The rows whose answer changed most:")
    titles = ("row", f"version {then['version']}", f"version {now['version']}", "label", "apart", "values")
    say_table(titles, [row_of(row, values_shown) for row in answers["most"]])


def row_of(row: dict[str, Any], values_shown: int | None) -> tuple[object, ...]:
    name = row["clock"] if row["key"] is None else f"{row['key']}, {cell(row['clock'])}"
    values = [f"{name}={cell(value)}" for name, value in row["values"].items()]
    more = "" if values_shown is None or len(values) <= values_shown else " …"
    shown = ", ".join(values[:values_shown]) + more
    return name, said(row["then"]), said(row["now"]), row["label"], row["change"], shown


def said(one: dict[str, Any]) -> str:
    """A prediction, and how likely the model held it."""
    if one["probabilities"] is None:
        return cell(one["prediction"])
    return f"{cell(one['prediction'])} ({max(one['probabilities']):.3f})"


def left_out(count: int, what: str) -> None:
    if count:
        say(f"… and {count} {what} more; `--all` gives them.")
