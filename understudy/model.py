"""What a user writes: one `Model` in a small file under `models/`."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from understudy.errors import BadDefinition
from understudy.ports import Source
from understudy.schedule import Schedule
from understudy.signature import Task

Mode = Literal["auto", "propose"]
OnFailure = Literal["rollback", "keep"]
Loss = Literal["brier", "log_loss", "absolute", "squared"]

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,47}")


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """What a candidate must pass, and who takes the last step.

    Raises BadDefinition at construction.
    """

    mode: Mode = "auto"
    """`propose` leaves the last step to a person."""
    bar: float = 0.8
    """Needed confidence that the candidate is better: 0.5 where data drift fast, 0.95 where a change is costly."""
    floors: Mapping[str, float] = field(default_factory=dict)
    """Metric -> the worst value allowed on the holdout: at least, or at most for those where less is better."""
    max_latency_ms: float | None = None
    """Median CPU time of one row in the trial."""
    max_size_mb: float | None = None
    """Size of the bundle, in 10⁶ bytes."""
    loss: Loss | None = None
    """Loss of one row in the comparison; None: Brier, or the absolute error for a regression."""
    on_failure: OnFailure = "rollback"
    """What follows where the champion fails while it serves: the one before it comes back, or it stays."""

    def __post_init__(self) -> None:
        _require(self.mode in get_args(Mode), f"`{self.mode}` is no way to promote.", 'Write "auto" or "propose".')
        _require(
            _is_number(self.bar) and 0.5 <= self.bar < 1,
            "`bar` is a confidence: at least 0.5, below 1.",
            "Leave it out for 0.8, or write a number such as 0.95.",
        )
        _require(
            self.loss is None or self.loss in get_args(Loss),
            f"`{self.loss}` is no loss.",
            f"Choose one of {_listed(get_args(Loss))}.",
        )
        _require(
            self.on_failure in get_args(OnFailure),
            f"`{self.on_failure}` is nothing that may follow a failure.",
            'Write "rollback" or "keep".',
        )
        for metric, value in self.floors.items():
            _require_metric(metric)
            _require(_is_number(value), f"The floor of `{metric}` is no number.", 'Write floors={"accuracy": 0.7}.')
        for name in ("max_latency_ms", "max_size_mb"):
            limit = getattr(self, name)
            _require(
                limit is None or (_is_number(limit) and limit > 0),
                f"`{name}` must be more than 0.",
                "Leave it out for no limit.",
            )

    def to_json(self) -> dict[str, Any]:
        """The policy as it is recorded in `ModelDefined`; what came later is left out where it is the default.

        A policy that nobody has touched stays the one that is recorded already.
        """
        later = {} if self.on_failure == "rollback" else {"on_failure": self.on_failure}
        return {
            "mode": self.mode,
            "bar": self.bar,
            "floors": dict(self.floors),
            "max_latency_ms": self.max_latency_ms,
            "max_size_mb": self.max_size_mb,
            "loss": self.loss,
            **later,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Promotion":
        """Read a policy back; raises BadDefinition for anything else."""
        try:
            return cls(**data)
        except (TypeError, AttributeError) as error:
            raise BadDefinition(
                "This is no promotion policy.", remedy="Give what `Promotion.to_json()` says."
            ) from error


class Model:
    """A named thing that predicts: where its rows come from, what learns from them, and when it may serve.

    Raises BadDefinition at construction, for everything that can be known without looking at data.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        target: str,
        estimator: Any,  # whatever has fit and predict, as scikit-learn's have; there is no type for that
        *,
        description: str = "",
        time: str | None = None,
        key: str | None = None,
        task: Task | None = None,
        metric: str | None = None,
        retrain: Schedule | None = None,
        promotion: Mode | Promotion = "auto",
        ranges: Mapping[str, tuple[float | None, float | None]] | None = None,
        drop: Sequence[str] = (),
        tags: Mapping[str, str | Sequence[str]] | None = None,
    ) -> None:
        """Define a model.

        Args:
            name: 1–48 characters: small letters, digits, `.`, `_` and `-`, beginning with a letter or digit.
            source: anything with `get_dataframe(as_of)`.
            target: column to predict. Rows where it is null are not mature: they are not learnt from yet.
            estimator: anything with `fit` and `predict` as scikit-learn's; never fitted itself, only copies of it.
            time: column that is the clock of a row; rows are ordered and cut by it. None: their order is the clock.
            key: column that names a row.
            task: None: a classifier's is told from the number of classes in the data.
            metric: what is reported. None: log loss, or the mean absolute error for a regression.
            retrain: None: once a day.
            ranges: column -> lowest and highest possible value (None: open); data with a row outside are refused.
            drop: columns that are in the data and are not features. Nor are `time`, `key` and `target`.
            tags: column -> a tag, or several, such as "personal"; UNDERSTUDY_RECORDS_WITHHOLD names those whose values
                are left out of the prediction records.
        """
        self.name, self.source, self.target, self.estimator = name, source, target, estimator
        self.description, self.time, self.key = description, time, key
        self.retrain = Schedule.every(days=1) if retrain is None else retrain
        self.promotion = promotion if isinstance(promotion, Promotion) else Promotion(mode=promotion)
        self.ranges: dict[str, tuple[float | None, float | None]] = dict(ranges or {})
        self.drop = (drop,) if isinstance(drop, str) else tuple(drop)
        self.tags = read_tags(tags or {})
        self._check_parts()
        self.task: Task | None = "regression" if task is None and _kind_of(estimator) == "regressor" else task
        self._check_task()
        self.metric = metric or ("mae" if self.task == "regression" else "log_loss")
        self._check_measures()

    @property
    def not_features(self) -> frozenset[str]:
        """Columns that may be in the data and are never given to the estimator."""
        return frozenset(name for name in (self.time, self.key, self.target, *self.drop) if name)

    def task_for(self, classes: int) -> Task:
        """What the model does, once it is known how many classes the target holds."""
        return self.task or ("binary" if classes <= 2 else "multiclass")

    def to_json(self) -> dict[str, Any]:
        """The definition as `ModelDefined` holds it: columns' roles, schedule and policy; no code, no addresses.

        `tags` is there where there are any: a definition without is the one that earlier releases recorded.
        """
        tags = {"tags": {column: list(marks) for column, marks in sorted(self.tags.items())}} if self.tags else {}
        return {
            "name": self.name,
            "description": self.description,
            "target": self.target,
            "time": self.time,
            "key": self.key,
            "drop": list(self.drop),
            "task": self.task,
            "metric": self.metric,
            "schedule": self.retrain.to_json(),
            "promotion": self.promotion.to_json(),
            "ranges": {column: list(bounds) for column, bounds in self.ranges.items()},
            "source": _shown(self.source),
            **tags,
        }

    def __repr__(self) -> str:
        return f"Model({self.name!r}, target={self.target!r}, retrain {self.retrain})"

    def _check_parts(self) -> None:
        _require(
            type(self.name) is str and NAME.fullmatch(self.name) is not None,
            f"{str(self.name)[:60]!r} cannot be the name of a model.",
            "Use 1–48 small letters, digits, `.`, `_` and `-`, beginning with a letter or digit.",
        )
        _require(
            callable(getattr(self.source, "get_dataframe", None)) and not isinstance(self.source, type),
            "The source has no method `get_dataframe(as_of)`.",
            'Give Csv("…"), Parquet("…"), or an object of a class with that method.',
        )
        for method in ("fit", "predict"):
            _require(
                callable(getattr(self.estimator, method, None)) and not isinstance(self.estimator, type),
                f"The estimator has no method `{method}`, or it is a class.",
                "Give an estimator such as `LogisticRegression()`, with its brackets, or a pipeline that ends in one.",
            )
        _require(isinstance(self.retrain, Schedule), "`retrain` is no schedule.", "Write `Schedule.every(minutes=5)`.")
        _require(isinstance(self.description, str), "`description` is no text.", "Write one sentence.")
        self._check_columns()

    def _check_columns(self) -> None:
        named = {"target": self.target, "time": self.time, "key": self.key}
        roles = [(role, column) for role, column in named.items() if column is not None]
        for role, column in [*roles, *(("drop", column) for column in self.drop)]:
            _require(type(column) is str and column != "", f"`{role}` names no column.", "Give a column's name.")
        names = [column for _, column in roles]
        _require(
            len(set(names)) == len(names) and self.target not in self.drop,
            "One column cannot be the target and something else as well.",
            "Give target, time and key a column each, and leave the target out of `drop`.",
        )
        for column, bounds in self.ranges.items():
            _require(
                _is_range(bounds),
                f"The range of `{column}` is not two numbers with the lower one first.",
                'Write ranges={"column": (0, 100)}; None stands for an open side.',
            )
        self.ranges = {column: (bounds[0], bounds[1]) for column, bounds in self.ranges.items()}

    def _check_task(self) -> None:
        kind = _kind_of(self.estimator)
        _require(
            self.task is None or self.task in get_args(Task),
            f"`{self.task}` is no task.",
            f"Leave `task` out, or write one of {_listed(get_args(Task))}.",
        )
        _require(
            self.task is not None or kind == "classifier",
            "It cannot be told whether the estimator is a classifier or a regressor.",
            'Say so: task="binary", task="multiclass" or task="regression".',
        )
        _require(
            kind is None or (kind == "regressor") == (self.task == "regression"),
            f"The estimator is a {kind}, and the task is {self.task}.",
            "Leave `task` out, or choose another estimator.",
        )

    def _check_measures(self) -> None:
        tasks: tuple[Task, ...] = (self.task,) if self.task else ("binary", "multiclass")
        what = self.task or "classification"
        for metric in (self.metric, *self.promotion.floors):
            _require_metric(metric)
            fitting = [name for task in tasks for name in _metrics_for(task)]
            _require(metric in fitting, f"`{metric}` does not fit a {what}.", f"Choose one of {_listed(fitting)}.")
        losses = ("absolute", "squared") if self.task == "regression" else ("brier", "log_loss")
        _require(
            self.promotion.loss in (None, *losses),
            f"The loss `{self.promotion.loss}` does not fit a {what}.",
            f"Choose one of {_listed(losses)}.",
        )


