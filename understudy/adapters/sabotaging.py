"""The suite of sabotage, made for one model: its own rows, an honest candidate by its own recipe, and worse ones.

    source ──> snapshot ──> honest bundle ──> its trial, its answers to the holdout
                       └──> the same recipe on spoiled rows ──> the answers of who has learnt from them

The trial is a real one, so the latencies are this machine's. Nothing is kept, and the service is not asked: of it only
the readiness is a part of a case, and that is supposed.
"""

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from understudy.adapters import bundle, frames, recipe, snapshot, training
from understudy.adapters.frames import Target
from understudy.adapters.own_loss import per_row
from understudy.adapters.recipe import Inputs, Rows
from understudy.adapters.runtime import Runtime, SklearnModel, open_bundle
from understudy.adapters.scoring import gather
from understudy.adapters.snapshot import Snapshot
from understudy.adapters.trial import current_environment, try_bundle
from understudy.case import Case, Champion
from understudy.errors import BadDefinition, BadInput
from understudy.events import VersionTried
from understudy.evidence import Clock, Evidence
from understudy.fingerprint import digest_of
from understudy.metrics import FloatArray
from understudy.model import Model
from understudy.parity import Answer
from understudy.proof import Proof, prove
from understudy.sabotage import Honest, suite
from understudy.sabotaged_rows import Table
from understudy.verdict import Name

SAMPLE = 20_000
"""Newest rows with a label that the suite is made from."""
FEWEST_ROWS = 300
"""Of the last snapshot, to fit and to judge by: a hundred each."""
MOST_HELD_OUT = 1_000
FEW = 20
"""Rows that a candidate has learnt from which has learnt from hardly any."""
WRONG = 0.3
"""Share of the labels that are wrong for one that has learnt from wrong ones."""
CHAMPION = "1"
CHAMPION_DIGEST = "1" * 64
COLUMNS = 50
"""Columns among which the one is looked for whose loss costs most."""

Progress = Callable[[str], None]


def selftest(
    model: Model,
    *,
    source: str,
    as_of: datetime,
    progress: Progress = lambda said: None,
    without: Collection[Name] = (),
) -> Proof:
    """Prove the gates of a model.

    Args:
        source: digest of the definition's source.
        as_of: rows are those that had arrived by then.
        progress: told what is being done.
        without: gates that are switched off.

    Raises what the source raises, BadInput where there are too few rows, and whatever the estimator raises.
    """
    progress("Asking the source.")
    taken = snapshot.take(model, as_of=as_of, now=datetime.now(UTC))
    made = honest(model, taken.frame, source=source, progress=progress)
    return prove(made.case, suite(made), without=without)


def honest(model: Model, frame: Any, *, source: str, progress: Progress = lambda said: None) -> Honest:
    """An honest candidate, and everything that its sabotage is made of. `frame`: what `snapshot.take` took."""
    data = snapshot.write(frame[frame[model.target].notna()].tail(SAMPLE))
    rows, known, cut = _divided(model, snapshot.read(data, model))
    inputs = Inputs(source=source, data=digest_of(data), params={}, cut=cut)
    with threadpool_limits(1), warnings.catch_warnings():  # one thread, as every run
        warnings.simplefilter("ignore")  # spoiled rows make estimators complain
        progress("Training an honest candidate.")
        made = recipe.make(model, rows, inputs)
        serving = open_bundle(made, digest=digest_of(made), trees=True)
        answers = dict(_learnt(model, rows, inputs, serving, progress))
    champion = answers[SHUFFLED]
    if champion is None:
        raise BadInput(
            "No champion could be made from shuffled labels, so there is nothing that an honest candidate could beat.",
            remedy="See `understudy check`: the estimator cannot learn from these rows.",
        )
    progress("Trying it.")
    return _put_together(model, rows, known, made, serving, champion, answers)


