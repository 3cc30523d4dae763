"""Samples and their scaling to model inputs.

Arrays may be memory maps larger than memory: everything here reads chunks of about `CHUNK_BYTES`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np

from tiedae.config.sample_spec import INTEGERS, Kind, SampleSpec
from tiedae.config.scaling import Scaling

from .intervals import Intervals
from .patches import Places

CHUNK_BYTES = 8 << 20
BLOCK_BYTES = 1 << 20
"""Size of a block of neighbouring samples, the unit of reading a memory map."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples in the data's unit of measure and their scaling to model inputs.

    `values`: shape [n, ...], in memory or memory-mapped. `rows`: int64 ascending, the samples of this split; None for all.
    `labels`: None or one entry per sample of this split. `clean`: what the model shall give for `values`, of their shape and
    dtype, or None for `values` themselves. `groups`: None or one entry per sample, such as a machine: no two splits share one.
    `records`: None or the number of the record that each sample is cut from, int64 [n]. `intervals`: None or those of a record
    that the samples overlap. `overlap`: windows of a record that share values with the next one; 1: none. `patches`: None or
    where in its picture each sample is.
    """

    values: np.ndarray = field(repr=False)
    labels: np.ndarray | None = field(default=None, repr=False)
    scaling: Scaling = field(default=Scaling())
    rows: np.ndarray | None = field(default=None, repr=False)
    clean: np.ndarray | None = field(default=None, repr=False)
    groups: np.ndarray | None = field(default=None, repr=False)
    records: np.ndarray | None = field(default=None, repr=False)
    intervals: Intervals | None = field(default=None, repr=False)
    overlap: int = 1
    patches: Places | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.values) if self.rows is None else len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample before flattening, such as (28, 28)."""
        return self.values.shape[1:]

    @property
    def inputs(self) -> int:
        """The number of values per sample."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def dtype(self) -> np.dtype:
        """`INTEGERS` and floats as stored, in native byte order; float32 for other numbers."""
        stored = self.values.dtype.newbyteorder("=")
        return stored if stored.name in INTEGERS or np.issubdtype(stored, np.floating) else np.dtype(np.float32)

    @property
    def disjoint(self) -> Samples:
        """Those of overlapping windows that share no values, in order."""
        if self.overlap == 1:
            return self
        chosen = np.flatnonzero(self.places(np.arange(len(self))) % self.overlap == 0)
        apart = self.select(chosen)
        return replace(
            apart, values=self.values[:: self.overlap], rows=apart.places(np.arange(len(chosen))) // self.overlap, overlap=1
        )

    @property
    def independent(self) -> int:
        """How many samples share no values: of overlapping windows only the disjoint ones count."""
        return len(self.disjoint)

    @cached_property
    def wanted(self) -> Samples:
        """The samples that the model shall give: these, or the clean ones."""
        return self if self.clean is None else replace(self, values=self.clean, clean=None)

    @property
    def spec(self) -> SampleSpec:
        """Shape, dtype and scaling of a sample."""
        return SampleSpec(self.shape, self.dtype.name, self.scaling, kind_of(self))

    @property
    def block(self) -> int:
        """Samples per block of a memory map; 0 for an array in memory."""
        return max(1, BLOCK_BYTES // self._sample_bytes) if _is_mapped(self.values) else 0

    def take(self, indices: np.ndarray | slice) -> np.ndarray:
        """The samples at `indices`, shape [len(indices), inputs], in the data's unit of measure and `dtype`."""
        values = np.asarray(self.values[indices if self.rows is None else self.rows[indices]])
        return np.ascontiguousarray(values.reshape(len(values), -1), self.dtype)

    def places(self, indices: np.ndarray) -> np.ndarray:
        """Where the samples at `indices` stand in the source, int64 [n]."""
        return indices if self.rows is None else self.rows[indices]

    def select(self, indices: np.ndarray) -> Samples:
        """The samples at `indices`, int64 ascending, as samples."""
        each = {name: getattr(self, name) for name in ("labels", "groups", "records", "intervals", "patches")}
        chosen = {name: None if values is None else values[indices] for name, values in each.items()}
        return replace(self, rows=self.places(indices), **chosen)

    @property
    def whole(self) -> Samples:
        """Those that lie within their picture; of other data all."""
        return self if self.patches is None else self.select(np.flatnonzero(self.patches.whole))

    def batches(self, order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
        """Model inputs in the given order of sample indices, float32 [up to batch_size, inputs]."""
        for start in range(0, len(order), batch_size):
            yield self.scaling.apply(self.take(order[start : start + batch_size]))

    def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        """(index of the first sample, samples as returned by `take`), in order."""
        step = max(1, CHUNK_BYTES // self._sample_bytes)
        for start in range(0, len(self), step):
            yield start, self.take(slice(start, start + step))

    @cached_property
    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """Minimum and maximum of each feature in the data's unit of measure, float64 [inputs] each, in chunks; cached."""
        low, high = np.full(self.inputs, np.inf), np.full(self.inputs, -np.inf)
        for _, chunk in self.chunks():
            low, high = np.minimum(low, chunk.min(axis=0)), np.maximum(high, chunk.max(axis=0))
        return low, high

    @cached_property
    def sha256(self) -> str:
        """Hex digest of dtype, shape and little-endian values in sample order, cached."""
        digest = hashlib.sha256(f"{self.dtype.name} {len(self)} {self.inputs}\n".encode())
        for _, chunk in self.chunks():
            digest.update(np.ascontiguousarray(chunk, chunk.dtype.newbyteorder("<")).data)
        return digest.hexdigest()

    @property
    def _sample_bytes(self) -> int:
        return max(1, self.inputs * max(self.values.dtype.itemsize, self.dtype.itemsize))


def kind_of(samples: Samples, *, windows: bool = False, stated: Literal["auto", Kind] = "auto") -> Kind:
    """The kind of data, which determines the unit of the error and whether `auto` scales per feature.

    As `stated`; of auto `record`: `windows` of neighbours in time. `table`: one axis of columns, each with its own unit of
    measure. `image`: pixels or bytes, samples of two or more axes, or uint8.
    """
    if windows:
        return "record"
    if stated != "auto":
        return stated
    return "table" if len(samples.shape) == 1 and samples.dtype != np.uint8 else "image"


def _is_mapped(values: np.ndarray | None) -> bool:
    while isinstance(values, np.ndarray):
        if isinstance(values, np.memmap):
            return True
        values = values.base if isinstance(values.base, np.ndarray) else None
    return False
