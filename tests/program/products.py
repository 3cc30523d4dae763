"""Prints the sha256 of products and of their requantized bytes, so that a test can compare processes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from tiedae.program.arithmetic import FloatKernel, requantize

SHAPES = ((784, 512), (1500, 300), (512, 784))


def operands() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """int8 kernels whose first columns sum to the most, and inputs as int64 steps from a zero point of 3."""
    rng = np.random.default_rng(0)
    for terms, units in SHAPES:
        kernel, x = rng.integers(-127, 128, (terms, units)), rng.integers(0, 256, (256, terms)) - 3
        kernel[:, :9] = 127
        yield kernel.astype(np.int8), x


def digest(products: Iterable[np.ndarray], rounding: Callable[..., np.ndarray]) -> str:
    found = hashlib.sha256()
    for each in products:
        found.update(each.astype(np.int64).tobytes())
        found.update(rounding(each, np.float32(1e-5), 3, 0, 255).tobytes())
    return found.hexdigest()


if __name__ == "__main__":
    exact = (FloatKernel.of(kernel).product(x.astype(np.float32), False) for kernel, x in operands())
    print(digest(exact, requantize))
