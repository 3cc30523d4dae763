"""The geometry of charts, drawn by `charts.html.j2`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

SMALLEST = 1e-300
"""Minimum span of an axis: ticks of a smaller one would not be finite."""


@dataclass(frozen=True)
class Cell:
    """A table cell: text, a note below it, and a CSS class (`kind`)."""

    text: str
    note: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Bar:
    """One bar: `kind` is its CSS class (`keras`, `ours`, `stock`), `whisker` an interval around `value`."""

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
    """Horizontal bars from zero to `limit` or the longest bar; longer bars are drawn broken."""

    bars: Sequence[Bar]
    limit: float | None = None

    BROKEN: ClassVar = ((0, 93), (94, 2), (97, 3))
    """(start, width) in percent of each piece of a broken bar."""

    @property
    def end(self) -> float:
        return self.limit or max((bar.end for bar in self.bars), default=0) or 1

    @property
    def changes(self) -> bool:
        return any(bar.change for bar in self.bars)

    def across(self, value: float) -> str:
        return f"{100 * min(value, self.end) / self.end:.2f}%"

    def whisker(self, bar: Bar) -> Iterator[tuple[str, str, int, int]]:
        """The lines of an interval and its two ends: (x1, x2, y1, y2)."""
        if bar.whisker:
            low, high = map(self.across, bar.whisker)
            yield from ((low, high, 7, 7), (low, low, 3, 11), (high, high, 3, 11))


@dataclass(frozen=True)
class FoldedBars:
    """Bars of which the first `shown` are drawn, the next `FOLDED` in a fold, and the others left out."""

    bars: Sequence[Bar]
    shown: int

    FOLDED: ClassVar = 200

    @property
    def first(self) -> BarChart:
        return BarChart(self.bars[: self.shown])

    @property
    def more(self) -> BarChart:
        return BarChart(self.bars[self.shown : self.shown + self.FOLDED])

    @property
    def left(self) -> int:
        return max(0, len(self.bars) - self.shown - self.FOLDED)


@dataclass(frozen=True)
class Line:
    """One curve through (x, y): `kind` is its CSS class."""

    kind: str
    x: Sequence[float]
    y: Sequence[float]

    @property
    def points(self) -> str:
        """SVG points; a single point twice, so that it is drawn as a dot."""
        points = [f"{x:.5g},{y:.5g}" for x, y in zip(self.x, self.y, strict=True)]
        return " ".join(points * 2 if len(points) == 1 else points)


@dataclass(frozen=True)
class Axis:
    """An axis from `low` to `high` with `ticks`, formatted by `write`."""

    name: str
    low: float
    high: float
    ticks: Sequence[float]
    logarithmic: bool = False
    write: Callable[[float], str] = "{:g}".format

    @classmethod
    def around(cls, name: str, values: Sequence[float], *, logarithmic: bool = False) -> Axis:
        """An axis with round ticks around all values."""
        low, high = min(values), max(values)
        ticks = log_ticks(low, high) if logarithmic else linear_ticks(low, high)
        return cls(name, min(ticks[0], low), max(ticks[-1], high), ticks, logarithmic)

    @classmethod
    def within(cls, name: str, low: float, high: float) -> Axis:
        """An axis from `low` to `high`, or from a single value on, with round ticks inside."""
        high = high if high > low else low + 1
        return cls(name, low, high, [tick for tick in linear_ticks(low, high) if low <= tick <= high])

    @property
    def title(self) -> str:
        return f"{self.name} (logarithmic)" if self.logarithmic else self.name

    def at(self, value: float) -> float:
        """The position of a value in 0…1, clipped to the ends."""
        value, low, high = min(max(value, self.low), self.high), self.low, self.high
        if self.logarithmic:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return (value - low) / (high - low)


@dataclass(frozen=True)
class Frame:
    """A drawing area of `height` pixels with two axes; x in percent, y in pixels."""

    x: Axis
    y: Axis
    height: int
    title: str

    top: ClassVar = 12
    below: ClassVar = 26
    """Pixels above the frame, and below it for tick labels; labels of y are left of it, see `.axes`."""
    labels: ClassVar = 5
    """Maximum number of labelled ticks of x: more would overlap on a phone."""

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

    def line(self, kind: str, x: Iterable[float], y: Iterable[float]) -> Line:
        """A curve in a viewBox of 1000 × 1000."""
        return Line(kind, [1000 * self.x.at(value) for value in x], [1000 * (1 - self.y.at(value)) for value in y])


@dataclass(frozen=True)
class LineChart:
    """Curves over integers x, such as epochs; y is logarithmic if all values are positive.

    `x`, `y`: titles of the axes. `separators`: positions of dashed vertical lines.
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
        left, right = min(xs), max(max(xs), min(xs) + 1)
        across = Axis(self.x, left, right, _whole_ticks(left, right))
        return Frame(across, Axis.around(self.y, ys, logarithmic=min(ys) > 0), 210, self.title)

    @property
    def drawn(self) -> list[Line]:
        return [self.frame.line(line.kind, line.x, line.y) for line in self.lines]


