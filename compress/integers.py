"""Which integers a kernel may hold.

The pair rule. x86-64 processors without VNNI multiply uint8 activations by int8 weights with `vpmaddubsw`, which adds the
products of neighbours along the sum, (0, 1), (2, 3) and so on, in int16 and saturates. 255 · 128 = 32,640 still fits. So a
kernel is exact there if in each pair the positive parts, and the negative parts, add to at most 128. Encoder and decoder sum
along different axes of one kernel: both have to obey. The last row or column of an odd number has no neighbour. Integers of 7
bits or fewer obey by their range.
"""

from __future__ import annotations

import numpy as np

Bounds = tuple[int, int]
"""The least and the largest integer."""

PAIR_LIMIT = 128
"""The largest sum of two neighbours of one sign."""
UNPAIRED = 254
"""A limit that no pair of int8 integers in −127…127 exceeds: the rule is off."""


def kernel_bounds(bits: int) -> Bounds:
    """−127…127 at 8 bits, as TFLite asks of int8 kernels; with fewer, where the last value counts, all: −8…7 at 4."""
    largest = 2 ** (bits - 1) - 1
    return (-largest if bits == 8 else -largest - 1), largest


def neighbours(kernel: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Views of the first and of the second entries of each pair of a kernel [inputs, units] along an axis."""
    along = kernel if axis == 0 else kernel.T
    return along[0 : len(along) // 2 * 2 : 2], along[1::2]


def exceeding_pairs(integers: np.ndarray, limit: int = PAIR_LIMIT) -> int:
    """How many pairs of a kernel [inputs, units] break the rule, along both axes together.

    Neighbours of opposite signs never do: their sum is smaller than either.
    """
    pairs = (neighbours(integers.astype(np.int16), axis) for axis in (0, 1))
    return sum(int(np.count_nonzero(np.abs(first + second) > limit)) for first, second in pairs)


def within_pairs(integers: np.ndarray, limit: int = PAIR_LIMIT) -> np.ndarray:
    """The kernel [inputs, units] with both neighbours of each pair that breaks the rule moved towards zero, by half of what is
    too much; the same dtype. Magnitudes only fall, so one pass along each axis is enough, and zeros stay."""
    held = integers.astype(np.float32)
    for axis in (0, 1):
        first, second = neighbours(held, axis)
        total = first + second
        excess = total - np.clip(total, -limit, limit)
        half = np.rint(excess / 2)
        first -= excess - half
        second -= half
    return held.astype(integers.dtype)
