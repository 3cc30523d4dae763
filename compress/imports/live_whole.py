"""In which directions a layer uses a kernel that it does not show: one layer that holds a decoder, or a whole autoencoder.

What a weight [i, j] does to the result goes through one unit only: in a product x · kernel through unit j, in
x · kernelᵀ through i. So for one sample the derivatives by [i₁, j], [i₂, j], [i₃, j] are multiples of one vector where the
kernel is used as it is alone, and those by [i, j₁], [i, j₂], [i, j₃] where it is used transposed alone. Where in neither case
they are, the kernel is used in both directions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from .live_calls import LiveCall, acting, array_of, changed

Directions = Literal["forward", "backward", "both", "none", "unknown"]
"""Of the uses of a kernel in a layer. "none": the result is the same where all of its weights are others."""

WEIGHTS = 3
"""Of a row or column of the kernel whose derivatives are compared."""
TRIES = 4, 16
"""Rows and columns that are compared, at least and at most: until the samples that are reached are `ENOUGH`."""
LEAST, ENOUGH = 6, 48
"""Samples whose result all the weights reach: fewer than the first tell nothing."""
STEP = 1 / 64
"""Of the largest weight, up and down: the derivative's error is its square, and float32's rounding is far below it."""
INDEPENDENT = 0.05
"""The smallest singular value of unit vectors, of the largest, above which they are not multiples of one."""
FEW, MANY = 0.1, 0.25
"""Fractions of samples: up to the first the exceptions of kinks; from the second on a use, which not every sample reaches."""


def directions(call: LiveCall, variable: Any) -> Directions:
    """In which directions the layer uses a kernel; "unknown" where the samples that it had do not tell."""
    values = array_of(variable)
    size = float(np.abs(values).max()) or 1.0
    if call.x is None or call.y is None or call.y.dtype.itemsize < 4:
        return "unknown"
    if not acting(call, [variable]):
        return "none"
    down, across = np.zeros((0, 2)), np.zeros((0, 2))
    for tries, (rows, columns) in enumerate(_crosses(values)):
        if tries >= TRIES[0] and min(len(down), len(across)) >= ENOUGH:
            break
        by_row = [_derivative(call, variable, (row, columns[0]), STEP * size) for row in rows]
        others = [_derivative(call, variable, (rows[0], column), STEP * size) for column in columns[1:]]
        down, across = np.concatenate([down, _ratios(by_row)]), np.concatenate([across, _ratios([by_row[0], *others])])
    return _USES.get((_independent(down), _independent(across)), "unknown")


_USES: dict[tuple[bool | None, bool | None], Directions] = {
    (False, True): "forward",
    (True, False): "backward",
    (True, True): "both",
}


def _crosses(values: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Some rows and columns at random: the derivatives by [rows, columns[0]] and [rows[0], columns] are taken."""
    rng = np.random.default_rng(0)
    rows, columns = values.shape
    return ((rng.permutation(rows)[:WEIGHTS], rng.permutation(columns)[:WEIGHTS]) for _ in range(TRIES[1]))


def _derivative(call: LiveCall, variable: Any, index: tuple[int, ...], step: float) -> np.ndarray:
    """Of the result by one weight, by a central difference: [n, outputs]."""
    assert call.x is not None
    value = float(array_of(variable)[index])
    results = []
    for sign in (1, -1):
        with changed(variable, index, value + sign * step):
            results.append(call(call.x))
    return (results[0] - results[1]).reshape(len(call.x), -1)


def _independent(ratios: np.ndarray) -> bool | None:
    """Whether the derivatives of many samples are independent; False: multiples of one vector; None: unknown."""
    if len(ratios) < LEAST:
        return None
    second, last = (ratios > INDEPENDENT).mean(axis=0)
    return True if last >= MANY else False if second <= FEW else None


def _ratios(derivatives: Sequence[np.ndarray]) -> np.ndarray:
    """Second and last singular value, of the largest, of a sample's derivatives [n, outputs] as unit vectors: [reached, 2]."""
    stack = np.stack(derivatives, axis=1)
    lengths = np.linalg.norm(stack, axis=2, keepdims=True)
    reached = (lengths > 1e-3 * lengths.max()).all(axis=(1, 2)) & (lengths.max() > 0)
    if min(stack.shape[1:]) < 2 or not reached.any():
        return np.zeros((0, 2))
    singular = np.linalg.svd(stack[reached] / lengths[reached], compute_uv=False)
    return singular[:, (1, -1)] / singular[:, :1]
