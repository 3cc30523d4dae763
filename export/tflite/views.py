"""The view: a kernel's buffer [units, inputs] read in the decoder's order, [inputs, 1, 1, units].

A tensor over the same buffer has a `sparsity` table in which every dimension is dense: it stores no zeros apart, but its
traversal order says in which order the axes lie in the buffer. DENSIFY reads it into the kernel of a 1×1 CONV_2D, which has
what BATCH_MATMUL lacks: an int32 bias, and one rounding. XNNPACK reads it once, when the file is loaded.

CONV_2D takes pixels, [rows, columns, channels] per sample. RESHAPE makes them where a decoder begins and ends, not between its
layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from tiedae.compress.errors import ExportError
from tiedae.program.operations import Dense

from ..packing import is_packed
from .flatbuffer import Table
from .schema import int32

if TYPE_CHECKING:
    from .builder import TfliteGraphBuilder

PIXELS = {1: ".pixel", 2: ".column", 3: ".pixels"}
"""Suffix of a program tensor as pixels, by its axes."""
STORED = (1, 2, 3, 0)
"""The axes of [inputs, 1, 1, units] in the order of the buffer; axes of length 1 first, which is the fastest to read."""
DENSE = 0
"""DimensionType of a dimension without gaps."""


def view_of(shape: Sequence[int], order: Sequence[int]) -> Any:
    """The sparsity table of a dense tensor whose buffer has its axes in another order."""
    sizes = [schema.DimensionMetadataT(format=DENSE, denseSize=shape[axis]) for axis in order]
    return schema.SparsityParametersT(traversalOrder=int32(order), dimMetadata=sizes)


def stored_order(sparsity: Table, shape: Sequence[int]) -> tuple[int, ...] | None:
    """The axes of a tensor in the order of its buffer; None if the buffer leaves values out or holds blocks."""
    order, sizes = sparsity.numbers(0), [(each.integer(0, "b"), each.integer(1)) for each in sparsity.tables(2)]
    if sparsity.extent(1, 4)[1] or sorted(order) != list(range(len(shape))):
        return None
    return order if sizes == [(DENSE, shape[axis]) for axis in order] else None


def in_order(stored: np.ndarray, shape: Sequence[int], order: Sequence[int]) -> np.ndarray:
    """Stored values as the tensor of `shape` that a view of them shows."""
    return stored.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))


def write_view(graph: TfliteGraphBuilder, operation: Dense) -> None:
    """Append the decoder's product: DENSIFY and CONV_2D with the bias, and RESHAPE where pixels begin or end.

    Raises ExportError for a kernel of packed integers.
    """
    program, name = graph.program, operation.y
    weights = graph.densified(_view(graph, operation))
    inputs, target = [_pixels_read(graph, operation.x), weights, graph.bias(operation)], _pixels(graph, name)
    graph.add("CONV_2D", 3 if program.quantized else 1, inputs, target, operation.activation, strideW=1, strideH=1)
    readers = [each for each in program.decoder if each.x == name]
    if not readers or not all(isinstance(each, Dense) for each in readers):
        graph.reshape(target, graph.inner(name), program.tensors[name].shape)


def _view(graph: TfliteGraphBuilder, operation: Dense) -> int:
    name, kernel, stored = operation.kernel, graph.program.kernels[operation.kernel], graph.stored(operation.kernel)
    if is_packed(stored):
        raise ExportError(f'{name}: decoder "view" reads no packed integers, got int4 {graph.int4}, must be bytes')
    shape, scales = (kernel.inputs, 1, 1, kernel.units), operation.scales(graph.program) if kernel.scales else ()
    return graph.constant(f"{name}.decode", stored, scales, shape=shape, sparsity=view_of(shape, STORED))


def _pixels_read(graph: TfliteGraphBuilder, name: str) -> int:
    known = graph.find(_label(graph, name)) is not None
    target = _pixels(graph, name)
    if not known:
        graph.reshape(graph.inner(name), target, graph.shape(target))
    return target


def _pixels(graph: TfliteGraphBuilder, name: str) -> int:
    *rows, channels = graph.program.tensors[name].shape
    height, width = (*rows, 1, 1)[:2] if len(rows) <= 2 else (math.prod(rows), 1)
    return graph.between(_label(graph, name), name, (height, width, channels))


def _label(graph: TfliteGraphBuilder, name: str) -> str:
    return name + PIXELS[min(len(graph.program.tensors[name].shape), 3)]


def without_pixels(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values of a file's tensors by name; a program tensor that is there as pixels alone, in its own axes."""
    found = dict(values)
    for axes, suffix in PIXELS.items():
        for label in [each for each in values if each.endswith(suffix)]:
            pixels = found.pop(label)
            found.setdefault(label.removesuffix(suffix), pixels.squeeze(tuple(range(axes, 3))))
    return found
