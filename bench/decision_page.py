"""`docs/decision_quality.md` from the figures: its last part is what all numbers on it are printed from.

A test reads that part, prints the page again and compares, so no figure can be typed.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from bench.drifting import STEP
from bench.figures import Figures
from bench.goals import Goal, at_least, at_most
from bench.page import RAW, number, raw, section, table

INTRODUCTION = """\
# How good the decisions are

Measured by `python -m bench.decisions`, which also writes this page: no figure on it was typed, and a test prints it
again from the raw figures at its end. Everything is simulated, so that the truth is known; what decides is the
service's own code: the comparison with its default bar, the slices, the verdict, the live comparison.

- **Retrains**: holdouts of 700 rows. True scores, labels drawn from them, and two models whose scores are the true ones
  plus an error. "5 % worse" is 5 % more expected Brier score. "Dependent": neighbouring rows correlate by 0.95.
- **Live**: two models that are right on 85 % of the rows; on 8 % of them just one is. The serving one then loses 5 or 2
  points of accuracy. Its unit comes from a holdout of 350 rows. "Late": at row 8,000 of its life, somewhere between two
  retrains 2,000 rows apart, each of which starts the comparison anew.
- **Seldom much worse**: equal models, of which the other is a little better on nine rows of ten and much worse on the
  tenth. A comparison that cuts off what is far out takes it for better in nearly every case.
- **Slices**: ten of 300 rows; in one of them the candidate may have lost 10 points of accuracy.
"""

STREAMS = """\
Eight features, half of them with a memory, and coefficients that stay, jump or wander; a retrain every 400 rows on the
last 2,000, with the newest 200 as the holdout. Once as it is, and once with every fourth retrain broken (labels mixed
up, hardly any rows, a feature lost). Excess: per cent of loss above somebody who knows at each retrain which model the
next rows will suit. "Whole": gate, refit, and the live comparison of champion and shadow. "Right": it lowered the loss
of the rows that were left until the next retrain. "Wrong": of two models fitted on every other row of the same, it
switched to the one that was worse on the rest.

What was tried while the live comparison was made was tried on streams of this kind from other seeds.
"""


GAMES = """\
The live comparison is a game of bets (`understudy/eprocess.py`). It can be played in other ways, which were tried:

- **cut off**: blocks count at most two standard deviations; six bets from 0.01 to 0.9.
- **more bets**: these six, and nothing cut off.
- **head start**: half of the capital has been in the game since the first row of the holdout.
- **discounted**: what neighbouring blocks still have in common is taken off each gain. It alone keeps its promise where
  rows have a long memory, and finds what it should find later.
- **aimed**: bets for what would be 2.4 and 4.9 standard errors by the next retrain.

