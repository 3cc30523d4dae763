"""Operations of a program as nodes of ONNX: `ONNX_OPERATIONS`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tiedae.program.operations import (
    Activate,
    Convolution,
    Dense,
    Interleave,
    MaxPool,
    Operation,
    Patches,
    Requantize,
    Rescale,
    Reshape,
    Unpatch,
    Upsample,
)

from ..operation_table import OperationTable
from .builder import OnnxGraphBuilder
from .convolution import convolution
from .moving import max_pool, patches, reshape, unpatch, upsample
from .products import write_product
from .requantization import requantized, steps_of


def _dense(graph: OnnxGraphBuilder, operation: Dense) -> None:
    """Gemm takes a matrix: tensors of several axes are one of rows."""
    x, y, tensors = graph.inner(operation.x), graph.inner(operation.y), graph.program.tensors
    flag = int(not operation.transposed)
    if len(tensors[operation.x].shape) == 1:
        write_product(graph, operation, x, y, "Gemm", transB=flag)
        return
    inputs, shape = tensors[operation.x].shape[-1], tensors[operation.y].shape
    rows = graph.reshape(x, f"{operation.y}.x.matrix", f"matrix.{inputs}", (-1, inputs))
    write_product(graph, operation, rows, f"{operation.y}.matrix", "Gemm", transB=flag)
    graph.reshape(f"{operation.y}.matrix", y, f"{operation.y}.shape", (-1, *shape))


def _rescale(graph: OnnxGraphBuilder, operation: Rescale) -> None:
    """Steps times steps times one factor; ONNX Runtime's product of two quantized tensors rounds otherwise near ties."""
    y, name, quantization = operation.y, operation.factors, operation.quantization
    assert quantization is not None
    x, output = graph.in_place(operation.x, y)
    zero = graph.constant(f"{name}.zero", quantization.zero_point, np.uint8) if quantization.zero_point else ""
    factors = steps_of(graph, graph.constant(name, graph.program.constants[name], np.uint8), zero, name)
    if graph.in_planes(operation.x):
        factors = graph.per_plane(y, factors)
    scale = graph.constant(f"{name}.scale", quantization.scale, np.float32)
    requantized(graph, operation, x, scale, lambda steps: graph.node("Mul", [steps, factors], f"{y}.steps"))(output)


def _activate(graph: OnnxGraphBuilder, operation: Activate) -> None:
    if graph.program.quantized:
        _elementwise(graph, operation, lambda real: graph.function(operation.function, real, f"{operation.y}.function"))
    else:
        graph.function(operation.function, *graph.in_place(operation.x, operation.y))


def _requantize(graph: OnnxGraphBuilder, operation: Requantize) -> None:
    _elementwise(graph, operation, lambda real: real)


def _elementwise(graph: OnnxGraphBuilder, operation: Operation, function: Callable[[str], str]) -> None:
    """Append a function of real values between DequantizeLinear and QuantizeLinear, in the order of axes of x."""
    x, y = graph.in_place(operation.x, operation.y)
    graph.quantize(function(graph.dequantize(operation.x, x)), operation.y, y)


def _interleave(graph: OnnxGraphBuilder, operation: Interleave) -> None:
    tensor, y = graph.program.tensors[operation.x], operation.y
    parts = (0, operation.ways, tensor.size // operation.ways)
    split = graph.reshape(graph.inner(operation.x), f"{y}.split", f"{y}.parts", parts)
    turned = graph.node("Transpose", [split], f"{y}.turned", perm=(0, 2, 1))
    graph.reshape(turned, graph.inner(y), f"{y}.row", (0, *tensor.shape))


ONNX_OPERATIONS: OperationTable[OnnxGraphBuilder] = OperationTable(
    "ONNX",
    {
        Dense: _dense,
        Rescale: _rescale,
        Activate: _activate,
        Requantize: _requantize,
        Interleave: _interleave,
        Convolution: convolution,
        Reshape: reshape,
        Patches: patches,
        Unpatch: unpatch,
        MaxPool: max_pool,
        Upsample: upsample,
    },
    advice="the decoder needs the fused layout",
)
"""The functions that append an operation to a graph."""