def read_tags(tags: Any) -> dict[str, tuple[str, ...]]:
    """The tags of each column, in order. Raises BadDefinition for anything but tags."""
    _require(isinstance(tags, Mapping), "`tags` is no mapping.", 'Write tags={"column": "personal"}.')
    found = {column: (marks,) if isinstance(marks, str) else marks for column, marks in tags.items()}
    for column, marks in found.items():
        _require(type(column) is str and column != "", "`tags` names no column.", "Give a column's name.")
        _require(
            isinstance(marks, tuple | list) and all(type(m) is str and NAME.fullmatch(m) is not None for m in marks),
            f"`{column[:60]}` carries something that is no tag.",
            "Use 1–48 small letters, digits, `.`, `_` and `-`, beginning with a letter or digit.",
        )
    return {column: tuple(sorted(set(marks))) for column, marks in found.items() if marks}


def _metrics_for(task: Task) -> tuple[str, ...]:
    from understudy.metrics import metrics_for  # here, so that `import understudy` does not wait for numpy

    return metrics_for(task)


def _require_metric(name: str) -> None:
    known = dict.fromkeys(metric for task in get_args(Task) for metric in _metrics_for(task))
    _require(name in known, f"There is no metric `{name}`.", f"Choose one of {_listed(known)}.")


def _require(holds: bool, problem: str, remedy: str) -> None:
    if not holds:
        raise BadDefinition(problem, remedy=remedy)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in dict.fromkeys(names))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_range(bounds: object) -> bool:
    if not (isinstance(bounds, tuple | list) and len(bounds) == 2):
        return False
    low, high = bounds
    if not all(bound is None or _is_number(bound) for bound in bounds):
        return False
    return low is None or high is None or low < high


def _kind_of(estimator: Any) -> str | None:
    """`classifier`, `regressor` or None. Asks as scikit-learn's `is_classifier` does, without importing it."""
    tags = getattr(estimator, "__sklearn_tags__", None)
    kind = tags().estimator_type if callable(tags) else getattr(estimator, "_estimator_type", None)
    return kind if kind in ("classifier", "regressor") else None


def _shown(source: Source) -> str:
    """A short text for people that is the same in every process: no memory address in it."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(source))[:200]
