"""The promotion protocol as decisions: state and a wish in, the events to append out.

    start    PromotionStarted     where nothing forbids it, on a recorded ground
    commit   VersionPromoted      in the append that finds the champion unchanged, otherwise PromotionAborted
    abort    PromotionAborted     a worker could not make the version ready

    (no pending)  --start-->  (pending key)  --commit-->  (no pending, new champion)
                                   |---abort, or 60 s without an outcome-->  (no pending, same champion)

Between start and commit every worker loads the version beside the old one; after the commit each swaps: see
`understudy/rollout.py`. A retry with the same key finds what the first attempt did and adds nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from understudy import calm, runs
from understudy.errors import BadInput, Conflict, Forbidden, NoGround, NotTheChampion
from understudy.events import Actor, Event, How, PromotionAborted, PromotionStarted, VersionPromoted
from understudy.state import Judgement, Model, Pending, Promotion, Registry, Version

VOID_AFTER = timedelta(seconds=60)
"""A start without outcome: its promoter is dead."""

VOID = f"no outcome in {VOID_AFTER.total_seconds():.0f} s"

FRESH_FOR = timedelta(minutes=10)
"""How old the evidence may be on which something is promoted without a person."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A promotion that somebody wants."""

    model: str
    version: str
    key: str
    by: Actor
    how: How = "promotion"
    reason: str = ""
    expects: str | None = None
    """The champion that the caller believes to replace (`If-Match`); None: any."""
    run: str | None = None
    """The run that promotes, and the token of its claim; None: nobody's run."""
    token: int | None = None


def start(state: Registry, wish: Wish, now: datetime, environment: str) -> tuple[Event, ...]:
    """Begin a promotion; nothing to append where the wish is fulfilled or under way already.

    Raises:
        NotTheChampion: the champion is not the expected one.
        Conflict: another promotion is under way.
        NoGround, Forbidden: as `ground` says.
        StaleClaim: the run that promotes is somebody else's by now, also where the wish is fulfilled already.
    """
    runs.carried(state, wish.model, wish.run, wish.token)
    model = state.model(wish.model)
    version = state.version(wish.model, wish.version)
    known = done(model, wish.key) or (model.pending if model.pending and model.pending.key == wish.key else None)
    if known is not None:
        check_same(known, wish)
        if known is not model.pending or now - known.time < VOID_AFTER:
            return ()
    if wish.expects is not None and wish.expects != model.champion:
        raise NotTheChampion(
            f"The champion of {wish.model} is {model.champion or 'nobody'}, not {wish.expects[:20]!a}.",
            remedy="Look at GET /current_model and decide again.",
        )
    if model.champion == wish.version:
        return ()
    ground(model, version, wish, now, environment)
    began = PromotionStarted(
        model=wish.model,
        key=wish.key,
        version=wish.version,
        replaces=model.champion,
        how=wish.how,
        by=wish.by,
        reason=wish.reason,
    )
    return (*freed(model, now), began)


def freed(model: Model, now: datetime) -> tuple[Event, ...]:
    """Make room for a start: a pending one is void after a minute, and a conflict before."""
    pending = model.pending
    if pending is None:
        return ()
    if now - pending.time < VOID_AFTER:
        raise Conflict(
            f"Version {pending.version} of {model.name} is being promoted.", remedy="Wait for it, then decide again."
        )
    return (PromotionAborted(model=model.name, key=pending.key, version=pending.version, why=VOID),)


