"""The geometry of charts: plain values that `charts.html.j2` draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

SMALLEST = 1e-300
"""A span below it is none: its ticks would be no numbers."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table: a text of a CSS class, and a note below it."""

    text: str
    note: str = ""
    kind: str = ""


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


@dataclass(frozen=True)
class BarChart:
    """Horizontal bars from zero on one scale that ends at `limit`, else at the longest; bars beyond it are drawn broken."""

    bars: Sequence[Bar]
    limit: float | None = None

    BROKEN: ClassVar = ((0, 93), (94, 2), (97, 3))
    """The start and the width, in percent, of each piece of a broken bar."""

    @property
    def end(self) -> float:
        return self.limit or max((bar.end for bar in self.bars), default=0) or 1

    @property
    def changes(self) -> bool:
        return any(bar.change for bar in self.bars)

    def across(self, value: float) -> str:
        return f"{100 * min(value, self.end) / self.end:.2f}%"

    def whisker(self, bar: Bar) -> Iterator[tuple[str, str, int, int]]:
        """The lines of an interval and of its two ends: x1, x2, y1, y2."""
        if bar.whisker:
            low, high = map(self.across, bar.whisker)
            yield from ((low, high, 7, 7), (low, low, 3, 11), (high, high, 3, 11))


@dataclass(frozen=True)
class Line:
    """One curve through (x, y): `kind` is its CSS class."""

    kind: str
    x: Sequence[float]
    y: Sequence[float]

    @property
    def points(self) -> str:
        """In the coordinates of a viewBox; a single point twice, so that it is drawn as a dot."""
        points = [f"{x:.5g},{y:.5g}" for x, y in zip(self.x, self.y, strict=True)]
        return " ".join(points * 2 if len(points) == 1 else points)


@dataclass(frozen=True)
class Axis:
    """An axis from `low` to `high` with its `ticks`, which `write` turns into text; a logarithmic one says so in its title."""

    name: str
    low: float
    high: float
    ticks: Sequence[float]
    logarithmic: bool = False
    write: Callable[[float], str] = "{:g}".format

    @property
    def title(self) -> str:
        return f"{self.name} (logarithmic)" if self.logarithmic else self.name

    def at(self, value: float) -> float:
        """Where a value lies, 0…1 from `low`; what lies beyond an end is drawn there."""
        value, low, high = min(max(value, self.low), self.high), self.low, self.high
        if self.logarithmic:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return (value - low) / (high - low)


@dataclass(frozen=True)
class Frame:
    """Where values lie in a drawing of `height` pixels between two axes: across in percent, down in pixels."""

    x: Axis
    y: Axis
    height: int
    title: str

    top: ClassVar = 12
    below: ClassVar = 26
    """Pixels above the frame, and below it for the labels of the ticks. Labels of y lie left of it, see `.axes`."""
    labels: ClassVar = 5
    """How many ticks of x have a label, at most: more would overlap on a phone."""

    @property
    def bottom(self) -> int:
        return self.top + self.height

    @property
    def outer_height(self) -> int:
        return self.bottom + self.below

    @property
    def x_labels(self) -> Sequence[float]:
        return self.x.ticks[:: -(-len(self.x.ticks) // self.labels)]

    def across(self, value: float) -> str:
        return f"{100 * self.x.at(value):.2f}%"

    def down(self, value: float) -> str:
        return f"{self.top + self.height * (1 - self.y.at(value)):.1f}"


@dataclass(frozen=True)
class LineChart:
    """Curves over a common x (whole numbers, such as epochs), y logarithmic where every value is positive.

    `x` and `y` name the axes; a separator is a dashed upright line.
    """

    lines: Sequence[Line]
    title: str
    x: str
    y: str
    separators: Sequence[float] = ()

    @cached_property
    def frame(self) -> Frame:
        xs = [value for line in self.lines for value in line.x]
        ys = [value for line in self.lines for value in line.y]
        logarithmic = min(ys) > 0
        ticks = log_ticks(min(ys), max(ys)) if logarithmic else linear_ticks(min(ys), max(ys))
        left, right = min(xs), max(max(xs), min(xs) + 1)
        across = Axis(self.x, left, right, _whole_ticks(left, right))
        return Frame(across, Axis(self.y, min(ticks[0], *ys), max(ticks[-1], *ys), ticks, logarithmic), 210, self.title)

    @property
    def drawn(self) -> list[Line]:
        """The curves in a viewBox of 1000 × 1000."""
        x, y = self.frame.x, self.frame.y
        return [
            Line(line.kind, [1000 * x.at(each) for each in line.x], [1000 * (1 - y.at(each)) for each in line.y])
            for line in self.lines
        ]


@dataclass(frozen=True, eq=False)
class Plot:
    """One-dimensional samples of equal length over each other: values by CSS class, in the order that they are drawn."""

    curves: Mapping[str, np.ndarray]
    label: str

    @property
    def drawn(self) -> list[Line]:
        """The curves in a viewBox of 400 × 100."""
        values = np.stack(list(self.curves.values()))
        low, high = values.min(), values.max()
        shown = np.stack([_thin(row) for row in values])
        x = np.linspace(0, 400, shown.shape[1]) if shown.shape[1] > 1 else np.array([200.0])
        y = np.round(4 + 92 * (high - shown) / ((high - low) or 1.0), 1)
        return [Line(kind, x.tolist(), row.tolist()) for kind, row in zip(self.curves, y, strict=True)]


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
