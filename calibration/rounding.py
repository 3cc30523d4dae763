"""Tie-aware rounding: one set of integers with the least second-order loss of encoder and decoder, without training.

Rounding to nearest ignores that the errors of weights in one sum may cancel (AdaRound, Nagel et al. 2020). Coordinate descent
minimizes the loss of both directions (`curvature.Quadratic`) instead: row by row of the kernel, by the single change with the
largest gain, until none gains.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tiedae.compress.curvature import Quadratic
from tiedae.compress.integers import UNPAIRED, Bounds, exceeding_pairs, within_pairs
from tiedae.compress.kernel import FACTOR_LEVELS, HEADROOMS

SWEEPS = 3
MAX_SHIFT = 1
"""Maximum distance from the nearest integer."""
MIN_GAIN = 1e-4
"""Minimum gain of a change, relative to the loss of one step of that weight alone: above float32's rounding."""
DAMPING = 0.1
"""Damping of each moment, as a fraction of its mean diagonal (GPTQ's `percdamp`)."""
CLIP_FRACTIONS = tuple(np.linspace(1.0, 0.3, 36))
"""Candidates for the real value of the largest integer, as fractions of the largest magnitude."""


def clipped_scales(
    kernel: np.ndarray, quadratic: Quadratic, bounds: Bounds, *, per_unit: bool, limit: int = UNPAIRED
) -> np.ndarray:
    """The scale with the least diagonal loss of rounding to nearest: float32 (), or [units] if `per_unit`.

    `kernel`: float32 [inputs, units]. `limit`: of the pair rule, for which all scales grow together. No scale is below what
    the decoder's factors can represent.
    """
    axis = 0 if per_unit else None
    diagonal = quadratic.diagonal()

    def losses(scales: np.ndarray, limit: int, axis: int | None) -> np.ndarray:
        return (diagonal * np.square(nearest(kernel, scales, bounds, limit) * scales - kernel)).sum(axis)

    largest = np.maximum(np.abs(kernel).max(axis), np.float32(1e-8))
    scales = np.stack([largest * np.float32(fraction / bounds[1]) for fraction in CLIP_FRACTIONS])
    clipped = np.stack([losses(each, UNPAIRED, axis) for each in scales])
    best = np.take_along_axis(scales, np.argmin(clipped, axis=0, keepdims=True), axis=0)[0]
    best = np.maximum(best, best.max() / np.float32(FACTOR_LEVELS))
    if not exceeding_pairs(nearest(kernel, best, bounds), limit):
        return best
    return min((np.float32(headroom) * best for headroom in HEADROOMS), key=lambda each: losses(each, limit, None))


def nearest(kernel: np.ndarray, scales: np.ndarray, bounds: Bounds, limit: int = UNPAIRED) -> np.ndarray:
    """`kernel` / `scales` rounded to nearest, float32 within `bounds` and the pair rule's `limit`."""
    return within_pairs(np.clip(np.rint(kernel / scales), *bounds).astype(np.float32), limit)


def rounded(
    kernel: np.ndarray, scales: np.ndarray, bounds: Bounds, quadratic: Quadratic, *, limit: int = UNPAIRED
) -> np.ndarray:
    """Integers for both directions of a tied kernel, float32 [inputs, units] within `bounds`; zeros stay zero.

    `scales`: float32 () or [units]; `limit`: of the pair rule, see `integers`. Each integer is within `MAX_SHIFT` of `nearest`,
    whose damped loss is an upper bound.
    """
    terms = damped(quadratic).terms
    steps = np.broadcast_to(scales, kernel.shape[1:]).astype(np.float32)
    integers = nearest(kernel, steps, bounds, limit)
    shift = np.where(kernel == 0, 0, MAX_SHIFT)
    low, high = np.maximum(integers - shift, bounds[0]), np.minimum(integers + shift, bounds[1])
    change = integers * steps - kernel
    products = [change @ b for _, b in terms]
    order = np.argsort(-np.diag(terms[0][0]), kind="stable")
    for _ in range(SWEEPS):
        for i in order:
            gradient = sum((a[i] @ product for (a, _), product in zip(terms, products, strict=True)), np.zeros_like(steps))
            curvature = [(a[i, i], b) for a, b in terms]
            minimum, maximum = _pair_bounds(integers[i ^ 1] if i ^ 1 < len(order) else np.zeros_like(steps), limit)
            bounds_of_row = np.maximum(low[i], minimum), np.minimum(high[i], maximum)
            if _descend(integers[i], gradient, curvature, steps, *bounds_of_row, limit):
                change[i] = integers[i] * steps - kernel[i]
                for product, (_, b) in zip(products, terms, strict=True):
                    product[i] = change[i] @ b
    return integers


def damped(quadratic: Quadratic) -> Quadratic:
    """The loss with `DAMPING` added to the diagonal of every moment."""

    def damp(moment: np.ndarray) -> np.ndarray:
        return moment + np.float32(DAMPING * np.trace(moment) / len(moment)) * np.eye(len(moment), dtype=np.float32)

    return Quadratic(tuple((damp(a), damp(b)) for a, b in quadratic.terms))


def _descend(
    row: np.ndarray,
    gradient: np.ndarray,
    curvature: Sequence[tuple[np.ndarray, np.ndarray]],
    steps: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    limit: int,
) -> bool:
    """Change the integers of one row in place, one at a time, while a change gains; returns whether any changed.

    `gradient` [units]: half the gradient of the loss by the row's real values; the sum of factor · matrix [units, units] over
    `curvature` is half its Hessian.
    """
    diagonal = sum((factor * np.diag(b) for factor, b in curvature), np.zeros_like(steps))
    slopes, min_gain = np.maximum(diagonal * steps, np.finfo(np.float32).tiny), MIN_GAIN * diagonal * np.square(steps)
    moved = False
    for _ in range(2 * len(row)):
        minimum, maximum = _pair_bounds(_pair_partners(row), limit)
        optimum = np.rint(row - gradient / slopes)
        change = (np.clip(optimum, np.maximum(low, minimum), np.minimum(high, maximum)) - row) * steps
        gains = -change * (2 * gradient + diagonal * change) - min_gain
        best = int(np.argmax(gains))
        if gains[best] <= 0:
            break
        row[best] += np.rint(change[best] / steps[best])
        gradient = gradient + sum((factor * change[best] * b[best] for factor, b in curvature), np.float32(0))
        moved = True
    return moved


def _pair_bounds(partners: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest integer that the pair rule allows beside these partners."""
    return np.maximum(-partners, 0) - limit, limit - np.maximum(partners, 0)


def _pair_partners(row: np.ndarray) -> np.ndarray:
    """Each entry's partner in its pair; 0 for an odd last entry."""
    swapped = np.zeros_like(row)
    swapped[1::2], swapped[: len(row) // 2 * 2 : 2] = row[: len(row) // 2 * 2 : 2], row[1::2]
    return swapped
