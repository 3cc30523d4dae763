"""The integer program in int64 alone: every rounding is emulated with shifts, no float multiplies and no BLAS sums.

`tiedae/program/operations` computes the same with float32. The tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tiedae.program.arithmetic import activation_table, add_parameters, clamp, product_multiplier
from tiedae.program.operations import (
    Activate,
    AddBias,
    Convolution,
    Dense,
    Gain,
    Interleave,
    MaxPool,
    Operation,
    Patches,
    Product,
    Requantize,
    Rescale,
    Reshape,
    Unpatch,
    Upsample,
)
from tiedae.program.program import Program


def execute(program: Program, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
    operations, source, _ = program.part(signature)
    values = {source: x}
    for operation in operations:
        values[operation.y] = RULES[type(operation)](program, operation, values[operation.x])
    return values


def requantize(
    accumulator: np.ndarray, multiplier: np.ndarray | np.float32, zero_point: int, low: int, high: int
) -> np.ndarray:
    """`accumulator`: int64 below 2³⁸ in magnitude; `multiplier`: positive float32, a scalar or one per column."""
    mantissa, exponent = np.frexp(np.asarray(multiplier, np.float64))
    mantissa = np.rint(mantissa * 2**24).astype(np.int64)
    shift = np.maximum(24 - exponent.astype(np.int64), 0)  # above 2²⁴ every nonzero value saturates anyway
    product = round_significant(round_significant(accumulator) * mantissa)
    return np.clip(shift_half_even(product, shift) + zero_point, low, high).astype(np.uint8)


def shift_half_even(value: np.ndarray, shift: np.ndarray | int) -> np.ndarray:
    """value / 2^shift to the nearest integer, ties to even; values below 2⁶¹, shift 0 or more."""
    right = np.minimum(shift, 62)
    floor = value >> right
    rest = value - (floor << right)
    half = (np.int64(1) << right) >> 1
    up = (rest > half) | ((rest == half) & (half > 0) & ((floor & 1) == 1))
    return floor + up


def round_significant(value: np.ndarray) -> np.ndarray:
    """Integers rounded to 24 significant bits, ties to even."""
    _, bits = np.frexp(value.astype(np.float64))
    drop = np.maximum(bits.astype(np.int64) - 24, 0)
    return shift_half_even(value, drop) << drop


def _multiplied(program: Program, operation: Dense, x: np.ndarray) -> np.ndarray:
    return x @ operation.matrix(program).astype(np.int64)


def _convolved(program: Program, operation: Convolution, x: np.ndarray) -> np.ndarray:
    """Place by place and position by position of the window; positions outside of the sample are left out."""
    y = np.zeros((len(x), *program.tensors[operation.y].shape), np.int64)
    outer, inner = (y, x) if operation.transposed else (x, y)
    kernel = program.constants[operation.kernel].astype(np.int64).reshape(*operation.sizes, outer.shape[-1], inner.shape[-1])
    before = [pad for pad, _ in operation.window.pads(outer.shape[1:-1])]
    for place in np.ndindex(*inner.shape[1:-1]):
        for offset in np.ndindex(*operation.sizes):
            axes = zip(place, operation.strides, offset, before, strict=True)
            at = tuple(step * stride + more - pad for step, stride, more, pad in axes)
            if not all(0 <= i < n for i, n in zip(at, outer.shape[1:-1], strict=True)):
                continue
            if operation.transposed:
                outer[:, *at] += inner[:, *place] @ kernel[offset].T
            else:
                inner[:, *place] += outer[:, *at] @ kernel[offset]
    return y


def _dense(program: Program, operation: Dense, x: np.ndarray) -> np.ndarray:
    source, target = program.quantization(operation.x), program.quantization(operation.y)
    linear = _convolved if isinstance(operation, Convolution) else _multiplied
    accumulator = linear(program, operation, x.astype(np.int64) - source.zero_point)
    if operation.bias is not None:
        accumulator += program.constants[operation.bias]
    multiplier = product_multiplier(source, operation.scales(program), target)
    return requantize(accumulator, multiplier, target.zero_point, *clamp(operation.activation, target))


def _product(program: Program, operation: Product, x: np.ndarray) -> np.ndarray:
    return _dense(program, operation.dense, x)


def _add_bias(program: Program, operation: AddBias, x: np.ndarray) -> np.ndarray:
    source, target = program.quantization(operation.x), program.quantization(operation.y)
    assert operation.quantization is not None
    x_multiplier, bias_multiplier, shift = add_parameters(source, operation.quantization, target)
    bias = program.constants[operation.bias].astype(np.int64) - operation.quantization.zero_point
    total = (x.astype(np.int64) - source.zero_point) * x_multiplier + bias * bias_multiplier
    total = (total + (1 << (shift - 1))) >> shift
    return np.clip(total + target.zero_point, *clamp(operation.activation, target)).astype(np.uint8)


def _times(program: Program, operation: Rescale | Gain, x: np.ndarray) -> np.ndarray:
    source, target = program.quantization(operation.x), program.quantization(operation.y)
    assert operation.quantization is not None
    name = operation.factors if isinstance(operation, Rescale) else operation.gains
    factors = program.constants[name].astype(np.int64) - operation.quantization.zero_point
    product = (x.astype(np.int64) - source.zero_point) * factors
    multiplier = product_multiplier(source, operation.quantization.scale, target)
    return requantize(product, multiplier, target.zero_point, 0, target.top)


def _requantize(program: Program, operation: Requantize, x: np.ndarray) -> np.ndarray:
    source, target = program.quantization(operation.x), program.quantization(operation.y)
    multiplier = np.float32(source.scale) / np.float32(target.scale)
    return requantize(x.astype(np.int64) - source.zero_point, multiplier, target.zero_point, 0, target.top)


def _activate(program: Program, operation: Activate, x: np.ndarray) -> np.ndarray:
    return activation_table(operation.function, program.quantization(operation.x), program.quantization(operation.y))[x]


def _interleave(program: Program, operation: Interleave, x: np.ndarray) -> np.ndarray:
    size = x.shape[1] // operation.ways
    order = [part * size + place for place in range(size) for part in range(operation.ways)]
    return x[:, order]


def _patches(program: Program, operation: Patches | Unpatch | MaxPool | Upsample, x: np.ndarray) -> np.ndarray:
    """Both directions: each window of the larger side with its place on the smaller one."""
    y = np.zeros((len(x), *program.tensors[operation.y].shape), np.uint8)
    outer, inner = (y, x) if isinstance(operation, Unpatch | Upsample) else (x, y)
    for place in np.ndindex(*inner.shape[1:-1]):
        window = tuple(slice(i * size, (i + 1) * size) for i, size in zip(place, operation.sizes, strict=True))
        values, small = outer[:, *window], inner[:, *place]
        if isinstance(operation, Patches):
            small[:] = values.reshape(len(x), -1)
        elif isinstance(operation, Unpatch):
            values[:] = small.reshape(values.shape)
        elif isinstance(operation, MaxPool):
            small[:] = values.max(tuple(range(1, values.ndim - 1)))
        else:
            values[:] = small.reshape(len(x), *(1,) * len(place), -1)
    return y


def _reshape(program: Program, operation: Reshape, x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), *program.tensors[operation.y].shape)


RULES: Mapping[type[Operation], Callable[..., np.ndarray]] = {
    Dense: _dense,
    Product: _product,
    AddBias: _add_bias,
    Rescale: _times,
    Gain: _times,
    Requantize: _requantize,
    Activate: _activate,
    Interleave: _interleave,
    Convolution: _dense,
    Reshape: _reshape,
    Patches: _patches,
    Unpatch: _patches,
    MaxPool: _patches,
    Upsample: _patches,
}
