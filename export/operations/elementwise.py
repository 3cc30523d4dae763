"""Elementwise operations: factors per unit, activations, requantization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...compress.affine import Quantization
from ...compress.errors import ExportError
from .arithmetic import FUNCTIONS, activation_table, product_multiplier, requantize, steps
from .operation import Elementwise

if TYPE_CHECKING:
    from .operation import CBuilder, OnnxGraphBuilder, Program, TfliteGraphBuilder


@dataclass(frozen=True)
class Rescale(Elementwise):
    """y = x · factors, one uint8 factor per unit: s_j / max(s) before a decoder product with a scale per unit."""

    integer_only: ClassVar[bool] = True
    factors: str
    quantization: Quantization

    def integers(self, program: Program, x: np.ndarray) -> np.ndarray:
        source, target = program.quantization(self.x), program.quantization(self.y)
        product = steps(x, source) * steps(program.constants[self.factors], self.quantization)  # exact: at most 255²
        multiplier = product_multiplier(source, self.quantization.scale, target)
        return requantize(product, multiplier, target.zero_point, 0, target.top)

    def exact(self, program: Program, x: np.ndarray) -> np.ndarray:
        return x * (program.constants[self.factors].astype(np.float64) - self.quantization.zero_point) * self.quantization.scale

    def to_c(self, graph: CBuilder) -> None:
        source, target = graph.program.quantization(self.x), graph.program.quantization(self.y)
        factors = graph.program.constants[self.factors]
        ends = np.outer(
            (-source.zero_point, source.top - source.zero_point), factors.astype(np.int64) - self.quantization.zero_point
        )
        multiplier = product_multiplier(source, self.quantization.scale, target)
        reach = np.array([ends.min()]), np.array([ends.max()])
        rounding = graph.rounding(self, *reach, multiplier, (0, target.top))
        name, count = graph.constant(self.factors, factors), graph.program.tensors[self.x].shape[0]
        factor = f"((int32_t){name}[j] - {self.quantization.zero_point})"
        product = f"((int32_t)x[j] - {source.zero_point}) * {factor}"
        lines = graph.rounded(self, rounding, count, product)
        graph.step(self, f"{self.x} to {self.y}: times factors per unit", ["size_t j;", *lines], in_place=True)

    def to_tflite(self, graph: TfliteGraphBuilder) -> None:
        source, target = graph.program.quantization(self.x), graph.program.quantization(self.y)
        factors = graph.operand(self.factors, self.quantization)
        version = 3 if source.scale * self.quantization.scale / target.scale >= 1 else 2
        graph.add("MUL", version, [graph.inner(self.x), factors], graph.inner(self.y))

    def to_onnx(self, graph: OnnxGraphBuilder) -> None:
        name, quantization = self.factors, self.quantization
        inputs = [graph.constant(name, graph.program.constants[name], np.uint8)]
        inputs += graph.affine(name, quantization.scale, quantization.zero_point)
        factors = graph.node("DequantizeLinear", inputs, f"{name}.real")
        graph.quantize(graph.node("Mul", [graph.dequantize(self.x), factors], f"{self.y}.product"), self.y)


@dataclass(frozen=True)
class Activate(Elementwise):
    """y = function(x), elementwise: sigmoid or tanh (a table of 256 entries in an integer program), relu or relu6."""

    function: str

    caption: ClassVar[str] = "{function}"

    def integers(self, program: Program, x: np.ndarray) -> np.ndarray:
        return activation_table(self.function, program.quantization(self.x), program.quantization(self.y)).take(x)

    def exact(self, program: Program, x: np.ndarray) -> np.ndarray:
        return FUNCTIONS[self.function].real(x)

    def reals(self, program: Program, x: np.ndarray) -> np.ndarray:
        return FUNCTIONS[self.function].real(x).astype(np.float32)

    def to_c(self, graph: CBuilder) -> None:
        graph.table(self, self.function)

    def to_tflite(self, graph: TfliteGraphBuilder) -> None:
        function, tensors = FUNCTIONS[self.function], graph.program.tensors
        target = tensors[self.y].quantization
        if target is not None and function.output is not None and target != function.output:
            raise ExportError(f"{self.y}: TFLite fixes the output of {self.function} to {function.output}, got {target}")
        source = tensors[self.x].quantization
        if source is not None and function.fused:
            # XNNPACK does not support int8 RELU alone, only fused into ADD
            zero = graph.constant(f"{self.x}.zero", np.zeros(1, np.int8), [source.scale])
            graph.add("ADD", graph.version, [graph.inner(self.x), zero], graph.inner(self.y), self.function)
        else:
            graph.add(function.tflite, graph.version, [graph.inner(self.x)], graph.inner(self.y))

    def to_onnx(self, graph: OnnxGraphBuilder) -> None:
        if graph.program.quantized:
            graph.quantize(graph.function(self.function, graph.dequantize(self.x), f"{self.y}.function"), self.y)
        else:
            graph.function(self.function, graph.inner(self.x), graph.inner(self.y))


@dataclass(frozen=True)
class Requantize(Elementwise):
    """y = x in another quantization."""

    integer_only: ClassVar[bool] = True

    def integers(self, program: Program, x: np.ndarray) -> np.ndarray:
        source, target = program.quantization(self.x), program.quantization(self.y)
        multiplier = np.float32(source.scale) / np.float32(target.scale)
        return requantize(steps(x, source), multiplier, target.zero_point, 0, target.top)

    def exact(self, program: Program, x: np.ndarray) -> np.ndarray:
        return x

    def to_c(self, graph: CBuilder) -> None:
        graph.table(self, "in another quantization")

    def to_tflite(self, graph: TfliteGraphBuilder) -> None:
        graph.add("QUANTIZE", 1, [graph.inner(self.x)], graph.requantized(self.y))

    def to_onnx(self, graph: OnnxGraphBuilder) -> None:
        graph.quantize(graph.dequantize(self.x), self.y)
