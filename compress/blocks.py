"""Blocks of large arrays: measured one by one they stay in the cache, and no second array of that size is made."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

VALUES = 1 << 16
TENSOR_VALUES = 1 << 22
"""Values of the widest tensor that a batch of samples makes in a net, at most."""


def blocks(values: np.ndarray) -> Iterator[slice]:
    """Neighbouring rows of an array of at least one axis, one at least and about `VALUES` values each, in order."""
    step = max(1, VALUES * len(values) // max(1, values.size))
    return (slice(start, start + step) for start in range(0, len(values), step))
