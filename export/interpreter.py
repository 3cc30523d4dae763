"""The reference: executes a program with numpy.

Integer programs use integer arithmetic only (products go through float64 BLAS, which is exact for integers below 2⁵³), with
one stated rounding per operation:

    Dense, Product, Rescale, Requantize   `requantize`: the product with the multiplier is rounded to 24 significant bits and
                                          then to an integer, ties to even both times, as a binary32 multiply and
                                          round-to-nearest do. XNNPACK and MLAS round so.
    AddBias                               both terms times a multiplier of at most 21 bits, summed, shifted; ties upwards, as
                                          XNNPACK adds.
    Activate                              a table of 256 entries, each the nearest value, ties to even.
    Interleave                            none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np

from .program import Activate, AddBias, Dense, Interleave, Operation, Product, Program, Quantization, Requantize, Rescale

FUNCTIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "tanh": np.tanh,
    "sigmoid": lambda x: np.where(x >= 0, 1, np.exp(-np.abs(x))) / (1 + np.exp(-np.abs(x))),
}


def execute(program: Program, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
    """Run one signature on a batch.

    `x` has shape [batch, size] of the signature's input tensor: uint8 for an integer program, float32 for a float one.
    Returns every tensor on the way by name, input included, in the same dtype. Raises InputError for another signature,
    DataError where `x` has another dtype or shape, a code more bits than its tensor, or a float is not finite.
    """
    operations, source, _ = program.part(signature)
    program.tensors[source].require(x, f"program {program.name}, {signature}")
    parts = [_execute(program, operations, {source: x[start : start + ROWS]}) for start in range(0, max(len(x), 1), ROWS)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


ROWS = 256
"""Rows executed together: intermediate integers of so many stay in the processor's cache."""


