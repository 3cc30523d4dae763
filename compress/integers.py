"""Which integers a kernel may hold."""

from __future__ import annotations

Bounds = tuple[int, int]
"""The least and the largest integer."""


def kernel_bounds(bits: int) -> Bounds:
    """−127…127 at 8 bits, as TFLite asks of int8 kernels; with fewer, where the last value counts, all: −8…7 at 4."""
    largest = 2 ** (bits - 1) - 1
    return (-largest if bits == 8 else -largest - 1), largest
