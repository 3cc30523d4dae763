"""How float32 inputs become the integers of a program.

Everything after this step is integer arithmetic; here runtimes differ. An input close to halfway between two integers, a tie,
becomes one or the other, depending on how the division by the scale is rounded. Inputs that are integers already never differ.

divide     x / scale in float32, ties to even: QuantizeLinear as ONNX defines it, and the program's own
multiply   x · (1 / scale), both in float32, ties to even: XNNPACK and LiteRT's builtin kernels
away       x / scale in float32, ties away from zero: LiteRT's reference kernels and TFLM
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from .program import Program, Quantization, require_real

Conversion = Literal["divide", "multiply", "away"]


def program_input(program: Program, scaled: np.ndarray, conversion: Conversion = "divide") -> np.ndarray:
    """Model-unit float32 samples → what the integer program reads, uint8 [samples, inputs]; DataError for integers and NaN."""
    quantization = program.quantization("x")
    steps = _STEPS[conversion](require_real(scaled).astype(np.float32, copy=False), quantization)
    return np.clip(steps + np.float32(quantization.zero_point), 0, quantization.top).astype(np.uint8)


def _divided(x: np.ndarray, quantization: Quantization) -> np.ndarray:
    return np.rint(x / np.float32(quantization.scale))


def _multiplied(x: np.ndarray, quantization: Quantization) -> np.ndarray:
    return np.rint(x * (np.float32(1) / np.float32(quantization.scale)))


def _away(x: np.ndarray, quantization: Quantization) -> np.ndarray:
    steps = x / np.float32(quantization.scale)
    whole = np.trunc(steps)
    return whole + np.where(np.abs(steps - whole) >= 0.5, np.copysign(np.float32(1), steps), np.float32(0))


_STEPS: Mapping[Conversion, Callable[[np.ndarray, Quantization], np.ndarray]] = {
    "divide": _divided,
    "multiply": _multiplied,
    "away": _away,
}
