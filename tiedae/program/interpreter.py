"""The reference interpreter: executes a program with numpy.

Integer programs give the same integers on every machine, with one defined rounding per operation, see
`arithmetic`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from tiedae.compress.affine import Quantization, require_real

from .arithmetic import TIE, Interval, outwards
from .operations import Operation
from .program import Program

ROWS = 256
"""Rows executed at once; few enough to stay in the cache."""


def execute(program: Program, signature: str, x: np.ndarray, kept: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Run one signature on a batch.

    `x` has shape [batch, *shape]: uint8 for an integer program, float32 for a float program. Returns the tensors `kept` by
    name, by default all, input and intermediates included, in the same dtype. Raises InputError for an unknown signature,
    DataError if `x` has another dtype or shape, exceeds the tensor's bits, or is not finite.
    """
    operations, source, _ = program.part(signature)
    program.tensors[source].require(x, f"program {program.name}, {signature}")
    parts = []
    for start in range(0, max(len(x), 1), ROWS):
        values = {source: x[start : start + ROWS]}
        for operation in operations:
            values[operation.y] = apply(program, operation, values[operation.x])
        parts.append({name: values[name] for name in kept or values})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def apply(program: Program, operation: Operation, x: np.ndarray) -> np.ndarray:
    """Run one operation on its input, uint8 or float32 [batch, *shape]; the output has the same dtype."""
    return operation.integers(program, x) if program.quantized else operation.reals(program, x)


def bounds(program: Program, signature: str, low: np.ndarray, high: np.ndarray, off: int = 0) -> dict[str, Interval]:
    """What a runtime that computes in binary32 may give in place of an integer program's integers, for inputs in low…high.

    Of every tensor by name the least and the largest integers, uint8 [batch, *shape] each: operation by operation, each rounds
    to nearest, and where it lies at a tie either way; or is up to `off` LSB beyond. Raises as `execute`.
    """
    operations, source, _ = program.part(signature)
    for x in (low, high):
        program.tensors[source].require(x, f"program {program.name}, {signature}")
    values: dict[str, Interval] = {source: (low, high)}
    for operation in operations:
        least, most = operation.bounds(program, *values[operation.x])
        top = program.quantization(operation.y).top
        values[operation.y] = least - np.minimum(least, np.uint8(off)), most + np.minimum(np.uint8(top) - most, np.uint8(off))
    return values


Conversion = Literal["divide", "multiply", "away"]
CONVERSIONS: tuple[Conversion, ...] = get_args(Conversion)


def program_input(program: Program, scaled: np.ndarray, conversion: Conversion = "divide") -> np.ndarray:
    """Quantize float32 samples [n, inputs] in scaled values to the program's input [n, *shape], see `input_integers`."""
    return program.tensors["x"].shaped(input_integers(program.quantization("x"), scaled, conversion))


def input_integers(quantization: Quantization, scaled: np.ndarray, conversion: Conversion) -> np.ndarray:
    """Float32 samples in scaled values → uint8 of the same shape; DataError for integers and NaN.

    `conversion` is the runtime's way: `divide` by the scale (ties to even), `multiply` by its reciprocal (ties to even), or
    divide with ties `away` from zero.
    """
    x = require_real(scaled).astype(np.float32, copy=False)
    steps = _STEPS[conversion](x, np.float32(quantization.scale))
    return np.clip(steps + np.float32(quantization.zero_point), 0, quantization.top).astype(np.uint8)


def input_bounds(quantization: Quantization, scaled: np.ndarray, slack: float = 0.0) -> Interval:
    """The least and largest uint8 that a runtime may quantize float32 samples to, of the same shape.

    `slack`: error of the samples in LSB, beside `TIE`.
    """
    steps = scaled.astype(np.float64) / quantization.scale
    return outwards(steps, steps, TIE + slack, quantization.zero_point, 0, quantization.top)


def _away(steps: np.ndarray) -> np.ndarray:
    whole = np.trunc(steps)
    return whole + np.where(np.abs(steps - whole) >= 0.5, np.copysign(np.float32(1), steps), np.float32(0))


_STEPS: Mapping[Conversion, Callable[[np.ndarray, np.float32], np.ndarray]] = {
    "divide": lambda x, scale: np.rint(x / scale),
    "multiply": lambda x, scale: np.rint(x * (np.float32(1) / scale)),
    "away": lambda x, scale: _away(x / scale),
}
