"""Real values of constants, in any axis order and tile by tile, so that files larger than memory can be compared."""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
import mmap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from .model_file import Constant

MAX_AXES = 5
"""Constants with more axes longer than 1 are compared in their stored order only."""
SAMPLES = 256
"""Number of sampled values."""
TILE = 1 << 18
"""Values compared at a time."""
SLAB = 1 << 24
"""Bytes hashed or copied at a time: large, as a slab of a transposed matrix is read from all its pages."""
Chunk = bytes | bytearray | memoryview | mmap.mmap
"""Part of a file, as bytes."""
Index = tuple[Any, ...]
"""Index of an array: slices of a tile, or integer arrays."""


@dataclass(frozen=True, eq=False)
class Real:
    """A constant squeezed and permuted.

    `scales` and `zero_points` are views of the same shape; None if the constant is not quantized, or if its scales are not
    finite or do not fit its shape. `axes` is the permutation of the axes longer than 1.
    """

    constant: Constant
    values: np.ndarray
    scales: np.ndarray | None
    zero_points: np.ndarray | None
    axes: tuple[int, ...]

    @classmethod
    def of(cls, constant: Constant) -> Real:
        values = constant.values.squeeze()
        scales, zero_points = (_spread(constant, each) for each in (constant.scales, constant.zero_points or (0,)))
        if scales is None or zero_points is None or values.dtype.kind not in "iuV":
            scales = zero_points = None
        return cls(constant, values, scales, zero_points, tuple(range(values.ndim)))

    @property
    def quantized(self) -> bool:
        return self.scales is not None

    @property
    def has_steps(self) -> bool:
        """Whether the real values and their resolution are known: quantized integers, floats."""
        return self.quantized or (not self.constant.scales and _last_place(self.values.dtype) is not None)

    @property
    def in_order(self) -> bool:
        return self.axes == tuple(range(self.values.ndim))

    def orders(self) -> Iterator[tuple[int, ...]]:
        """All permutations of the axes, the stored order first."""
        return itertools.permutations(self.axes) if self.values.ndim <= MAX_AXES else iter([self.axes])

    def ordered(self, axes: tuple[int, ...]) -> Real:
        return self._changed(lambda values: values.transpose(axes), axes)

    def reshaped(self, shape: tuple[int, ...]) -> Real:
        return self._changed(lambda values: values.reshape(shape), self.axes)

    def _changed(self, change: Any, axes: tuple[int, ...]) -> Real:
        scales, zero_points = (None if each is None else change(each) for each in (self.scales, self.zero_points))
        return Real(self.constant, change(self.values), scales, zero_points, axes)

    def integers(self, index: Index) -> np.ndarray:
        """Integers minus their zero point, float64."""
        assert self.zero_points is not None
        return self.values[index].astype(np.float64) - self.zero_points[index]

    def at(self, index: Index) -> tuple[np.ndarray, np.ndarray]:
        """Real values at an index, float64, and the step there: the scale, or one unit in the last place."""
        with np.errstate(invalid="ignore", over="ignore"):
            if self.scales is not None:
                scales = self.scales[index]
                return self.integers(index) * scales, np.abs(scales)
            values = self.values[index].astype(np.float64)
            epsilon, smallest = _last_place(self.values.dtype) or (0.0, 0.0)
            return values, epsilon * np.where(np.isfinite(values), np.maximum(np.abs(values), smallest), 0)


def _spread(constant: Constant, numbers: tuple[float, ...]) -> np.ndarray | None:
    """Broadcast scales or zero points to the values' squeezed shape; None if that is impossible."""
    shape = constant.values.shape
    if len(numbers) == 1:
        place = [1] * len(shape)
    elif 0 <= constant.axis < len(shape) and len(numbers) == shape[constant.axis] > 0:
        place = [-1 if axis == constant.axis else 1 for axis in range(len(shape))]
    else:
        return None
    if not np.isfinite(numbers).all():
        return None
    return np.broadcast_to(np.array(numbers, np.float64).reshape(place), shape).squeeze()


@functools.cache
def _last_place(dtype: np.dtype) -> tuple[float, float] | None:
    """(machine epsilon, smallest normal value) of a real float type, else None."""
    try:
        info = ml_dtypes.finfo(dtype)
    except ValueError:
        return None
    return None if dtype.kind == "c" else (float(info.eps), float(info.smallest_normal))


def as_bits(values: np.ndarray) -> np.ndarray:
    """View as unsigned integers of the same bits; values longer than 8 bytes unchanged."""
    return values.view(f"u{values.dtype.itemsize}") if values.dtype.itemsize <= 8 else values


