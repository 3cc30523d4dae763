"""Operations of a program as operators of TFLite: `TFLITE_OPERATIONS`."""

from __future__ import annotations

import numpy as np

from tiedae.base.errors import ExportError
from tiedae.program.arithmetic import FUNCTIONS
from tiedae.program.operations import Activate, AddBias, Convolution, Dense, Gain, Interleave, Product, Requantize, Rescale
from tiedae.program.operations.elementwise import Times

from ..operation_table import OperationTable
from ..packing import DECODER
from .builder import TFLITE_FUNCTIONS, TfliteGraphBuilder
from .convolution import MOVES, write_convolution, write_pointwise
from .views import is_pointwise, write_view


def _dense(graph: TfliteGraphBuilder, operation: Dense) -> None:
    program = graph.program
    if operation.transposed:
        write_view(graph, operation)
        return
    if is_pointwise(graph, operation):
        write_pointwise(graph, operation)
        return
    inputs = [graph.inner(operation.x), graph.kernel(operation.kernel, operation.kernel, operation.scales(program))]
    bias = graph.bias(operation, needed=False)
    options = {"keepNumDims": True} if len(program.tensors[operation.x].shape) > 1 else {}
    version = 10 if graph.is_packed(inputs[1]) else 5 if options else 4 if program.quantized else 1
    graph.product("FULLY_CONNECTED", version, [*inputs, bias], operation, graph.inner(operation.y), **options)


def _product(graph: TfliteGraphBuilder, operation: Product) -> None:
    right = graph.kernel(operation.kernel, operation.kernel + DECODER, operation.dense.scales(graph.program))
    if graph.is_packed(right):
        right = graph.unpacked(right)
    graph.add("BATCH_MATMUL", graph.version, [graph.inner(operation.x), right], graph.inner(operation.y))


def _add_bias(graph: TfliteGraphBuilder, operation: AddBias) -> None:
    bias = graph.operand(operation.bias, operation.quantization)
    graph.add("ADD", graph.version, [graph.inner(operation.x), bias], graph.inner(operation.y), operation.activation)


def _times(graph: TfliteGraphBuilder, operation: Times) -> None:
    own, version = operation.quantization, graph.version
    if own is not None:
        source, target = (graph.program.quantization(name) for name in (operation.x, operation.y))
        version = 3 if source.scale * own.scale / target.scale >= 1 else 2
    factors = graph.operand(operation.constant, own)
    graph.add("MUL", version, [graph.inner(operation.x), factors], graph.inner(operation.y))


def _activate(graph: TfliteGraphBuilder, operation: Activate) -> None:
    function, tensors = FUNCTIONS[operation.function], graph.program.tensors
    target = tensors[operation.y].quantization
    if target is not None and function.output is not None and target != function.output:
        raise ExportError(f"{operation.y}: TFLite fixes the output of {operation.function} to {function.output}, got {target}")
    source = tensors[operation.x].quantization
    if source is not None and function.fused:
        # XNNPACK does not support int8 RELU alone, only fused into ADD
        zero = graph.constant(f"{operation.x}.zero", np.zeros(1, np.int8), [source.scale])
        graph.add("ADD", graph.version, [graph.inner(operation.x), zero], graph.inner(operation.y), operation.function)
    else:
        kind = TFLITE_FUNCTIONS[operation.function]
        graph.add(kind, graph.version, [graph.inner(operation.x)], graph.inner(operation.y))


def _requantize(graph: TfliteGraphBuilder, operation: Requantize) -> None:
    graph.add("QUANTIZE", 1, [graph.inner(operation.x)], graph.requantized(operation.y))


def _interleave(graph: TfliteGraphBuilder, operation: Interleave) -> None:
    tensor = graph.program.tensors[operation.x]
    split, turned = (operation.ways, tensor.size // operation.ways), (tensor.size // operation.ways, operation.ways)
    parts = graph.between(f"{operation.y}.split", operation.x, split)
    rows = graph.between(f"{operation.y}.turned", operation.x, turned)
    graph.reshape(graph.inner(operation.x), parts, split)
    axes = graph.constant("axes", np.array((0, 2, 1), np.int32))
    graph.add("TRANSPOSE", graph.version, [parts, axes], rows)
    graph.reshape(rows, graph.inner(operation.y), tensor.shape)


TFLITE_OPERATIONS: OperationTable[TfliteGraphBuilder] = OperationTable(
    "TFLite",
    {
        **MOVES,
        Convolution: write_convolution,
        Dense: _dense,
        Product: _product,
        AddBias: _add_bias,
        Rescale: _times,
        Gain: _times,
        Activate: _activate,
        Requantize: _requantize,
        Interleave: _interleave,
    },
)
"""The functions that append an operation to a subgraph."""
