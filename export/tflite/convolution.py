"""Convolutions, and what moves values between them, as operators over pixels: [height, width, channels].

CONV_2D's filter, [units, *window, channels], is the kernel's buffer in another shape. TRANSPOSE_CONV's, [channels, *window,
units], is the same buffer in another order (see `views.reordered`). A signal is a column of pixels. XNNPACK takes all of these
and rounds products as the program does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tiedae.program.operations import Convolution, Dense, MaxPool, Patches, Reshape, Unpatch, Upsample

from .builder import TFLITE_FUNCTIONS, TfliteGraphBuilder
from .schema import int32
from .views import either, in_stored_order, leave_pixels, only_pixels, pixels, pixels_read, reordered

PADDINGS = {"same": 0, "valid": 1}
"""TFLite's number of each padding; the zeros are where `windows.Window` has them."""


def write_convolution(graph: TfliteGraphBuilder, operation: Convolution) -> None:
    """Append CONV_2D, or TRANSPOSE_CONV over the same buffer, and RESHAPE where pixels begin or end."""
    program, x, target = graph.program, pixels_read(graph, operation.x), pixels(graph, operation.y)
    (height, width), strides = _planar(operation.sizes), _planar(operation.strides)
    kernel, bias = program.kernels[operation.kernel], graph.bias(operation)
    channels = kernel.inputs // (height * width)
    options: dict[str, Any] = {"strideH": strides[0], "strideW": strides[1], "padding": PADDINGS[operation.padding]}
    if operation.transposed:
        weights = reordered(graph, operation, (channels, height, width, kernel.units))
        inputs = [graph.shape_like(x, graph.shape(target)), weights, x, bias]
        _transposed(graph, operation, inputs, target, options)
    else:
        shape = (kernel.units, height, width, channels)
        weights = in_stored_order(graph, operation, shape)
        graph.product("CONV_2D", 3 if program.quantized else 1, [x, weights, bias], operation, target, **options)
    leave_pixels(graph, operation.y)


def _transposed(
    graph: TfliteGraphBuilder, operation: Convolution, inputs: Sequence[int], target: int, options: Mapping[str, Any]
) -> None:
    """TRANSPOSE_CONV; its activation apart in a float file that OpenVINO runs, since 2026.4 leaves a fused one out."""
    apart = graph.kernels in ("portable", "copies") and not graph.program.quantized and operation.gains is None
    if apart and operation.activation != "linear":
        total = graph.between(f"{operation.y}.sum", operation.y, graph.shape(target))
        graph.product("TRANSPOSE_CONV", 3, inputs, replace(operation, activation="linear"), total, **options)
        graph.add(TFLITE_FUNCTIONS[operation.activation], graph.version, [total], target)
    else:
        version = 3 if operation.activation == "linear" else 4
        graph.product("TRANSPOSE_CONV", version, inputs, operation, target, **options)


def write_pointwise(graph: TfliteGraphBuilder, operation: Dense) -> None:
    """Append a product of the encoder as a CONV_2D of 1×1, whose filter is the buffer in another shape."""
    program, x, target = graph.program, pixels_read(graph, operation.x), pixels(graph, operation.y)
    kernel = program.kernels[operation.kernel]
    weights = in_stored_order(graph, operation, (kernel.units, 1, 1, kernel.inputs))
    inputs = [x, weights, graph.bias(operation)]
    graph.product("CONV_2D", 3 if program.quantized else 1, inputs, operation, target, strideW=1, strideH=1)
    leave_pixels(graph, operation.y)


def _max_pool(graph: TfliteGraphBuilder, operation: MaxPool) -> None:
    height, width = _planar(operation.sizes)
    sizes: dict[str, Any] = {"filterHeight": height, "filterWidth": width, "strideH": height, "strideW": width}
    x, target = pixels_read(graph, operation.x), pixels(graph, operation.y)
    graph.add("MAX_POOL_2D", graph.version, [x], target, padding=PADDINGS["valid"], **sizes)
    leave_pixels(graph, operation.y)


def _upsample(graph: TfliteGraphBuilder, operation: Upsample) -> None:
    """Columns are repeated along the channels, then rows along the columns, which RESHAPE makes rows."""
    source = pixels_read(graph, operation.x)
    for axis, count in zip((1, 2), reversed(_planar(operation.sizes)), strict=True):
        if count > 1:
            shape = list(graph.shape(source))
            shape[-axis] *= count
            target = graph.between(f"{operation.y}.repeated.{axis}", operation.x, tuple(shape))
            graph.add("CONCATENATION", graph.version, [source] * count, target, axis=4 - axis)
            source = target
    _reshape_to(graph, source, operation.y)


def _turned(graph: TfliteGraphBuilder, operation: Patches | Unpatch) -> None:
    """RESHAPE, and TRANSPOSE where windows have rows of their own and others beside them."""
    source, (height, width) = either(graph, operation.x), _planar(operation.sizes)
    whole, rows = (operation.x, operation.y) if isinstance(operation, Patches) else (operation.y, operation.x)
    (down, across), channels = _planar(graph.program.tensors[rows].shape[:-1]), graph.program.tensors[whole].shape[-1]
    if height > 1 and across > 1:
        split = [(down, height, across, width * channels), (down, across, height, width * channels)]
        before, after = split if operation.x == whole else split[::-1]
        parts, turned = (
            graph.between(f"{operation.y}.{label}", operation.x, shape)
            for label, shape in (("split", before), ("turned", after))
        )
        graph.reshape(source, parts, before)
        axes = graph.constant("axes.01324", int32((0, 1, 3, 2, 4)))
        graph.add("TRANSPOSE", graph.version, [parts, axes], turned)
        source = turned
    _reshape_to(graph, source, operation.y)


def _reshape(graph: TfliteGraphBuilder, operation: Reshape) -> None:
    _reshape_to(graph, either(graph, operation.x), operation.y)


def _reshape_to(graph: TfliteGraphBuilder, source: int, name: str) -> None:
    target = pixels(graph, name) if only_pixels(graph, name) else graph.inner(name)
    graph.reshape(source, target, graph.shape(target))


def _planar(sizes: Sequence[int]) -> tuple[int, int]:
    """Sizes along one axis or two as (height, width)."""
    height, width = (*sizes, 1)[:2]
    return height, width


MOVES = {MaxPool: _max_pool, Patches: _turned, Reshape: _reshape, Unpatch: _turned, Upsample: _upsample}
"""What writes each operation that rounds nothing."""
