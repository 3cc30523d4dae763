"""Elementwise functions, and the arithmetic of the integer interpreter with one defined rounding per operation.

Dense, Product, Rescale, Gain,
Requantize                            an exact accumulator, then `requantize`: rounded to binary32, times a binary32
                                      multiplier, rounded to an integer, ties to even; so round XNNPACK and MLAS
AddBias                               each term times a multiplier of at most 21 bits, summed, shifted; ties upwards, as in
                                      XNNPACK
Activate                              a table of 256 entries, rounded to nearest; lowering keeps them clear of ties, see
                                      `clear_of_ties`
Interleave                            no rounding

Accumulators are exact although float32 BLAS computes them. A product's terms are integers (q_x − zero point) · q_w. Where their
magnitudes sum to at most 2²⁴, so does every partial sum, and binary32 represents it. So no addition rounds, whatever the order,
the number of threads, or whether multiplications and additions are fused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from tiedae.base.errors import ExportError
from tiedae.compress.affine import SIGMOID_OUTPUT, TANH_OUTPUT, Quantization


@dataclass(frozen=True)
class Function:
    """An elementwise function: `real` computes it in floats.

    `fused`: products and additions can include it. `output` is the quantization that its integer output always has.
    """

    real: Callable[[np.ndarray], np.ndarray]
    fused: bool = True
    output: Quantization | None = None


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, 1, np.exp(-np.abs(x))) / (1 + np.exp(-np.abs(x)))


IDENTITY = "linear"
FUNCTIONS: Mapping[str, Function] = {
    IDENTITY: Function(lambda x: x),
    "relu": Function(lambda x: np.maximum(x, 0)),
    "relu6": Function(lambda x: np.clip(x, 0, 6)),
    "tanh": Function(np.tanh, fused=False, output=TANH_OUTPUT),
    "sigmoid": Function(_sigmoid, fused=False, output=SIGMOID_OUTPUT),
}


EXACT = 2**24
"""Largest magnitude up to which float32 represents every integer."""
LARGEST_STEPS = 255
"""Bound of |q_x − zero point|: both lie in 0…255."""
TABLE_TIE = 2.0**-14
"""Distance from a tie, in LSB, within which a runtime may round an output of a table the other way: 4 ulp of float32 above 128.
Products have `TIE`."""
SCALE_STEP, SCALES = 2.0**-20, 1_000
"""Relative change of a scale from one candidate to the next, and candidates on each side, see `clear_of_ties`."""
TERMS = 512
"""Terms of a product that any kernel can sum exactly in float32: 255 · 128 · 512 = 16,711,680 < 2²⁴ = 16,777,216."""


@dataclass(frozen=True, eq=False)
class FloatKernel:
    """An int8 kernel as float32 `values` [inputs, units], for exact products in both directions.

    `norms`: the largest sum of magnitudes of a column and of a row. The memory is four bytes per value.
    """

    values: np.ndarray
    norms: tuple[int, int]

    @classmethod
    def of(cls, integers: np.ndarray) -> FloatKernel:
        values = integers.astype(np.float32)
        columns, rows = (np.abs(values).sum(axis, dtype=np.float64) for axis in (0, 1))
        return cls(values, (int(columns.max(initial=0)), int(rows.max(initial=0))))

    def product(self, x: np.ndarray, transposed: bool, *, added: int = 1) -> np.ndarray:
        """The exact x · W, or x · Wᵀ where `transposed`: float32 if its magnitude is at most 2²⁴ for every x, else float64.

        `x`: integers of at most `LARGEST_STEPS` in magnitude, float32 [batch, …, terms]. `added`: as many values of the result
        are added later, exactly too.
        """
        matrix = self.values.T if transposed else self.values
        if added * LARGEST_STEPS * self.norms[transposed] <= EXACT:
            return x @ matrix
        total = np.zeros((*x.shape[:-1], matrix.shape[1]))
        for start in range(0, len(matrix), TERMS):
            total += x[..., start : start + TERMS] @ matrix[start : start + TERMS]
        return total


def steps(x: np.ndarray, quantization: Quantization) -> np.ndarray:
    """q − zero point, float32."""
    real = x.astype(np.float32)
    real -= np.float32(quantization.zero_point)
    return real


def add_bias(accumulator: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """An exact accumulator plus an int32 bias [units]; in place where the accumulator's dtype can hold the bias.

    The sum is float64 and exact, or float32 and rounded once, which is the first rounding of `requantize`.
    """
    terms = bias.astype(accumulator.dtype)
    if (terms != bias).any():
        return accumulator.astype(np.float64) + bias
    accumulator += terms
    return accumulator


def requantize(
    accumulator: np.ndarray, multiplier: np.ndarray | np.float32, zero_point: int, low: int, high: int
) -> np.ndarray:
    """accumulator · multiplier + zero_point as uint8, saturated to low…high.

    `accumulator`: integers below 2⁵³ in magnitude, int64, float64, or float32 that is overwritten; `multiplier` positive
    float32, a scalar or one per column. Each step is one binary32 operation that rounds to nearest, ties to even.
    """
    # from 2²⁴ on every nonzero accumulator saturates; the limit keeps products finite
    factor = np.minimum(np.asarray(multiplier, np.float32), np.float32(EXACT))
    product = accumulator.astype(np.float32, copy=False)
    product *= factor
    np.rint(product, out=product)
    product += np.float32(zero_point)
    return np.clip(product, low, high, out=product).astype(np.uint8)


Interval = tuple[np.ndarray, np.ndarray]
"""The least and the largest integers that a tensor may have, uint8 each."""
TIE = 1e-3
"""How near to a tie, in LSB, a runtime that computes in binary32 may round either way."""
UNIT_ROUNDOFF = 2.0**-24
"""Largest relative error of one binary32 operation."""


def outwards(low: np.ndarray, high: np.ndarray, slack: np.ndarray | float, zero_point: int, least: int, most: int) -> Interval:
    """The integers that values between `low` and `high` may be rounded to, saturated to least…most.

    `low`, `high`: float64 in LSB, without the zero point; `slack`: how far each may be off before it is rounded.
    """
    ends = np.ceil(low - slack - 0.5) + zero_point, np.floor(high + slack + 0.5) + zero_point
    return np.clip(ends[0], least, most).astype(np.uint8), np.clip(ends[1], least, most).astype(np.uint8)


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
    return y.quantize(_table_values(function, x))


def clear_of_ties(function: str, x: Quantization, y: Quantization, least: float = 0.0) -> Quantization:
    """x, or x with the nearest scale at which no output of its table lies within `TABLE_TIE` of a tie.

    Then runtimes that compute the table in float32 round every output as `activation_table` does. A scale that keeps x's own
    table is preferred. None is below `least`, unless x's own is. The output of 0 may be a tie, since it is computed exactly.
    Raises ExportError if none of the candidates will do.
    """
    nearest, table, nonzero = None, activation_table(function, x, y), np.arange(256) != x.zero_point
    for i in sorted(range(-SCALES, SCALES + 1), key=abs):
        near = replace(x, scale=float(np.float32(x.scale * (1 + i * SCALE_STEP))))
        steps = _table_values(function, near)[nonzero] / y.scale
        if near.scale < min(least, x.scale) or np.abs(steps - np.floor(steps) - 0.5).min() <= TABLE_TIE:
            continue
        if np.array_equal(activation_table(function, near, y), table):
            return near
        nearest = nearest or near
    if nearest is None:
        right = "must have a scale nearby without outputs next to a tie"
        raise ExportError(f"{function} of scale {x.scale:g} and zero point {x.zero_point}: {right}")
    return nearest


def _table_values(function: str, x: Quantization) -> np.ndarray:
    return FUNCTIONS[function].real((np.arange(256) - x.zero_point) * np.float64(x.scale))
