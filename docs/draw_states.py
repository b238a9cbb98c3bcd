"""Draws `docs/states.md` from the code: `python docs/draw_states.py`.

The stages of a version are a table in `understudy/stages.py`. The promotion protocol has no table: its functions are
asked, in each state that they lead to, what they would append.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from understudy import promotion, rollout
from understudy.errors import UnderstudyError
from understudy.events import (
    Event,
    ModelDefined,
    Recorded,
    VerdictReached,
    VersionPromoted,
    VersionRegistered,
    VersionTried,
)
from understudy.promotion import Wish
from understudy.registry import fold
from understudy.rollout import Free, Prepare, Sign, Swap
from understudy.stages import TRANSITIONS, Replaced
from understudy.state import Registry, Stage

PAGE = Path(__file__).with_name("states.md")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + promotion.VOID_AFTER + timedelta(seconds=1)
HERE = "libraries"
"""The environment that both versions were tried in."""

Step = Callable[[Registry], Sequence[Event]]


@dataclass(frozen=True)
class Edge:
    """One thing that may be asked of the protocol in one state, and what comes of it."""

    state: str
    step: str
    answer: str
    after: str


def wish(key: str, *, expects: str | None = None) -> Wish:
    return Wish(model="m", version="2", key=key, by="scheduler", expects=expects)


#: What a promoter, or the world, may do at any moment. A demotion and an override take the same way.
STEPS: dict[str, Step] = {
    "start": lambda state: promotion.start(state, wish("a"), NOW, HERE),
    "start, expecting another champion": lambda state: promotion.start(state, wish("b", expects="7"), NOW, HERE),
    "start with another key, within 60 s": lambda state: promotion.start(state, wish("b"), NOW, HERE),
    "start with another key, after 60 s": lambda state: promotion.start(state, wish("a2"), LATER, HERE),
    "abort: a worker cannot load it": lambda state: promotion.abort(state, "m", key(state), "cannot load"),
    "commit": lambda state: promotion.commit(state, "m", key(state), NOW, HERE),
}


def key(state: Registry) -> str:
    """The key of the promotion that is under way, or one that nobody has used."""
    pending = state.model("m").pending
    return pending.key if pending else "unused"


def recorded(state: Registry, events: Sequence[Event]) -> Registry:
    entries = [Recorded(place, NOW, event, "") for place, event in enumerate(events, state.position + 1)]
    return fold(entries, state)


def beginning() -> Registry:
    """Version 1 serves; version 2 has passed its trial and its verdict against 1."""
    definition = {"promotion": {"mode": "auto"}}
    events: list[Event] = [ModelDefined(model="m", definition=definition, source_digest="", by="scheduler")]
    for version in "12":
        events += [registered(version), tried(version)]
    events += [first_promotion(), passed("2", champion="1")]
    return recorded(Registry(), events)


def registered(version: str) -> VersionRegistered:
    return VersionRegistered(model="m", version=version, digest=version, size=0, summary={}, run=None, by="scheduler")


def tried(version: str) -> VersionTried:
    return VersionTried(
        model="m",
        version=version,
        digest=version,
        environment=HERE,
        passed=True,
        reason="",
        report={},
        against=None,
    )


def first_promotion() -> VersionPromoted:
    return VersionPromoted(
        model="m", key="0", version="1", replaces=None, how="override", ground=None, by="operator", reason="first"
    )


def passed(version: str, *, champion: str) -> VerdictReached:
    return VerdictReached(
        model="m",
        version=version,
        champion=champion,
        evidence="",
        verdict={},
        facts={},
        until=None,
        profile=None,
        passed=True,
    )


def name(state: Registry) -> str:
    model = state.model("m")
    return f"{model.champion} serves" + (f", {model.pending.version} gets ready" if model.pending else "")


def edges() -> Iterator[Edge]:
    """Every step in every state that the steps lead to, in the order in which the states are met."""
    met, waiting = {name(beginning())}, [beginning()]
    while waiting:
        state = waiting.pop(0)
        for step, ask in STEPS.items():
            try:
                events = ask(state)
            except UnderstudyError as error:
                yield Edge(name(state), step, f"refused: `{error.code}`", name(state))
                continue
            after = recorded(state, events)
            yield Edge(name(state), step, ", ".join(f"`{event.kind}`" for event in events) or "nothing", name(after))
            if name(after) not in met:
                met.add(name(after))
                waiting.append(after)


def stage_name(stage: Stage | None) -> str:
    return "[*]" if stage is None else str(stage)


def because(event: type, verdict: bool | None) -> str:
    """The cause of a change of stage, in words."""
    if event is Replaced:
        return "another version was promoted"
    assert issubclass(event, Event)
    return event.kind if verdict is None else f"{event.kind}, {'passed' if verdict else 'refused'}"


def diagram(arrows: Sequence[tuple[str, str, str]]) -> str:
    """A Mermaid state diagram; names that are no identifiers get one."""
    names = list(dict.fromkeys(name for start, _, end in arrows for name in (start, end) if name != "[*]"))
    places = {name: f"s{number}" for number, name in enumerate(names)} | {"[*]": "[*]"}
    lines = [f'    state "{name}" as {places[name]}' for name in names]
    lines += [f"    {places[start]} --> {places[end]}: {label}" for start, label, end in arrows]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def stages() -> str:
    """How a version moves from stage to stage; a verdict that changes nothing is left out of the picture."""
    rows = [(stage_name(old), because(event, verdict), str(new)) for (old, event, verdict), new in TRANSITIONS.items()]
    moves = [row for row in rows if row[0] != row[2]]
    head = ("a version that is", "at the event", "becomes")
    words = [("new" if old == "[*]" else old, quoted(event), new) for old, event, new in rows]
    return diagram(moves) + "\n\n" + table(head, words)


def quoted(cause: str) -> str:
    """A cause as it stands in a table: kinds of events in quotes."""
    kind, comma, verdict = cause.partition(",")
    return f"`{kind}`{comma}{verdict}" if "." in kind else cause


def protocol() -> str:
    """What the promotion protocol answers in each state."""
    found = list(edges())
    first: dict[tuple[str, str], str] = {}
    for edge in found:
        if edge.state != edge.after:
            first.setdefault((edge.state, edge.after), edge.step.replace(":", ","))
    moves = [(state, step, after) for (state, after), step in first.items()]
    head = ("where", "asked for", "is appended", "then")
    rows = [(edge.state, edge.step, edge.answer, edge.after) for edge in found]
    return diagram(moves) + "\n\n" + table(head, rows)


def logs() -> dict[str, Registry]:
    """What the log may say while version 2 is promoted."""
    before = beginning()
    started = recorded(before, promotion.start(before, wish("a"), NOW, HERE))
    return {
        "1 serves": before,
        "1 serves, 2 gets ready": started,
        "it was aborted": recorded(started, promotion.abort(started, "m", "a", "cannot load")),
        "2 serves": recorded(started, promotion.commit(started, "m", "a", NOW, HERE)),
    }


#: What a worker may have: the version that answers, and whether it has a spare (or tries to load one).
HAS: dict[str, tuple[str, bool]] = {
    "nothing": ("", False),
    "1": ("1", False),
    "1, and 2 as a spare": ("1", True),
    "2": ("2", False),
}


def worker() -> str:
    """What a worker does after a look, in each state of the log and of its memory."""
    known = logs()
    began = known["1 serves, 2 gets ready"].position
    serves = {"": 0, "1": promoted_at(known["1 serves"]), "2": promoted_at(known["2 serves"])}
    rows = []
    for says, state in known.items():
        for has, (version, spare) in HAS.items():
            if serves[version] <= promoted_at(state) and not (spare and says == "1 serves"):
                steps = rollout.steps(state, {"m": serves[version]} if version else {}, {began} if spare else ())
                rows.append((says, has, ", ".join(said(step, spare) for step in steps) or "nothing"))
    return table(("the log says", "the worker has", "it does"), rows)


def promoted_at(state: Registry) -> int:
    return state.model("m").promotions[-1].position


def said(step: rollout.Step, spare: bool) -> str:
    match step:
        case Swap():
            return f"lets {step.version} answer" + ("" if spare else ", once it is loaded")
        case Prepare():
            return f"loads {step.version} beside it"
        case Free():
            return "frees the spare"


#: What one worker may say of itself while a promoter waits: its start is at 7, its promotion at 8.
SIGNS = {
    "it starts": Sign(worker="w", starting=True),
    "it serves 1": Sign(worker="w", serves={"m": 6}),
    "it serves 1 and is ready": Sign(worker="w", serves={"m": 6}, ready=frozenset({7})),
    "it serves 1 and is ready for another start": Sign(worker="w", serves={"m": 6}, ready=frozenset({5})),
    "it serves 1 and cannot load 2": Sign(worker="w", serves={"m": 6}, unable={7: "why"}),
    "it lacks 2": Sign(worker="w", lacks={"m": "why"}),
    "it serves 2": Sign(worker="w", serves={"m": 8}),
    "it serves what came after 2": Sign(worker="w", serves={"m": 12}),
}


def promoter() -> str:
    """What a promoter makes of each sign, before its commit and after it."""
    rows = [
        (words, before_the_commit(sign), "waits" if rollout.behind([sign], "m", 8) else "answers 200")
        for words, sign in SIGNS.items()
    ]
    rows.append(("nothing, for 10 s", "commits", "answers 200"))
    return table(("a worker says", "the promoter, before the commit", "and after it"), rows)


def before_the_commit(sign: Sign) -> str:
    found = rollout.readiness([sign], 7)
    return "aborts" if found.unable else "waits" if found.waiting else "commits"


def page() -> str:
    return f"""# States

Drawn by `python docs/draw_states.py`; a test compares this page with the code.

## The stages of a version

From the table `TRANSITIONS` in `understudy/stages.py`. What is not listed cannot happen: a log that says otherwise is
refused. A champion that is judged again stays the champion.

{stages()}

## A promotion

What the functions of `understudy/promotion.py` append. Version 1 serves; version 2 has passed its trial and its verdict
against version 1, and the scheduler promotes it. A demotion and an override take the same way. The picture shows the
steps that lead from one state to another; the table shows every step in every state.

{protocol()}

## A worker

What `steps` of `understudy/rollout.py` asks of a worker after each look at the log. It pulses what it then has.

{worker()}

## A promoter

What `readiness` and `behind` of `understudy/rollout.py` say of one worker; a promoter goes on once nobody holds it up.
Before the commit it waits {rollout.READY_WITHIN_S:g} s and then aborts. After the commit it waits
{rollout.SERVED_WITHIN_S:g} s and then answers an error that names the worker; the same request with the same key waits
again.

{promoter()}
"""


if __name__ == "__main__":
    PAGE.write_text(page())
