"""The promotion policy: what a candidate must pass, who takes the last step, and what follows once it serves."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from understudy.errors import BadDefinition
from understudy.signature import Task

Mode = Literal["auto", "propose"]
OnFailure = Literal["rollback", "keep"]
Refit = Literal["on", "off"]
CannotTell = Literal["shadow", "promote"]
Loss = Literal["brier", "log_loss", "absolute", "squared"]

OwnLoss = Callable[[Any, Any], Any]
"""(labels, outputs) -> the loss of each row, shape (n,).

labels: shape (n,), as they stand in the data. outputs: shape (n, classes), probabilities in class order; or (n,).
"""
OWN = "own:"
"""How the name of a loss begins that is a function of the definition's: the API knows its name and never its code."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the champion may do while it serves; beyond it the one before comes back. None: that is not judged.

    Raises BadDefinition at construction.
    """

    error_share: float | None = None
    """Of its requests, those that fail."""
    latency_ms: float | None = None
    """The median of what requests of one row take."""
    invalid_share: float | None = 0.01
    """Of its answers, those that are not finite, or outside of `outputs`."""
    outputs: tuple[float, float] | None = None
    """Lowest and highest answer of a regression that can be true."""
    class_sd: float | None = None
    """Standard deviations that the share of a predicted class may lie from what it was on the holdout."""

    def __post_init__(self) -> None:
        for name in ("error_share", "invalid_share"):
            share = getattr(self, name)
            require(
                share is None or (is_number(share) and 0 <= share < 1),
                f"`{name}` is a share: at least 0, below 1.",
                "Leave it out, or write a number such as 0.05.",
            )
        for name in ("latency_ms", "class_sd"):
            limit = getattr(self, name)
            require(
                limit is None or (is_number(limit) and limit > 0),
                f"`{name}` must be more than 0.",
                "Leave it out for no limit.",
            )
        if self.outputs is not None:
            require(
                is_pair(self.outputs), "`outputs` is not two numbers, the lower one first.", "Write outputs=(0, 500)."
            )
            object.__setattr__(self, "outputs", tuple(self.outputs))

    def to_json(self) -> dict[str, Any]:
        """What differs from the default."""
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        changed = {name: value for name, value in given.items() if value != getattr(Limits, name)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}


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
    loss: Loss | OwnLoss | str | None = None
    """Loss of one row in the comparison: a name, or a function as `OwnLoss` says.

    None: Brier, or the absolute error for a regression. Read back from JSON, a function is its name, `own:NAME`.
    """
    on_failure: OnFailure = "rollback"
    """What follows where the champion fails while it serves: the one before it comes back, or it stays."""
    refit: Refit = "on"
    """`on`: what passed is fitted once more, on all rows with a label, and that serves. `off`: the judged one does."""
    cannot_tell: CannotTell = "shadow"
    """What follows where a holdout cannot tell: the candidate stays in shadow, or is promoted."""
    limits: Limits = field(default_factory=Limits)
    """What the champion may do while it serves."""

    def __post_init__(self) -> None:
        require(self.mode in get_args(Mode), f"`{self.mode}` is no way to promote.", 'Write "auto" or "propose".')
        require(
            is_number(self.bar) and 0.5 <= self.bar < 1,
            "`bar` is a confidence: at least 0.5, below 1.",
            "Leave it out for 0.8, or write a number such as 0.95.",
        )
        self._check_loss()
        self._check_words()
        for metric, value in self.floors.items():
            require_metric(metric)
            require(is_number(value), f"The floor of `{metric}` is no number.", 'Write floors={"accuracy": 0.7}.')
        for name in ("max_latency_ms", "max_size_mb"):
            limit = getattr(self, name)
            require(
                limit is None or (is_number(limit) and limit > 0),
                f"`{name}` must be more than 0.",
                "Leave it out for no limit.",
            )
        require(isinstance(self.limits, Limits), "`limits` is none.", "Write limits=Limits(error_share=0.05).")

    @property
    def loss_name(self) -> str | None:
        """The loss as it is recorded: a name, `own:NAME` for a function, or None."""
        return f"{OWN}{self.loss.__name__}" if callable(self.loss) else self.loss

    def _check_loss(self) -> None:
        if callable(self.loss):
            name = getattr(self.loss, "__name__", "")
            named = name.isidentifier() and len(name) <= 80
            require(named, "The loss is a function without a name.", "Write it with `def`.")
            return
        require(
            self.loss is None or self.loss in get_args(Loss) or self.loss.startswith(OWN),
            f"`{self.loss}` is no loss.",
            f"Choose one of {listed(get_args(Loss))}, or give a function of labels and outputs.",
        )

    def _check_words(self) -> None:
        for name, kind, what in (
            ("on_failure", OnFailure, "nothing that may follow a failure"),
            ("refit", Refit, "no way to refit"),
            ("cannot_tell", CannotTell, "nothing that may follow where a holdout cannot tell"),
        ):
            words = get_args(kind)
            given = getattr(self, name)
            require(given in words, f"`{given}` is {what}.", f'Write "{words[0]}" or "{words[1]}".')

    def to_json(self) -> dict[str, Any]:
        """The policy as it is recorded in `ModelDefined`; what came later is left out where it is the default.

        A policy that nobody has touched stays the one that is recorded already.
        """
        later = {name: getattr(self, name) for name in ("on_failure", "refit", "cannot_tell")}
        return {
            "mode": self.mode,
            "bar": self.bar,
            "floors": dict(self.floors),
            "max_latency_ms": self.max_latency_ms,
            "max_size_mb": self.max_size_mb,
            "loss": self.loss_name,
            **{name: value for name, value in later.items() if value != getattr(Promotion, name)},
            **({"limits": limits} if (limits := self.limits.to_json()) else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Promotion":
        """Read a policy back; raises BadDefinition for anything else."""
        try:
            return cls(**{**data, "limits": Limits(**data.get("limits", {}))})
        except (TypeError, AttributeError) as error:
            raise BadDefinition(
                "This is no promotion policy.", remedy="Give what `Promotion.to_json()` says."
            ) from error


def metrics_for(task: Task) -> tuple[str, ...]:
    from understudy import metrics  # here, so that `import understudy` does not wait for numpy

    return metrics.metrics_for(task)


def require_metric(name: str) -> None:
    known = dict.fromkeys(metric for task in get_args(Task) for metric in metrics_for(task))
    require(name in known, f"There is no metric `{name}`.", f"Choose one of {listed(known)}.")


def require(holds: bool, problem: str, remedy: str) -> None:
    if not holds:
        raise BadDefinition(problem, remedy=remedy)


def listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in dict.fromkeys(names))


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_pair(bounds: object) -> bool:
    """Whether it is two numbers, the lower one first."""
    return (
        isinstance(bounds, tuple | list) and len(bounds) == 2 and all(map(is_number, bounds)) and bounds[0] < bounds[1]
    )