def ground(model: Model, version: Version, wish: Wish, now: datetime, environment: str) -> int | None:
    """Position of the verdict that a promotion stands on; None for an override or a demotion.

    Raises:
        NoGround: its trial did not pass here, or nothing recorded says that it is better than today's champion.
        Forbidden: the definition leaves the last step to a person, and the scheduler is none.
        Conflict: a demotion to any other version than the champion before this one; where nobody asks for it, than the
            newest one before that is not barred.
    """
    name = f"Version {version.id} of {model.name}"
    trial = version.trials.get(environment)
    if trial is None or not trial.passed:
        why = f"failed its trial: {trial.reason}" if trial else "has not been tried with the libraries that serve now"
        raise NoGround(f"{name} {why}.", remedy="Train it again; a failed trial cannot be overridden.")
    if wish.how == "demotion":
        before = refuge(model) if wish.by == "api" else predecessor(model)
        if version.id != before:
            raise Conflict(
                f"{name} is not the champion before this one: version {before} is.",
                remedy="Look at GET /current_model and decide again.",
            )
        return None
    if wish.how == "override":
        check_override(wish)
        return None
    judgement = version.judgement
    if judgement is None or not judgement.passed:
        raise NoGround(
            f"{name} has no passing verdict.",
            remedy=f"See `understudy why {model.name}`; an operator may override with a reason.",
        )
    if judgement.champion != model.champion:
        raise NoGround(
            f"{name} was compared with {called(judgement.champion)}, and {called(model.champion)} serves now.",
            remedy="Wait for the next candidate, or override with a reason.",
        )
    if wish.by == "scheduler":
        check_automatic(model, version, judgement, now)
    if wish.by == "api":
        check_by_labels(model, version, judgement, now)
    return judgement.position


def called(champion: str | None) -> str:
    return "the constant predictor" if champion is None else f"version {champion}"


def check_override(wish: Wish) -> None:
    if wish.by != "operator":
        raise Forbidden("Only an operator may override a verdict.", remedy="Use the operator's token.")
    if not wish.reason.strip():
        raise BadInput("An override needs a reason.", remedy='Send {"override": "why this version should serve"}.')


def check_automatic(model: Model, version: Version, judgement: Judgement, now: datetime) -> None:
    """What holds for a promotion that no person asked for: neither policy, then or now, asks for one."""
    check_mode(model, version, judgement)
    check_at_rest(model, version.id, now)
    if judgement.position < taken_back(model, version.id):
        raise NoGround(
            f"Version {version.id} of {model.name} was taken back after it had been judged.",
            remedy="It needs new evidence; an operator may promote it with a reason.",
        )
    if now - judgement.time + judgement.evidence_age > FRESH_FOR:
        raise NoGround(
            f"The evidence for version {version.id} of {model.name} is older than ten minutes.",
            remedy="Post its evidence again, or let an operator promote it.",
        )


def check_by_labels(model: Model, version: Version, judgement: Judgement, now: datetime) -> None:
    """What holds for a promotion that the API itself wants: labels of predictions prefer the version."""
    if not judgement.live:
        raise NoGround(
            f"No labels of predictions speak for version {version.id} of {model.name}.",
            remedy="Wait for them, or let the scheduler or an operator promote it.",
        )
    check_mode(model, version, judgement)
    check_at_rest(model, version.id, now)


def check_mode(model: Model, version: Version, judgement: Judgement) -> None:
    """Raise Forbidden where the policy, then or now, leaves the last step to a person."""
    mode = (model.definition or {}).get("promotion", {}).get("mode")
    if (mode, judgement.mode) != ("auto", "auto"):
        raise Forbidden(
            f"Model {model.name} leaves promotion to a person.",
            remedy=f"An operator promotes it: understudy promote {model.name} {version.id}.",
        )


def check_at_rest(model: Model, version: str, now: datetime) -> None:
    """Raise NoGround where `version` must not become champion by itself, or none of the model's must now."""
    if (why := barred(model, version)) is not None:
        raise NoGround(
            f"Version {version} of {model.name} is barred since it was taken back. {why}",
            remedy=f"An operator lifts the bar: understudy promote {model.name} {version} --reason WHY.",
        )
    if (why := calm.unrest(model, now)) is not None:
        raise NoGround(why, remedy="Wait for the next candidate after that, or let an operator promote it.")


