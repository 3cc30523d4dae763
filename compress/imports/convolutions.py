"""Layers of chains over signals and images, channels last: convolutions and their transposes, max pooling and
upsampling; and a transpose of axes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from tiedae.base.windows import Lengths, Window
from tiedae.config.layer_kinds import Shape

from .chain import ChainArray, ChainLayer, ChainProduct

NO_WINDOW = Window((), ())


@dataclass(frozen=True)
class ChainConvolution(ChainProduct):
    """A convolution, or where it is `transposed` the transpose of one, over one kernel [*window, channels, filters].

    As a product of the rows under its window, its kernel is the matrix [window · channels, filters], or that transposed.
    `lengths`: of the axes on the side of the channels, which the transpose gives.
    """

    window: Window = NO_WINDOW
    lengths: Lengths = ()

    @property
    def channels(self) -> int:
        return self.kernel.shape[-2] if self.transposed else self.kernel.shape[-1]

    def mirrors(self, other: ChainProduct) -> bool:
        return super().mirrors(other) and isinstance(other, ChainConvolution) and self.window == other.window

    def output(self, shape: Shape) -> Shape:
        return (*(self.lengths if self.transposed else self.window.places(self.lengths)), self.channels)

    def multiplied(self, x: np.ndarray) -> np.ndarray:
        matrix = self.matrix().astype(np.float64)
        if self.transposed:
            return self.window.added(x @ matrix, self.lengths)
        return np.concatenate([self.window.rows(sample[None]) @ matrix for sample in x])  # rows are large


def as_transpose(product: ChainProduct) -> ChainProduct:
    """A convolution as the transposed one that it is, over its kernel reversed; itself where it is none.

    Without strides, and with as many zeros before a sample as behind it, a convolution is the transpose of one over the kernel
    in reverse order, channels and filters exchanged.
    """
    if not isinstance(product, ChainConvolution) or product.transposed or product.window.padding != "same":
        return product
    if any(stride != 1 or size % 2 == 0 for stride, size in zip(product.window.strides, product.window.sizes, strict=True)):
        return product
    axes, kernel = tuple(range(len(product.lengths))), product.kernel
    shape = (*kernel.shape[:-2], kernel.shape[-1], kernel.shape[-2])
    read = lambda: np.flip(kernel.read(), axes).swapaxes(-1, -2)  # noqa: E731
    reverse = ChainArray(f"{kernel.variable} reversed", shape, read, kernel.dtype)
    return replace(product, kernel=reverse, transposed=True)


@dataclass(frozen=True)
class ChainTranspose(ChainLayer):
    """The axes of a sample in another order, as channels first has them. `order`: the axis that each was."""

    order: tuple[int, ...]

    def output(self, shape: Shape) -> Shape:
        return tuple(shape[axis] for axis in self.order)

    def apply(self, x: np.ndarray) -> np.ndarray:
        return x.transpose(0, *(axis + 1 for axis in self.order))


@dataclass(frozen=True)
class ChainPool(ChainLayer):
    """The largest value of each window, windows side by side."""

    window: Window

    def output(self, shape: Shape) -> Shape:
        return (*self.window.places(shape[:-1]), shape[-1])

    def apply(self, x: np.ndarray) -> np.ndarray:
        padded = np.pad(x, ((0, 0), *self.window.pads(x.shape[1:-1]), (0, 0)), constant_values=-np.inf)
        rows = replace(self.window, padding="valid").rows(padded)
        return rows.reshape(*rows.shape[:-1], math.prod(self.window.sizes), x.shape[-1]).max(-2)


@dataclass(frozen=True)
class ChainUpsample(ChainLayer):
    """Each value as often as `sizes` say along each axis."""

    sizes: Lengths

    def output(self, shape: Shape) -> Shape:
        return (*(count * size for count, size in zip(shape[:-1], self.sizes, strict=True)), shape[-1])

    def apply(self, x: np.ndarray) -> np.ndarray:
        for axis, size in enumerate(self.sizes, 1):
            x = x.repeat(size, axis)
        return x
