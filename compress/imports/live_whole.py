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

from .live_calls import Call, array_of, changed

Directions = Literal["forward", "backward", "both", "none", "unknown"]
"""Of the uses of a kernel in a layer. "none": no weight that was changed changes the result."""

WEIGHTS = 3
"""Of a row or column of the kernel whose derivatives are compared."""
TRIES = 6
STEP = 1 / 64
"""Of the largest weight, up and down: the derivative's error is its square, and float32's rounding is far below it."""
INDEPENDENT = 0.05
"""The smallest singular value of unit vectors, of the largest, above which they are not multiples of one."""
FEW, MANY = 0.1, 0.25
"""Fractions of samples: up to the first the exceptions of kinks; from the second on a use, which not every sample reaches."""
LEAST = 6
"""Samples whose result all the weights reach; fewer tell nothing."""


def directions(call: Call, variable: Any) -> Directions:
    """In which directions the layer uses a kernel; "unknown" where the samples that it had do not tell."""
    values = array_of(variable)
    size = float(np.abs(values).max())
    if call.x is None or call.y is None or size == 0 or call.dtype.itemsize < 4:
        return "unknown"
    down, across = [], []
    for rows, columns in _crosses(values):
        down.append([_derivative(call, variable, (row, columns[0]), STEP * size) for row in rows])
        others = [_derivative(call, variable, (rows[0], column), STEP * size) for column in columns[1:]]
        across.append([down[-1][0], *others])
    if not any(each.any() for derivatives in (*down, *across) for each in derivatives):
        return "none"
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
    return ((rng.permutation(rows)[:WEIGHTS], rng.permutation(columns)[:WEIGHTS]) for _ in range(TRIES))


def _derivative(call: Call, variable: Any, index: tuple[int, ...], step: float) -> np.ndarray:
    """Of the result by one weight, by a central difference: [n, outputs]."""
    assert call.x is not None
    value = float(array_of(variable)[index])
    results = []
    for sign in (1, -1):
        with changed(variable, index, value + sign * step):
            results.append(call(call.x))
    return (results[0] - results[1]).reshape(len(call.x), -1)


def _independent(tries: Sequence[Sequence[np.ndarray]]) -> bool | None:
    """Whether the derivatives of many samples are independent; False: multiples of one vector; None: that cannot be told."""
    ratios = np.concatenate([_ratios(np.stack(derivatives, axis=1)) for derivatives in tries])
    if len(ratios) < LEAST:
        return None
    independent = (ratios > INDEPENDENT).mean(axis=0)
    return True if independent[-1] >= MANY else False if independent[0] <= FEW else None


def _ratios(derivatives: np.ndarray) -> np.ndarray:
    """Second and last singular value of each sample's derivatives [n, weights, outputs], as unit vectors, of the largest."""
    lengths = np.linalg.norm(derivatives, axis=2, keepdims=True)
    reached = (lengths > 1e-3 * lengths.max()).all(axis=(1, 2)) & (lengths.max() > 0)
    if min(derivatives.shape[1:]) < 2 or not reached.any():
        return np.zeros((0, 2))
    singular = np.linalg.svd(derivatives[reached] / lengths[reached], compute_uv=False)
    return singular[:, (1, -1)] / singular[:, :1]
