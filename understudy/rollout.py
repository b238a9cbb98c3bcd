"""How a promotion reaches every worker, as decisions: what is known in, what to do next out.

    a worker      pulses what it serves, what it has ready and what it cannot load; acts on the log by `steps`
    a promoter    start → waits while `readiness` names somebody → commit → while `behind` names somebody → answers

A promoter waits for whoever is alive, so silence must mean something. A look at the log is worth as much as the pulse
that was written before it: whoever commits after that look finds that pulse, and waits for its worker until the pulse
is `SILENT_AFTER_S` old. So a look that has been acted on lets a worker answer for `LOOK_AFTER_S` from the pulse before
the look, and no longer, see `must_look`. A look that follows a silence, and the first look of all without a pulse
before it, count for nothing: somebody may have committed after it and have answered already, without us.

For the same reason a worker that starts pulses first and reads the log then; and a promoter commits first and reads the
pulses then. A worker pulses only after a look: one that cannot reach the log falls silent and is not waited for.

A start is named by its position in the log, since keys may be used again.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from understudy.state import Registry

READY_WITHIN_S = 30.0
"""A promotion for which some live worker is not ready by then is given up."""

SERVED_WITHIN_S = 30.0
"""How long a promoter waits, after the commit, for live workers to serve what it promoted."""

LOOK_AFTER_S = 5.0
"""A worker whose word is so old looks at the log before it answers; half of `liveness.SILENT_AFTER_S`."""


@dataclass(frozen=True, kw_only=True)
class Sign:
    """What a worker says of itself with each pulse."""

    worker: str
    starting: bool = False
    """It answers nobody yet."""
    position: int = 0
    """Of the log as it has read it."""
    serves: Mapping[str, int] = field(default_factory=dict)
    """Model -> position of the promotion whose version answers."""
    ready: frozenset[int] = frozenset()
    """Starts whose version is loaded beside the one that answers."""
    unable: Mapping[int, str] = field(default_factory=dict)
    """Start -> why its version cannot be loaded here."""
    lacks: Mapping[str, str] = field(default_factory=dict)
    """Model -> why its champion is not loaded here; requests for it are refused."""

    def to_json(self) -> dict[str, Any]:
        told = asdict(self)
        del told["worker"]
        return {**told, "ready": sorted(self.ready), "unable": {str(began): why for began, why in self.unable.items()}}

    @classmethod
    def from_json(cls, worker: str, told: Mapping[str, Any]) -> "Sign":
        """Read a sign; members that another release has or lacks do no harm."""
        known = {field.name: told[field.name] for field in fields(cls) if field.name in told}
        unable = {int(began): why for began, why in told.get("unable", {}).items()}
        return cls(**{**known, "worker": worker, "ready": frozenset(told.get("ready", ())), "unable": unable})


@dataclass(frozen=True)
class Swap:
    """Let the champion answer: the version that was made ready for its start, or one that is loaded now."""

    model: str
    version: str
    position: int
    began: int


@dataclass(frozen=True)
class Prepare:
    """Load the version of a promotion that has started, beside the one that answers."""

    model: str
    version: str
    began: int


@dataclass(frozen=True)
class Free:
    """Forget what was made ready for a start that has ended otherwise."""

    began: int


Step = Swap | Prepare | Free


def steps(state: Registry, serves: Mapping[str, int], spares: Collection[int]) -> tuple[Step, ...]:
    """What a worker has to do to be where the log is; swaps first, for somebody may be waiting.

    Args:
        serves: model -> position of the promotion whose version answers here.
        spares: starts for which a version is ready here, is being loaded, or could not be.
    """
    latest = {name: model.promotions[-1] for name, model in state.models.items() if model.promotions}
    due = {name: done for name, done in latest.items() if done.position > serves.get(name, 0)}
    pending = {model.pending.position: model for model in state.models.values() if model.pending}
    wanted = pending.keys() | {done.began for done in due.values()}
    return (
        *(Swap(name, done.version, done.position, done.began) for name, done in due.items()),
        *(Free(began) for began in sorted(set(spares) - wanted)),
        *(
            Prepare(model.name, model.pending.version, began)
            for began, model in pending.items()
            if began not in spares and model.pending
        ),
    )


@dataclass(frozen=True)
class Readiness:
    """How far the live workers are with a start."""

    waiting: tuple[str, ...] = ()
    """Workers that are neither ready nor unable yet."""
    unable: tuple[tuple[str, str], ...] = ()
    """Worker and reason, of those that cannot load the version."""

    @property
    def complete(self) -> bool:
        return not self.waiting and not self.unable


def readiness(signs: Iterable[Sign], began: int) -> Readiness:
    """Who of the live workers stands in the way of a commit; one that starts will find the commit in the log."""
    answering = [sign for sign in signs if not sign.starting]
    return Readiness(
        waiting=tuple(sign.worker for sign in answering if began not in sign.ready and began not in sign.unable),
        unable=tuple((sign.worker, sign.unable[began]) for sign in answering if began in sign.unable),
    )


def behind(signs: Iterable[Sign], model: str, position: int) -> tuple[str, ...]:
    """Live workers that might still answer with an older version than the promotion at `position`."""
    return tuple(sign.worker for sign in signs if sign.serves.get(model, 0) < position)


def must_look(age_s: float) -> bool:
    """Whether a worker looks at the log, and acts on what it finds, before it answers.

    Args:
        age_s: since the pulse before its last look: the newest pulse that was already written when the last look that
            has been acted on began. A pulse that came after that look says nothing for it.
    """
    return age_s >= LOOK_AFTER_S
