"""Tie-aware rounding: one set of integers that serves the encoder and the decoder best, without training.

Rounding each weight to the nearest integer ignores that the errors of weights which act together may cancel (Nagel et al. 2020,
AdaRound). Here the integers minimize the second-order loss of both directions together (`influence.Quadratic`) by coordinate
descent: row by row of the kernel, always the change of one weight that gains the most, until none gains.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..compress.integers import UNPAIRED, Bounds, exceeding_pairs, within_pairs
from ..compress.kernel import FACTOR_LEVELS, HEADROOMS
from .curvature import Quadratic

SWEEPS = 3
REACH = 1
"""How far from the nearest integer a weight may be rounded."""
LEAST_GAIN = 1e-4
"""Below it, in units of the loss of one step of that weight alone, a change is no gain but float32's noise."""
DAMPING = 0.1
"""Damping of each moment, as a fraction of its mean diagonal (GPTQ's `percdamp`)."""
CLIPS = tuple(np.linspace(1.0, 0.3, 36))
"""Fractions of a kernel's largest magnitude that are tried as the largest integer's value."""


def clipped_scales(
    kernel: np.ndarray, quadratic: Quadratic, bounds: Bounds, *, per_unit: bool, limit: int = UNPAIRED
) -> np.ndarray:
    """The step with the least loss of rounding to nearest, weight by weight: float32 (), or [units] where `per_unit`.

    `kernel` float32 [inputs, units], `limit` that of its pairs, for which all scales grow together. None is finer than the
    decoder's factors tell apart.
    """
    axis = 0 if per_unit else None
    diagonal = quadratic.diagonal()

    def losses(scales: np.ndarray, limit: int, axis: int | None) -> np.ndarray:
        return (diagonal * np.square(nearest(kernel, scales, bounds, limit) * scales - kernel)).sum(axis)

    largest = np.maximum(np.abs(kernel).max(axis), np.float32(1e-8))
    scales = np.stack([largest * np.float32(clip / bounds[1]) for clip in CLIPS])
    clipped = np.stack([losses(each, UNPAIRED, axis) for each in scales])
    best = np.take_along_axis(scales, np.argmin(clipped, axis=0, keepdims=True), axis=0)[0]
    best = np.maximum(best, best.max() / np.float32(FACTOR_LEVELS))
    if not exceeding_pairs(nearest(kernel, best, bounds), limit):
        return best
    return min((np.float32(headroom) * best for headroom in HEADROOMS), key=lambda each: losses(each, limit, None))


def nearest(kernel: np.ndarray, scales: np.ndarray, bounds: Bounds, limit: int = UNPAIRED) -> np.ndarray:
    """The integers nearest to `kernel` in steps of `scales`, float32 within `bounds` and the pair rule's `limit`."""
    return within_pairs(np.clip(np.rint(kernel / scales), *bounds).astype(np.float32), limit)


def rounded(
    kernel: np.ndarray, scales: np.ndarray, bounds: Bounds, quadratic: Quadratic, *, limit: int = UNPAIRED
) -> np.ndarray:
    """Integers for both directions of a tied kernel, float32 [inputs, units] within `bounds`; zeros stay.

    `scales` is one step, or one per unit; `limit` is that of pairs, see `integers`. Each integer is within `REACH` of the
    nearest that obeys. The damped loss is never above that of those.
    """
    terms = damped(quadratic).terms
    steps = np.broadcast_to(scales, kernel.shape[1:]).astype(np.float32)
    integers = nearest(kernel, steps, bounds, limit)
    reach = np.where(kernel == 0, 0, REACH)
    low, high = np.maximum(integers - reach, bounds[0]), np.minimum(integers + reach, bounds[1])
    change = integers * steps - kernel
    products = [change @ b for _, b in terms]
    order = np.argsort(-np.diag(terms[0][0]), kind="stable")
    for _ in range(SWEEPS):
        for i in order:
            gradient = sum((a[i] @ product for (a, _), product in zip(terms, products, strict=True)), np.zeros_like(steps))
            curvature = [(a[i, i], b) for a, b in terms]
            least, most = _room(integers[i ^ 1] if i ^ 1 < len(order) else np.zeros_like(steps), limit)
            bounds_of_row = np.maximum(low[i], least), np.minimum(high[i], most)
            if _descend(integers[i], gradient, curvature, steps, *bounds_of_row, limit):
                change[i] = integers[i] * steps - kernel[i]
                for product, (_, b) in zip(products, terms, strict=True):
                    product[i] = change[i] @ b
    return integers


def damped(quadratic: Quadratic) -> Quadratic:
    """The loss with `DAMPING` on every moment's diagonal."""

    def raised(moment: np.ndarray) -> np.ndarray:
        return moment + np.float32(DAMPING * np.trace(moment) / len(moment)) * np.eye(len(moment), dtype=np.float32)

    return Quadratic(tuple((raised(a), raised(b)) for a, b in quadratic.terms))


def _descend(
    row: np.ndarray,
    gradient: np.ndarray,
    curvature: Sequence[tuple[np.ndarray, np.ndarray]],
    steps: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    limit: int,
) -> bool:
    """Change the integers of one row in place, one at a time, until no change gains; True where there was one.

    `gradient` [units] is half that of the loss by the row's real values; half its Hessian is the sum of factor · matrix
    [units, units] over `curvature`.
    """
    diagonal = sum((factor * np.diag(b) for factor, b in curvature), np.zeros_like(steps))
    bends, least = np.maximum(diagonal * steps, np.finfo(np.float32).tiny), LEAST_GAIN * diagonal * np.square(steps)
    moved = False
    for _ in range(2 * len(row)):
        room = _room(_exchanged(row), limit)
        wanted = np.rint(row - gradient / bends)
        change = (np.clip(wanted, np.maximum(low, room[0]), np.minimum(high, room[1])) - row) * steps
        gains = -change * (2 * gradient + diagonal * change) - least
        best = int(np.argmax(gains))
        if gains[best] <= 0:
            break
        row[best] += np.rint(change[best] / steps[best])
        gradient = gradient + sum((factor * change[best] * b[best] for factor, b in curvature), np.float32(0))
        moved = True
    return moved


def _room(neighbours: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest integer that the pair rule leaves beside these neighbours."""
    return np.maximum(-neighbours, 0) - limit, limit - np.maximum(neighbours, 0)


def _exchanged(row: np.ndarray) -> np.ndarray:
    """Each entry's neighbour in its pair; 0 for an odd last one."""
    swapped = np.zeros_like(row)
    swapped[1::2], swapped[: len(row) // 2 * 2 : 2] = row[: len(row) // 2 * 2 : 2], row[1::2]
    return swapped