Alarms: per cent of comparisons of equal models that end in a switch within 20,000 rows. "With a memory": each row's
difference remembers the one before by 0.9, which is longer than a block can be on 350 rows. The last columns are from
the streams above.
"""


def at(*path: str, percent: bool = False) -> Callable[[Figures], float | None]:
    def found(figures: Figures) -> float | None:
        value: Any = figures
        for name in path:
            value = value[name]
        return None if value is None else float(value) * (100 if percent else 1)

    return found


def total(figures: Figures, name: str) -> float:
    return float(sum(each[name] for each in figures["streams"]))


def share(name: str, of: str) -> Callable[[Figures], float]:
    """Per cent, over all streams."""
    return lambda figures: 100 * total(figures, name) / max(1.0, total(figures, of))


def right(figures: Figures) -> float:
    """Per cent of lifts and rollbacks, over all streams."""
    made = total(figures, "lifted") + total(figures, "rolled back")
    return 100 * (total(figures, "right") + total(figures, "rightly")) / max(1.0, made)


def right_of(game: Mapping[str, Any]) -> tuple[int, int]:
    """How many lifts and rollbacks were right, and how many there were."""
    return game["right"] + game["rightly"], game["lifted"] + game["rolled back"]


def excess(figures: Figures, policy: str) -> float:
    return float(sum(each["excess"][policy] for each in figures["streams"])) / len(figures["streams"])


RIGHT = at_least(80, "lifts and rollbacks that were right there, %", right, 1)

GOALS = (
    at_most(45, "equal models promoted in 200 retrains, independent rows", at("equal", "independent"), 1),
    at_most(50, "the same, dependent rows", at("equal", "dependent"), 1),
    at_most(1, "candidates 5 % worse that are promoted, %", at("power", "0.05", percent=True), 2),
    at_least(85, "candidates 5 % better that are promoted, %", at("power", "-0.05", percent=True), 1),
    at_least(99, "candidates 10 % better that are promoted, %", at("power", "-0.1", percent=True), 2),
    at_most(
        5,
        "live comparisons of equal models that end in a switch within 20,000 rows, %",
        at("alarms", "alike", percent=True),
        1,
    ),
    at_most(5, "the same, the other model seldom much worse, %", at("alarms", "seldom much worse", percent=True), 1),
    at_most(400, "rows to roll back a drop of 5 points, median", at("rows", "0.05", "median"), 0),
    at_most(2000, "rows to roll back a drop of 2 points, median", at("rows", "0.02", "median"), 0),
    at_most(800, "5 points, late in life", at("rows", "0.05", "late"), 0),
    at_most(4000, "2 points, late in life", at("rows", "0.02", "late"), 0),
    at_most(5, "equal candidates that some slice vetoes, %", at("slices", "vetoed", percent=True), 1),
    at_least(
        90, "candidates 10 points worse in one slice that this slice vetoes, %", at("slices", "caught", percent=True), 1
    ),
    at_most(20, "a whole verdict at 10,000 rows, ms", at("gate", "judge"), 1),
    Goal(
        "excess on drifting streams, whole, %; the limit is that of the gate alone",
        "≤",
        lambda figures: excess(figures, "gate"),
        lambda figures: excess(figures, "whole"),
    ),
    at_most(13, "broken retrains that are promoted there, %", share("broken", "of broken"), 1),
    at_most(5, "wrong switches between equal models there, % of pairs", share("wrong", "pairs"), 1),
    RIGHT,
)


def why_not_right(figures: Figures) -> str:
    """Why fewer of the lifts and rollbacks are right than should be: what the figures say, and what was not chosen."""
    count = {name: int(total(figures, name)) for name in ("right", "lifted", "rightly", "rolled back", "promoted")}
    plain, well = int(total(figures, "plain")), int(total(figures, "plainly right"))
    made = count["lifted"] + count["rolled back"]
    return (
        f"{count['right']} of {count['lifted']} lifts were right, and {count['rightly']} of {count['rolled back']} "
        f"rollbacks. What a rollback takes back has passed the gate, so that it is seldom worse: "
        f"{count['rolled back']} of {number(count['promoted'], 0)} promotions were taken back, and false alarms weigh "
        f"much among so few. And at most {STEP} rows show who was right: on the rows that were left both models differ "
        f"by less than two standard errors in {made - plain} of {made} cases; in the others {well} of {plain} were "
        f"right. {_other_games(figures)} So a rollback is no proof that the older model is the better one."
    )


def _other_games(figures: Figures) -> str:
    own, *rest = figures["games"].items()
    better = [
        (name, game) for name, game in rest if 100 * right_of(game)[0] >= RIGHT.limit(figures) * right_of(game)[1]
    ]
    if not better:
        return "None of the other games below would meet the goal."
    told = "; ".join(f"*{name}* ({right_of(game)[0]} of {right_of(game)[1]}; {_cost(game)})" for name, game in better)
    return f"Of the other games below these would meet the goal: {told}; the game that is played: {_cost(own[1])}."


def _cost(game: Mapping[str, Any]) -> str:
    return f"{game['wrong']} wrong switches between equal models, excess {number(game['excess'], 2)} %"


REASONS: Mapping[Goal, Callable[[Figures], str]] = {RIGHT: why_not_right}
"""Of goals that have been missed: why."""


def line(goal: Goal, figures: Figures) -> str:
    """One goal, for the terminal."""
    said = "met" if goal.met(figures) else "MISSED"
    limit = f"{goal.sense} {goal.limit(figures):.4g}"
    return f"{said:7s} {limit:>8s}  {number(goal.measured(figures), goal.digits):>8s}  {goal.what}"


def render(figures: Figures) -> str:
    """The whole page."""
    parts = (
        INTRODUCTION,
        taken(figures),
        goals(figures),
        others(figures),
        streams(figures),
        games(figures),
        raw(figures),
    )
    return "\n".join(parts)


def figures_of(page: str) -> Any:
    """The raw figures that a page ends with."""
    return json.loads(page.split(RAW)[1].split("```json\n")[1].split("\n```")[0])


def taken(figures: Figures) -> str:
    found = figures["taken"]
    return f"Taken on {found['taken']} with `{found['command']}`, on one core of {found['processor']}.\n"


def goals(figures: Figures) -> str:
    said = {True: "met", False: "**missed**", None: "not measured"}
    rows = [
        (
            goal.what,
            f"{goal.sense} {goal.limit(figures):.4g}",
            number(goal.measured(figures), goal.digits),
            said[goal.met(figures)],
        )
        for goal in GOALS
    ]
    why = (f"\n**Missed: {goal.what}.** {reason(goal, figures)}\n" for goal in GOALS if goal.met(figures) is False)
    return section("## The goals", table(("what", "goal", "measured", "met"), rows) + "".join(why))


def reason(goal: Goal, figures: Figures) -> str:
    return REASONS[goal](figures) if goal in REASONS else "Why is not known yet."


def others(figures: Figures) -> str:
    """What has no goal, and is good to know."""
    gate, rows = figures["gate"], figures["rows"]
    text = [
        f"candidates 2 % worse that are promoted: {number(100 * figures['power']['0.02'], 1)} %; "
        f"2 % better: {number(100 * figures['power']['-0.02'], 1)} %",
        "rows that nine of ten rollbacks need at most: "
        + "; ".join(f"{number(100 * float(drop), 0)} points {number(rows[drop]['p90'], 0)}" for drop in rows),
        f"a whole verdict takes {number(gate['ratio'], 0)} × the time of one paired t-test (scipy) of as many rows, "
        f"its comparison {number(gate['comparison'], 2)} ms, following 10,000 live rows {number(gate['live'], 2)} ms",
    ]
    return section("## Beside them", "".join(f"- {one}\n" for one in text))


def streams(figures: Figures) -> str:
    rows = [stream(each) for each in figures["streams"]]
    names = (
        "task",
        "drift",
        "never",
        "always",
        "gate",
        "whole",
        "broken in",
        "lifts right",
        "rollbacks right",
        "wrong",
    )
    lifts, rollbacks = share("right", "lifted")(figures), share("rightly", "rolled back")(figures)
    made = (
        f"{number(right(figures), 1)} % of lifts and rollbacks were right: {number(lifts, 1)} % of the lifts, "
        f"{number(rollbacks, 1)} % of the rollbacks.\n"
    )
    return section("## Streams that drift", f"{STREAMS}\n{table(names, rows)}\n{made}")


def stream(found: Mapping[str, Any]) -> tuple[str, ...]:
    costs = (f"{number(found['excess'][policy], 2)} %" for policy in ("never", "always", "gate", "whole"))
    counts = (("broken", "of broken"), ("right", "lifted"), ("rightly", "rolled back"), ("wrong", "pairs"))
    return (found["task"], found["drift"], *costs, *(f"{found[some]} of {found[every]}" for some, every in counts))


def games(figures: Figures) -> str:
    names = ("game", "alarms", "seldom much worse", "with a memory", "5 points", "2 points", "excess", "right", "wrong")
    rows = [(name, *game(found)) for name, found in figures["games"].items()]
    return section("## Other games", f"{GAMES}\n{table(names, rows)}")


def game(found: Mapping[str, Any]) -> tuple[str, ...]:
    shares = (f"{number(found[name], 1)} %" for name in ("alike", "seldom much worse", "with a memory"))
    rows = (number(found[drop], 0) for drop in ("0.05", "0.02"))
    right_ones, made = right_of(found)
    wrong = f"{found['wrong']} of {found['pairs']}"
    return (*shares, *rows, f"{number(found['excess'], 2)} %", f"{right_ones} of {made}", wrong)
