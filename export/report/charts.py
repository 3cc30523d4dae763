"""Charts as inline SVG: bars, curves over epochs, samples as curves.

They take their colours from the page's style sheet, so they follow the reader's theme, and measure across in percent, so text
keeps its size on a phone. Colours mean the same everywhere: `input` what went in, `keras` the Keras model, `ours` the exported
files, `stock` what the stock converters make of the same model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .figures import escape


@dataclass(frozen=True)
class Bar:
    """One bar: `kind` is its colour (`keras`, `ours`, `stock`), `whisker` an interval around `value`, the rest is text."""

    label: str
    value: float
    shown: str
    kind: str
    note: str = ""
    change: str = ""
    whisker: tuple[float, float] | None = None

    @property
    def end(self) -> float:
        return max(self.value, self.whisker[1] if self.whisker else 0.0)


def bar_chart(bars: Sequence[Bar], *, end: float | None = None) -> str:
    """Horizontal bars from zero on one scale that ends at `end`, else at the longest; bars beyond it are drawn broken."""
    end = end or max((bar.end for bar in bars), default=0) or 1
    rows = []
    for bar in bars:
        note = f"<small>{escape(bar.note)}</small>" if bar.note else ""
        change = f"<td class=n>{escape(bar.change)}</td>" if any(each.change for each in bars) else ""
        drawn = f'<svg width="100%" height="14" aria-hidden="true">{_bar(bar, end)}</svg>'
        rows.append(f"<tr><th>{escape(bar.label)}{note}</th><td>{drawn}</td><td class=n>{escape(bar.shown)}</td>{change}</tr>")
    return '<table class="bars"><tbody>\n' + "\n".join(rows) + "\n</tbody></table>"


def _bar(bar: Bar, end: float) -> str:
    if bar.value > end:
        pieces = ((0, 93), (94, 2), (97, 3))
        return "".join(f'<rect class="{bar.kind}" x="{x}%" width="{width}%" height="14"/>' for x, width in pieces)
    drawn = f'<rect class="{bar.kind}" width="{100 * bar.value / end:.2f}%" height="14" rx="2"/>'
    if bar.whisker:
        low, high = (f"{100 * min(at, end) / end:.2f}%" for at in bar.whisker)
        ends = "".join(f'<line class="whisker" x1="{x}" x2="{x}" y1="3" y2="11"/>' for x in (low, high))
        drawn += f'<line class="whisker" x1="{low}" x2="{high}" y1="7" y2="7"/>{ends}'
    return drawn


@dataclass(frozen=True)
class Line:
    """One curve through (x, y): `kind` is its CSS class."""

    kind: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Axis:
    """An axis from `low` to `high` with its `ticks`; where it is logarithmic its name says so."""

    name: str
    low: float
    high: float
    ticks: Sequence[float]
    logarithmic: bool = False

    @property
    def title(self) -> str:
        return f"{self.name} (logarithmic)" if self.logarithmic else self.name

    def at(self, value: float) -> float:
        """Where a value lies, 0…1 from `low`; what lies beyond an end is drawn there."""
        value, low, high = min(max(value, self.low), self.high), self.low, self.high
        if self.logarithmic:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return (value - low) / (high - low)


TOP, BELOW = 12, 26
"""Pixels of a chart above its frame, and below it for the labels of the ticks. Labels of y lie left of it, see `.axes`."""


def chart(
    x: Axis, y: Axis, marks: Iterable[str], *, height: int, title: str, across: Callable[[float], str] = "{:g}".format
) -> str:
    """Marks over a grid with both axes named, above and below the drawing; `across` writes a tick of x.

    Marks are SVG: across in percent of the frame, down in pixels from `TOP` to `TOP + height`.
    """
    parts = [f'<svg class="chart" width="100%" height="{TOP + height + BELOW}" role="img" aria-label="{escape(title)}">']
    for tick in y.ticks:
        down = f"{TOP + height * (1 - y.at(tick)):.1f}"
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{down}" y2="{down}"/>')
        parts.append(f'<text x="-8" y="{down}" dy="4" text-anchor="end">{tick:g}</text>')
    for tick in x.ticks[:: -(-len(x.ticks) // LABELS)]:
        at = f'x="{100 * x.at(tick):.2f}%" y="{TOP + height + 18}"'
        parts.append(f'<text {at} text-anchor="middle">{escape(across(tick))}</text>')
    drawn = "".join([*parts, *marks]) + "</svg>"
    up, right = (f'<p class="axis {kind}">{escape(text)}</p>' for kind, text in (("up", y.title), ("right", x.title)))
    return f'<div class="axes">{up}{drawn}{right}</div>'


SMALLEST = 1e-300
"""A span below it is none: its ticks would be no numbers."""
LABELS = 5
"""How many ticks of x have a label, at most: more would overlap on a phone."""


def line_chart(lines: Sequence[Line], *, title: str, x: str, y: str, separators: Sequence[float] = ()) -> str:
    """Curves over a common x (whole numbers, such as epochs), y logarithmic where every value is positive; `x` and `y` name the
    axes."""
    xs = [value for line in lines for value in line.x]
    ys = [value for line in lines for value in line.y]
    logarithmic = min(ys) > 0
    ticks = log_ticks(min(ys), max(ys)) if logarithmic else linear_ticks(min(ys), max(ys))
    down = Axis(y, min(ticks[0], *ys), max(ticks[-1], *ys), ticks, logarithmic)
    left, right = min(xs), max(max(xs), min(xs) + 1)
    across = Axis(x, left, right, _whole_ticks(left, right))
    height = 210
    marks = []
    for value in separators:
        at = f"{100 * across.at(value):.2f}%"
        marks.append(f'<line class="separator" x1="{at}" x2="{at}" y1="{TOP}" y2="{TOP + height}"/>')
    frame = f'y="{TOP}" width="100%" height="{height}" viewBox="0 0 1000 1000"'
    marks.append(f'<svg {frame} preserveAspectRatio="none" overflow="visible">')
    marks += [
        polyline(line.kind, [1000 * across.at(v) for v in line.x], [1000 * (1 - down.at(v)) for v in line.y]) for line in lines
    ]
    return chart(across, down, [*marks, "</svg>"], height=height, title=title)


def polyline(kind: str, x: Sequence[float], y: Sequence[float]) -> str:
    """One curve in the coordinates of its viewBox; a single point is drawn as a dot."""
    points = [f"{a:.5g},{b:.5g}" for a, b in zip(x, y, strict=True)]
    return f'<polyline class="{kind}" points="{" ".join(points * 2 if len(points) == 1 else points)}"/>'


def plot(curves: Mapping[str, np.ndarray], *, label: str) -> str:
    """One-dimensional samples of equal length over each other: values by CSS class, in the order that they are drawn."""
    values = np.stack(list(curves.values()))
    low, high = values.min(), values.max()
    shown = np.stack([_thin(row) for row in values])
    x = np.linspace(0, 400, shown.shape[1]) if shown.shape[1] > 1 else np.array([200.0])
    y = 4 + 92 * (high - shown) / ((high - low) or 1.0)
    drawn = "".join(polyline(kind, x.tolist(), row.tolist()) for kind, row in zip(curves, np.round(y, 1), strict=True))
    frame = 'class="plot" width="100%" height="110" viewBox="0 0 400 100" preserveAspectRatio="none"'
    return f'<svg {frame} role="img" aria-label="{escape(label)}">{drawn}</svg>'


def _thin(values: np.ndarray, bins: int = 256) -> np.ndarray:
    """A long curve as the lowest and highest value of each of `bins` stretches, in their order."""
    if len(values) <= 2 * bins:
        return values
    parts = np.array_split(values, bins)
    return np.concatenate([part[sorted((part.argmin(), part.argmax()))] for part in parts])


def linear_ticks(low: float, high: float) -> list[float]:
    """Round numbers that enclose [low, high], about five; over 1 % of the larger one at least."""
    span = max((high - low) or abs(high), 1e-2 * max(abs(low), abs(high)))
    span = span if span > SMALLEST else 1.0
    power = 10 ** math.floor(math.log10(span / 4))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * i for i in range(first, max(last, first + 1) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 · 10ⁿ around [low, high]; powers of ten alone where there are many."""
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high / low < 1000 else (1,)
    ticks = [float(f"{factor}e{decade}") for decade in decades for factor in factors]
    below, above = max(t for t in ticks if t <= low), min((t for t in ticks if t >= high), default=ticks[-1])
    return [tick for tick in ticks if below <= tick <= above] if below < above else [below, 2 * below]


def _whole_ticks(low: float, high: float) -> list[int]:
    step = max(1, int(linear_ticks(low, high)[1] - linear_ticks(low, high)[0]))
    return sorted({math.ceil(low), *(tick for tick in range(0, int(high) + 1, step) if tick >= low + step / 2)})


def legend(entries: Iterable[tuple[str, str]]) -> str:
    def line(kind: str) -> str:
        return f'<svg width="22" height="8" aria-hidden="true"><polyline class="{kind}" points="2,4 20,4"/></svg>'

    return '<ul class="legend">' + "".join(f"<li>{line(kind)}{escape(label)}</li>" for kind, label in entries) + "</ul>"
