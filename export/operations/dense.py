"""Products with a tied kernel: whole layers (`Dense`), or a decoder layer in the split layout (`Product`, `AddBias`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...compress.affine import Quantization
from ...compress.errors import ExportError
from ..c.text import literal
from .arithmetic import (
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
from .operation import Elementwise, Operation

if TYPE_CHECKING:
    from .operation import CBuilder, OnnxGraphBuilder, Program, TfliteGraphBuilder


@dataclass(frozen=True)
class Dense(Operation):
    """y = activation(x · W + bias), or x · Wᵀ where `transposed`. Activations: linear, relu, relu6."""

    kernel: str
    transposed: bool
    bias: str | None
    activation: str

    constant_dtype: ClassVar[str] = "int32"

    def shapes(self, program: Program) -> tuple[tuple[int, ...], tuple[int, ...]]:
        kernel = program.kernels[self.kernel]
        inputs, units = (kernel.inputs,), (kernel.units,)
        return (units, inputs) if self.transposed else (inputs, units)

    def scales(self, program: Program) -> np.ndarray:
        """The kernel's scales in this direction, float32 [1] or [units]."""
        kernel = program.kernels[self.kernel]
        return np.array(kernel.decode_scales if self.transposed else kernel.encode_scales, np.float32)

    def bias_scales(self, program: Program) -> np.ndarray:
        """The scales of the int32 bias: scale of x · scales of the kernel."""
        return np.float32(program.quantization(self.x).scale) * self.scales(program)

    def matrix(self, program: Program) -> np.ndarray:
        """The right operand of the product: the kernel or its transpose."""
        values = program.constants[self.kernel]
        return values.T if self.transposed else values

    def integers(self, program: Program, x: np.ndarray) -> np.ndarray:
        source, target = program.quantization(self.x), program.quantization(self.y)
        accumulator = program.float_kernels[self.kernel].product(steps(x, source), self.transposed)
        if self.bias is not None:
            accumulator = add_bias(accumulator, program.constants[self.bias])
        multiplier = product_multiplier(source, self.scales(program), target)
        return requantize(accumulator, multiplier, target.zero_point, *clamp(self.activation, target))

    def bounds(self, program: Program, low: np.ndarray, high: np.ndarray) -> Interval:
        """As of every operation; a sum of n products has errors of √n roundings beside `TIE` (Higham & Mary, "A new approach to
        probabilistic rounding error analysis", SIAM Journal on Scientific Computing 41, 2019)."""
        source, target = program.quantization(self.x), program.quantization(self.y)
        matrix, multiplier = self.matrix(program).astype(np.float64), product_multiplier(source, self.scales(program), target)
        ends = [q.astype(np.float64) - source.zero_point for q in (low, high)]
        middle, half = (ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 2
        bias = 0 if self.bias is None else program.constants[self.bias]
        sums, spread = middle @ matrix + bias, half @ np.abs(matrix)
        terms = (np.abs(middle) + half) @ np.abs(matrix) + np.abs(bias)
        slack = TIE + np.sqrt(len(matrix)) * UNIT_ROUNDOFF * terms * multiplier
        least, most = clamp(self.activation, target)
        return outwards((sums - spread) * multiplier, (sums + spread) * multiplier, slack, target.zero_point, least, most)

    def reals(self, program: Program, x: np.ndarray) -> np.ndarray:
        y = x @ self.matrix(program)
        if self.bias is not None:
            y = y + program.constants[self.bias]
        return FUNCTIONS[self.activation].real(y).astype(np.float32)

    def to_tflite(self, graph: TfliteGraphBuilder) -> None:
        program = graph.program
        if self.transposed:
            right = "TFLite needs the decoder in the split layout (Product and AddBias)"
            raise ExportError(f"{self.y}: {right}, got a transposed Dense")
        inputs = [graph.inner(self.x), graph.kernel(self.kernel, self.kernel, self.scales(program))]
        bias = -1
        if self.bias is not None:
            scales = self.bias_scales(program) if program.quantized else ()
            bias = graph.constant(self.bias, program.constants[self.bias], scales)
        version = 1 if not program.quantized else 10 if graph.is_packed(inputs[1]) else 4
        output = graph.unclamped(self.y)
        graph.add("FULLY_CONNECTED", version, [*inputs, bias], output, self.activation)
        if output != graph.inner(self.y):
            graph.add("QUANTIZE", 1, [output], graph.inner(self.y))

    def to_c(self, graph: CBuilder) -> None:
        graph.product(self)

    def to_onnx(self, graph: OnnxGraphBuilder) -> None:
        if graph.program.quantized:
            self._quantized_onnx(graph)
            return
        operands = [graph.inner(self.x), graph.kernel(self.kernel)]
        if self.bias is not None:
            operands.append(graph.constant(self.bias, graph.program.constants[self.bias], np.float32))
        linear, y = self.activation == "linear", graph.inner(self.y)
        total = graph.node("Gemm", operands, y if linear else f"{self.y}.sum", transB=int(not self.transposed))
        if not linear:
            graph.function(self.activation, total, y)

    def _quantized_onnx(self, graph: OnnxGraphBuilder) -> None:
        program, scales, units = graph.program, self.scales(graph.program), self.bias_scales(graph.program)
        suffix, axis = ".unit", {"axis": 0}
        if len(scales) == 1:
            scales, units, suffix, axis = scales[0], units[0], "", {}
        zero = np.full_like(scales, graph.zero_point(self.kernel))
        inputs = [graph.kernel(self.kernel)]
        inputs += graph.affine(f"{self.kernel}{suffix}", scales, zero, np.uint8 if zero.any() else np.int8)
        operands = [graph.dequantize(self.x), graph.node("DequantizeLinear", inputs, f"{self.y}.kernel", **axis)]
        if self.bias is not None:
            bias = graph.constant(self.bias, program.constants[self.bias], np.int32)
            unit = graph.constant(f"{bias}.scale", units, np.float32)
            operands.append(graph.node("DequantizeLinear", [bias, unit], f"{bias}.real", **axis))
        real = graph.node("Gemm", operands, f"{self.y}.sum", transB=int(not self.transposed))
        low, high = clamp(self.activation, program.quantization(self.y))
        if (low, high) == (0, 255):
            graph.quantize(real, self.y)
            return
        bounds = [graph.constant(f"{self.y}.{bound}", value, np.uint8) for bound, value in (("low", low), ("high", high))]
        free = graph.quantize(real, self.y, f"{self.y}.free")
        graph.node("Clip", [free, *bounds], graph.inner(self.y))


@dataclass(frozen=True)
class Product(Operation):
    """y = x · Wᵀ, requantized: the first operation of a decoder layer in the split layout."""

    kernel: str

    def shapes(self, program: Program) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.dense.shapes(program)

    @property
    def dense(self) -> Dense:
        return Dense(self.x, self.y, self.kernel, transposed=True, bias=None, activation="linear")

    def integers(self, program: Program, x: np.ndarray) -> np.ndarray:
        return self.dense.integers(program, x)

    def bounds(self, program: Program, low: np.ndarray, high: np.ndarray) -> Interval:
        return self.dense.bounds(program, low, high)

    def reals(self, program: Program, x: np.ndarray) -> np.ndarray:
        return self.dense.reals(program, x)

    def to_tflite(self, graph: TfliteGraphBuilder) -> None:
        right = graph.kernel(self.kernel, f"{self.kernel}.decode", self.dense.scales(graph.program))
        if graph.is_packed(right):
            right = graph.unpacked(right)
        graph.add("BATCH_MATMUL", graph.version, [graph.inner(self.x), right], graph.inner(self.y))

    def to_c(self, graph: CBuilder) -> None:
        graph.product(self.dense)


@dataclass(frozen=True)
class AddBias(Elementwise):
    """y = activation(x + bias): the second operation. `quantization` is that of the uint8 bias; None in a float program."""

    bias: str
    quantization: Quantization | None
    activation: str

    caption: ClassVar[str] = "Add bias"

    def check(self, program: Program) -> None:
        super().check(program)
        if (self.quantization is None) == program.quantized:
            right = "a quantization in an integer program, none in a float program"
            raise ExportError(f"{self.bias}: got {self.quantization}, must have {right}")

    def integers(self, program: Program, x: np.ndarray) -> np.ndarray:
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

    def exact(self, program: Program, x: np.ndarray) -> np.ndarray:
        assert self.quantization is not None
        bias = program.constants[self.bias].astype(np.float64) - self.quantization.zero_point
        return x + bias * self.quantization.scale

    def saturation(self, program: Program) -> tuple[int, int]:
        return clamp(self.activation, program.quantization(self.y))

    def reals(self, program: Program, x: np.ndarray) -> np.ndarray:
        return FUNCTIONS[self.activation].real(x + program.constants[self.bias])

    def to_tflite(self, graph: TfliteGraphBuilder) -> None:
        bias = graph.operand(self.bias, self.quantization)
        graph.add("ADD", graph.version, [graph.inner(self.x), bias], graph.inner(self.y), self.activation)

    def to_c(self, graph: CBuilder) -> None:
        source, target = graph.program.quantization(self.x), graph.program.quantization(self.y)
        assert self.quantization is not None
        x_multiplier, bias_multiplier, shift = add_parameters(source, self.quantization, target)
        low, high = clamp(self.activation, target)
        rest = (target.zero_point - low << shift) + (1 << shift - 1) - source.zero_point * x_multiplier
        rest -= self.quantization.zero_point * bias_multiplier
        if abs(rest) >= 1 << 62:
            raise ExportError(f"{self.y}: its scale is too far from those of {self.x} and {self.bias} for sums of 64 bits")
        bias, count = graph.constant(self.bias, graph.program.constants[self.bias]), graph.program.tensors[self.x].shape[0]
        body = [
            "size_t j;",
            f"for (j = 0; j < {count}; j++) {{",
            f"  int64_t t = (int64_t)x[j] * {x_multiplier} + (int64_t){bias}[j] * {bias_multiplier} + {literal(rest, 64)};",
            "  t = t < 0 ? 0 : t;",
            f"  t = (int64_t)((uint64_t)t >> {shift});",
            f"  y[j] = (uint8_t)({low} + (t < {high - low} ? t : {high - low}));",
            "}",
        ]
        graph.step(self, f"{self.x} to {self.y}: plus {self.bias}, {self.activation}", body, in_place=True)
