"""Kernels of an .onnx file as they are stored, in it or as external data.

Specification: https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

import numpy as np

from tiedae.compress.affine import unsigned
from tiedae.program.program import Program

from ..packing import kernel_axes, stored_bytes, stored_kernel

PAGE = 4096
"""Alignment of kernels in external data, in bytes, for memory-mapping."""


def stored(program: Program, name: str, int4: str) -> np.ndarray:
    """A kernel as stored, [units, inputs], of convolutions [units, channels, *sizes]: float32, int8, int4, or uint8 with zero
    point 128."""
    values = stored_kernel(program, name, int4)
    *sizes, channels, units = kernel_axes(program, name)
    if sizes:
        values = np.ascontiguousarray(np.moveaxis(values.reshape(units, *sizes, channels), -1, 1))
    return unsigned(values) if name in program.exceeding_pairs else values


def external_kernels(program: Program, *, int4: str = "packed") -> bytes:
    """Serialize all kernels as they are `stored`: little-endian, in the program's order, aligned to `PAGE`."""
    data = bytearray()
    for name, (offset, _) in places(program, int4).items():
        data += bytes(offset - len(data)) + stored_bytes(stored(program, name, int4))
    return bytes(data)


def places(program: Program, int4: str) -> dict[str, tuple[int, int]]:
    """(offset, length) of each kernel in external data, in bytes."""
    found, end = {}, 0
    for name in program.kernels:
        offset, length = -(-end // PAGE) * PAGE, len(stored_bytes(stored(program, name, int4)))
        found[name] = offset, length
        end = offset + length
    return found