def _execute(program: Program, operations: tuple[Operation, ...], values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for operation in operations:
        values[operation.y] = apply(program, operation, values[operation.x])
    return values


def apply(program: Program, operation: Operation, x: np.ndarray) -> np.ndarray:
    """Run one operation on its input, [batch, size] uint8 or float32 → the same dtype."""
    table = _INTEGER if program.quantized else _FLOAT
    return table[type(operation)](program, operation, x)


def requantize(
    accumulator: np.ndarray, multiplier: np.ndarray | np.float32, zero_point: int, low: int, high: int
) -> np.ndarray:
    """Integers → uint8: accumulator · multiplier + zero_point, saturated to low…high.

    `accumulator` int64 below 2⁵³ in magnitude; `multiplier` positive float32, a scalar or one per column.
    """
    mantissa, exponent = np.frexp(np.asarray(multiplier, np.float64))
    mantissa = np.rint(mantissa * 2**24).astype(np.int64)
    shift = np.maximum(24 - exponent.astype(np.int64), 0)  # a multiplier beyond 2²⁴ saturates as it is
    product = _round_significant(_round_significant(accumulator) * mantissa)
    return np.clip(_shift_half_even(product, shift) + zero_point, low, high).astype(np.uint8)


def _shift_half_even(value: np.ndarray, shift: np.ndarray | int) -> np.ndarray:
    """value / 2^shift to the nearest integer, ties to even; values below 2⁶¹, shift 0 or more."""
    right = np.minimum(shift, 62)
    floor = value >> right
    rest = value - (floor << right)
    half = (np.int64(1) << right) >> 1
    up = (rest > half) | ((rest == half) & (half > 0) & ((floor & 1) == 1))
    return floor + up


def _round_significant(value: np.ndarray) -> np.ndarray:
    """Integers rounded to 24 significant bits, ties to even."""
    _, bits = np.frexp(value.astype(np.float64))
    drop = np.maximum(bits.astype(np.int64) - 24, 0)
    return _shift_half_even(value, drop) << drop


def clamp(activation: str, quantization: Quantization) -> tuple[int, int]:
    """The lowest and highest uint8 value of an output with this fused activation."""
    low = quantization.zero_point if activation in ("relu", "relu6") else 0
    high = quantization.top
    if activation == "relu6":
        high = min(high, quantization.zero_point + int(np.rint(np.float32(6) / np.float32(quantization.scale))))
    return low, high


def product_multiplier(x: Quantization, kernel_scales: Sequence[float] | float, y: Quantization) -> np.ndarray:
    """The float32 multiplier (s_x · s_w) / s_y, in the order in which the runtimes compute it."""
    return np.float32(x.scale) * np.asarray(kernel_scales, np.float32) / np.float32(y.scale)


def _accumulate(x: np.ndarray, zero_point: int, kernel: np.ndarray) -> np.ndarray:
    return np.matmul(x.astype(np.float64) - zero_point, kernel.astype(np.float64)).astype(np.int64)


def _dense(program: Program, operation: Dense, x: np.ndarray) -> np.ndarray:
    kernel = program.kernels[operation.kernel]
    values = program.constants[operation.kernel]
    source, target = program.quantization(operation.x), program.quantization(operation.y)
    accumulator = _accumulate(x, source.zero_point, values.T if operation.transposed else values)
    if operation.bias is not None:
        accumulator += program.constants[operation.bias]
    scales = kernel.decode_scales if operation.transposed else kernel.encode_scales
    multiplier = product_multiplier(source, scales, target)
    return requantize(accumulator, multiplier, target.zero_point, *clamp(operation.activation, target))


def _product(program: Program, operation: Product, x: np.ndarray) -> np.ndarray:
    return _dense(program, Dense(operation.x, operation.y, operation.kernel, True, None, "linear"), x)


def add_parameters(x: Quantization, bias: Quantization, y: Quantization) -> tuple[int, int, int]:
    """The multipliers of x and of the bias, and the shift, of an int8 addition as XNNPACK computes them."""
    ratios = np.float32(x.scale) / np.float32(y.scale), np.float32(bias.scale) / np.float32(y.scale)
    _, exponent = np.frexp(max(ratios))
    shift = 21 - int(exponent)
    return int(np.rint(np.ldexp(np.float64(ratios[0]), shift))), int(np.rint(np.ldexp(np.float64(ratios[1]), shift))), shift


def _add_bias(program: Program, operation: AddBias, x: np.ndarray) -> np.ndarray:
    source, target = program.quantization(operation.x), program.quantization(operation.y)
    assert operation.quantization is not None
    x_multiplier, bias_multiplier, shift = add_parameters(source, operation.quantization, target)
    bias = program.constants[operation.bias].astype(np.int64) - operation.quantization.zero_point
    total = (x.astype(np.int64) - source.zero_point) * x_multiplier + bias * bias_multiplier
    total = (total + (1 << (shift - 1))) >> shift
    low, high = clamp(operation.activation, target)
    return np.clip(total + target.zero_point, low, high).astype(np.uint8)


def _rescale(program: Program, operation: Rescale, x: np.ndarray) -> np.ndarray:
    source, target = program.quantization(operation.x), program.quantization(operation.y)
    factors = program.constants[operation.factors].astype(np.int64) - operation.quantization.zero_point
    product = (x.astype(np.int64) - source.zero_point) * factors
    multiplier = product_multiplier(source, operation.quantization.scale, target)
    return requantize(product, multiplier, target.zero_point, 0, target.top)


def _requantize(program: Program, operation: Requantize, x: np.ndarray) -> np.ndarray:
    source, target = program.quantization(operation.x), program.quantization(operation.y)
    multiplier = np.float32(source.scale) / np.float32(target.scale)
    return requantize(x.astype(np.int64) - source.zero_point, multiplier, target.zero_point, 0, target.top)


@lru_cache(maxsize=64)
def activation_table(function: str, x: Quantization, y: Quantization) -> np.ndarray:
    """The 256 uint8 outputs of an elementwise function, indexed by its uint8 input."""
    real = (np.arange(256) - x.zero_point) * np.float64(x.scale)
    return y.quantize(FUNCTIONS[function](real))


def _activate(program: Program, operation: Activate, x: np.ndarray) -> np.ndarray:
    return activation_table(operation.function, program.quantization(operation.x), program.quantization(operation.y))[x]


def interleaved(x: np.ndarray, ways: int) -> np.ndarray:
    """[batch, n] with the n values taken in turn from so many equal parts; n / ways of them undo it."""
    return x.reshape(len(x), ways, x.shape[1] // ways).swapaxes(1, 2).reshape(x.shape)


def _interleave(_: Program, operation: Interleave, x: np.ndarray) -> np.ndarray:
    return interleaved(x, operation.ways)


def _float_dense(program: Program, operation: Dense, x: np.ndarray) -> np.ndarray:
    values = program.constants[operation.kernel]
    y = x @ (values.T if operation.transposed else values)
    if operation.bias is not None:
        y = y + program.constants[operation.bias]
    return FUNCTIONS[operation.activation](y).astype(np.float32)


_INTEGER: Mapping[type, Callable[..., np.ndarray]] = {
    Dense: _dense,
    Product: _product,
    AddBias: _add_bias,
    Rescale: _rescale,
    Activate: _activate,
    Requantize: _requantize,
    Interleave: _interleave,
}

_FLOAT: Mapping[type, Callable[..., np.ndarray]] = {
    Dense: _float_dense,
    Product: lambda program, operation, x: x @ program.constants[operation.kernel].T,
    AddBias: lambda program, operation, x: FUNCTIONS[operation.activation](x + program.constants[operation.bias]),
    Activate: lambda _, operation, x: FUNCTIONS[operation.function](x).astype(np.float32),
    Interleave: _interleave,
}
