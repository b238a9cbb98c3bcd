"""What judges promotions here, as two plain functions, so that a yardstick of somebody else's can be laid on.

    gate(labels, champion, candidate, context) -> bool    is the candidate better? with the policy's default bar
    monitor(reference, live) -> int | None                after how many live rows is the other model put in?

`context.task` is "clf" (labels are 0 and 1, answers are probabilities of 1) or "reg" (both are numbers). Everything is
decided by `understudy.compare` and `understudy.eprocess`, with the losses that the service itself takes by default.
"""

from typing import Any

import numpy as np

from understudy.compare import LOSSES, compare, row_losses
from understudy.eprocess import follow
from understudy.metrics import FloatArray
from understudy.signature import Task

TASKS: dict[str, Task] = {"clf": "binary", "reg": "regression"}


def gate(labels: FloatArray, champion: FloatArray, candidate: FloatArray, context: Any) -> bool:
    """Whether the candidate would be promoted, as far as its comparison goes. `context`: anything with a `task`."""
    task = TASKS[context.task]
    return compare(losses(task, labels, candidate), losses(task, labels, champion)).answer == "better"


def monitor(reference: FloatArray, live: FloatArray) -> int | None:
    """Both: loss of the serving model − loss of the other, row by row; on the holdout, and since."""
    return follow(reference, live).crossed


def losses(task: Task, labels: FloatArray, answers: FloatArray) -> FloatArray:
    """By the loss that judges the task where the owner names none."""
    loss = LOSSES[task][0]
    if task == "regression":
        return row_losses(loss, answers, labels)
    return row_losses(loss, np.column_stack([1 - answers, answers]), labels.astype(np.int64))
