"""Finds the values of a kernel in an array of any integer type: in either axis order, packed, or without its zeros."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .c.kernels import packed, sparse_arrays

LEAST_CHANGES = 8
"""Neighbouring values that differ in a kernel at least; the values of another are not searched for: they agree by chance."""


def repeats(values: np.ndarray, kernel: np.ndarray, bits: int) -> bool:
    """Whether an integer array holds a kernel, int8 [inputs, units] of this many bits, somewhere in it.

    Values count modulo 256 and up to a constant, such as a zero point of 128; also the bytes of wider integers. In an array of
    the kernel's size they may be in any order.
    """
    flat = np.ascontiguousarray(values).ravel()
    views = [_bytes(flat)]
    if flat.dtype.itemsize > 1:
        views.append(flat.astype(flat.dtype.newbyteorder("<")).view(np.uint8))
    shuffled = flat.size == kernel.size and _changes(_bytes(kernel)) and _same_counts(views[0], _bytes(kernel))
    changes = [np.diff(form).tobytes() for form in _forms(kernel, bits) if form.size <= flat.nbytes and _changes(form)]
    return shuffled or any(needle in np.diff(view).tobytes() for needle in changes for view in views)


def _forms(kernel: np.ndarray, bits: int) -> Iterator[np.ndarray]:
    """The bytes that may hold a kernel."""
    for each in (kernel, kernel.T):
        yield _bytes(each)
        yield _bytes(sparse_arrays(each)["values"][:-1])
        if bits < 8:
            yield _bytes(packed(each, bits))


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).astype(np.uint8).ravel()


def _changes(values: np.ndarray) -> bool:
    return bool(np.count_nonzero(np.diff(values)) >= LEAST_CHANGES)


def _same_counts(values: np.ndarray, kernel: np.ndarray) -> bool:
    """Whether both hold each value equally often, with or without a zero point of 128."""
    counts, expected = np.bincount(values, minlength=256), np.bincount(kernel, minlength=256)
    return any(np.array_equal(np.roll(counts, zero_point), expected) for zero_point in (0, 128))
