"""Kernels stored sparse: the values that are not zero once, and their places once, for both directions.

The `sparsity` table of a tensor says in which order its axes lie in the buffer, and which of them are stored sparse (CSR):
`segments` says where each row begins and ends, `indices` where in its row a value lies. A tensor over the same buffer with
the same rows and another traversal order is the same kernel in another order of its axes, as a dense view is (see `views`).
Equal vectors are packed once (`schema.Builder`). DENSIFY reads it when the file is loaded.

Source: tensorflow/compiler/mlir/lite/schema/schema.fbs, `SparsityParameters`. Blocks are not written, and not read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ..reals import as_bits
from .flatbuffer import Table
from .schema import int32

DENSE, CSR = 0, 1
"""DimensionType of a dimension without gaps, and of one that has the places of its values."""
ORDERS = ((0, 1, 2, 3), (1, 2, 3, 0))
"""Axes of a filter [units, *window, channels] as stored: rows lie along the channels, or along the units."""
VECTORS = {"u1": ("Uint8Vector", 3), "<u2": ("Uint16Vector", 2), "<i4": ("Int32Vector", 1)}
"""Table of the schema and number in its union, by the dtype of segments or indices; the narrowest first."""


@dataclass(frozen=True, eq=False)
class SparseKernel:
    """A filter's values that are not zero, and their places in rows along the last axis of `order`."""

    values: np.ndarray
    order: tuple[int, ...]
    segments: np.ndarray
    indices: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes of values and places."""
        return self.values.nbytes + self.segments.nbytes + self.indices.nbytes

    def table(self, shape: Sequence[int], axes: Sequence[int]) -> Any:
        """The sparsity table of a tensor of `shape`; `axes`: where it has each axis of the filter."""
        order = [axes[axis] for axis in self.order]
        sizes = [schema.DimensionMetadataT(format=DENSE, denseSize=shape[axis]) for axis in order[:-1]]
        (segments, kind), (indices, of_indices) = _vector(self.segments), _vector(self.indices)
        rows = schema.DimensionMetadataT(CSR, 0, kind, segments, of_indices, indices)
        return schema.SparsityParametersT(traversalOrder=int32(order), dimMetadata=[*sizes, rows])


def sparse_kernel(values: np.ndarray) -> SparseKernel | None:
    """The smaller way to store a filter [units, *window, channels] sparse; None if dense is as small."""
    smaller = min((_rows(values, order) for order in ORDERS), key=lambda way: way.nbytes)
    return smaller if smaller.nbytes < values.nbytes else None


def _rows(values: np.ndarray, order: tuple[int, ...]) -> SparseKernel:
    rows = np.ascontiguousarray(values.transpose(order)).reshape(-1, values.shape[order[-1]])
    kept = as_bits(rows) != 0
    segments = np.concatenate([[0], np.cumsum(kept.sum(1))])
    return SparseKernel(rows[kept], order, _narrow(segments), _narrow(np.nonzero(kept)[1]))


def _narrow(numbers: np.ndarray) -> np.ndarray:
    return numbers.astype(next(dtype for dtype in VECTORS if numbers.max(initial=0) <= np.iinfo(dtype).max))


def _vector(numbers: np.ndarray) -> tuple[Any, int]:
    name, kind = VECTORS["u1" if numbers.itemsize == 1 else numbers.dtype.str]
    return getattr(schema, f"{name}T")(numbers), kind


def in_order(stored: np.ndarray, shape: Sequence[int], order: Sequence[int]) -> np.ndarray:
    """Stored values as the tensor of `shape` whose axes lie in the buffer in this order."""
    return stored.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))


@dataclass(frozen=True)
class Rows:
    """A sparse dimension of a file; `places` are those of its vectors in the file."""

    segments: np.ndarray = field(compare=False)
    indices: np.ndarray = field(compare=False)
    places: tuple[int, ...]


@dataclass(frozen=True)
class Sparsity:
    """How a tensor lies in its buffer: its axes in order, and the size of each, or its rows; `blocks`: whether it has any."""

    order: tuple[int, ...]
    dimensions: tuple[int | Rows, ...]
    blocks: bool

    @classmethod
    def of(cls, table: Table) -> Sparsity:
        found = [each.integer(1) if each.integer(0, "b") == DENSE else _read_rows(each) for each in table.tables(2)]
        return cls(table.numbers(0), tuple(found), bool(table.extent(1, 4)[1]))

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors of its rows."""
        rows = (each for each in self.dimensions if isinstance(each, Rows))
        return sum(each.segments.nbytes + each.indices.nbytes for each in rows)

    def tensor(self, stored: np.ndarray, shape: Sequence[int]) -> np.ndarray | None:
        """The tensor of `shape` with these values; None if the table is none of such a tensor, or has blocks."""
        if not self._fits(stored.size, shape):
            return None
        if not self.nbytes:
            return in_order(stored, shape, self.order)
        steps = [math.prod(shape[axis + 1 :]) for axis in self.order]
        places = np.zeros(1, np.int64)
        for step, each in zip(steps, self.dimensions, strict=True):
            if isinstance(each, Rows):
                places = np.repeat(places, np.diff(each.segments.astype(np.int64))) + step * each.indices.astype(np.int64)
            else:
                places = np.add.outer(places, step * np.arange(each)).ravel()
        values = np.zeros(math.prod(shape), stored.dtype)
        values[places] = stored
        return values.reshape(shape)

    def _fits(self, size: int, shape: Sequence[int]) -> bool:
        if self.blocks or sorted(self.order) != list(range(len(shape))) or len(self.dimensions) != len(shape):
            return False
        count = 1
        for axis, each in zip(self.order, self.dimensions, strict=True):
            if isinstance(each, Rows):
                if not _are_rows(each, count, shape[axis]):
                    return False
                count = each.indices.size
            elif each != shape[axis]:
                return False
            else:
                count *= each
        return count == size


def _are_rows(rows: Rows, count: int, size: int) -> bool:
    """Whether these are `count` rows with places below `size`, each once and in order."""
    segments, indices = rows.segments.astype(np.int64), rows.indices.astype(np.int64)
    if segments.size != count + 1 or segments[0] or segments[-1] != indices.size or np.any(np.diff(segments) < 0):
        return False
    if not indices.size:
        return True
    rising = np.diff(indices, prepend=-1) > 0
    rising[segments[:-1][segments[:-1] < indices.size]] = True
    return bool(rising.all() and indices.min() >= 0 and indices.max() < size)


def _read_rows(dimension: Table) -> Rows:
    found = [_read_vector(dimension, slot) for slot in (2, 4)]
    (segments, start), (indices, end) = found
    return Rows(segments, indices, (start, segments.size, end, indices.size))


def _read_vector(dimension: Table, slot: int) -> tuple[np.ndarray, int]:
    kinds = {number: dtype for dtype, (_, number) in VECTORS.items()}
    kind, table = dimension.integer(slot, "B"), dimension.table(slot + 1)
    if kind not in kinds or table is None:
        return np.empty(0, np.int32), 0
    return table.vector(0, kinds[kind]), table.extent(0, np.dtype(kinds[kind]).itemsize)[0]
