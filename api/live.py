"""`/models/{m}/live`: labels of what was predicted judge the champion beside the version in shadow.

The scheduler sends what both versions said and what was true; losses, standing and decision are computed here, by the
policy that is recorded. The rules: `understudy/live.py`.
"""

import logging
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
from fastapi import APIRouter, Request

from api.door import Door
from api.schemas import LiveRows
from api.service import Service, service_of
from api.tally import Weighed
from understudy import live, runs
from understudy.adapters.cases import defined
from understudy.calm import cools_down
from understudy.compare import row_losses
from understudy.errors import BadInput, Conflict
from understudy.events import AttentionNeeded, Event, LiveCompared, timestamp
from understudy.fingerprint import canonical_json
from understudy.labels import Place
from understudy.metrics import FloatArray
from understudy.ports import ScoredRow
from understudy.records import EPOCH
from understudy.state import Pair, Registry

router = APIRouter(route_class=Door, tags=["live"])
log = logging.getLogger(__name__)


@router.get("/models/{model}/live", name="live", summary="What labels compare now, and how it stands")
def standing(model: str, request: Request) -> dict[str, Any]:
    """`capital` is what whoever bets on the other version has made of 1; at 20 the other version takes over."""
    service = service_of(request)
    state = service.journal.newest()
    pair = state.model(model).pair
    return {"model": model, "pair": None} if pair is None else shown(service, state, model, pair)


@router.post("/models/{model}/live", name="score", summary="Score labelled predictions of a pair")
def score(model: str, body: LiveRows, request: Request) -> dict[str, Any]:
    """Rows in the order of their predictions, each once: `after` is the cursor that `GET …/live` said."""
    service = service_of(request)
    pair = current(service.journal.catch_up(), model, body.pair)
    check_places(body)
    rows = losses_of(service, model, pair, body)
    known = service.scores.cursor(model, pair.position)
    if known is None and body.after != str(start_of(pair)):
        raise Conflict("Nothing of this pair is scored yet.", remedy="Begin where GET /models/{model}/live says.")
    service.scores.add(model, pair.position, after=None if known is None else body.after, until=body.until, rows=rows)
    state = decided(service, model, pair)
    return standing(model, request) if state.model(model).pair != pair else shown(service, state, model, pair)


def check_places(body: LiveRows) -> None:
    """Raise BadInput unless the ids are places in the records, in their order, between the two cursors."""
    places = [Place.parse(text) for text in (body.after, *body.ids, body.until)]
    known = [place for place in places if place is not None]
    ordered = all(a < b for a, b in pairwise(known[:-1])) and known[-2:] == sorted(known[-2:])
    if len(known) != len(places) or not ordered:
        raise BadInput("The ids are no places in the records, in their order.", remedy="Send them as `…/labelled` did.")