def commit(
    state: Registry, model: str, key: str, now: datetime, environment: str, *, began: int | None = None
) -> tuple[Event, ...]:
    """Make the pending promotion true, if it still replaces the champion, on a ground that still holds.

    Args:
        began: position of the start that the workers were found ready for. A start that became void may have been
            followed by another with the same key, which nobody is ready for yet. None: whichever has this key.
    """
    current = state.model(model)
    pending = under_way(current, key, began)
    if pending is None:
        return ()
    if now - pending.time >= VOID_AFTER:
        return abort(state, model, key, VOID)
    if pending.replaces != current.champion:
        return abort(state, model, key, f"version {current.champion} became champion meanwhile")
    try:
        stands_on = ground(
            current, state.version(model, pending.version), as_wish(model, pending), pending.time, environment
        )
    except (NoGround, Forbidden, Conflict) as gone:
        return abort(state, model, key, gone.problem)
    made = VersionPromoted(
        model=model,
        key=key,
        version=pending.version,
        replaces=pending.replaces,
        how=pending.how,
        ground=stands_on,
        by=pending.by,
        reason=pending.reason,
    )
    return (made, *calm.alarm(current, made, now))


def abort(state: Registry, model: str, key: str, why: str, *, began: int | None = None) -> tuple[Event, ...]:
    """Give the pending promotion up; `began` as for `commit`."""
    pending = under_way(state.model(model), key, began)
    if pending is None:
        return ()
    return (PromotionAborted(model=model, key=key, version=pending.version, why=why),)


def under_way(model: Model, key: str, began: int | None) -> Pending | None:
    """The pending promotion, if it is the one that is meant."""
    pending = model.pending
    if pending is None or pending.key != key or began not in (None, pending.position):
        return None
    return pending


def voided(state: Registry, now: datetime) -> tuple[Event, ...]:
    """End what was started and has had no outcome for a minute, so that nobody keeps a version loaded for it."""
    return tuple(
        PromotionAborted(model=model.name, key=pending.key, version=pending.version, why=VOID)
        for model in state.models.values()
        if (pending := model.pending) is not None and now - pending.time >= VOID_AFTER
    )


def predecessor(model: Model) -> str:
    """The version that a demotion brings back. Raises Conflict where no champion is left to walk back to."""
    if len(model.line) < 2:
        raise Conflict(
            f"Model {model.name} has no earlier champion to go back to.",
            remedy="Promote another version by its id, with a reason.",
        )
    return model.line[-2]


def refuge(model: Model) -> str | None:
    """The version that comes back where nobody asks for it: the newest champion before this one that is not barred."""
    bars = barred_versions(model)
    return next((one for one in reversed(model.line[:-1]) if one != model.champion and one not in bars), None)


def barred_versions(model: Model) -> Mapping[str, str]:
    """Versions that were taken back by themselves, with why; an operator who promotes one lifts its bar."""
    found: dict[str, str] = {}
    for change in model.promotions:
        if calm.is_way_back(change) and change.replaces is not None:
            found[change.replaces] = change.reason
        elif change.by == "operator":
            found.pop(change.version, None)
    return found


def barred(model: Model, version: str) -> str | None:
    """Why a version never becomes champion by itself, as a sentence; None where it may."""
    return barred_versions(model).get(version)


def taken_back(model: Model, version: str) -> int:
    """Position of the newest demotion that ended `version`; 0 where there was none."""
    falls = (done for done in reversed(model.promotions) if done.how == "demotion" and done.replaces == version)
    return next((fall.position for fall in falls), 0)


def done(model: Model, key: str) -> Promotion | None:
    """The promotion that was committed under `key`."""
    return next((promotion for promotion in reversed(model.promotions) if promotion.key == key), None)


def check_same(known: Promotion | Pending | None, wish: Wish) -> None:
    if known is not None and (known.version, known.how) != (wish.version, wish.how):
        raise Conflict(
            "This Idempotency-Key belongs to another promotion.", remedy="Use a new key for a new promotion."
        )


def as_wish(model: str, pending: Pending) -> Wish:
    return Wish(
        model=model,
        version=pending.version,
        key=pending.key,
        by=pending.by,
        how=pending.how,
        reason=pending.reason,
    )
