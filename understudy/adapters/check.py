"""`understudy check FILE`: load a definition, ask its source, fit it, bundle it, as a run would do; nothing is kept.

It stops at the first stage at which something is wrong, since what follows would only say the same in other words.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

from understudy.adapters import bundle, definitions, frames, recipe, runtime, scoring, snapshot
from understudy.adapters.definitions import PACKAGE, Definition
from understudy.adapters.own_loss import depends
from understudy.adapters.recipe import Rows
from understudy.checks import Complaint, Described, DescribedColumn, check_columns
from understudy.errors import BadDefinition, UnderstudyError
from understudy.evidence import Evidence
from understudy.fingerprint import digest_of
from understudy.model import Model
from understudy.quality import check as check_quality

SAMPLE = 20_000
"""Newest rows with a label that the estimator is tried on."""
NO_PROFILE = "0" * 64
"""For evidence that nobody will judge."""


def check_definition(path: Path) -> list[Complaint]:
    """Everything that is wrong with a definition; empty where it can be trained, judged and served.

    Runs the file, asks its source for all rows and fits the estimator on some, all in this process.
    """
    if path.suffix != ".py":
        return [Complaint(f"`{path.name}` is no Python file.", "Name a definition, such as models/rain.py.")]
    try:
        definition = definitions.load(path)
    except UnderstudyError as error:
        return [Complaint(error.problem, error.remedy)]
    found: list[Complaint] = []
    with borrowed_home(), threadpool_limits(1):  # one thread, as every run
        for stage in (_estimator, _data, _training):
            found += stage(definition)
            if any(complaint.stops for complaint in found):
                break
    return found


@contextmanager
def borrowed_home() -> Iterator[None]:
    """Give sources that remember something, as the feed does its first use, a place that is forgotten afterwards."""
    kept = os.environ.get("UNDERSTUDY_HOME")
    with TemporaryDirectory() as folder:
        os.environ["UNDERSTUDY_HOME"] = folder
        try:
            yield
        finally:
            del os.environ["UNDERSTUDY_HOME"]
            if kept is not None:
                os.environ["UNDERSTUDY_HOME"] = kept


def _estimator(definition: Definition) -> Iterator[Complaint]:
    """Parts of the estimator that hold code of the user's own: a bundle is data, and the API runs nothing from it."""
    estimator = definition.model.estimator
    parts = estimator.get_params(deep=True) if hasattr(estimator, "get_params") else {}
    for name, part in {"estimator": estimator, **parts}.items():
        foreign = _foreign(part)
        if foreign:
            yield Complaint(
                f"`{name}` is {foreign}: a bundle holds no code, so it cannot be served.",
                "Move what it does into the source, so that the columns arrive ready; a request then sends them so.",
            )


def _foreign(part: Any) -> str | None:
    kind = part if isinstance(part, type) else type(part)
    if kind.__module__.split(".")[0] in (PACKAGE, "__main__"):
        return f"a {kind.__name__}, a class of your own"
    if callable(part) and getattr(part, "__module__", "").split(".")[0] in (PACKAGE, "__main__"):
        name = getattr(part, "__name__", "function")
        return "a lambda" if name == "<lambda>" else f"`{name}`, a function of your own"
    return None


def _data(definition: Definition) -> Iterator[Complaint]:
    model, now = definition.model, datetime.now(UTC)
    try:
        frame = model.source.get_dataframe(now)
    except UnderstudyError as error:
        yield Complaint(error.problem, error.remedy)
        return
    except Exception as error:  # noqa: BLE001 - a source is the user's own code and may raise anything
        yield Complaint(
            f"The source raised {_said(error)}", "Correct `get_dataframe`, or see that the data can be reached."
        )
        return
    if not isinstance(frame, pd.DataFrame):
        yield Complaint(
            f"The source gave a {type(frame).__name__} instead of a frame.",
            "Return a pandas.DataFrame from `get_dataframe`.",
        )
        return
    if frame.empty:
        yield Complaint("The source gave no rows.", "Let it give the rows that are known already.")
        return
    yield from check_columns(model, _described(frame))


def _described(frame: pd.DataFrame) -> Described:
    columns = tuple(_describe(name, frame.iloc[:, place]) for place, name in enumerate(frame.columns))
    return Described(rows=len(frame), columns=columns)


def _describe(name: object, column: "pd.Series[Any]") -> DescribedColumn:
    try:
        [described] = frames.learn_columns(frames.feature_frame(pd.DataFrame({"column": column}), ["column"]))
        kind = described.kind
    except BadDefinition:
        kind = None
    numbers = kind == "integer" and len(column) > 1
    return DescribedColumn(
        name=name,
        kind=kind,
        dtype=str(column.dtype),
        nulls=int(column.isna().sum()),
        distinct=column.astype("str").nunique() if kind is None else column.nunique(),
        counts=bool(numbers and (column.diff().iloc[1:] == 1).all()),
    )


def _training(definition: Definition) -> Iterator[Complaint]:
    """Train on the newest rows as a run would, with a holdout, and make the bundle."""
    model, now = definition.model, datetime.now(UTC)
    try:
        taken = snapshot.take(model, as_of=now, now=now)
        labelled = taken.frame[taken.frame[model.target].notna()]
        yield from _tried(model, snapshot.write(labelled.tail(SAMPLE)), definition, taken.future)
    except UnderstudyError as error:
        yield Complaint(error.problem, error.remedy)
    except Exception as error:  # noqa: BLE001 - estimators raise whatever they like
        yield Complaint(
            f"The estimator cannot learn from these rows: {_said(error)}",
            "Correct the pipeline; text columns need an encoder, and most estimators an imputer where there are nulls.",
        )


def _tried(model: Model, data: bytes, definition: Definition, future: int) -> Iterator[Complaint]:
    taken = snapshot.read(data, model)
    cut = recipe.choose_cut(taken, None)
    rows = recipe.divide(model, taken, cut)
    measured = recipe.profile(model, rows, reference=None, future=future)
    refused = check_quality(measured, None, model.ranges)
    for finding in refused:
        yield Complaint(finding.reason, "A run would refuse these rows: correct the source, or the definition.")
    if refused:
        return
    source = digest_of(definition.source_bytes())
    made = recipe.make(model, rows, recipe.Inputs(source=source, data=digest_of(data), params={}, cut=cut))
    yield from _judged(model, rows, made)
    manifest = bundle.unpack(made, digest=digest_of(made)).manifest
    if manifest["serves"] != "onnx":
        yield Complaint(
            f"A row will take milliseconds instead of microseconds. {manifest['why']}",
            "Nothing has to be changed; another estimator or encoder may convert.",
            stops=False,
        )


def _judged(model: Model, rows: Rows, made: bytes) -> Iterator[Complaint]:
    """Gather what the candidate would be judged by, where that takes more than its answers."""
    loss = model.promotion.loss
    if not (model.slices or model.protected or callable(loss)):
        return
    candidate = runtime.open_bundle(made, digest=digest_of(made), trees=True)
    document, _ = scoring.gather(
        model, rows, candidate=candidate, champion=None, profile=NO_PROFILE, now=datetime.now(UTC)
    )
    labels = rows.labels(model, rows.held_out).values
    if callable(loss) and depends(loss, labels, Evidence.parse(document).candidate_out):
        yield Complaint(
            f"The loss `{loss.__name__}` of a row changes with the rows beside it.",
            "Let it return what each row costs by itself; the mean is taken later.",
        )


def _said(error: Exception) -> str:
    words = " ".join(str(error).split())[:300].rstrip(".")
    return f"{type(error).__name__}{': ' if words else ''}{words}."
