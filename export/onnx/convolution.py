"""Convolutions as nodes over planes, [batch, channels, *lengths].

ONNX has no transposed convolution of integers, and ONNX Runtime computes one between DequantizeLinear and QuantizeLinear in
floats that it rounds. Ours is exact: a float ConvTranspose adds products of the kernel's integers and of x less its zero point,
below 2²⁴, and `requantization` rounds as the program does. Where a sum could be larger, parts of the channels are added as
int32.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from onnx import TensorProto

from tiedae.program.arithmetic import EXACT
from tiedae.program.operations import Convolution
from tiedae.program.program import Program

from ..packing import kernel_axes
from .builder import OnnxGraphBuilder
from .products import clipped, kernel_scales, write_product
from .requantization import requantized, steps_of


def convolution(graph: OnnxGraphBuilder, operation: Convolution) -> None:
    attributes = _places(graph, operation)
    x, y = graph.planes(operation.x), graph.new_planes(operation.y)
    if graph.program.quantized and operation.transposed:
        _transposed_integers(graph, operation, x, y, attributes)
    else:
        write_product(graph, operation, x, y, "ConvTranspose" if operation.transposed else "Conv", **attributes)


def _places(graph: OnnxGraphBuilder, operation: Convolution) -> dict[str, Any]:
    """Attributes of Conv, or of a ConvTranspose whose output is as long as the encoder's input; defaults are left out."""
    window, tensors = operation.window, graph.program.tensors
    lengths = tensors[operation.y if operation.transposed else operation.x].shape[:-1]
    before, after = zip(*window.pads(lengths), strict=True)
    attributes = {"strides": (1, window.strides), "pads": (0, (*before, *after))}
    if operation.transposed:
        axes = zip(window.places(lengths), lengths, window.sizes, window.strides, before, strict=True)
        rest = [first + n - (count - 1) * s - k for count, n, k, s, first in axes]
        attributes["pads"] = 0, (*before, *(max(0, -n) for n in rest))
        attributes["output_padding"] = 0, tuple(max(0, n) for n in rest)
    given = {name: values for name, (default, values) in attributes.items() if set(values) != {default}}
    return {"kernel_shape": window.sizes, **given}


def _transposed_integers(
    graph: OnnxGraphBuilder, operation: Convolution, x: str, output: str, attributes: dict[str, Any]
) -> None:
    label, scales = kernel_scales(graph, operation)
    scale = graph.constant(f"{label}.scale", scales, np.float32)
    graph.annotate(operation.kernel, scale, _zero(graph, operation))
    quantized = requantized(graph, operation, x, scale, lambda steps: _sum(graph, operation, steps, attributes))
    clipped(graph, operation, output, quantized)


def _zero(graph: OnnxGraphBuilder, operation: Convolution) -> str:
    """Constant of the kernel's zero point; empty if it is 0."""
    return graph.zero_point(operation.kernel, ()) if operation.kernel in graph.program.exceeding_pairs else ""


def _sum(graph: OnnxGraphBuilder, operation: Convolution, steps: str, attributes: dict[str, Any]) -> str:
    """The exact linear map plus the bias, rounded to float32 once."""
    y, constants = operation.y, graph.program.constants
    kernel = steps_of(graph, graph.kernel(operation.kernel), _zero(graph, operation), f"{y}.kernel")
    bias = None if operation.bias is None else graph.constant(operation.bias, constants[operation.bias], np.int32)
    sums = largest_sums(graph.program, operation)
    if sums.sum(-1).max() + (0 if bias is None else np.abs(constants[bias].astype(np.int64)).max()) <= EXACT:
        real = [] if bias is None else [graph.node("Cast", [bias], f"{bias}.real", to=TensorProto.FLOAT)]
        return graph.node("ConvTranspose", [steps, kernel, *real], f"{y}.sum", **attributes)
    total = "" if bias is None else graph.per_plane(y, bias)
    for index, (start, stop) in enumerate(_parts(sums)):
        part = f"{y}.part.{index}"
        operands = [_slice(graph, each, axis, start, stop, part) for each, axis in ((steps, 1), (kernel, 0))]
        real = graph.node("ConvTranspose", operands, f"{part}.real", **attributes)
        term = graph.node("Cast", [real], part, to=TensorProto.INT32)
        total = graph.node("Add", [total, term], f"{part}.total") if total else term
    return graph.node("Cast", [total], f"{y}.sum", to=TensorProto.FLOAT)


def _slice(graph: OnnxGraphBuilder, source: str, axis: int, start: int, stop: int, part: str) -> str:
    ends = [graph.constant(f"number.{value}", [value], np.int64) for value in (start, stop, axis)]
    return graph.node("Slice", [source, *ends], f"{part}.axis.{axis}")


def largest_sums(program: Program, operation: Convolution) -> np.ndarray:
    """The largest magnitude that each unit's products add to in one output, int64 [phases, channels, units].

    A phase is a place of an output relative to the strides, which windows over it share.
    """
    source = program.quantization(operation.x)
    kernel = np.abs(program.constants[operation.kernel].astype(np.int64)).reshape(kernel_axes(program, operation.kernel))
    phases = itertools.product(*map(range, operation.strides))
    steps = [tuple(slice(first, None, s) for first, s in zip(phase, operation.strides, strict=True)) for phase in phases]
    axes = tuple(range(len(operation.sizes)))
    return np.stack([kernel[each].sum(axes) for each in steps]) * max(source.zero_point, source.top - source.zero_point)


def _parts(sums: np.ndarray) -> list[tuple[int, int]]:
    """The units in as few parts of one size as add to at most 2²⁴ each."""
    units = sums.shape[-1]
    splits = ([(start, min(start + size, units)) for start in range(0, units, size)] for size in range(units, 0, -1))
    return next(parts for parts in splits if all(sums[..., start:stop].sum(-1).max() <= EXACT for start, stop in parts))
