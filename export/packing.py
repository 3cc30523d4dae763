"""Storage of a kernel in a file: its axes; float32, int8, or packed 4-bit integers."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np

from tiedae.base.errors import ExportError
from tiedae.program.operations import Convolution, Dense, Product
from tiedae.program.program import Program

INT4 = ("packed", "bytes")
"""Storage of kernels of 4 bits or fewer: two values per byte, or one."""
INT4_BITS = 4
DECODER = ".decode"
"""Suffix of a kernel's constant in the order of the decoder, or with its scales."""


def kernel_axes(program: Program, name: str) -> tuple[int, ...]:
    """The axes of a kernel: [*sizes, channels, units] of convolutions, else [inputs, units].

    Raises ExportError for a kernel that operations read with different windows.
    """
    kernel, products = program.kernels[name], (each for each in program.operations if isinstance(each, Dense | Product))
    windows = {each.sizes if isinstance(each, Convolution) else () for each in products if each.kernel == name} or {()}
    if len(windows) > 1:
        raise ExportError(f"{name}: got windows of {' and '.join(map(str, sorted(windows)))}, must be one in all operations")
    (sizes,) = windows
    return (*sizes, kernel.inputs // math.prod(sizes), kernel.units)


def stored_kernel(program: Program, name: str, int4: str) -> np.ndarray:
    """A kernel as stored, [units, inputs]: float32, int8, or int4 of ml_dtypes if it is packed."""
    values = np.ascontiguousarray(program.constants[name].T)
    packed = int4 == "packed" and program.quantized and program.kernels[name].bits <= INT4_BITS
    return values.astype(ml_dtypes.int4) if packed else values


def is_packed(values: np.ndarray) -> bool:
    return values.dtype == ml_dtypes.int4


def stored_bytes(values: np.ndarray) -> bytes:
    """Serialize an array: little-endian, C order, int4 packed.

    The first of two 4-bit integers is in the low half of the byte, and an unused half is 0 (TensorType.INT4 of TFLite,
    TensorProto.INT4 of ONNX).
    """
    values = np.ascontiguousarray(values)
    if not is_packed(values):
        return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    halves = values.ravel().astype(np.int8).view(np.uint8) & 15
    halves = np.append(halves, np.zeros(halves.size % 2, np.uint8))
    return (halves[::2] | halves[1::2] << 4).tobytes()


def require_int4(int4: str) -> None:
    if int4 not in INT4:
        raise ExportError(f"int4: got {int4!r}, must be one of {', '.join(INT4)}")
