"""Range estimators: what they see, batch by batch, becomes the range that a tensor is quantized over."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from ..compress.config import require
from ..compress.errors import DataError, InputError
from .histogram import BINS, Grid, Histogram, Range, extremes, pieces, squared_error

GRID = Grid()

Loss = Callable[[np.ndarray, np.ndarray, Range, Grid], float]
"""loss(values, counts, range, grid): how bad a range is; values float64 ascending, counts int64, both [n]."""

COARSE = np.geomspace(1.0, 1 / 128, 57).tolist()
FINE = np.geomspace(1.08, 1 / 1.08, 17).tolist()
"""The fractions of an extreme at which a range may end, then what moves it there by less than a coarse step."""
ROUNDS = 8


class Observer(Protocol):
    """Sees arrays of any shape and length, gives (low, high). Its memory does not grow with what it sees.

    `update` raises DataError where a value is not finite in float32, `range` where nothing was seen. `merge` makes it as if it
    had seen what another of its kind and settings has seen too; InputError where the method knows no such thing.
    """

    def update(self, values: np.ndarray) -> None: ...

    def merge(self, other: Self) -> None: ...

    def range(self, grid: Grid = GRID) -> Range: ...


@dataclass
class MinMax:
    """The extremes of everything seen (Jacob et al. 2018, post-training)."""

    low: float = field(default=np.inf, init=False)
    high: float = field(default=-np.inf, init=False)

    def update(self, values: np.ndarray) -> None:
        for piece in pieces(values):
            low, high = extremes(piece)
            self.low, self.high = min(self.low, low), max(self.high, high)

    def merge(self, other: Self) -> None:
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    def range(self, grid: Grid = GRID) -> Range:
        return _seen(self.low, self.high)


@dataclass
class MovingAverage(MinMax):
    """The moving average of each batch's extremes (Jacob et al. 2018, training); the first batch starts it.

    It weighs by order, so it depends on how the stream is cut into batches, and two of them cannot be merged.
    """

    decay: float = 0.9

    def __post_init__(self) -> None:
        require(0 <= self.decay < 1, "decay", self.decay, "in [0, 1)")

    def update(self, values: np.ndarray) -> None:
        batch = MinMax()
        batch.update(values)
        if self.low > self.high:
            self.low, self.high = batch.low, batch.high
        elif batch.low <= batch.high:
            self.low += (1 - self.decay) * (batch.low - self.low)
            self.high += (1 - self.decay) * (batch.high - self.high)

    def merge(self, other: Self) -> None:
        raise InputError("moving-average: cannot be merged, it depends on the order of batches; use minmax or a percentile")


def divergence(values: np.ndarray, counts: np.ndarray, span: Range, grid: Grid) -> float:
    """KL(P‖Q) in nats of the clipped distribution P and what the grid leaves of it, Q (Migacz 2017, TensorRT).

    P has what lies outside in its outermost bins; Q spreads what falls on one integer evenly over that integer's bins, and
    lacks what lies outside, so that clipping costs too.
    """
    steps = grid.steps(values, span)
    inside = (steps >= 0) & (steps <= 2**grid.bits - 1)
    if not inside.any():
        return math.inf
    first, end = int(np.argmax(inside)), len(inside) - int(np.argmax(inside[::-1]))
    kept = counts[first:end].astype(np.float64)
    integers = steps[first:end].astype(np.int64)
    of_integer = np.bincount(integers, weights=kept)
    q = (of_integer / np.maximum(np.bincount(integers), 1))[integers]
    p = kept.copy()
    p[0] += counts[:first].sum()
    p[-1] += counts[end:].sum()
    p, q = p / p.sum(), q / q.sum()
    return float(p @ np.log(p / q))


@dataclass
class Distribution:
    """A histogram of everything seen; the range is the one whose grid has the least `loss` on it. `bins` is a power of two."""

    loss: ClassVar[Loss]
    bins: int = BINS
    histogram: Histogram = field(init=False)

    def __post_init__(self) -> None:
        require(16 <= self.bins <= BINS and self.bins.bit_count() == 1, "bins", self.bins, f"a power of two in 16…{BINS}")
        self.histogram = Histogram.empty(self.bins)

    def update(self, values: np.ndarray) -> None:
        self.histogram = self.histogram.merged(Histogram.of(values, self.bins))

    def merge(self, other: Self) -> None:
        require(other.bins == self.bins, "bins", other.bins, f"{self.bins}, as in the observer that it is merged into")
        self.histogram = self.histogram.merged(other.histogram)

    def range(self, grid: Grid = GRID) -> Range:
        _seen(self.histogram.low, self.histogram.high)
        return best_range(self.histogram, grid, self.loss)


@dataclass
class Percentile(Distribution):
    """What holds all but the fraction 1 − `fraction` of the values at either end (Wu et al. 2020, arXiv:2004.09602)."""

    fraction: float = 0.9999

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0.5 < self.fraction <= 1, "fraction", self.fraction, "in (0.5, 1]")

    def range(self, grid: Grid = GRID) -> Range:
        _seen(self.histogram.low, self.histogram.high)
        return percentile_range(self.histogram, self.fraction)


class MeanSquared(Distribution):
    """The range whose grid has the least mean squared error, rounding and clipping together (Nagel et al. 2021)."""

    loss = staticmethod(squared_error)


class Entropy(Distribution):
    """The range whose grid loses the least information, by the Kullback–Leibler divergence (Migacz 2017, TensorRT).

    It judges the shape of the distribution, not the size of errors, and likes to clip.
    """

    loss = staticmethod(divergence)


def best_range(histogram: Histogram, grid: Grid, loss: Loss) -> Range:
    """The range with the least loss: its ends are tried in turn at fractions of the extremes, coarse then fine."""
    values, counts = histogram.occupied()
    values = values.clip(*grid.window)
    ends = np.clip((min(histogram.low, 0.0), max(histogram.high, 0.0)), *grid.window)

    def span(fractions: Range) -> Range:
        return float(fractions[0] * ends[0]), float(fractions[1] * ends[1])

    def descend(fractions: Range, candidates: Callable[[float], list[float]]) -> Range:
        for _ in range(ROUNDS):
            before = fractions
            for side in np.flatnonzero(ends)[::-1]:
                tried = [
                    (fraction, fractions[1]) if side == 0 else (fractions[0], fraction)
                    for fraction in candidates(fractions[side])
                ]
                fractions = min((fractions, *tried), key=lambda each: loss(values, counts, span(each), grid))
            if fractions == before:
                break
        return fractions

    coarse = descend((1.0, 1.0), lambda _: COARSE)
    return span(descend(coarse, lambda fraction: [min(fraction * factor, 1.0) for factor in FINE]))


def percentile_range(histogram: Histogram, fraction: float) -> Range:
    """The range that leaves out the fraction 1 − `fraction` of the values at either end, to within a bin (Wu et al. 2020)."""
    values, counts = histogram.occupied()
    position = int(np.searchsorted(values, 0.0))
    values, counts = np.insert(values, position, 0.0), np.insert(counts, position, histogram.zeros)
    cumulative = np.cumsum(counts)
    total = histogram.total
    left_out = math.floor((1 - fraction) * total)
    low = values[np.searchsorted(cumulative, left_out, side="right")]
    high = values[np.searchsorted(cumulative, total - left_out, side="left")]
    return _outer(histogram, low, -1), _outer(histogram, high, 1)


def _outer(histogram: Histogram, middle: float, side: int) -> float:
    """The outer edge of the bin around `middle`, within the extremes; an exact zero has no bin."""
    edge = middle + side * histogram.width / 2 if middle else 0.0
    return float(np.clip(edge, histogram.low, histogram.high))


def _seen(low: float, high: float) -> Range:
    if low > high:
        raise DataError("nothing was observed, so there is no range")
    return low, high


@dataclass
class PerUnit:
    """An observer for each of `units` along the last axis; `range` holds all of them, `ranges` gives each.

    A histogram takes 8 bytes a bin for each unit: give `make` fewer, such as `partial(MeanSquared, bins=512)`.
    """

    make: Callable[[], Observer]
    units: int
    each: list[Observer] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        require(self.units >= 1, "units", self.units, "at least 1")
        self.each = [self.make() for _ in range(self.units)]

    def update(self, values: np.ndarray) -> None:
        """`values` [..., units]; DataError where the last axis is another."""
        if values.shape[-1:] != (self.units,):
            raise DataError(f"values of shape {list(values.shape)}, must be [..., {self.units}]")
        for unit, column in zip(self.each, values.reshape(-1, self.units).T, strict=True):
            unit.update(column)

    def merge(self, other: PerUnit) -> None:
        for mine, theirs in zip(self.each, other.each, strict=True):
            mine.merge(theirs)

    def ranges(self, grid: Grid = GRID) -> tuple[Range, ...]:
        return tuple(unit.range(grid) for unit in self.each)

    def range(self, grid: Grid = GRID) -> Range:
        lows, highs = zip(*self.ranges(grid), strict=True)
        return min(lows), max(highs)


OBSERVERS: Mapping[str, Callable[[], Observer]] = {
    "minmax": MinMax,
    "moving-average": MovingAverage,
    "percentile": Percentile,
    "mse": MeanSquared,
    "kl": Entropy,
}


def settings_of(observer: Observer) -> dict[str, Any]:
    """What an observer was made with, by name, as JSON can hold it."""
    return {f.name: getattr(observer, f.name) for f in dataclasses.fields(observer) if f.init}  # type: ignore[arg-type]
