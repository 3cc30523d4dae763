"""Operations of a program that move values, as nodes."""

from __future__ import annotations

import numpy as np

from tiedae.base.windows import Lengths
from tiedae.program.operations import MaxPool, Patches, Reshape, Unpatch, Upsample

from .builder import OnnxGraphBuilder

NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
"""Attributes of a Resize that repeats each value."""


def reshape(graph: OnnxGraphBuilder, operation: Reshape) -> None:
    y = operation.y
    graph.reshape(graph.inner(operation.x), graph.inner(y), f"{y}.shape", (0, *graph.program.tensors[y].shape))


def max_pool(graph: OnnxGraphBuilder, operation: MaxPool) -> None:
    sizes = operation.sizes
    graph.node("MaxPool", [graph.planes(operation.x)], graph.new_planes(operation.y), kernel_shape=sizes, strides=sizes)


def upsample(graph: OnnxGraphBuilder, operation: Upsample) -> None:
    """Resize is the fastest of the ways to repeat values in ONNX Runtime."""
    factors = graph.constant(f"{operation.y}.factors", (1, 1, *operation.sizes), np.float32)
    graph.node("Resize", [graph.planes(operation.x), "", factors], graph.new_planes(operation.y), **NEAREST)


def patches(graph: OnnxGraphBuilder, operation: Patches) -> None:
    """[batch, places, size, columns, size · channels] → [batch, places, columns, size, size · channels] for images."""
    tensors = graph.program.tensors
    lengths, shape = tensors[operation.x].shape[:-1], tensors[operation.y].shape
    places, channels = operation.window.places(lengths), tensors[operation.x].shape[-1]
    _exchange(graph, operation, _split(places, operation.sizes, channels), (0, *shape))


def unpatch(graph: OnnxGraphBuilder, operation: Unpatch) -> None:
    tensors = graph.program.tensors
    *lengths, channels = tensors[operation.y].shape
    first, size, second, rest = _split(operation.window.places(tuple(lengths)), operation.sizes, channels)
    _exchange(graph, operation, (first, second, size, rest), (0, *lengths, channels))


def _split(places: Lengths, sizes: Lengths, channels: int) -> tuple[int, int, int, int]:
    """(places, size) of the first axis, places of the second, size · channels of the second; a signal has one place there."""
    (first, size), (second, width) = [(places[i], sizes[i]) if i < len(sizes) else (1, 1) for i in range(2)]
    return first, size, second, width * channels


def _exchange(
    graph: OnnxGraphBuilder, operation: Patches | Unpatch, parts: tuple[int, int, int, int], shape: tuple[int, ...]
) -> None:
    """Exchange the second and third of four parts of x and reshape; without a Transpose where one of them is 1."""
    y, source = operation.y, graph.inner(operation.x)
    if 1 not in parts[1:3]:
        split = graph.reshape(source, f"{y}.split", f"{y}.parts", (0, *parts))
        source = graph.node("Transpose", [split], f"{y}.turned", perm=(0, 1, 3, 2, 4))
    graph.reshape(source, graph.inner(y), f"{y}.shape", shape)
