"""Convolutions as nodes over planes, [batch, channels, *lengths].

ONNX has no transposed convolution of integers, and ONNX Runtime computes one between DequantizeLinear and QuantizeLinear in
floats that it rounds. Ours is exact: a float ConvTranspose adds products of the kernel's integers and of x less its zero point,
below 2²⁴, and one Mul requantizes as the program does. Where a sum could be larger, parts of the channels are added as int32.
The Mul's factor is computed of the scales, which ONNX Runtime does once, at load; annotations say whose scales they are.
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


def convolution(graph: OnnxGraphBuilder, operation: Convolution) -> None:
    attributes = _places(graph, operation)
    x, y = graph.planes(operation.x), graph.new_planes(operation.y)
    if graph.program.quantized and operation.transposed:
        _transposed_integers(graph, operation, x, y, attributes)
    else:
        write_product(graph, operation, x, y, "ConvTranspose" if operation.transposed else "Conv", **attributes)


def _places(graph: OnnxGraphBuilder, operation: Convolution) -> dict[str, Any]:
    """Attributes of Conv, or of a ConvTranspose whose output is as long as the encoder's input."""
    window, tensors = operation.window, graph.program.tensors
    lengths = tensors[operation.y if operation.transposed else operation.x].shape[:-1]
    before, after = zip(*window.pads(lengths), strict=True)
    attributes = {"kernel_shape": window.sizes, "strides": window.strides, "pads": (*before, *after)}
    if operation.transposed:
        axes = zip(window.places(lengths), lengths, window.sizes, window.strides, before, strict=True)
        rest = [first + n - (count - 1) * s - k for count, n, k, s, first in axes]
        attributes |= {"pads": (*before, *(max(0, -n) for n in rest)), "output_padding": tuple(max(0, n) for n in rest)}
    return attributes


def _transposed_integers(
    graph: OnnxGraphBuilder, operation: Convolution, x: str, output: str, attributes: dict[str, Any]
) -> None:
    y, one, (target, zero) = operation.y, graph.constant("one", 1, np.float32), graph.parameters(operation.y)
    source = graph.parameters(operation.x)
    steps = graph.node("DequantizeLinear", [x, one, source[1]], f"{y}.x.steps")
    total = _sum(graph, operation, steps, attributes)
    product = graph.node("Mul", [total, _multiplier(graph, operation, source[0], target)], f"{y}.product")
    clipped(graph, operation, output, lambda name: graph.node("QuantizeLinear", [product, one, zero], name))
    graph.annotate(operation.x, *source)
    graph.annotate(y, target, zero)


def _multiplier(graph: OnnxGraphBuilder, operation: Convolution, source: str, target: str) -> str:
    """(scale of x · scales of the kernel) / scale of y, in the program's order."""
    y, (label, scales) = operation.y, kernel_scales(graph, operation)
    scale = graph.constant(f"{label}.scale", scales, np.float32)
    graph.annotate(operation.kernel, scale, _zero(graph, operation))
    real = graph.node("Div", [graph.node("Mul", [source, scale], f"{y}.unit"), target], f"{y}.factor")
    return graph.per_plane(y, real) if scales.ndim else real


def _kernel_steps(graph: OnnxGraphBuilder, operation: Convolution) -> str:
    """The kernel's integers as float32. Casts, since ONNX Runtime folds no DequantizeLinear."""
    y, zero = operation.y, _zero(graph, operation)
    values = graph.node("Cast", [graph.kernel(operation.kernel)], f"{y}.kernel.real", to=TensorProto.FLOAT)
    if not zero:
        return values
    return graph.node("Sub", [values, graph.node("Cast", [zero], f"{y}.kernel.zero", to=TensorProto.FLOAT)], f"{y}.kernel")


def _zero(graph: OnnxGraphBuilder, operation: Convolution) -> str:
    """Constant of the kernel's zero point; empty if it has none."""
    zero = graph.zero_point(operation.kernel)
    return graph.constant(f"{operation.kernel}.zero", zero, np.uint8) if zero else ""


def _sum(graph: OnnxGraphBuilder, operation: Convolution, steps: str, attributes: dict[str, Any]) -> str:
    """The exact linear map plus the bias, rounded to float32 once."""
    y, kernel, constants = operation.y, _kernel_steps(graph, operation), graph.program.constants
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
