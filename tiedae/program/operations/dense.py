"""Products with a tied kernel: whole layers (`Dense`), or a decoder layer in the split layout (`Product`, `AddBias`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tiedae.base.errors import ExportError
from tiedae.compress.affine import Quantization

from ..arithmetic import (
    FUNCTIONS,
    TIE,
    UNIT_ROUNDOFF,
    Interval,
    add_bias,
    add_parameters,
    clamp,
    outwards,
    product_multiplier,
    requantize,
    steps,
)
from ..tensors import Operands, Tensor
from .operation import Operation, WithConstant


@dataclass(frozen=True)
class Dense(Operation):
    """y = activation(x · W · gains + bias), or x · Wᵀ where `transposed`, over the last axis.

    Activations: linear, relu, relu6. `gains`: float32 and positive, of batch normalization; in an integer program they are
    factors on the kernel's scale, one per output, and the bias is in steps of that.
    """

    kernel: str
    transposed: bool
    bias: str | None
    activation: str
    gains: str | None = None

    constant_dtype: ClassVar[str] = "int32"

    def dtype_of(self, name: str) -> str:
        return "float32" if name == self.gains else self.constant_dtype

    def check(self, program: Operands) -> None:
        super().check(program)
        if self.gains is not None and not (program.constants[self.gains] > 0).all():
            least = program.constants[self.gains].min()
            raise ExportError(f"{self.gains}: the least gain is {least:g}, must be positive")

    def shapes(self, program: Operands) -> tuple[tuple[int, ...], tuple[int, ...]]:
        kernel = program.kernels[self.kernel]
        inputs, outputs = (kernel.units, kernel.inputs) if self.transposed else (kernel.inputs, kernel.units)
        rows = program.tensors[self.x].shape[:-1]
        return (*rows, inputs), (*rows, outputs)

    def multiply_adds(self, x: Tensor, y: Tensor) -> int:
        return x.size * y.shape[-1]

    def scales(self, program: Operands) -> np.ndarray:
        """The scales of the product in this direction, float32 [1] or [outputs]: the kernel's, times the gains."""
        kernel = program.kernels[self.kernel]
        scales = np.array(kernel.decode_scales if self.transposed else kernel.encode_scales, np.float32)
        return scales if self.gains is None or not scales.size else scales * program.constants[self.gains]

    def bias_scales(self, program: Operands) -> np.ndarray:
        """The scales of the int32 bias: scale of x · scales of the kernel."""
        return np.float32(program.quantization(self.x).scale) * self.scales(program)

    def matrix(self, program: Operands) -> np.ndarray:
        """The right operand of the product: the kernel or its transpose."""
        values = program.constants[self.kernel]
        return values.T if self.transposed else values

    def terms(self, program: Operands) -> int:
        """The most products that one output adds."""
        return len(self.matrix(program))

    def applied(self, program: Operands, x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """The linear map of x by a matrix of the shape of `matrix`."""
        return x @ matrix

    def sums(self, program: Operands, x: np.ndarray) -> np.ndarray:
        """The exact linear map in an integer program: `x` float32, integers of at most `LARGEST_STEPS` in magnitude."""
        return program.float_kernel(self.kernel).product(x, self.transposed)

    def integers(self, program: Operands, x: np.ndarray) -> np.ndarray:
        source, target = program.quantization(self.x), program.quantization(self.y)
        accumulator = self.sums(program, steps(x, source))
        if self.bias is not None:
            accumulator = add_bias(accumulator, program.constants[self.bias])
        multiplier = product_multiplier(source, self.scales(program), target)
        return requantize(accumulator, multiplier, target.zero_point, *clamp(self.activation, target))

    def bounds(self, program: Operands, low: np.ndarray, high: np.ndarray) -> Interval:
        """As of every operation; a sum of n products has errors of √n roundings beside `TIE` (Higham & Mary, "A new approach to
        probabilistic rounding error analysis", SIAM Journal on Scientific Computing 41, 2019)."""
        source, target = program.quantization(self.x), program.quantization(self.y)
        matrix, multiplier = self.matrix(program).astype(np.float64), product_multiplier(source, self.scales(program), target)
        ends = [q.astype(np.float64) - source.zero_point for q in (low, high)]
        middle, half = (ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 2
        bias = 0 if self.bias is None else program.constants[self.bias]
        magnitudes = np.abs(matrix)
        sums, spread = self.applied(program, middle, matrix) + bias, self.applied(program, half, magnitudes)
        terms = self.applied(program, np.abs(middle) + half, magnitudes) + np.abs(bias)
        slack = TIE + np.sqrt(self.terms(program)) * UNIT_ROUNDOFF * terms * multiplier
        least, most = clamp(self.activation, target)
        return outwards((sums - spread) * multiplier, (sums + spread) * multiplier, slack, target.zero_point, least, most)

    def reals(self, program: Operands, x: np.ndarray) -> np.ndarray:
        y = self.applied(program, x, self.matrix(program))
        if self.gains is not None:
            y = y * program.constants[self.gains]
        if self.bias is not None:
            y = y + program.constants[self.bias]
        return FUNCTIONS[self.activation].real(y).astype(np.float32)


@dataclass(frozen=True)
class Product(Operation):
    """y = x · Wᵀ, requantized: the first operation of a decoder layer in the split layout."""

    kernel: str

    def shapes(self, program: Operands) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.dense.shapes(program)

    @property
    def dense(self) -> Dense:
        return Dense(self.x, self.y, self.kernel, transposed=True, bias=None, activation="linear")

    def multiply_adds(self, x: Tensor, y: Tensor) -> int:
        return self.dense.multiply_adds(x, y)

    def integers(self, program: Operands, x: np.ndarray) -> np.ndarray:
        return self.dense.integers(program, x)

    def bounds(self, program: Operands, low: np.ndarray, high: np.ndarray) -> Interval:
        return self.dense.bounds(program, low, high)

    def reals(self, program: Operands, x: np.ndarray) -> np.ndarray:
        return self.dense.reals(program, x)


@dataclass(frozen=True)
class AddBias(WithConstant):
    """y = activation(x + bias): the second operation. `quantization` is that of the uint8 bias; None in a float program."""

    bias: str
    quantization: Quantization | None
    activation: str

    caption: ClassVar[str] = "Add bias"

    @property
    def constant(self) -> str:
        return self.bias

    def integers(self, program: Operands, x: np.ndarray) -> np.ndarray:
        source, target = program.quantization(self.x), program.quantization(self.y)
        assert self.quantization is not None
        x_multiplier, bias_multiplier, shift = add_parameters(source, self.quantization, target)
        bias = program.constants[self.bias].astype(np.int64) - self.quantization.zero_point
        rest = bias * bias_multiplier - source.zero_point * x_multiplier + (1 << (shift - 1))
        dtype = np.int32 if shift <= 31 else np.int64  # multipliers are at most 2²¹: 2 · 255 · 2²¹ + 2³⁰ < 2³¹
        total = x.astype(dtype)
        total *= x_multiplier
        total += rest.astype(dtype)
        total >>= shift
        total += target.zero_point
        return np.clip(total, *clamp(self.activation, target), out=total).astype(np.uint8)

    def exact(self, program: Operands, x: np.ndarray) -> np.ndarray:
        return x + self.real_constant(program)

    def saturation(self, program: Operands) -> tuple[int, int]:
        return clamp(self.activation, program.quantization(self.y))

    def reals(self, program: Operands, x: np.ndarray) -> np.ndarray:
        return FUNCTIONS[self.activation].real(x + program.constants[self.bias])
