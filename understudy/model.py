"""What a user writes: one `Model` in a small file under `models/`."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, get_args

from understudy.policy import Limits, Loss, Mode, Promotion, is_number, listed, metrics_for, require, require_metric
from understudy.ports import Source
from understudy.schedule import Schedule
from understudy.signature import Task

__all__ = ["NAME", "Limits", "Loss", "Mode", "Model", "Promotion", "read_tags"]

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,47}")


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
        slices: Sequence[str] = (),
        protected: Sequence[str] = (),
        max_age: timedelta | None = None,
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
            slices: columns by whose values a candidate is judged as well: it must not be worse where one of them says
                so. They may be features.
            protected: the same, for columns that are never features, such as a sex or an origin.
            max_age: how old a champion may be before somebody is told. None: it may grow old.
        """
        self.name, self.source, self.target, self.estimator = name, source, target, estimator
        self.description, self.time, self.key = description, time, key
        self.retrain = Schedule.every(days=1) if retrain is None else retrain
        self.promotion = promotion if isinstance(promotion, Promotion) else Promotion(mode=promotion)
        self.ranges: dict[str, tuple[float | None, float | None]] = dict(ranges or {})
        self.drop, self.slices, self.protected = _names(drop), _names(slices), _names(protected)
        self.max_age = max_age
        self.tags = read_tags(tags or {})
        self._check_parts()
        self.task: Task | None = "regression" if task is None and _kind_of(estimator) == "regressor" else task
        self._check_task()
        self.metric = metric or ("mae" if self.task == "regression" else "log_loss")
        self._check_measures()

    @property
    def not_features(self) -> frozenset[str]:
        """Columns that may be in the data and are never given to the estimator."""
        return frozenset(name for name in (self.time, self.key, self.target, *self.drop, *self.protected) if name)

    def task_for(self, classes: int) -> Task:
        """What the model does, once it is known how many classes the target holds."""
        return self.task or ("binary" if classes <= 2 else "multiclass")

    def to_json(self) -> dict[str, Any]:
        """The definition as `ModelDefined` holds it: columns' roles, schedule and policy; no code, no addresses.

        What came later is there where it says something: a definition without it is the one of earlier releases.
        """
        later = {
            "tags": {column: list(marks) for column, marks in sorted(self.tags.items())},
            "slices": list(self.slices),
            "protected": list(self.protected),
            "max_age_s": None if self.max_age is None else self.max_age.total_seconds(),
        }
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
            **{name: value for name, value in later.items() if value},
        }

    def __repr__(self) -> str:
        return f"Model({self.name!r}, target={self.target!r}, retrain {self.retrain})"

    def _check_parts(self) -> None:
        require(
            type(self.name) is str and NAME.fullmatch(self.name) is not None,
            f"{str(self.name)[:60]!r} cannot be the name of a model.",
            "Use 1–48 small letters, digits, `.`, `_` and `-`, beginning with a letter or digit.",
        )
        require(
            callable(getattr(self.source, "get_dataframe", None)) and not isinstance(self.source, type),
            "The source has no method `get_dataframe(as_of)`.",
            'Give Csv("…"), Parquet("…"), or an object of a class with that method.',
        )
        for method in ("fit", "predict"):
            require(
                callable(getattr(self.estimator, method, None)) and not isinstance(self.estimator, type),
                f"The estimator has no method `{method}`, or it is a class.",
                "Give an estimator such as `LogisticRegression()`, with its brackets, or a pipeline that ends in one.",
            )
        require(isinstance(self.retrain, Schedule), "`retrain` is no schedule.", "Write `Schedule.every(minutes=5)`.")
        require(isinstance(self.description, str), "`description` is no text.", "Write one sentence.")
        age: Any = self.max_age
        require(
            age is None or (isinstance(age, timedelta) and age > timedelta(0)),
            "`max_age` is no time that passes.",
            "Write `timedelta(days=30)`, for example, or leave it out.",
        )
        self._check_columns()

    def _check_columns(self) -> None:
        named = {"target": self.target, "time": self.time, "key": self.key}
        roles = [(role, column) for role, column in named.items() if column is not None]
        lists = {"drop": self.drop, "slices": self.slices, "protected": self.protected}
        more = [(role, column) for role, columns in lists.items() for column in columns]
        for role, column in [*roles, *more]:
            require(type(column) is str and column != "", f"`{role}` names no column.", "Give a column's name.")
        names = [column for _, column in roles]
        require(
            len(set(names)) == len(names) and self.target not in self.drop,
            "One column cannot be the target and something else as well.",
            "Give target, time and key a column each, and leave the target out of `drop`.",
        )
        judged_by = (*self.slices, *self.protected)
        require(
            self.target not in judged_by and len(set(judged_by)) == len(judged_by),
            "`slices` and `protected` name the target, or a column twice.",
            "Name each column once, and not the target.",
        )
        for column, bounds in self.ranges.items():
            require(
                _is_range(bounds),
                f"The range of `{column}` is not two numbers with the lower one first.",
                'Write ranges={"column": (0, 100)}; None stands for an open side.',
            )
        self.ranges = {column: (bounds[0], bounds[1]) for column, bounds in self.ranges.items()}

    def _check_task(self) -> None:
        kind = _kind_of(self.estimator)
        require(
            self.task is None or self.task in get_args(Task),
            f"`{self.task}` is no task.",
            f"Leave `task` out, or write one of {listed(get_args(Task))}.",
        )
        require(
            self.task is not None or kind == "classifier",
            "It cannot be told whether the estimator is a classifier or a regressor.",
            'Say so: task="binary", task="multiclass" or task="regression".',
        )
        require(
            kind is None or (kind == "regressor") == (self.task == "regression"),
            f"The estimator is a {kind}, and the task is {self.task}.",
            "Leave `task` out, or choose another estimator.",
        )

    def _check_measures(self) -> None:
        tasks: tuple[Task, ...] = (self.task,) if self.task else ("binary", "multiclass")
        what = self.task or "classification"
        for metric in (self.metric, *self.promotion.floors):
            require_metric(metric)
            fitting = [name for task in tasks for name in metrics_for(task)]
            require(metric in fitting, f"`{metric}` does not fit a {what}.", f"Choose one of {listed(fitting)}.")
        losses = ("absolute", "squared") if self.task == "regression" else ("brier", "log_loss")
        require(
            callable(self.promotion.loss) or self.promotion.loss in (None, *losses),
            f"The loss `{self.promotion.loss}` does not fit a {what}.",
            f"Choose one of {listed(losses)}.",
        )


def read_tags(tags: Any) -> dict[str, tuple[str, ...]]:
    """The tags of each column, in order. Raises BadDefinition for anything but tags."""
    require(isinstance(tags, Mapping), "`tags` is no mapping.", 'Write tags={"column": "personal"}.')
    found = {column: (marks,) if isinstance(marks, str) else marks for column, marks in tags.items()}
    for column, marks in found.items():
        require(type(column) is str and column != "", "`tags` names no column.", "Give a column's name.")
        require(
            isinstance(marks, tuple | list) and all(type(m) is str and NAME.fullmatch(m) is not None for m in marks),
            f"`{column[:60]}` carries something that is no tag.",
            "Use 1–48 small letters, digits, `.`, `_` and `-`, beginning with a letter or digit.",
        )
    return {column: tuple(sorted(set(marks))) for column, marks in found.items() if marks}


def _names(given: Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _is_range(bounds: object) -> bool:
    if not (isinstance(bounds, tuple | list) and len(bounds) == 2):
        return False
    low, high = bounds
    if not all(bound is None or is_number(bound) for bound in bounds):
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
