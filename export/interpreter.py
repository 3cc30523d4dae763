"""The reference: executes a program with numpy.

Integer programs use integer arithmetic only, with one stated rounding per operation, see `operations.arithmetic`.
"""

from __future__ import annotations

import numpy as np

from .operations import Operation
from .program import Program

ROWS = 256
"""Rows executed together, few enough that their integers stay in the processor's cache."""


def execute(program: Program, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
    """Run one signature on a batch.

    `x` has shape [batch, size] of the signature's input tensor: uint8 for an integer program, float32 for a float one.
    Returns every tensor on the way by name, input included, in the same dtype. Raises InputError for another signature,
    DataError where `x` has another dtype or shape, a code more bits than its tensor, or a float is not finite.
    """
    operations, source, _ = program.part(signature)
    program.tensors[source].require(x, f"program {program.name}, {signature}")
    parts = []
    for start in range(0, max(len(x), 1), ROWS):
        values = {source: x[start : start + ROWS]}
        for operation in operations:
            values[operation.y] = apply(program, operation, values[operation.x])
        parts.append(values)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def apply(program: Program, operation: Operation, x: np.ndarray) -> np.ndarray:
    """Run one operation on its input, [batch, size] uint8 or float32 → the same dtype."""
    return operation.integers(program, x) if program.quantized else operation.reals(program, x)
