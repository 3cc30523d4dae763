"""What a model file holds, whatever its format: the shape that inspection, the storage proof and the report read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np

from ...compress.affine import SIGNED_SHIFT, quantize, signed

AXIS_ORDERS = ((0, 1), (1, 0))
"""The orders in which a file may hold the axes of a kernel, [inputs, units]."""


def oriented(values: np.ndarray, shape: Sequence[int]) -> Iterator[np.ndarray]:
    """Stored values as a kernel of `shape`, read in each of `AXIS_ORDERS`; nothing where their number is another."""
    if values.size == math.prod(shape):
        for order in AXIS_ORDERS:
            yield values.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))


def printable(name: str) -> str:
    """A name of a foreign file for one line of text: control characters are escaped."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in name)


def columns(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Lines of the rows' cells for a terminal, each column as wide as its widest cell; `sides` has `<` or `>` per column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    kinds = [f"{side}{width}" for side, width in zip(sides, widths, strict=True)] if rows else []
    return ["  ".join(map(format, row, kinds)).rstrip() for row in rows]


@dataclass(frozen=True, eq=False)
class Constant:
    """One use of stored data: several constants may be views of one `storage`.

    `values` is the array as stored, in the orientation of the file (read-only; may be a memory map). `storage` identifies the
    bytes: equal for two views of one buffer. `scales` and `zero_points` are empty where the constant is not quantized
    (int8 values of a TFLite file have zero points in −128…127), `axis` is the quantized dimension of per-channel scales.
    `stored` is the number of bytes in the file where `values` are unpacked ones, such as 4-bit integers.
    """

    name: str
    values: np.ndarray = field(repr=False)
    storage: str
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis: int = 0
    stored: int | None = None

    @property
    def integers(self) -> np.ndarray:
        """`values`, 4-bit integers and uint8 of zero point 128 as int8."""
        if self.values.dtype == np.uint8 and set(self.zero_points) == {SIGNED_SHIFT}:
            return signed(self.values)
        return self.values.astype(np.int8) if self.values.dtype == ml_dtypes.int4 else self.values

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return self.values.nbytes if self.stored is None else self.stored


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a signature. A dimension of None is free (the batch)."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    scale: float | None = None
    zero_point: int | None = None

    @property
    def sample(self) -> tuple[np.dtype, tuple[int, ...]]:
        """dtype and size of one sample of a batch."""
        return np.dtype(self.dtype), tuple(size or 1 for size in self.shape[1:])

    def quantize(self, real: np.ndarray) -> np.ndarray:
        """Real, finite values in the dtype, scale and zero point of a quantized input or output, saturating."""
        return quantize(real, self.scale or 1.0, self.zero_point or 0, self.dtype)

    def dequantize(self, values: np.ndarray) -> np.ndarray:
        """The float32 values that integers stand for; other values, and integers without a scale, as they are."""
        if values.dtype.kind == "f" or self.scale is None:
            return values
        return ((values.astype(np.float64) - (self.zero_point or 0)) * self.scale).astype(np.float32)


@dataclass(frozen=True)
class Signature:
    """One entry point: its inputs and outputs, and how often each kind of operation occurs in it, nested graphs included."""

    name: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    operations: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Contents:
    """A parsed model file.

    `size` counts the bytes of the file and of its external data. `details` are facts of the format worth showing, such as the
    opset or the minimum runtime version.
    """

    format: str
    size: int
    constants: tuple[Constant, ...]
    signatures: tuple[Signature, ...]
    details: Mapping[str, str] = field(default_factory=dict)
