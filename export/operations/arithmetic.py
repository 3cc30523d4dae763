"""Elementwise functions, and the arithmetic of the integer interpreter with one defined rounding per operation.

Dense, Product, Rescale, Requantize   `requantize`: accumulator · multiplier, rounded to 24 significant bits and then to an
                                      integer, ties to even, as a binary32 multiplication and round-to-nearest do; so round
                                      XNNPACK and MLAS
AddBias                               each term times a multiplier of at most 21 bits, summed, shifted; ties upwards, as in
                                      XNNPACK
Activate                              a table of 256 entries, rounded to nearest, ties to even
Interleave                            no rounding
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...compress.affine import SIGMOID_OUTPUT, TANH_OUTPUT, Quantization


@dataclass(frozen=True)
class Function:
    """An elementwise function: `real` computes it in floats, `tflite` and `onnx` name its operators.

    `fused`: products and additions can include it. `output` is the quantization that TFLite fixes for its int8 output.
    """

    real: Callable[[np.ndarray], np.ndarray]
    tflite: str = ""
    onnx: str = ""
    fused: bool = True
    output: Quantization | None = None


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, 1, np.exp(-np.abs(x))) / (1 + np.exp(-np.abs(x)))


FUNCTIONS: Mapping[str, Function] = {
    "linear": Function(lambda x: x),
    "relu": Function(lambda x: np.maximum(x, 0), "RELU", "Relu"),
    "relu6": Function(lambda x: np.clip(x, 0, 6), "RELU6", "Clip"),
    "tanh": Function(np.tanh, "TANH", "Tanh", fused=False, output=TANH_OUTPUT),
    "sigmoid": Function(_sigmoid, "LOGISTIC", "Sigmoid", fused=False, output=SIGMOID_OUTPUT),
}


def requantize(
    accumulator: np.ndarray, multiplier: np.ndarray | np.float32, zero_point: int, low: int, high: int
) -> np.ndarray:
    """accumulator · multiplier + zero_point as uint8, saturated to low…high.

    `accumulator` int64 below 2⁵³ in magnitude; `multiplier` positive float32, a scalar or one per column.
    """
    mantissa, exponent = np.frexp(np.asarray(multiplier, np.float64))
    mantissa = np.rint(mantissa * 2**24).astype(np.int64)
    shift = np.maximum(24 - exponent.astype(np.int64), 0)  # above 2²⁴ every nonzero value saturates anyway
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


def product_multiplier(x: Quantization, scales: Sequence[float] | np.ndarray | float, y: Quantization) -> np.ndarray:
    """The float32 multiplier (s_x · s_w) / s_y, computed in the runtimes' order."""
    return np.float32(x.scale) * np.asarray(scales, np.float32) / np.float32(y.scale)


def add_parameters(x: Quantization, bias: Quantization, y: Quantization) -> tuple[int, int, int]:
    """(multiplier of x, multiplier of the bias, shift) of an int8 addition, as XNNPACK computes them."""
    ratios = np.float32(x.scale) / np.float32(y.scale), np.float32(bias.scale) / np.float32(y.scale)
    _, exponent = np.frexp(max(ratios))
    shift = 21 - int(exponent)
    return int(np.rint(np.ldexp(np.float64(ratios[0]), shift))), int(np.rint(np.ldexp(np.float64(ratios[1]), shift))), shift


@lru_cache(maxsize=64)
def activation_table(function: str, x: Quantization, y: Quantization) -> np.ndarray:
    """The outputs of an elementwise function, uint8 [256], indexed by its uint8 input."""
    real = (np.arange(256) - x.zero_point) * np.float64(x.scale)
    return y.quantize(FUNCTIONS[function].real(real))
