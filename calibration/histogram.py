"""Mergeable histograms of streams, and quantization grids.

Memory is fixed. Bins are a power of two wide and zero is an edge. For a value outside, the width doubles and pairs of bins
merge exactly, ⌊⌊x/w⌋/2⌋ = ⌊x/2w⌋, so merging is exact and independent of how the stream is batched.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from msgspec import Meta

from tiedae.base.errors import DataError
from tiedae.base.records import Record, require
from tiedae.compress.affine import affine_parameters, nearest_integers

Range = tuple[float, float]

BINS = 8192
Count = Annotated[int, Meta(ge=0, le=1 << 48)]
EMPTY = -200
"""Exponent of a histogram without nonzero values, below that of every float32."""
PIECE = 1 << 18
"""Values of an array that are processed at once."""


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of float32 values in [i·2ᵉ, (i + 1)·2ᵉ), i = −n/2 … n/2 − 1, and their extremes.

    `exponent`: e. `counts`: int64 [n], n a power of two, without `zeros`, the count of exact zeros, which every affine grid
    represents. `low`, `high`: extremes; ±inf if empty.
    """

    exponent: int
    counts: np.ndarray = field(repr=False)
    zeros: int
    low: float
    high: float

    @classmethod
    def empty(cls, bins: int = BINS) -> Histogram:
        return cls(EMPTY, np.zeros(bins, np.int64), 0, math.inf, -math.inf)

    @classmethod
    def of(cls, values: np.ndarray, bins: int = BINS) -> Histogram:
        """The histogram of an array of any shape; DataError for a value that is not finite in float32."""
        histogram = cls.empty(bins)
        for piece in pieces(values):
            histogram = histogram.merged(cls._of_piece(piece, bins))
        return histogram

    @classmethod
    def _of_piece(cls, values: np.ndarray, bins: int) -> Histogram:
        low, high = extremes(values)
        magnitude = max(-low, high)
        live = values[values != 0].astype(np.float64)
        exponent = math.frexp(magnitude)[1] - (bins.bit_length() - 2) if len(live) else EMPTY
        indices = np.floor(np.ldexp(live, -exponent)).astype(np.int64) + bins // 2
        return cls(exponent, np.bincount(indices, minlength=bins), len(values) - len(live), low, high)

    def merged(self, other: Histogram) -> Histogram:
        """The histogram of both streams; both have the same number of bins."""
        exponent = max(self.exponent, other.exponent)
        return Histogram(
            exponent,
            self._widened(exponent) + other._widened(exponent),
            self.zeros + other.zeros,
            min(self.low, other.low),
            max(self.high, other.high),
        )

    def _widened(self, exponent: int) -> np.ndarray:
        """The counts in bins of width 2^`exponent`."""
        bins = len(self.counts)
        doublings = min(exponent - self.exponent, bins.bit_length() - 2)
        if doublings == 0:
            return self.counts
        groups = self.counts.reshape(-1, 1 << doublings).sum(axis=1)
        margin = (bins - len(groups)) // 2
        return np.pad(groups, margin)

    def coarse(self, bins: int) -> Histogram:
        """The histogram in fewer bins, a power of two."""
        factor = len(self.counts) // bins
        exponent = self.exponent + factor.bit_length() - 1
        return Histogram(exponent, self.counts.reshape(bins, factor).sum(axis=1), self.zeros, self.low, self.high)

    @property
    def total(self) -> int:
        """The number of values."""
        return int(self.counts.sum()) + self.zeros

    @property
    def width(self) -> float:
        """The width of a bin, in the unit of the values."""
        return math.ldexp(1.0, self.exponent)

    def occupied(self) -> tuple[np.ndarray, np.ndarray]:
        """(float64 centers, int64 counts) of nonempty bins, ascending, without exact zeros."""
        indices = np.flatnonzero(self.counts)
        middles = (indices - len(self.counts) // 2 + 0.5) * self.width
        return middles.clip(self.low, self.high), self.counts[indices]

    def pack(self) -> PackedHistogram:
        """The record for JSON: counts from the first to the last nonempty bin."""
        indices = np.flatnonzero(self.counts)
        first, end = (int(indices[0]), int(indices[-1]) + 1) if len(indices) else (0, 0)
        counts = tuple(self.counts[first:end].tolist())
        return PackedHistogram(self.exponent, len(self.counts), first, counts, self.zeros, self.low, self.high)


class PackedHistogram(Record, frozen=True):
    """A histogram in JSON: `counts` of the bins from index `first`; other bins are 0."""

    exponent: Annotated[int, Meta(ge=-1100, le=1000)]
    bins: Annotated[int, Meta(ge=2, le=BINS)]
    first: Count
    counts: tuple[Count, ...]
    zeros: Count
    low: float
    high: float

    def __post_init__(self) -> None:
        fits = self.bins.bit_count() == 1 and self.first + len(self.counts) <= self.bins
        require(fits, "bins", self.bins, f"a power of two, {self.first + len(self.counts)} or more")
        farthest, most = max(abs(self.low), abs(self.high)), math.ldexp(self.bins / 2, self.exponent)
        require(not any(self.counts) or farthest <= most, "low, high", [self.low, self.high], f"within ±{most:g}, the bins")

    def unpack(self) -> Histogram:
        """The inverse of `Histogram.pack`."""
        counts = np.zeros(self.bins, np.int64)
        counts[self.first : self.first + len(self.counts)] = self.counts
        return Histogram(self.exponent, counts, self.zeros, self.low, self.high)


def pieces(values: np.ndarray) -> Iterator[np.ndarray]:
    """The values of an array, flat float32, in pieces of `PIECE`; DataError if one is not finite."""
    flat = np.asarray(values).reshape(-1)
    for start in range(0, flat.size, PIECE):
        with np.errstate(over="ignore"):
            piece = flat[start : start + PIECE].astype(np.float32, copy=False)
        finite = np.isfinite(piece)
        if not finite.all():
            first = int(np.argmin(finite))
            raise DataError(f"value {start + first} is {flat[start + first]}, must be finite in float32")
        yield piece


def extremes(values: np.ndarray) -> tuple[float, float]:
    """Minimum and maximum; zeros are +0."""
    return float(values.min()) + 0.0, float(values.max()) + 0.0


@dataclass(frozen=True)
class Grid:
    """An affine grid of the integers 0…2^`bits` − 1, real = (q − zero point) · scale, with an exact zero.

    Values are clipped to `window`, outside of which they have no effect (the input of a sigmoid).
    """

    bits: int = 8
    window: Range = (-math.inf, math.inf)

    def __post_init__(self) -> None:
        require(2 <= self.bits <= 16, "bits", self.bits, "in 2…16")

    def parameters(self, span: Range) -> tuple[float, int]:
        """(scale, zero point) of a range, as in the exported program, see `affine_parameters`."""
        return affine_parameters(*span, self.bits)

    def integers(self, values: np.ndarray, span: Range) -> np.ndarray:
        """Quantized integers before saturation, float64, same shape."""
        return nearest_integers(values, *self.parameters(span))

    def rounded(self, values: np.ndarray, span: Range) -> np.ndarray:
        """Quantized and dequantized values, float64, same shape."""
        scale, zero_point = self.parameters(span)
        return (self.integers(values, span).clip(0, 2**self.bits - 1) - zero_point) * scale

    def error(self, histogram: Histogram, span: Range) -> float:
        """The mean squared quantization error over a histogram."""
        values, counts = histogram.occupied()
        return squared_error(values.clip(*self.window), counts, span, self) / max(histogram.total, 1)

    def clipped(self, histogram: Histogram, span: Range) -> float:
        """The fraction of values that saturate, more than half a step outside of `span`."""
        values, counts = histogram.occupied()
        integers = self.integers(values.clip(*self.window), span)
        return float(counts[(integers < 0) | (integers > 2**self.bits - 1)].sum()) / max(histogram.total, 1)


def squared_error(values: np.ndarray, counts: np.ndarray, span: Range, grid: Grid) -> float:
    """The sum of squared rounding and clipping errors (ACIQ's criterion, Banner et al. 2019, measured, not modelled)."""
    return float(counts @ np.square(grid.rounded(values, span) - values))
