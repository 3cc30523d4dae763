"""Contents of a model file, independent of its format."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np

from tiedae.compress.affine import SIGNED_SHIFT, quantize, signed

AXIS_ORDERS = ((0, 1), (1, 0))
"""Axis orders in which a file may store a kernel [inputs, units]."""
FILTER_ORDERS = {3: ((2, 1, 0),), 4: ((1, 2, 0, 3), (2, 3, 1, 0))}
"""Axes of a filter, as [*window, channels, units], that no reshaping orders, by their number: those of TRANSPOSE_CONV,
[channels, *window, units], and of ONNX, [units, channels, *window]."""
MAX_AXES = 32
"""Maximum rank of a constant; a higher one is damage."""


def oriented(values: np.ndarray, shape: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield stored values as a kernel of `shape`, for each of `AXIS_ORDERS`, and of `FILTER_ORDERS` if they have more axes;
    nothing if the sizes differ."""
    if values.size == math.prod(shape):
        for order in AXIS_ORDERS:
            yield values.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))
        for order in FILTER_ORDERS.get(values.ndim, ()):
            yield values.transpose(order).reshape(shape)


def program_names(values: Mapping[str, np.ndarray], *suffixes: str) -> dict[str, np.ndarray]:
    """Values by name, where `NAME` + suffix replaces `NAME`, and a later suffix an earlier one."""
    found = {name: each for name, each in values.items() if not name.endswith(suffixes)}
    for suffix in suffixes:
        found |= {name.removesuffix(suffix): each for name, each in values.items() if name.endswith(suffix)}
    return found


def columns(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Align rows of cells for a terminal; `sides` has `<` or `>` per column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    kinds = [f"{side}{width}" for side, width in zip(sides, widths, strict=True)] if rows else []
    return ["  ".join(map(format, row, kinds)).rstrip() for row in rows]


@dataclass(frozen=True, eq=False)
class Constant:
    """A constant; several may be views of one `storage`.

    `values`: the array as stored, in the file's orientation (read-only, possibly a memory map). `storage` identifies the bytes
    and is equal for two views of one buffer. `scales` and `zero_points` (−128…127 for int8 of TFLite) are empty if the constant
    is not quantized; `axis` is the dimension of per-channel scales. `stored`: bytes in the file if `values` are unpacked, such
    as 4-bit integers. `sha256` (hex): what the file says of its values, where it says that. `encoded`: type and shape of the
    tensor if `values` are only an encoding of it, such as ("sparse float16", (24, 64)).
    """

    name: str
    values: np.ndarray = field(repr=False)
    storage: str
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis: int = 0
    stored: int | None = None
    sha256: str = ""
    encoded: tuple[str, tuple[int, ...]] | None = None

    @property
    def integers(self) -> np.ndarray:
        """`values`; 4-bit integers, and uint8 with zero point 128, as int8."""
        if self.values.dtype == np.uint8 and set(self.zero_points) == {SIGNED_SHIFT}:
            return signed(self.values)
        return self.values.astype(np.int8) if self.values.dtype == ml_dtypes.int4 else self.values

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return self.values.nbytes if self.stored is None else self.stored


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a signature. A dimension of None is free (the batch); `symbols`: its name, by axis."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    scale: float | None = None
    zero_point: int | None = None
    symbols: tuple[str, ...] = field(default=(), compare=False)

    @property
    def dimensions(self) -> tuple[int | str, ...]:
        """The shape; a free dimension has its name in the file, else `batch` if it is the first, else `?`."""
        symbols = self.symbols or ("",) * len(self.shape)
        names = (symbol or ("?" if axis else "batch") for axis, symbol in enumerate(symbols))
        return tuple(name if size is None else size for size, name in zip(self.shape, names, strict=True))

    @property
    def sample(self) -> tuple[np.dtype, tuple[int, ...]]:
        """dtype and shape of one sample."""
        return np.dtype(self.dtype), tuple(size or 1 for size in self.shape[1:])

    def quantize(self, real: np.ndarray) -> np.ndarray:
        """Real, finite values → integers of this tensor, saturating."""
        return quantize(real, self.scale or 1.0, self.zero_point or 0, self.dtype)

    def dequantize(self, values: np.ndarray) -> np.ndarray:
        """Integers → float32 real values; floats, and integers without a scale, are returned unchanged."""
        if values.dtype.kind == "f" or self.scale is None:
            return values
        return ((values.astype(np.float64) - (self.zero_point or 0)) * self.scale).astype(np.float32)


@dataclass(frozen=True)
class Signature:
    """An entry point: inputs, outputs, and the number of operations by kind, nested graphs included."""

    name: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    operations: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Contents:
    """A parsed model file.

    `size` in bytes includes external data; of source text it is that of its constants. `details`: facts specific to the format,
    such as opset or minimum runtime version. `metadata`: what the file's maker wrote into it, text by name.
    """

    format: str
    size: int
    constants: tuple[Constant, ...]
    signatures: tuple[Signature, ...]
    details: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
