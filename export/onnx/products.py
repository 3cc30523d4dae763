"""Products with a kernel as nodes: Gemm, Conv, and ConvTranspose of floats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tiedae.program.arithmetic import clamp
from tiedae.program.operations import Dense

from ..packing import DECODER
from .builder import OnnxGraphBuilder


def write_product(graph: OnnxGraphBuilder, operation: Dense, x: str, output: str, kind: str, **attributes: Any) -> None:
    """Append activation(x · W · gains + bias) by a node of `kind`, for the tensors `x` and `output` of the file."""
    write = _quantized if graph.program.quantized else _float
    write(graph, operation, x, output, kind, attributes)


def _float(graph: OnnxGraphBuilder, operation: Dense, x: str, y: str, kind: str, attributes: dict[str, Any]) -> None:
    operands = [x, graph.kernel(operation.kernel)]
    constants = [
        graph.constant(name, graph.program.constants[name], np.float32)
        for name in (operation.gains, operation.bias)
        if name is not None
    ]
    linear = operation.activation == "linear"
    affine = y if linear else f"{operation.y}.sum"
    if operation.gains is None:
        total = graph.node(kind, [*operands, *constants], affine, **attributes)
    else:
        vectors = constants if kind == "Gemm" else [graph.per_plane(operation.y, each) for each in constants]
        names = [*(f"{operation.y}.{part}" for part in ("product", "gained")[: len(vectors)]), affine]
        total = graph.node(kind, operands, names[0], **attributes)
        for step, vector, name in zip(("Mul", "Add"), vectors, names[1:], strict=False):
            total = graph.node(step, [total, vector], name)
    if not linear:
        graph.function(operation.activation, total, y)


def _quantized(graph: OnnxGraphBuilder, operation: Dense, x: str, output: str, kind: str, attributes: dict[str, Any]) -> None:
    program, y = graph.program, operation.y
    label, scales = kernel_scales(graph, operation)
    units, axis, bias_axis = operation.bias_scales(program), {"axis": int(operation.transposed)}, {"axis": 0}
    if len(units) == 1:
        units, axis, bias_axis = units[0], {}, {}
    weights = [graph.kernel(operation.kernel), graph.constant(f"{label}.scale", scales, np.float32)]
    weights.append(graph.zero_point(operation.kernel, scales.shape))
    operands = [graph.dequantize(operation.x, x), graph.node("DequantizeLinear", weights, f"{y}.kernel", **axis)]
    if operation.bias is not None:
        bias = graph.constant(operation.bias, program.constants[operation.bias], np.int32)
        unit = graph.constant(f"{bias}.scale", units, np.float32)
        operands.append(graph.node("DequantizeLinear", [bias, unit], f"{bias}.real", **bias_axis))
    real = graph.node(kind, operands, f"{y}.sum", **attributes)
    clipped(graph, operation, output, lambda name: graph.quantize(real, y, name))


def kernel_scales(graph: OnnxGraphBuilder, operation: Dense) -> tuple[str, np.ndarray]:
    """The kernel's scales in an operation's direction, () or one per output, and the label of their constants."""
    scales, suffix = operation.scales(graph.program), ".unit"
    if operation.gains is not None:
        suffix = DECODER if operation.transposed else ".encode"
    elif len(scales) == 1:
        suffix = ""
    return operation.kernel + suffix, scales.squeeze() if len(scales) == 1 else scales


def clipped(graph: OnnxGraphBuilder, operation: Dense, output: str, quantized: Callable[[str], str]) -> None:
    """Write `output` by `quantized`, a function that appends the node of that name; a `Clip` of integers behind it if the
    activation's bounds are not those of uint8."""
    y = operation.y
    low, high = clamp(operation.activation, graph.program.quantization(y))
    if (low, high) == (0, 255):
        quantized(output)
        return
    bounds = [graph.constant(f"{y}.{bound}", value, np.uint8) for bound, value in (("low", low), ("high", high))]
    graph.node("Clip", [quantized(f"{y}.free"), *bounds], output)
