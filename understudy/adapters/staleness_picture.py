"""The staleness curve as a picture: one SVG that is read in light and dark surroundings, and by those who hear it."""

from collections.abc import Sequence
from html import escape
from math import floor, log10

from understudy.staleness import Age

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 84, 24, 88, 64
MOST_POINTS = 60
"""Marks of single ages; with more, the line alone is drawn."""
WIDE = 1.2816
"""Standard errors on each side that make an 80 % interval."""
YEAR = 365.25
"""Days."""

STYLE = """
svg { font: 13px system-ui, sans-serif; }
.paper { fill: #ffffff; } .ink { fill: #1f2328; } .faint { fill: #59636e; }
.grid { stroke: #d8dee4; stroke-width: 1; } .fresh { stroke: #59636e; stroke-width: 1.5; stroke-dasharray: 5 4; }
.line { fill: none; stroke: #0b62c4; stroke-width: 2; stroke-linejoin: round; } .point { fill: #0b62c4; }
.hollow { fill: #ffffff; stroke: #0b62c4; stroke-width: 1.5; }
.band { fill: #0b62c4; opacity: 0.16; }
@media (prefers-color-scheme: dark) {
  .paper { fill: #12161c; } .ink { fill: #e8edf2; } .faint { fill: #9aa6b2; }
  .grid { stroke: #2b333c; } .fresh { stroke: #9aa6b2; }
  .line { stroke: #6cb0ff; } .point { fill: #6cb0ff; } .band { fill: #6cb0ff; opacity: 0.22; }
  .hollow { fill: #12161c; stroke: #6cb0ff; }
}
"""


def picture(model: str, loss: str, ages: Sequence[Age]) -> str:
    """The curve as SVG. Raises ValueError for fewer than two ages, of which no line can be drawn."""
    if len(ages) < 2:
        raise ValueError("a curve needs two ages")
    frame = _Frame(ages)
    title = f"How versions of {model} age"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'role="img" aria-labelledby="title desc">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="desc">{escape(in_words(model, loss, ages))}</desc>',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
        _text(LEFT, 26, title, size=17 if len(title) < 56 else 14, weight=600),
        _text(LEFT, 46, f"Loss ({loss}) against a version just trained, on the same rows", kind="faint"),
        _text(LEFT, 64, "Band: 80 % interval. Hollow: too few dates for one", kind="faint"),
        *_grid(frame),
        *_curve(frame, ages),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def in_words(model: str, loss: str, ages: Sequence[Age]) -> str:
    """The curve for those who do not see it."""
    shown = [ages[i] for i in sorted({1, len(ages) // 4, len(ages) // 2, len(ages) - 1} - {0})]
    said = ", ".join(f"{100 * age.change:+.1f} % after {age_of(age)} (over {age.dates} dates)" for age in shown)
    return f"Mean {loss} loss of versions of {model} by age, against one that has just been trained: {said}."


def age_of(age: Age) -> str:
    """How old, in words."""
    retrains = f"{age.steps} retrain{'' if age.steps == 1 else 's'}"
    return retrains if age.days is None else f"{retrains} ({duration(age.days)})"


def duration(days: float) -> str:
    """A time in the unit in which it is read best: "90 days", "2.5 years"."""
    unit, size = _unit(days)
    if days == 0:
        return "fresh"
    return f"{days / size:.3g} {unit}"


class _Frame:
    """Where a value lies in the picture."""

    def __init__(self, ages: Sequence[Age]) -> None:
        self.timed = all(age.days is not None for age in ages) and (ages[-1].days or 0) > 0
        self.unit, self.size = _unit(max(age.days or 0 for age in ages)) if self.timed else ("retrains", 1.0)
        low = min(min(100 * (age.change - WIDE * (age.error or 0)) for age in ages), 0.0)
        high = max(max(100 * (age.change + WIDE * (age.error or 0)) for age in ages), 0.0)
        self.y_ticks = _ticks(low, high if high > low else low + 1.0)
        self.low, self.high = min(low, self.y_ticks[0]), max(high, self.y_ticks[-1])
        self.most = max(map(self.value, ages))
        self.x_ticks = [tick for tick in _ticks(0.0, self.most) if self.timed or tick == int(tick)]

    def value(self, age: Age) -> float:
        return (age.days or 0) / self.size if self.timed else float(age.steps)

    def x(self, value: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * value / self.most, 1)

    def y(self, percent: float) -> float:
        share = (percent - self.low) / (self.high - self.low)
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share, 1)


def _grid(frame: _Frame) -> list[str]:
    right, floor_ = WIDTH - RIGHT, HEIGHT - BOTTOM
    middle = (TOP + floor_) / 2
    lines = [
        f'<line class="{"grid" if tick else "fresh"}" x1="{LEFT}" x2="{right}" y1="{frame.y(tick)}" '
        f'y2="{frame.y(tick)}"/>'
        for tick in frame.y_ticks
    ]
    levels = [_text(LEFT - 8, frame.y(tick) + 4, _percent(tick), "faint", "end") for tick in frame.y_ticks]
    marks = [_text(frame.x(tick), floor_ + 20, f"{tick:g}", "faint", "middle") for tick in frame.x_ticks]
    names = [
        _text((LEFT + right) / 2, HEIGHT - 16, f"Age of the version, in {frame.unit}", "ink", "middle"),
        f'<text class="ink" text-anchor="middle" transform="translate(18 {middle}) rotate(-90)">More loss, in %</text>',
    ]
    return [*lines, *levels, *marks, *names]


def _curve(frame: _Frame, ages: Sequence[Age]) -> list[str]:
    """A line through the ages that several dates speak for, with its band; the others are hollow marks beside it."""
    sure = [age for age in ages if age.error is not None]
    sure = sure if len(sure) > 1 else list(ages)
    drawn = [f'<polygon class="band" points="{_points(frame, sure, WIDE)} {_points(frame, sure[::-1], -WIDE)}"/>']
    drawn.append(f'<polyline class="line" points="{_points(frame, sure, 0.0)}"/>')
    for age in ages if len(ages) <= MOST_POINTS else ():
        x, y = frame.x(frame.value(age)), frame.y(100 * age.change)
        kind = "point" if age in sure else "hollow"
        drawn.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="3.5"><title>{escape(_said(age))}</title></circle>')
    return drawn


def _points(frame: _Frame, ages: Sequence[Age], errors: float) -> str:
    places = [(frame.x(frame.value(a)), frame.y(100 * (a.change + errors * (a.error or 0)))) for a in ages]
    return " ".join(f"{x},{y}" for x, y in places)


def _percent(tick: float) -> str:
    return f"{tick:+g} %".replace("-", "−") if tick else "0"


def _said(age: Age) -> str:
    return f"{age_of(age)}: {100 * age.change:+.2f} %, {age.dates} dates, {age.rows} rows"


def _text(
    x: float, y: float, text: str, kind: str = "ink", anchor: str = "start", size: int = 13, weight: int = 400
) -> str:
    return (
        f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )


def _unit(days: float) -> tuple[str, float]:
    """The unit in which so many days are read best, and its length in days."""
    for unit, size in (("years", YEAR), ("days", 1.0), ("hours", 1 / 24), ("minutes", 1 / 1440)):
        if days >= 2 * size:
            return unit, size
    return "seconds", 1 / 86_400


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high, about five, 0 among them where it lies between."""
    span = high - low
    rough = span / 5
    power = 10.0 ** floor(log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = floor(low / step + 1e-9), floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first if first * step >= low - 1e-9 else first + 1, last + 1)]
