"""A loss that the owner wrote: a function of labels and outputs that gives one number per row.

Only here is it called, where the definition's code runs anyway: in a run's process, or in `understudy check`. The API
judges by the numbers in the evidence.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from understudy.adapters.recipe import Rows
from understudy.compare import constant_outputs
from understudy.errors import BadDefinition
from understudy.evidence import OwnLosses
from understudy.metrics import FloatArray
from understudy.model import Model
from understudy.policy import OwnLoss
from understudy.signature import Value

AsLabels = npt.NDArray[Any]
REMEDY = "Write it as `def {name}(labels, outputs)`, returning one finite number per row, an array of shape (n,)."


def own_losses(
    model: Model, rows: Rows, *, classes: Sequence[Value] | None, candidate: Any, champion: Any
) -> OwnLosses | None:
    """The losses of the held-out rows by the model's own function; None where it names none.

    Args:
        classes: order of the probabilities; None for a regression.
        candidate, champion: what each answered, per row: probabilities, a number, or None; no champion: None.

    Raises BadDefinition where the function raises, or gives anything but one finite number per row.
    """
    loss = model.promotion.loss
    if not callable(loss):
        return None
    labels, width = rows.labels(model, rows.held_out).values, None if classes is None else len(classes)
    constant = constant_outputs(rows.task, _baseline(model, rows, classes), len(labels))
    return OwnLosses(
        name=loss.__name__,
        candidate=per_row(loss, labels, filled(candidate, width)),
        champion=None if champion is None else per_row(loss, labels, filled(champion, width)),
        constant=per_row(loss, labels, constant),
    )


def per_row(loss: OwnLoss, labels: AsLabels, outputs: FloatArray) -> FloatArray:
    """The loss of each row, shape (n,); NaN where the model gave no answer. The function sees a copy of the others.

    Args:
        labels: shape (n,), as they stand in the data.
        outputs: shape (n, classes), probabilities in class order, or (n,).

    Raises BadDefinition where it raises, or gives anything but one finite number per row.
    """
    answered = np.isfinite(outputs) if outputs.ndim == 1 else np.isfinite(outputs).all(axis=1)
    found = np.full(len(labels), np.nan)
    if answered.any():
        found[answered] = _called(loss, labels[answered], outputs[answered])
    return found


def depends(loss: OwnLoss, labels: AsLabels, outputs: FloatArray) -> bool:
    """Whether the loss of a row changes with the rows beside it, as a mean or a rank does; such a loss is none.

    Raises as `per_row` does.
    """
    half = len(labels) // 2
    whole = per_row(loss, labels, outputs)
    parts = [per_row(loss, labels[rows], outputs[rows]) for rows in (slice(half), slice(half, None))]
    return not np.allclose(whole, np.concatenate(parts), equal_nan=True)


def filled(outputs: Any, width: int | None) -> FloatArray:
    """Answers as one array, shape (n, width) or (n,); NaN where there is none."""
    if width is None:
        return np.array(outputs, dtype=np.float64)
    return np.array([[np.nan] * width if row is None else row for row in outputs], dtype=np.float64)


def _called(loss: OwnLoss, labels: AsLabels, outputs: FloatArray) -> FloatArray:
    name = getattr(loss, "__name__", "loss")
    remedy = REMEDY.format(name=name)
    try:
        found = np.asarray(loss(labels, outputs), dtype=np.float64)
    except Exception as error:
        said = " ".join(str(error).split())[:200].rstrip(".")
        raise BadDefinition(f"The loss `{name}` raised {type(error).__name__}: {said}.", remedy=remedy) from error
    if found.shape != (len(labels),):
        raise BadDefinition(
            f"The loss `{name}` gave an array of shape {found.shape} for {len(labels)} rows.", remedy=remedy
        )
    if not np.isfinite(found).all():
        wrong = int((~np.isfinite(found)).sum())
        raise BadDefinition(
            f"The loss `{name}` gave no finite number for {wrong} of {len(labels)} rows.", remedy=remedy
        )
    return found


def _baseline(model: Model, rows: Rows, classes: Sequence[Value] | None) -> dict[str, Any]:
    """What the constant predictor knows: shares of the fitted rows in class order, or their median."""
    fitted = rows.labels(model, rows.fitted).values
    if classes is None:
        return {"median": float(np.quantile(fitted, 0.5, method="inverted_cdf"))}
    return {"shares": [float(np.mean(fitted == label)) for label in classes]}
