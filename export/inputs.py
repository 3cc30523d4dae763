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

from ..compress.affine import require_real
from .program import Program

Conversion = Literal["divide", "multiply", "away"]


def program_input(program: Program, scaled: np.ndarray, conversion: Conversion = "divide") -> np.ndarray:
    """Model-unit float32 samples → what the integer program reads, uint8 [samples, inputs]; DataError for integers and NaN."""
    quantization = program.quantization("x")
    x = require_real(scaled).astype(np.float32, copy=False)
    steps = _STEPS[conversion](x, np.float32(quantization.scale))
    return np.clip(steps + np.float32(quantization.zero_point), 0, quantization.top).astype(np.uint8)


def _away(steps: np.ndarray) -> np.ndarray:
    whole = np.trunc(steps)
    return whole + np.where(np.abs(steps - whole) >= 0.5, np.copysign(np.float32(1), steps), np.float32(0))


_STEPS: Mapping[Conversion, Callable[[np.ndarray, np.float32], np.ndarray]] = {
    "divide": lambda x, scale: np.rint(x / scale),
    "multiply": lambda x, scale: np.rint(x * (np.float32(1) / scale)),
    "away": lambda x, scale: _away(x / scale),
}
