"""Operations of an integer program as C functions: `C_OPERATIONS`."""

from __future__ import annotations

import numpy as np

from tiedae.base.errors import ExportError
from tiedae.program.arithmetic import add_parameters, clamp, product_multiplier
from tiedae.program.operations import (
    Activate,
    AddBias,
    Convolution,
    Dense,
    Gain,
    Interleave,
    MaxPool,
    Operation,
    Patches,
    Product,
    Requantize,
    Rescale,
    Reshape,
    Unpatch,
    Upsample,
)
from tiedae.program.operations.elementwise import Times

from ..operation_table import OperationTable
from .builder import CBuilder
from .convolutions import convolution, max_pool, patches, upsample
from .products import biases_of, layer_title, product_lines, product_rounding, product_scratch
from .rounding_text import loop
from .text import literal, symbol


def _dense(graph: CBuilder, dense: Dense) -> None:
    source = graph.program.quantization(dense.x)
    kernel, matrix = graph.kernel(dense.kernel), dense.matrix(graph.program).astype(np.int64)
    bias = biases_of(graph, dense) - source.zero_point * matrix.sum(axis=0)
    products = [source.top * f(matrix, 0).sum(axis=0) for f in (np.minimum, np.maximum)]
    graph.require_int32(dense, *products)  # some orders of additions have the bias last
    rounding = product_rounding(graph, dense, biases_of(graph, dense))
    biases = graph.table(f"{dense.y}.bias", bias)
    if kernel.layout == "dense":
        graph.part("rows.c")
        graph.part("dot_rows.c" if dense.transposed else "add_rows.c")
    shape = (len(matrix), len(matrix.T))
    lines = product_lines(kernel, symbol(dense.y), biases, rounding, shape, transposed=dense.transposed)
    scratch = product_scratch(kernel, shape, transposed=dense.transposed)
    graph.step(dense, layer_title(graph, dense, rounding), graph.rows(dense, lines), scratch=scratch)


def _add_bias(graph: CBuilder, operation: AddBias) -> None:
    source, target = graph.program.quantization(operation.x), graph.program.quantization(operation.y)
    assert operation.quantization is not None
    x_multiplier, bias_multiplier, shift = add_parameters(source, operation.quantization, target)
    low, high = clamp(operation.activation, target)
    rest = (target.zero_point - low << shift) + (1 << shift - 1) - source.zero_point * x_multiplier
    rest -= operation.quantization.zero_point * bias_multiplier
    if abs(rest) >= 1 << 62:
        near = f"those of {operation.x} and {operation.bias}"
        raise ExportError(f"{operation.y}: its scale is too far from {near} for sums of 64 bits")
    bias = graph.constant(operation.bias, graph.program.constants[operation.bias])
    count = graph.program.tensors[operation.x].shape[-1]
    body = [
        "size_t j;",
        f"for (j = 0; j < {count}; j++) {{",
        f"  int64_t t = (int64_t)x[j] * {x_multiplier} + (int64_t){bias}[j] * {bias_multiplier} + {literal(rest, 64)};",
        "  t = t < 0 ? 0 : t;",
        f"  t = (int64_t)((uint64_t)t >> {shift});",
        f"  y[j] = (uint8_t)({low} + (t < {high - low} ? t : {high - low}));",
        "}",
    ]
    title = f"{operation.x} to {operation.y}: plus {operation.bias}, {operation.activation}"
    graph.step(operation, title, graph.rows(operation, body), in_place=True)


def _times(graph: CBuilder, operation: Times) -> None:
    source, target = graph.program.quantization(operation.x), graph.program.quantization(operation.y)
    factors, own = graph.program.constants[operation.constant], operation.quantization
    assert own is not None
    ends = np.outer((-source.zero_point, source.top - source.zero_point), factors.astype(np.int64) - own.zero_point)
    multiplier = product_multiplier(source, own.scale, target)
    reach = np.array([ends.min()]), np.array([ends.max()])
    rounding = graph.rounding(operation, *reach, multiplier, (0, target.top))
    name, count = graph.constant(operation.constant, factors), graph.program.tensors[operation.x].shape[-1]
    factor = f"((int32_t){name}[j] - {own.zero_point})"
    lines = loop(symbol(operation.y), rounding, count, f"(((int32_t)x[j] - {source.zero_point}) * {factor})")
    title = f"{operation.x} to {operation.y}: times factors per unit"
    graph.step(operation, title, graph.rows(operation, ["size_t j;", *lines]), in_place=True)


def _table(graph: CBuilder, operation: Operation, what: str) -> None:
    """An operation on each value as a table of its outputs."""
    inputs = np.arange(graph.program.quantization(operation.x).top + 1, dtype=np.uint8)
    name = graph.constant(f"{operation.y}.table", operation.integers(graph.program, inputs))
    count = graph.program.tensors[operation.x].size
    body = ["size_t j;", f"for (j = 0; j < {count}; j++) y[j] = {name}[x[j]];"]
    graph.step(operation, f"{operation.x} to {operation.y}: {what}", body, in_place=True)


def _interleave(graph: CBuilder, operation: Interleave) -> None:
    count = operation.ways
    step = graph.program.tensors[operation.x].size // count
    body = [f"for (j = 0; j < {step}; j++)", f"  for (i = 0; i < {count}; i++) y[j * {count} + i] = x[i * {step} + j];"]
    graph.step(operation, f"{operation.x} to {operation.y}: [{count}, {step}] transposed", ["size_t i, j;", *body])


C_OPERATIONS: OperationTable[CBuilder] = OperationTable(
    "C",
    {
        Dense: _dense,
        Product: lambda graph, operation: _dense(graph, operation.dense),
        AddBias: _add_bias,
        Rescale: _times,
        Gain: _times,
        Activate: lambda graph, operation: _table(graph, operation, operation.function),
        Requantize: lambda graph, operation: _table(graph, operation, "in another quantization"),
        Interleave: _interleave,
        Convolution: convolution,
        Reshape: lambda graph, operation: None,  # the same bytes
        Patches: patches,
        Unpatch: patches,
        MaxPool: max_pool,
        Upsample: upsample,
    },
)
"""The functions that append a C function for an operation."""