def _divided(model: Model, taken: Snapshot) -> tuple[Rows, int, Clock]:
    """The rows, how many of them the last snapshot knew, and the cut: half of what has arrived since is held out."""
    clock = taken.mature_clock
    if len(clock) < FEWEST_ROWS:
        raise BadInput(
            f"There are {len(clock)} rows with a label; a selftest needs {FEWEST_ROWS}.",
            remedy="Run `understudy selftest` by hand once more rows have theirs.",
        )
    held_out = min(max(len(clock) // 6, recipe.FEWEST_HELD_OUT), MOST_HELD_OUT)
    last = recipe.as_clock(clock[len(clock) - 2 * held_out - 1])
    cut = recipe.choose_cut(taken, last)
    return recipe.divide(model, taken, cut), int((~snapshot.later(clock, last)).sum()), cut


SHUFFLED = "labels shuffled before the training"


def _learnt(
    model: Model, rows: Rows, inputs: Inputs, serving: Runtime, progress: Progress
) -> Iterator[tuple[str, FloatArray | None]]:
    """What went wrong -> the answers of who has learnt so; None: the estimator refuses to learn so."""
    rng = np.random.default_rng(inputs.seed)
    features, labels = rows.features.iloc[rows.fitted], rows.labels(model, rows.fitted)
    places = np.arange(len(labels.values))
    few = _some_of_each(labels, rng)
    for name, chosen, told in (
        (SHUFFLED, places, rng.permutation(labels.values)),
        (f"{WRONG:.0%} of the labels wrong".replace("%", " %"), places, _some_wrong(labels, rng)),
        (f"hardly any rows to learn from: {len(few)}", few, labels.values[few]),
    ):
        progress(f"Sabotage: {name}.")
        try:
            target = Target(told, labels.classes)
            fitted = training.fit(model.estimator, features.iloc[chosen], target, seed=inputs.seed)
            answer = SklearnModel(fitted, serving.signature).answer_frame(rows.features.iloc[rows.held_out])
            yield name, _outputs(answer)
        except Exception:  # noqa: BLE001 - estimators raise whatever they like, most of all on spoiled rows
            yield name, None
    progress("Sabotage: a column lost on its way.")
    yield _strongest_lost(model, rows, serving, rng)


def _some_wrong(labels: Target, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Labels of which some say another class, or the number of another row."""
    told = labels.values.copy()
    wrong = rng.choice(len(told), int(WRONG * len(told)), replace=False)
    if labels.classes is None:
        told[wrong] = rng.permutation(told[wrong])
        return told
    classes = np.array(labels.classes, dtype=told.dtype)
    code = np.array([labels.classes.index(one) for one in told[wrong].tolist()])
    told[wrong] = classes[(code + rng.integers(1, len(classes), len(wrong))) % len(classes)]
    return told


def _some_of_each(labels: Target, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Places of a few rows; of each class two at least."""
    drawn = rng.permutation(len(labels.values))
    if labels.classes is None:
        return np.sort(drawn[:FEW])
    of_each = [drawn[labels.values[drawn] == one][:2] for one in labels.classes]
    rest = np.setdiff1d(drawn, np.concatenate(of_each), assume_unique=True)
    return np.sort(np.concatenate([*of_each, rng.permutation(rest)[: max(0, FEW - 2 * len(of_each))]]))


def _strongest_lost(
    model: Model, rows: Rows, serving: Runtime, rng: np.random.Generator
) -> tuple[str, FloatArray | None]:
    """The answers of the honest candidate where one column holds other rows' values: the one that costs most."""
    asked = frames.rows_of(rows.features.iloc[rows.held_out])
    truth = _outputs(serving.predict(asked))
    order = rng.permutation(len(asked))
    moved = {}
    for place, column in enumerate(serving.signature.columns[:COLUMNS]):
        mixed = [
            [*row[:place], asked[other][place], *row[place + 1 :]] for row, other in zip(asked, order, strict=True)
        ]
        moved[column.name] = _outputs(serving.predict(mixed))
    name, answers = max(moved.items(), key=lambda one: float(np.mean((one[1] - truth) ** 2)))
    return f"the column `{name}` lost on its way", answers


def _outputs(answer: Answer) -> FloatArray:
    return np.asarray(answer.predictions if answer.probabilities is None else answer.probabilities, dtype=np.float64)


def _put_together(
    model: Model,
    rows: Rows,
    known: int,
    made: bytes,
    serving: Runtime,
    champion: FloatArray,
    answers: Mapping[str, FloatArray | None],
) -> Honest:
    digest, table = digest_of(made), _table(model, rows, known)
    manifest, last = bundle.unpack(made, digest=digest).manifest, table.clock[known - 1]
    profile = table.profile()
    document, _ = gather(
        model, rows, candidate=serving, champion=None, profile=digest_of(profile.encode()), now=datetime.now(UTC)
    )
    alone, own_loss = Evidence.parse(document), _own_loss(model, rows)
    own = alone.own and own_loss and replace(alone.own, champion=own_loss(champion))
    before = {**manifest, "data": {**manifest["data"], "cut": last}}
    case = Case(
        policy=model.promotion.to_json(),
        ranges=model.ranges,
        digest=digest,
        size=len(made),
        manifest=manifest,
        champion=Champion(version=CHAMPION, digest=CHAMPION_DIGEST, manifest=before),
        trial=_tried(model.name, made, digest),
        environment=current_environment(),
        evidence=replace(alone, champion=CHAMPION_DIGEST, champion_out=champion, own=own),
        evidence_age_s=0.0,
        profile=profile,
        reference=table.reference(),
        judged_until=last,
        api={"ready": True, "reason": "ready", "age_s": 0.0},
        slices=model.slices,
        protected=model.protected,
    )
    return Honest(case=case, table=table, learnt=answers, own_loss=own_loss)


def _own_loss(model: Model, rows: Rows) -> Callable[[FloatArray], FloatArray] | None:
    """The owner's loss of answers to the holdout; NaN in every row where the function does not take such answers."""
    loss = model.promotion.loss
    if not callable(loss):
        return None
    labels = rows.labels(model, rows.held_out).values

    def found(outputs: FloatArray) -> FloatArray:
        try:
            return per_row(loss, labels, outputs)
        except BadDefinition:
            return np.full(len(labels), np.nan)

    return found


def _table(model: Model, rows: Rows, known: int) -> Table:
    mature = rows.snapshot.mature
    features = rows.features.iloc[mature]
    columns = frames.learn_columns(rows.features)
    return Table(
        columns={column.name: features[column.name].to_numpy() for column in columns},
        kinds={column.name: column.kind for column in columns},
        label=rows.labels(model, mature).values,
        task=rows.task,
        clock=rows.snapshot.mature_clock.tolist(),
        known=known,
        cut=len(rows.fitted),
    )


def _tried(model: str, made: bytes, digest: str) -> VersionTried:
    """Its trial, beside itself: no honest candidate is slower than that."""
    report = try_bundle(made, digest=digest, trees=True, champion=made, champion_digest=digest)
    return VersionTried(
        model=model,
        version="2",
        digest=digest,
        environment=report.environment,
        passed=report.passed,
        reason=report.reason,
        report=report.report,
        against=CHAMPION,
    )
