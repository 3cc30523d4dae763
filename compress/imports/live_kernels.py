"""The kernel of a layer of a live model, found by what the layer does when one weight is changed.

A layer that computes activation((x − before) · kernel + bias) gives the same for a weight that is twice as large as for a
value of x, less `before`, that is twice as large: in the weight's column, and no other column changes. That holds for any
activation and bias, needs no derivative, and the change is as large as the weights, far above the layer's own rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .live_calls import SCALES, LiveCall, acting, array_of, changed, probes, reacts, with_shape

TRIES = 8
"""Weights of a kernel that are changed at most, one after the other, until the layer reacts to an input behind one."""

Reaction = Literal["acts", "silent", "other", "unreached"]
"""Of a layer to weights: as a product with them; none; another one; or none to its input either, which proves nothing."""


@dataclass(frozen=True)
class LiveKernel:
    """The variable that a layer multiplies by: [inputs, units], or [units, inputs] where `transposed`. `before`: as in a
    `ChainProduct`."""

    variable: Any
    transposed: bool
    before: Any | None


def kernel_of(call: LiveCall, variables: Sequence[Any]) -> tuple[LiveKernel | None, Reaction]:
    """The kernel of a layer among the variables, and its reaction; without a kernel, that to the others."""
    if call.x is None or call.y is None or call.x.ndim != call.y.ndim:
        return None, "other"
    if not reacts(call):
        return None, "unreached"
    inputs, units = call.x.shape[-1], call.y.shape[-1]
    matrices = acting(call, with_shape(variables, [(inputs, units), (units, inputs)]))
    vectors = acting(call, with_shape(variables, [(inputs,)])) if matrices else []
    reactions: set[Reaction] = set()
    for variable in matrices:
        for transposed in _orientations(tuple(variable.shape), inputs, units):
            for before in (*vectors, None):
                kernel = LiveKernel(variable, transposed, before)
                reactions.add(reaction := reaction_to(call, kernel))
                if reaction == "acts":
                    return kernel, reaction
    return None, "other" if "other" in reactions else "unreached" if "unreached" in reactions else "silent"


def _orientations(shape: tuple[int, ...], inputs: int, units: int) -> list[bool]:
    return [transposed for transposed in (False, True) if shape == ((units, inputs) if transposed else (inputs, units))]


def reaction_to(call: LiveCall, kernel: LiveKernel) -> Reaction:
    """How a layer reacts to weights of a kernel: that of the first weight that an input of the layer reaches."""
    values = np.nan_to_num(array_of(kernel.variable).astype(np.float64), posinf=0, neginf=0)
    matrix = values.T if kernel.transposed else values
    size = float(np.abs(matrix).max()) or 1.0
    for row, column in _largest(matrix):
        if (reaction := _reaction(call, kernel, row, column, size)) != "unreached":
            return reaction
    return "unreached"


def _largest(matrix: np.ndarray) -> Iterator[tuple[int, int]]:
    """(row, column) of the largest weight of each column, the largest first; off the diagonal, which a transpose has too."""
    sizes = np.abs(matrix)
    if matrix.shape[0] == matrix.shape[1] > 1:
        np.fill_diagonal(sizes, -1)
    rows, columns = sizes.argmax(axis=0), np.argsort(-sizes.max(axis=0))[:TRIES]
    return ((int(rows[column]), int(column)) for column in columns)


def _reaction(call: LiveCall, kernel: LiveKernel, row: int, column: int, size: float) -> Reaction:
    """The layer's reaction to weight [row, column], of `size` and of twice that."""
    x, index = _inputs(call, row), (column, row) if kernel.transposed else (row, column)
    offset = 0.0 if kernel.before is None else 0.5
    moved = x.copy()
    moved[..., row] += x[..., row] - offset
    with ExitStack() as stack:
        if kernel.before is not None:
            stack.enter_context(changed(kernel.before, (row,), offset))
        with changed(kernel.variable, index, size):
            plain, by_input = call(x), call(moved)
        with changed(kernel.variable, index, 2 * size):
            by_weight = call(x)
    return _judged(plain, by_input, by_weight, column, _tolerance(call.dtype))


def _inputs(call: LiveCall, row: int) -> np.ndarray:
    """Inputs for a layer, and such with nothing but value `row`."""
    x = probes(call, row)
    alone = np.zeros((2, *x.shape[1:]))
    alone[0, ..., row], alone[1, ..., row] = 1, -1
    return np.concatenate([x, *(scale * alone for scale in SCALES)])


def _tolerance(dtype: np.dtype) -> float:
    """What rounding may do to a layer's result, of its scale: 1.4e-3 of float32, so that TF32 passes too."""
    bits = np.finfo(dtype).eps if dtype.kind == "f" else 2.0**-8
    return min(4 * float(np.sqrt(bits)), 0.05)


def _judged(plain: np.ndarray, by_input: np.ndarray, by_weight: np.ndarray, column: int, tolerance: float) -> Reaction:
    """The reaction by three results of a layer, each sample by its own scale."""
    scale = np.maximum.reduce([np.abs(each[..., column]) for each in (plain, by_input, by_weight)])
    known = np.isfinite(scale) & (scale > 0)
    if not known.any():
        return "unreached"

    def of_scale(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.abs(left[..., column] - right[..., column])[known] / scale[known]

    if not (of_scale(by_input, plain) > 4 * tolerance).any():
        return "unreached"
    if not (of_scale(by_weight, plain) > 4 * tolerance).any():
        return "silent" if np.array_equal(by_weight, plain, equal_nan=True) else "other"
    change = np.abs(np.delete(by_weight - plain, column, axis=-1))
    elsewhere = (change[known] > tolerance * scale[known][:, None]).any()
    return "other" if elsewhere or (of_scale(by_weight, by_input) > tolerance).any() else "acts"