def start_of(pair: Pair) -> Place:
    """The place before all predictions that the pair is compared on."""
    return Place((pair.time - EPOCH) // live.MILLISECOND, "000000", 0, 0)


def current(state: Registry, model: str, position: int) -> Pair:
    pair = state.model(model).pair
    if pair is None or pair.position != position:
        raise Conflict(f"The pair of position {position} is over.", remedy="See GET /models/{model}/live.")
    return pair


def losses_of(service: Service, model: str, pair: Pair, body: LiveRows) -> list[ScoredRow]:
    """The losses of the rows by the recorded policy. Raises BadInput where the parts do not fit."""
    state = service.journal.state
    name = live.loss_name(defined(state, model)["promotion"], signature(service, state, model, pair)["task"])
    if not live.is_own(name):
        serving, other = (computed(service, model, pair, body, out) for out in (body.serving, body.other))
    elif body.own is not None:
        serving, other = body.own.serving, body.own.other
    else:
        raise BadInput(f"The policy judges by `{name}`, and its values are not there.", remedy="Send `own`.")
    assert serving is not None
    return [*zip(body.ids, serving, [None] * len(body.ids) if other is None else other, strict=True)]


def signature(service: Service, state: Registry, model: str, pair: Pair) -> Any:
    return service.manifests.get(state.version(model, pair.serving).digest)["signature"]


def computed(service: Service, model: str, pair: Pair, body: LiveRows, out: Any) -> list[float | int | None] | None:
    """The loss of each row; None for one without a finite answer."""
    if out is None or not body.ids:
        return None if out is None else []
    said = signature(service, service.journal.state, model, pair)
    name = live.loss_name(defined(service.journal.state, model)["promotion"], said["task"])
    try:
        outputs, labels = arrays(said, out, body.labels)
        with np.errstate(invalid="ignore"):
            losses = row_losses(name, outputs, labels)  # type: ignore[arg-type]  # it is one of ours
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise BadInput(
            "The answers do not fit the signature of the champion.", remedy="Send them in its order."
        ) from error
    return [float(one) if np.isfinite(one) else None for one in losses]


def arrays(said: Any, out: list[Any], labels: list[Any]) -> tuple[FloatArray, Any]:
    """Outputs of shape (n, classes) or (n,), NaN where there is no answer; and labels as codes or numbers."""
    if said["classes"] is None:
        return np.array(out, dtype=np.float64), np.array(labels, dtype=np.float64)
    width, place = len(said["classes"]), {label: i for i, label in enumerate(said["classes"])}
    filled = np.array([[None] * width if row is None else row for row in out], dtype=np.float64)
    if filled.shape != (len(labels), width):
        raise ValueError("another number of classes")
    return filled, np.array([place.get(label, -1) for label in labels], dtype=np.int64)


def decided(service: Service, model: str, pair: Pair) -> Registry:
    """Record what the labels say by now, where they say something."""
    now = weigh(service, service.journal.state, model, pair)
    found, worse = now.decision if pair.settled_at is None else None, now.decline
    if found is None and worse is None:
        return service.journal.state
    digest = None if found is None else service.store.put(evidence(service, model, pair, found.rows))

    def decide(state: Registry, now: datetime) -> list[Event]:
        ours, events = state.model(model).pair, list[Event]()
        if ours is None or ours.position != pair.position:
            return events
        if found is not None and digest is not None and ours.settled_at is None:
            events += compared(state, model, pair, found.rows, digest, found.to_json(), now)
        if worse is not None:
            events += retrained(state, model, pair, worse, now)
        return events

    before = service.journal.state.position
    state = service.journal.decide(decide)
    for entry in service.journal.read(after=before, limit=10) if state.position > before else []:
        if isinstance(entry.event, LiveCompared | AttentionNeeded) and entry.event.model == model:
            said = entry.event.reason if isinstance(entry.event, AttentionNeeded) else "labels have decided"
            log.warning("%s: %s", model, said, extra={"action": "live", "model": model})
    return state


def compared(state: Registry, model: str, pair: Pair, rows: int, digest: str, found: Any, now: datetime) -> list[Event]:
    """The comparison, and a note where the champion is taken back, or a person has to act."""
    assert pair.other is not None
    event = LiveCompared(
        model=model,
        version=pair.other,
        serving=pair.serving,
        pair=pair.position,
        rows=rows,
        evidence=digest,
        standing=found,
        facts={"reference": pair.evidence},
    )
    plan = live.switch(replace(state.model(model), pair=replace(pair, settled_at=state.position + 1)), now)
    if plan is None or (plan.next == "switch" and pair.why != "promotion"):
        return [event]
    note = AttentionNeeded(
        model=model,
        version=pair.serving,
        run=None,
        reason=f"{plan.why} It rests on {rows} labelled predictions.",
        remedy=f"See `understudy live {model}`; what is taken back serves again only if a person promotes it.",
    )
    return [event, note]


def retrained(state: Registry, model: str, pair: Pair, worse: live.Decline, now: datetime) -> list[Event]:
    """Nothing better is at hand: train at once, and tell a person; once for a pair.

    Just after a way back it waits for more labels: what it made could not be promoted before that is over.
    """
    slot = declined(pair)
    if (model, "train", slot) in state.slots or cools_down(state.model(model), now):
        return []
    note = AttentionNeeded(
        model=model,
        version=pair.serving,
        run=None,
        reason=f"Version {pair.serving} of {model} has got worse: {worse.words}. It is trained anew.",
        remedy="Look whether the world has changed, or the labels: see `understudy drift` and the newest feedback.",
    )
    return [note, *runs.request(state, runs.Wish(model=model, job="train", slot=slot, by="api"), now)]


def evidence(service: Service, model: str, pair: Pair, rows: int) -> bytes:
    """The rows that decided, as the store keeps them: id and both losses."""
    state = service.journal.state
    serving, other = (state.version(model, version or "").digest for version in (pair.serving, pair.other))
    kept = service.scores.read(model, pair.position)[:rows]
    document = {"format": 1, "model": model, "pair": pair.position, "serving": serving, "other": other}
    return canonical_json({**document, "reference": pair.evidence, "rows": [list(row) for row in kept]})


def reference_of(service: Service, state: Registry, model: str, pair: Pair) -> live.Reference | None:
    """The losses on the holdout of the pair's verdict, or None where they cannot be had."""
    return None if pair.evidence is None else referred(service, state, model, pair, pair.evidence)


def gate_of(service: Service, state: Registry, model: str, pair: Pair) -> live.Reference | None:
    """The champion's losses on the holdout of its own verdict: on a later one, it may be in decline already."""
    own = state.version(model, pair.serving).judgement
    if pair.evidence is None or own is None or own.live:
        return reference_of(service, state, model, pair)
    return referred(service, state, model, pair, own.evidence) or reference_of(service, state, model, pair)


def weigh(service: Service, state: Registry, model: str, pair: Pair) -> Weighed:
    known, gate = reference_of(service, state, model, pair), gate_of(service, state, model, pair)
    return service.tally.weigh(model, pair.position, known, gate)


def referred(service: Service, state: Registry, model: str, pair: Pair, digest: str) -> live.Reference | None:
    serving = tuple(live.digests(state, state.version(model, pair.serving)))
    other = () if pair.other is None else tuple(live.digests(state, state.version(model, pair.other)))
    policy = canonical_json(defined(state, model)["promotion"]).decode()
    return service.references.get(digest, serving, other, policy)


def shown(service: Service, state: Registry, model: str, pair: Pair) -> dict[str, Any]:
    known, now = gate_of(service, state, model, pair), weigh(service, state, model, pair)
    scored, found = now.scored, now.standing
    said = signature(service, state, model, pair)
    return {
        "model": model,
        "pair": {
            "position": pair.position,
            "serving": version(state, model, pair.serving),
            "other": version(state, model, pair.other),
            "since": timestamp(pair.time),
            "why": pair.why,
            "settled_at": pair.settled_at,
        },
        "cursor": service.scores.cursor(model, pair.position) or str(start_of(pair)),
        "loss": live.loss_name(defined(state, model)["promotion"], said["task"]),
        "classes": said["classes"],
        "evidence": pair.evidence,
        "profile": None if pair.evidence is None else service.references.profile(pair.evidence),
        "rows": len(scored.serving),
        "serving_loss": mean(scored.serving),
        "other_loss": None if scored.other is None else mean(scored.other),
        "loss_on_holdout": None if known is None else mean(known.serving),
        "standing": None if found is None else found.to_json(),
        "due": is_due(state, model, pair, now),
    }


def is_due(state: Registry, model: str, pair: Pair, said: Weighed) -> bool:
    """Whether the rows say something that is not in the log: whoever stored them may have been killed just then."""
    undecided = pair.settled_at is None and said.decision is not None
    return undecided or ((model, "train", declined(pair)) not in state.slots and said.decline is not None)


def declined(pair: Pair) -> str:
    """The slot of the training that follows a decline."""
    return f"declined/{pair.position}"


def version(state: Registry, model: str, name: str | None) -> dict[str, str] | None:
    return None if name is None else {"version": name, "digest": state.version(model, name).digest}


def mean(losses: FloatArray) -> float | None:
    there = losses[np.isfinite(losses)]
    return float(there.mean()) if len(there) else None
