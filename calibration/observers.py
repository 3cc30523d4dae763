"""Observers: estimate a tensor's quantization range from its values, batch by batch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from tiedae.base.errors import DataError, InputError
from tiedae.base.records import require
from tiedae.config import config

from .histogram import BINS, Grid, Histogram, Range, extremes, pieces, squared_error

GRID = Grid()

Loss = Callable[[np.ndarray, np.ndarray, Range, Grid], float]
"""loss(values, counts, range, grid); values float64 ascending, counts int64, both [n]."""

COARSE = np.geomspace(1.0, 1 / 128, 57).tolist()
FINE = np.geomspace(1.08, 1 / 1.08, 17).tolist()
"""Range search: fractions of an extreme, then factors that refine the best one."""
ROUNDS = 8


class Observer(Protocol):
    """Estimates a range (low, high) from arrays of any shape, with bounded memory.

    `update` raises DataError for a value that is not finite in float32, `range` without any value. `merge` adds the values of
    another observer of equal kind and settings; InputError if the method depends on their order.
    """

    def update(self, values: np.ndarray) -> None: ...

    def merge(self, other: Self) -> None: ...

    def range(self, grid: Grid = GRID) -> Range: ...


@dataclass
class MinMax:
    """The extremes of all values (Jacob et al. 2018, post-training)."""

    low: float = field(default=np.inf, init=False)
    high: float = field(default=-np.inf, init=False)

    def update(self, values: np.ndarray) -> None:
        for piece in pieces(values):
            low, high = extremes(piece)
            self.low, self.high = min(self.low, low), max(self.high, high)

    def merge(self, other: Self) -> None:
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    def range(self, grid: Grid = GRID) -> Range:
        if self.low > self.high:
            raise DataError("no values were observed, so there is no range")
        return self.low, self.high


@dataclass
class MovingAverage(MinMax):
    """The exponential moving average of each batch's extremes (Jacob et al. 2018, training), from the first batch.

    Depends on the order and size of batches, so observers cannot be merged.
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
    """KL(P‖Q) in nats of the clipped distribution P and its quantization Q (Migacz 2017, TensorRT).

    P adds clipped counts to its outermost bins. Q distributes the count of an integer evenly over its bins and drops clipped
    counts, so that clipping increases the divergence.
    """
    integers = grid.integers(values, span)
    inside = (integers >= 0) & (integers <= 2**grid.bits - 1)
    if not inside.any():
        return math.inf
    first, end = int(np.argmax(inside)), len(inside) - int(np.argmax(inside[::-1]))
    p = counts[first:end].astype(np.float64)
    integers = integers[first:end].astype(np.int64)
    q = (np.bincount(integers, weights=p) / np.maximum(np.bincount(integers), 1))[integers]
    p[0] += counts[:first].sum()
    p[-1] += counts[end:].sum()
    p, q = p / p.sum(), q / q.sum()
    return float(p @ np.log(p / q))


@dataclass
class Distribution:
    """Observes a histogram and chooses the range with the least `loss`. `bins`: a power of two."""

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
        if not self.histogram.total:
            raise DataError("no values were observed, so there is no range")
        return self.search(grid)

    def search(self, grid: Grid) -> Range:
        """The range of the histogram with the least loss: coordinate descent over its ends, coarse then fine."""
        values, counts = self.histogram.occupied()
        values = values.clip(*grid.window)
        ends = np.clip((min(self.histogram.low, 0.0), max(self.histogram.high, 0.0)), *grid.window)

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
                    fractions = min((fractions, *tried), key=lambda each: self.loss(values, counts, span(each), grid))
                if fractions == before:
                    break
            return fractions

        coarse = descend((1.0, 1.0), lambda _: COARSE)
        return span(descend(coarse, lambda fraction: [min(fraction * factor, 1.0) for factor in FINE]))


@dataclass
class Percentile(Distribution):
    """The range that clips the fraction 1 − `fraction` at either end, to within a bin (Wu et al. 2020, arXiv:2004.09602)."""

    fraction: float = 0.9999

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0.5 < self.fraction <= 1, "fraction", self.fraction, "in (0.5, 1]")

    def search(self, grid: Grid) -> Range:
        centers, counts = self.histogram.occupied()
        position = int(np.searchsorted(centers, 0.0))
        centers, counts = np.insert(centers, position, 0.0), np.insert(counts, position, self.histogram.zeros)
        cumulative = np.cumsum(counts)
        clipped = math.floor((1 - self.fraction) * self.histogram.total)
        low = centers[np.searchsorted(cumulative, clipped, side="right")]
        high = centers[np.searchsorted(cumulative, self.histogram.total - clipped, side="left")]
        return self._outer_edge(low, -1), self._outer_edge(high, 1)

    def _outer_edge(self, center: float, side: int) -> float:
        """The outer edge of the bin at `center`, within the extremes; an exact zero has no bin."""
        edge = center + side * self.histogram.width / 2 if center else 0.0
        return float(np.clip(edge, self.histogram.low, self.histogram.high))


class MeanSquared(Distribution):
    """The range with the least mean squared error of rounding and clipping (Nagel et al. 2021)."""

    loss = staticmethod(squared_error)


class Entropy(Distribution):
    """The range with the least Kullback–Leibler divergence (Migacz 2017, TensorRT).

    The divergence compares distributions, not the size of errors, and favours clipping.
    """

    loss = staticmethod(divergence)


@dataclass
class PerUnit:
    """One observer per unit of the last axis; `ranges` returns each range, `range` the union of all.

    A histogram takes 8 bytes per bin and unit; reduce its bins by `make`, such as `partial(MeanSquared, bins=512)`.
    """

    make: Callable[[], Observer]
    units: int
    each: list[Observer] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        require(self.units >= 1, "units", self.units, "at least 1")
        self.each = [self.make() for _ in range(self.units)]

    def update(self, values: np.ndarray) -> None:
        """`values`: [..., units]; DataError for another last axis."""
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


OBSERVERS: Mapping[str, Callable[[], Observer]] = {name: globals()[kind] for name, kind in config.OBSERVERS.items()}
"""The classes of this module that recipes name; the first is the default."""


def settings_of(observer: Observer) -> dict[str, Any]:
    """The constructor arguments of an observer, by name, as JSON types."""
    return {f.name: getattr(observer, f.name) for f in dataclasses.fields(observer) if f.init}  # type: ignore[arg-type]
