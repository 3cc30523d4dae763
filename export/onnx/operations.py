"""Operations of a program as nodes of ONNX: `ONNX_OPERATIONS`."""

from __future__ import annotations

import numpy as np
from tiedae.program.arithmetic import clamp
from tiedae.program.operations import Activate, Dense, Interleave, Requantize, Rescale

from ..operation_table import OperationTable
from .builder import OnnxGraphBuilder


def _dense(graph: OnnxGraphBuilder, operation: Dense) -> None:
    """Gemm takes a matrix: tensors of several axes are one of rows."""
    write = _quantized_dense if graph.program.quantized else _float_dense
    x, y, tensors = graph.inner(operation.x), graph.inner(operation.y), graph.program.tensors
    if len(tensors[operation.x].shape) == 1:
        write(graph, operation, x, y)
        return
    inputs, shape = tensors[operation.x].shape[-1], tensors[operation.y].shape
    rows = graph.reshape(x, f"{operation.y}.x.rows", f"rows.{inputs}", (-1, inputs))
    write(graph, operation, rows, f"{operation.y}.rows")
    graph.reshape(f"{operation.y}.rows", y, f"{operation.y}.shape", (-1, *shape))


def _float_dense(graph: OnnxGraphBuilder, operation: Dense, x: str, y: str) -> None:
    operands = [x, graph.kernel(operation.kernel)]
    if operation.bias is not None:
        operands.append(graph.constant(operation.bias, graph.program.constants[operation.bias], np.float32))
    linear, gains = operation.activation == "linear", operation.gains
    affine = y if linear else f"{operation.y}.sum"
    total = graph.node(
        "Gemm", operands, affine if gains is None else f"{operation.y}.products", transB=int(not operation.transposed)
    )
    if gains is not None:
        total = graph.node("Mul", [total, graph.constant(gains, graph.program.constants[gains], np.float32)], affine)
    if not linear:
        graph.function(operation.activation, total, y)


def _quantized_dense(graph: OnnxGraphBuilder, operation: Dense, rows: str, output: str) -> None:
    program, kernel, y = graph.program, operation.kernel, operation.y
    scales, units = operation.scales(program), operation.bias_scales(program)
    suffix, axis, bias_axis = ".unit", {"axis": int(operation.transposed)}, {"axis": 0}
    if operation.gains is not None:
        suffix = ".decode" if operation.transposed else ".encode"
    if len(scales) == 1:
        scales, units, suffix, axis, bias_axis = scales[0], units[0], "", {}, {}
    zero = np.full_like(scales, graph.zero_point(kernel))
    inputs = [graph.kernel(kernel)]
    inputs += graph.affine(f"{kernel}{suffix}", scales, zero, np.uint8 if zero.any() else np.int8)
    operands = [graph.dequantize(operation.x, rows), graph.node("DequantizeLinear", inputs, f"{y}.kernel", **axis)]
    if operation.bias is not None:
        bias = graph.constant(operation.bias, program.constants[operation.bias], np.int32)
        unit = graph.constant(f"{bias}.scale", units, np.float32)
        operands.append(graph.node("DequantizeLinear", [bias, unit], f"{bias}.real", **bias_axis))
    real = graph.node("Gemm", operands, f"{y}.sum", transB=int(not operation.transposed))
    low, high = clamp(operation.activation, program.quantization(y))
    if (low, high) == (0, 255):
        graph.quantize(real, y, output)
        return
    bounds = [graph.constant(f"{y}.{bound}", value, np.uint8) for bound, value in (("low", low), ("high", high))]
    free = graph.quantize(real, y, f"{y}.free")
    graph.node("Clip", [free, *bounds], output)


def _rescale(graph: OnnxGraphBuilder, operation: Rescale) -> None:
    name, quantization = operation.factors, operation.quantization
    assert quantization is not None
    inputs = [graph.constant(name, graph.program.constants[name], np.uint8)]
    inputs += graph.affine(name, quantization.scale, quantization.zero_point)
    factors = graph.node("DequantizeLinear", inputs, f"{name}.real")
    graph.quantize(graph.node("Mul", [graph.dequantize(operation.x), factors], f"{operation.y}.product"), operation.y)


def _activate(graph: OnnxGraphBuilder, operation: Activate) -> None:
    x, y = operation.x, operation.y
    if graph.program.quantized:
        graph.quantize(graph.function(operation.function, graph.dequantize(x), f"{y}.function"), y)
    else:
        graph.function(operation.function, graph.inner(x), graph.inner(y))


def _requantize(graph: OnnxGraphBuilder, operation: Requantize) -> None:
    graph.quantize(graph.dequantize(operation.x), operation.y)


def _interleave(graph: OnnxGraphBuilder, operation: Interleave) -> None:
    tensor, y = graph.program.tensors[operation.x], operation.y
    parts = (0, operation.ways, tensor.size // operation.ways)
    split = graph.reshape(graph.inner(operation.x), f"{y}.split", f"{y}.parts", parts)
    turned = graph.node("Transpose", [split], f"{y}.turned", perm=(0, 2, 1))
    graph.reshape(turned, graph.inner(y), f"{y}.row", (0, *tensor.shape))


ONNX_OPERATIONS: OperationTable[OnnxGraphBuilder] = OperationTable(
    "ONNX",
    {Dense: _dense, Rescale: _rescale, Activate: _activate, Requantize: _requantize, Interleave: _interleave},
    advice="the decoder needs the fused layout",
)
"""The functions that append an operation to a graph."""