@dataclass(frozen=True)
class Point:
    """A dot of a scatter chart: `text` appears on hover, `group` is an index into the chart's groups."""

    x: float
    y: float
    text: str
    group: int = 0


@dataclass(frozen=True)
class Scatter:
    """Dots in a plane, coloured by group; `x`, `y`: titles of the axes."""

    points: Sequence[Point]
    groups: Sequence[str]
    title: str
    x: str
    y: str

    @cached_property
    def frame(self) -> Frame:
        x, y = ([getattr(point, axis) for point in self.points] for axis in ("x", "y"))
        return Frame(Axis.around(self.x, x), Axis.around(self.y, y), 430, self.title)

    def colour(self, group: int) -> str:
        """A CSS colour: hues at equal distances, neighbours in the list of another lightness."""
        return f"hsl({360 * group / max(1, len(self.groups)):.0f} 65% {(45, 62)[group % 2]}%)"


@dataclass(frozen=True)
class Curve:
    """Points joined by a line, and a single one drawn larger: `kind` is its CSS class; a point's text appears on hover.

    Without `joined`, dots alone; without `dots`, a line alone.
    """

    kind: str
    label: str
    points: Sequence[Point]
    joined: bool = True
    dots: bool = True

    @property
    def is_line(self) -> bool:
        return self.joined and len(self.points) > 1

    @property
    def radius(self) -> int:
        return 7 if self.joined and len(self.points) == 1 else 3


@dataclass(frozen=True)
class CurveChart:
    """Curves over a positive x on a logarithmic axis, or over any x on a linear one.

    `x`, `y`: titles of the axes; `separators`: dashed vertical lines.
    """

    curves: Sequence[Curve]
    title: str
    x: str
    y: str
    separators: Sequence[float] = ()
    logarithmic: bool = True

    @cached_property
    def frame(self) -> Frame:
        xs, ys = ([getattr(point, axis) for curve in self.curves for point in curve.points] for axis in ("x", "y"))
        across = Axis.around(self.x, [*xs, *self.separators], logarithmic=self.logarithmic)
        return Frame(across, Axis.around(self.y, ys), 300, self.title)

    @property
    def drawn(self) -> list[Line]:
        """The curves that are lines, their points by x."""
        lines = [(curve.kind, sorted((point.x, point.y) for point in curve.points)) for curve in self.curves if curve.is_line]
        return [self.frame.line(kind, *zip(*points, strict=True)) for kind, points in lines]


