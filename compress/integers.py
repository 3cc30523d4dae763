"""The integers that a quantized kernel may hold, and the pair rule.

x86-64 processors without VNNI multiply uint8 activations by int8 weights with `vpmaddubsw`, which adds the products of
neighbours along the sum, (0, 1), (2, 3) and so on, in int16 with saturation. 255 · 128 = 32,640 still fits, so the product is
exact if in each pair the positive parts, and the negative parts, sum to at most 128. Encoder and decoder sum along different
axes of one kernel, so the rule applies to both. An odd last row or column has no neighbour. Integers of 7 bits or fewer
always comply.
"""

from __future__ import annotations

import numpy as np

Bounds = tuple[int, int]
"""(smallest, largest) integer."""

PAIR_LIMIT = 128
"""Maximum magnitude of the sum of two neighbours of one sign."""
UNPAIRED = 254
"""Disables the rule: no pair of integers in −127…127 exceeds it."""


def kernel_bounds(bits: int) -> Bounds:
    """−127…127 at 8 bits, as TFLite requires of int8 kernels; the full range at fewer bits, such as −8…7 at 4."""
    largest = 2 ** (bits - 1) - 1
    return (-largest if bits == 8 else -largest - 1), largest


def neighbours(kernel: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Views of the first and of the second entry of each pair of a kernel [inputs, units] along an axis."""
    along = kernel if axis == 0 else kernel.T
    return along[0 : len(along) // 2 * 2 : 2], along[1::2]


def exceeding_pairs(integers: np.ndarray, limit: int = PAIR_LIMIT) -> int:
    """The number of pairs of a kernel [inputs, units] over the limit, along both axes; opposite signs never exceed it."""
    pairs = (neighbours(integers.astype(np.int16), axis) for axis in (0, 1))
    return sum(int(np.count_nonzero(np.abs(first + second) > limit)) for first, second in pairs)


def paired_magnitudes(kernel: np.ndarray, fraction: float) -> np.ndarray:
    """The magnitudes of a float kernel [inputs, units], same dtype, where the larger of each pair is at least `fraction` of the
    magnitude of their sum: both are multiplied by one factor of at least 1."""
    factors = np.ones(kernel.shape, np.float32)
    for axis in (0, 1):
        pair = neighbours(kernel, axis)
        larger = np.maximum(*np.abs(pair))
        factor = fraction * np.abs(pair[0] + pair[1]) / np.where(larger > 0, larger, 1)
        for each in neighbours(factors, axis):
            np.maximum(each, factor, out=each, casting="same_kind")
    return np.abs(kernel) * factors


def within_pairs(integers: np.ndarray, limit: int = PAIR_LIMIT) -> np.ndarray:
    """The kernel [inputs, units] under the pair rule, same dtype: both integers of a pair over the limit move towards zero by
    half of the excess. Magnitudes only fall, so zeros stay and one pass per axis suffices."""
    moved = integers.astype(np.float32)
    for axis in (0, 1):
        first, second = neighbours(moved, axis)
        total = first + second
        excess = total - np.clip(total, -limit, limit)
        half = np.rint(excess / 2)
        first -= excess - half
        second -= half
    return moved.astype(integers.dtype)
