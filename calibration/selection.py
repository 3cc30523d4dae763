"""Choosing a range from a histogram by what the grid over it makes of the values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..compress.affine import affine_parameters, steps
from ..compress.config import require
from .histogram import Histogram

Range = tuple[float, float]

COARSE = np.geomspace(1.0, 1 / 128, 57).tolist()
FINE = np.geomspace(1.08, 1 / 1.08, 17).tolist()
"""The shares of an extreme at which a range may end, then what moves it there by less than a coarse step."""
ROUNDS = 8


@dataclass(frozen=True)
class Grid:
    """The integers that a range is chosen for: 0…2^`bits` − 1, real = (q − zero point) · scale, with 0 held exactly.

    Values outside of `window` act as its ends do (the linear input of a sigmoid): they are clipped before anything is measured.
    """

    bits: int = 8
    window: Range = (-math.inf, math.inf)

    def __post_init__(self) -> None:
        require(2 <= self.bits <= 16, "bits", self.bits, "in 2…16")

    def parameters(self, span: Range) -> tuple[float, int]:
        """(scale, zero point) of a range, widened to contain 0, as the exported program has them: scale a float32 value."""
        return affine_parameters(*span, self.bits)

    def steps(self, values: np.ndarray, span: Range) -> np.ndarray:
        """float64 integers of real values before they saturate, of the same shape."""
        return steps(values, *self.parameters(span))

    def rounded(self, values: np.ndarray, span: Range) -> np.ndarray:
        """float64 real values that the grid over `span` makes of real values, of the same shape."""
        scale, zero_point = self.parameters(span)
        return (self.steps(values, span).clip(0, 2**self.bits - 1) - zero_point) * scale

    def error(self, histogram: Histogram, span: Range) -> float:
        """The mean squared error of the grid over `span` on what a histogram has seen."""
        values, counts = histogram.occupied()
        return squared_error(values.clip(*self.window), counts, span, self) / max(histogram.total, 1)

    def clipped(self, histogram: Histogram, span: Range) -> float:
        """The share of values that saturate: they lie more than half a step outside of `span`."""
        values, counts = histogram.occupied()
        steps = self.steps(values.clip(*self.window), span)
        return float(counts[(steps < 0) | (steps > 2**self.bits - 1)].sum()) / max(histogram.total, 1)


Loss = Callable[[np.ndarray, np.ndarray, Range, Grid], float]
"""loss(values, counts, range, grid): how bad a range is; values float64 ascending, counts int64, both [n]."""


def squared_error(values: np.ndarray, counts: np.ndarray, span: Range, grid: Grid) -> float:
    """The sum of squared rounding and clipping errors (Banner et al. 2019, ACIQ, measured rather than modelled)."""
    return float(counts @ np.square(grid.rounded(values, span) - values))


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


def best_range(histogram: Histogram, grid: Grid, loss: Loss) -> Range:
    """The range with the least loss: its ends are tried in turn at shares of the extremes, coarse then fine."""
    values, counts = histogram.occupied()
    values = values.clip(*grid.window)
    ends = np.clip((min(histogram.low, 0.0), max(histogram.high, 0.0)), *grid.window)

    def span(shares: Range) -> Range:
        return float(shares[0] * ends[0]), float(shares[1] * ends[1])

    def descend(shares: Range, candidates: Callable[[float], list[float]]) -> Range:
        for _ in range(ROUNDS):
            before = shares
            for side in np.flatnonzero(ends)[::-1]:
                tried = [(share, shares[1]) if side == 0 else (shares[0], share) for share in candidates(shares[side])]
                shares = min((shares, *tried), key=lambda each: loss(values, counts, span(each), grid))
            if shares == before:
                break
        return shares

    coarse = descend((1.0, 1.0), lambda _: COARSE)
    return span(descend(coarse, lambda share: [min(share * factor, 1.0) for factor in FINE]))


def percentile_range(histogram: Histogram, share: float) -> Range:
    """The range that leaves out the share 1 − `share` of the values at either end, to within a bin (Wu et al. 2020)."""
    values, counts = histogram.occupied()
    position = int(np.searchsorted(values, 0.0))
    values, counts = np.insert(values, position, 0.0), np.insert(counts, position, histogram.zeros)
    cumulative = np.cumsum(counts)
    total = histogram.total
    left_out = math.floor((1 - share) * total)
    low = values[np.searchsorted(cumulative, left_out, side="right")]
    high = values[np.searchsorted(cumulative, total - left_out, side="left")]
    return _outer(histogram, low, -1), _outer(histogram, high, 1)


def _outer(histogram: Histogram, middle: float, side: int) -> float:
    """The outer edge of the bin around `middle`, within the extremes; an exact zero has no bin."""
    edge = middle + side * histogram.width / 2 if middle else 0.0
    return float(np.clip(edge, histogram.low, histogram.high))
