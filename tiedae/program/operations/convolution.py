"""Convolution and its transpose over one kernel, and operations that only move values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tiedae.base.errors import ExportError
from tiedae.base.windows import Lengths, Padding, Window

from ..tensors import Operands, Tensor
from .dense import Dense
from .operation import Operation


@dataclass(frozen=True)
class Convolution(Dense):
    """y = activation(x ∗ W · gains + bias), or with the transposed convolution where `transposed`.

    The kernel, [sizes · channels, units], is the matrix [*sizes, channels, units] of `tf.nn.convolution`, of which the
    transposed convolution is the gradient. The encoder's side is [*lengths, channels], the code's side [*places, units].
    Padding adds zeros, the zero point of x. Where windows tile a sample a program has `Patches`, `Dense` and `Unpatch` instead.
    """

    sizes: Lengths = ()
    strides: Lengths = ()
    padding: Padding = "valid"

    caption: ClassVar[str] = "Convolution"

    @property
    def window(self) -> Window:
        return Window(self.sizes, self.strides, self.padding)

    def shapes(self, program: Operands) -> tuple[tuple[int, ...], tuple[int, ...]]:
        kernel, window = program.kernels[self.kernel], self.window
        whole = program.tensors[self.y if self.transposed else self.x].shape
        _require_axes(self, whole, len(self.sizes), len(self.strides))
        if kernel.inputs % math.prod(self.sizes) or 0 in window.places(whole[:-1]):
            raise ExportError(f"{self.y}: a window of {self.sizes} does not fit {whole} and {kernel.inputs} inputs")
        outer = (*whole[:-1], kernel.inputs // math.prod(self.sizes))
        inner = (*window.places(whole[:-1]), kernel.units)
        return (inner, outer) if self.transposed else (outer, inner)

    def multiply_adds(self, x: Tensor, y: Tensor) -> int:
        inner, outer = (x, y) if self.transposed else (y, x)
        return inner.size * math.prod(self.sizes) * outer.shape[-1]

    def terms(self, program: Operands) -> int:
        kernel = program.kernels[self.kernel]
        return kernel.units * self.window.overlap if self.transposed else kernel.inputs

    def applied(self, program: Operands, x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        if not self.transposed:
            return self.window.rows(x) @ matrix
        return self.window.added(x @ matrix, program.tensors[self.y].shape[:-1])

    def sums(self, program: Operands, x: np.ndarray) -> np.ndarray:
        kernel = program.float_kernel(self.kernel)
        if not self.transposed:
            return kernel.product(self.window.rows(x), False)
        parts = kernel.product(x, True, added=self.window.overlap)
        return self.window.added(parts, program.tensors[self.y].shape[:-1])


@dataclass(frozen=True)
class Moving(Operation):
    """An operation that rounds nothing: x and y have one quantization."""

    def check(self, program: Operands) -> None:
        super().check(program)
        x, y = program.tensors[self.x], program.tensors[self.y]
        if x.quantization != y.quantization:
            raise ExportError(f"{y.name}: its quantization must be that of {x.name}")

    def integers(self, program: Operands, x: np.ndarray) -> np.ndarray:
        return self.moved(program, x)

    def reals(self, program: Operands, x: np.ndarray) -> np.ndarray:
        return self.moved(program, x)

    def moved(self, program: Operands, x: np.ndarray) -> np.ndarray:
        """Values of any dtype, [batch, *shape of x] → [batch, *shape of y]."""
        raise NotImplementedError


@dataclass(frozen=True)
class Reshape(Moving):
    """y = x in another shape, channels last: a feature map as one row, and back."""

    def check(self, program: Operands) -> None:
        super().check(program)
        x, y = program.tensors[self.x], program.tensors[self.y]
        if x.size != y.size:
            raise ExportError(f"{y.name}: {y.shape} has {y.size} values, must have the {x.size} of {x.name}")

    def moved(self, program: Operands, x: np.ndarray) -> np.ndarray:
        return program.tensors[self.y].shaped(x)


@dataclass(frozen=True)
class Windowed(Moving):
    """A moving operation over windows of `sizes`, side by side, which divide the lengths of the larger side."""

    sizes: Lengths

    @property
    def window(self) -> Window:
        return Window(self.sizes, self.sizes)

    def divided(self, program: Operands, name: str) -> tuple[tuple[int, ...], Lengths]:
        """The shape of the larger side, and the windows on each axis."""
        shape = program.tensors[name].shape
        _require_axes(self, shape, len(self.sizes))
        if not self.window.tiles(shape[:-1]):
            raise ExportError(f"{self.y}: windows of {self.sizes} must divide the axes of {name}, {shape}")
        return shape, self.window.places(shape[:-1])


@dataclass(frozen=True)
class Patches(Windowed):
    """[*lengths, channels] as its windows, [*places, size · channels]."""

    caption: ClassVar[str] = "Patches, {sizes}"

    def shapes(self, program: Operands) -> tuple[tuple[int, ...], tuple[int, ...]]:
        shape, places = self.divided(program, self.x)
        return shape, (*places, math.prod(self.sizes) * shape[-1])

    def moved(self, program: Operands, x: np.ndarray) -> np.ndarray:
        return self.window.rows(x)


@dataclass(frozen=True)
class Unpatch(Windowed):
    """The inverse of `Patches`."""

    caption: ClassVar[str] = "Patches back, {sizes}"

    def shapes(self, program: Operands) -> tuple[tuple[int, ...], tuple[int, ...]]:
        shape, places = self.divided(program, self.y)
        return (*places, math.prod(self.sizes) * shape[-1]), shape

    def moved(self, program: Operands, x: np.ndarray) -> np.ndarray:
        return self.window.added(x, program.tensors[self.y].shape[:-1])


@dataclass(frozen=True)
class MaxPool(Windowed):
    """The largest value of each window and channel."""

    caption: ClassVar[str] = "Max pooling, {sizes}"

    def shapes(self, program: Operands) -> tuple[tuple[int, ...], tuple[int, ...]]:
        shape, places = self.divided(program, self.x)
        return shape, (*places, shape[-1])

    def moved(self, program: Operands, x: np.ndarray) -> np.ndarray:
        rows = self.window.rows(x)
        return rows.reshape(*rows.shape[:-1], math.prod(self.sizes), x.shape[-1]).max(-2)


@dataclass(frozen=True)
class Upsample(Windowed):
    """Each value as often as `sizes` say: nearest neighbours, what mirrors `MaxPool`."""

    caption: ClassVar[str] = "Upsample, {sizes}"

    def shapes(self, program: Operands) -> tuple[tuple[int, ...], tuple[int, ...]]:
        shape, places = self.divided(program, self.y)
        return (*places, shape[-1]), shape

    def moved(self, program: Operands, x: np.ndarray) -> np.ndarray:
        for axis, count in enumerate(self.sizes, 1):
            x = np.repeat(x, count, axis)
        return x


def _require_axes(operation: Operation, shape: tuple[int, ...], *counts: int) -> None:
    if any(count != len(shape) - 1 or count not in (1, 2) for count in counts):
        raise ExportError(
            f"{operation.y}: windows over one or two axes, as many as {shape} has before its channels, got {counts}"
        )