@functools.lru_cache(maxsize=256)
def sample_places(shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Index of up to SAMPLES values, at the same flat positions for all shapes of one size."""
    size = int(np.prod(shape))
    rng = np.random.default_rng(size)
    flat = rng.permutation(size) if size <= SAMPLES else rng.integers(0, size, SAMPLES)
    return np.unravel_index(flat, shape) if shape else ()


def digest_of(values: np.ndarray) -> bytes:
    """Hash (blake2b) of an array's bits in its axis order, read slab by slab."""
    digest = hashlib.blake2b(digest_size=32)
    for slab in _slabs(_flat_bits(values)):
        digest.update(np.ascontiguousarray(slab).data)
        release(values)
    return digest.digest()


def is_uniform(values: np.ndarray) -> bool:
    """Whether all values have the same bits."""
    bits = _flat_bits(values)
    first = bits.flat[0]
    return bool((bits.flat[:SAMPLES] == first).all()) and all(bool((slab == first).all()) for slab in _slabs(bits))


def _flat_bits(values: np.ndarray) -> np.ndarray:
    return as_bits(values).reshape(-1) if values.flags.c_contiguous else as_bits(values)


def _slabs(values: np.ndarray) -> Iterator[np.ndarray]:
    """Parts of at most SLAB bytes, in order."""
    if values.nbytes <= SLAB or values.ndim == 0:
        yield values
    elif len(values) <= values.nbytes // SLAB:
        for part in values:
            yield from _slabs(part)
    else:
        step = len(values) * SLAB // values.nbytes
        for start in range(0, len(values), step):
            yield values[start : start + step]


def aligned(first: Real, second: Real) -> Iterator[tuple[Real, Index, Real, Index]]:
    """Yield matching indices of both constants that cover all values, tile by tile."""
    shape = _refined(first.values.shape, second.values.shape)
    if shape is None:
        size = first.values.size
        for start in range(0, size, TILE):
            flat = np.arange(start, min(start + TILE, size))
            yield first, np.unravel_index(flat, first.values.shape), second, np.unravel_index(flat, second.values.shape)
            release(first.values, second.values)
        return
    first, second = first.reshaped(shape), second.reshaped(shape)
    for tile in _tiles(shape):
        yield first, tile, second, tile
        release(first.values, second.values)


def _refined(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...] | None:
    """The coarsest common refinement of two shapes, reached by splitting axes without a copy; None if there is none."""
    ends = {end for shape in (first, second) for end in itertools.accumulate(reversed(shape), int.__mul__)} | {1}
    ordered = sorted(ends)
    if any(larger % smaller for smaller, larger in itertools.pairwise(ordered)):
        return None
    return tuple(larger // smaller for smaller, larger in itertools.pairwise(ordered))[::-1]


def same_bits(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two arrays of one shape have the same bits, compared tile by tile."""
    one, other = as_bits(first), as_bits(second)
    for tile in _tiles(first.shape) if first.size else ():
        same = np.array_equal(one[tile], other[tile])
        release(one, other)
        if not same:
            return False
    return True


def _tiles(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Tiles of at most TILE values with similar lengths along all axes, which keeps memory access local in any axis order."""
    tile = list(shape)
    while np.prod(tile, dtype=np.float64) > TILE:
        longest = tile.index(max(tile))
        tile[longest] = -(-tile[longest] // 2)
    starts = (range(0, length, step) for length, step in zip(shape, tile, strict=True))
    for corner in itertools.product(*starts):
        yield tuple(slice(start, start + step) for start, step in zip(corner, tile, strict=True))


def pieces(parts: Iterable[Chunk]) -> Iterator[memoryview]:
    """The parts of a file in pieces; the pages of memory maps are released behind them."""
    for part in map(memoryview, parts):
        for start in range(0, len(part), SLAB):
            yield part[start : start + SLAB]
            release(part)


def joined(parts: Iterable[Chunk]) -> bytes:
    """The parts of a file as one, without leaving those that are memory maps in memory."""
    file = io.BytesIO()
    file.writelines(pieces(parts))
    return file.getvalue()


def release(*arrays: np.ndarray | memoryview | bytes) -> None:
    """Release the pages of memory maps, which would otherwise count as resident memory."""
    for array in arrays:
        base: Any = array
        while isinstance(base, np.ndarray | memoryview):
            base = base.base if isinstance(base, np.ndarray) else base.obj
        if isinstance(base, mmap.mmap) and hasattr(base, "madvise"):
            base.madvise(mmap.MADV_DONTNEED)


def axes_of(original: Real, duplicate: Real) -> tuple[int, ...] | None:
    """The original's axes in the duplicate's order, axes of length 1 last; None if there is no such order."""
    shape = original.constant.values.shape
    long, short = ([i for i, length in enumerate(shape) if (length > 1) == wanted] for wanted in (True, False))
    if duplicate.in_order:
        return tuple([*(long[axis] for axis in original.axes), *short])
    if original.values.shape != duplicate.values.shape:
        return None
    return tuple([*(long[axis] for axis in np.argsort(duplicate.axes)), *short])
