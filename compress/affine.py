"""Affine quantization: real = (q − zero point) · scale.

Activations of a program are uint8; files with int8 activations store integers and zero points minus 128.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiedae.base.errors import DataError, ExportError

from .blocks import blocks

SMALLEST_SPAN = 1e-30
"""A range of a smaller span gets scale 1 / (2^bits − 1)."""
SIGNED_SHIFT = 128
"""uint8 value minus the int8 value of the same real number."""
IO = ("auto", "uint8", "int8", "float32")
"""Dtypes of `x` and `y` in an int8 file."""


def affine_parameters(low: float, high: float, bits: int = 8, finest: float = 0.0) -> tuple[float, int]:
    """(scale, zero point) of [low, high], widened to contain 0; the zero point is rounded, the scale is not adjusted.

    The integers are 0…2^`bits` − 1; the scale is a float32 value, at least `finest`.
    """
    low, high, top = min(float(low), 0.0), max(float(high), 0.0), 2**bits - 1
    span = max(high - low, finest * top)
    scale = float(np.float32((span if span >= SMALLEST_SPAN else 1.0) / top))
    return scale, int(np.clip(np.rint(-low / scale), 0, top))


def nearest_integers(real: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """Quantized integers before saturation, float64, ties to even."""
    return np.rint(real.astype(np.float64) / scale) + zero_point


def quantize(real: np.ndarray, scale: float, zero_point: int, dtype: str) -> np.ndarray:
    """Finite real values → integers of `dtype`, saturating at its limits."""
    limits = np.iinfo(dtype)
    return np.clip(nearest_integers(real, scale, zero_point), limits.min, limits.max).astype(dtype)


def representable(scale: float, zero_point: int, dtype: str) -> tuple[float, float]:
    """Smallest and largest real value that integers of `dtype` represent."""
    limits = np.iinfo(dtype)
    return scale * (int(limits.min) - zero_point), scale * (int(limits.max) - zero_point)


def signed(q: np.ndarray) -> np.ndarray:
    """uint8 → int8, minus 128."""
    return (q ^ np.uint8(SIGNED_SHIFT)).view(np.int8)


def unsigned(q: np.ndarray) -> np.ndarray:
    """int8 → uint8, plus 128; other dtypes unchanged."""
    return q.view(np.uint8) ^ np.uint8(SIGNED_SHIFT) if q.dtype == np.int8 else q


def io_dtype(io: str, is_bytes: bool, *, quantized: bool = True) -> str:
    """The dtype of `x` and `y` in a file; auto is uint8 for bytes, else float32.

    Raises ExportError for an unknown `io`, and for integers in a float file.
    """
    if io not in IO:
        raise ExportError(f"io: got {io!r}, must be one of {', '.join(IO)}")
    if not quantized and io not in ("auto", "float32"):
        raise ExportError(f"io: got {io!r}, but a float program has float32 inputs and outputs")
    return {"auto": "uint8" if quantized and is_bytes else "float32"}.get(io, io)


LARGEST32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Quantization:
    """Affine quantization of a uint8 tensor: real = (q − zero_point) · scale.

    `scale`: a positive float32 value. `zero_point`: in 0…`top` = 2^`bits` − 1.
    """

    scale: float
    zero_point: int
    bits: int = 8

    def __post_init__(self) -> None:
        if not (0 < self.scale <= LARGEST32 and float(np.float32(self.scale)) == self.scale):
            raise ExportError(f"a scale must be a positive float32 value, got {self.scale!r}")
        if self.bits not in range(1, 9):
            raise ExportError(f"bits of an activation must lie in 1…8, got {self.bits!r}")
        if not 0 <= self.zero_point <= self.top:
            raise ExportError(f"a zero point must lie in 0…{self.top}, got {self.zero_point}")

    @property
    def top(self) -> int:
        return 2**self.bits - 1

    @classmethod
    def from_range(cls, low: float, high: float, bits: int = 8) -> Quantization:
        """The quantization of [low, high], see `affine_parameters`."""
        return cls(*affine_parameters(low, high, bits), bits)

    def quantize(self, real: np.ndarray) -> np.ndarray:
        """Real values → uint8, rounding half to even, saturating; DataError for integers and NaN."""
        real = require_real(real)
        flat, q = real.reshape(-1), np.empty(real.size, np.uint8)
        for part in blocks(flat):
            q[part] = np.clip(nearest_integers(flat[part], self.scale, self.zero_point), 0, self.top)
        return q.reshape(real.shape)

    def dequantize(self, q: np.ndarray) -> np.ndarray:
        """uint8 → float32 real values; DataError for another dtype, such as a file's int8."""
        if q.dtype != np.uint8:
            raise DataError(f"dequantize: got {q.dtype}, must be uint8")
        return (q.astype(np.int32) - self.zero_point).astype(np.float32) * np.float32(self.scale)

    def to_io(self, q: np.ndarray, dtype: str) -> np.ndarray:
        """uint8 → values of an input or output of dtype uint8, int8 or float32."""
        return self.dequantize(q) if dtype == "float32" else signed(q) if dtype == "int8" else q

    def from_io(self, values: np.ndarray) -> np.ndarray:
        """uint8, int8 or float32 values of an input or output → uint8."""
        return self.quantize(values) if values.dtype == np.float32 else unsigned(values)


def require_real(values: np.ndarray) -> np.ndarray:
    """The values as an array; DataError unless they are floats without NaN."""
    values = np.asarray(values)
    if not np.issubdtype(values.dtype, np.floating):
        raise DataError(f"quantize: got {values.dtype}, must be floats in scaled values, as `Scaling.apply` makes them")
    missing = np.count_nonzero(np.isnan(values))
    if missing:
        raise DataError(f"quantize: got NaN in {missing:,} of {values.size:,} values, must be numbers")
    return values


BYTE = Quantization(float(np.float32(1 / 255)), 0)
"""Bytes: real = b / 255."""
SIGMOID_OUTPUT = Quantization(1 / 256, 0)
TANH_OUTPUT = Quantization(1 / 128, 128)