@dataclass(frozen=True, eq=False)
class HistogramChart:
    """Fractions of the values of several groups in bins on a logarithmic axis, the groups' bars over each other.

    `values` by (CSS class, label): positive numbers. `separators`: (x, label) of dashed vertical lines.
    """

    values: Mapping[tuple[str, str], np.ndarray]
    title: str
    x: str
    separators: Sequence[tuple[float, str]] = ()

    bins: ClassVar = 48

    @cached_property
    def edges(self) -> np.ndarray:
        """Ends of the bins, float64 [bins + 1], at equal ratios."""
        every = np.concatenate([*self.values.values(), [x for x, _ in self.separators]])
        low, high = float(every.min()), float(every.max())
        return np.geomspace(low, high if high > low else 2 * low, self.bins + 1)

    @cached_property
    def fractions(self) -> Mapping[tuple[str, str], np.ndarray]:
        """The fraction of a group's values in each bin, float64 [bins]."""
        places = {group: np.searchsorted(self.edges, values, side="right") - 1 for group, values in self.values.items()}
        counts = {group: np.bincount(np.clip(at, 0, self.bins - 1), minlength=self.bins) for group, at in places.items()}
        return {group: each / max(each.sum(), 1) for group, each in counts.items()}

    @cached_property
    def frame(self) -> Frame:
        low, high = float(self.edges[0]), float(self.edges[-1])
        ticks = [tick for tick in log_ticks(low, high) if low <= tick <= high]
        up = Axis.around("fraction of the group", [0.0, *(float(each.max()) for each in self.fractions.values())])
        return Frame(Axis(self.x, low, high, ticks, logarithmic=True), up, 220, self.title)

    def bars(self, group: tuple[str, str]) -> Iterator[tuple[str, str, str, str, str]]:
        """(x, width, y, height, text on hover) of each bar that is not empty."""
        width = f"{100 / self.bins:.3f}%"
        for i, fraction in enumerate(self.fractions[group].tolist()):
            if fraction:
                top = float(self.frame.down(fraction))
                text = f"{group[1]}: {fraction:.1%} from {self.edges[i]:.3g} to {self.edges[i + 1]:.3g}"
                yield f"{100 * i / self.bins:.3f}%", width, f"{top:.1f}", f"{self.frame.bottom - top:.1f}", text


@dataclass(frozen=True, eq=False)
class SignalChart:
    """Curves over the same ascending x [n], thinned to `points` each: values [n] by CSS class, in drawing order.

    `x_title`, `y_title`: of the axes; without `x_title` the axis has ticks alone.
    """

    curves: Mapping[str, np.ndarray]
    x: np.ndarray
    title: str
    x_title: str
    y_title: str
    height: int = 110
    logarithmic: bool = False
    points: int = 512

    separators: ClassVar = ()
    labels: ClassVar = 22
    """Minimum distance of labelled ticks of y in pixels."""

    @cached_property
    def frame(self) -> Frame:
        every = np.concatenate([*self.curves.values()])
        up = Axis.around(self.y_title, [float(every.min()), float(every.max())], logarithmic=self.logarithmic)
        step, zero = -(-len(up.ticks) * self.labels // self.height), list(up.ticks).index(0) if 0 in up.ticks else 0
        up = replace(up, ticks=up.ticks[zero % step :: step])
        return Frame(Axis.within(self.x_title, float(self.x[0]), float(self.x[-1])), up, self.height, self.title)

    @property
    def drawn(self) -> list[Line]:
        """The curves in a viewBox of 1000 × 1000, to a tenth of a unit."""
        lines = []
        for kind, values in self.curves.items():
            shown = _thinned(values, self.points // 2)
            line = self.frame.line(kind, self.x[shown].tolist(), values[shown].tolist())
            lines.append(Line(kind, np.round(line.x, 1).tolist(), np.round(line.y, 1).tolist()))
        return lines


def _thinned(values: np.ndarray, bins: int) -> np.ndarray:
    """Indices of both ends, and of the minimum and maximum of each of `bins` parts, of a long curve; all of a short one."""
    if len(values) <= 2 * bins:
        return np.arange(len(values))
    parts = np.array_split(np.arange(len(values)), bins)
    return np.unique([0, len(values) - 1, *(part[end(values[part])] for part in parts for end in (np.argmin, np.argmax))])


def linear_ticks(low: float, high: float) -> list[float]:
    """About five round numbers that enclose [low, high], over a span of at least 1 % of the larger magnitude."""
    span = max((high - low) or abs(high), 1e-2 * max(abs(low), abs(high)))
    span = span if span > SMALLEST else 1.0
    power = 10 ** math.floor(math.log10(span / 4))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * i for i in range(first, max(last, first + 1) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 · 10ⁿ around [low, high]; powers of ten only, from a ratio of 1000."""
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high / low < 1000 else (1,)
    ticks = [float(f"{factor}e{decade}") for decade in decades for factor in factors]
    below, above = max((t for t in ticks if 0 < t <= low), default=low), min((t for t in ticks if t >= high), default=ticks[-1])
    return [tick for tick in ticks if below <= tick <= above] if below < above else [below, 2 * below]


def _whole_ticks(low: float, high: float) -> list[int]:
    step = max(1, int(linear_ticks(low, high)[1] - linear_ticks(low, high)[0]))
    return sorted({math.ceil(low), *(tick for tick in range(0, int(high) + 1, step) if tick >= low + step / 2)})
