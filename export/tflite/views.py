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

from tiedae.base.errors import ExportError
from tiedae.program.operations import Convolution, Dense, Operation, Patches, Product
from tiedae.program.operations.convolution import Moving
from tiedae.program.program import Program

from ..packing import DECODER, is_packed, kernel_axes
from .schema import int32
from .sparse import DENSE, SparseKernel, sparse_kernel

if TYPE_CHECKING:
    from .builder import TfliteGraphBuilder

PIXELS = {1: ".pixel", 2: ".column", 4: ".pixels"}
"""Suffix of a program tensor as pixels, by its axes; a tensor of three axes is one as it is."""
EXCHANGED = (3, 1, 2, 0)
"""The axes of the decoder's filter, [channels, *window, units], in the order of the buffer, [units, *window, channels]; and
the other way round."""
LARGE = 65_536
"""Weights of a decoder by view that one subgraph unpacks for two signatures; for fewer the call would cost more."""


def view_of(shape: Sequence[int], order: Sequence[int]) -> Any:
    """The sparsity table of a dense tensor whose buffer has its axes in another order."""
    sizes = [schema.DimensionMetadataT(format=DENSE, denseSize=shape[axis]) for axis in order]
    return schema.SparsityParametersT(traversalOrder=int32(order), dimMetadata=sizes)


def has_large_views(program: Program) -> bool:
    """Whether matrices that the decoder reads by views have more than `LARGE` weights; filters of convolutions are small."""
    names = {each.kernel for each in program.decoder if type(each) is Dense}
    return sum(program.kernels[name].inputs * program.kernels[name].units for name in names) > LARGE


def write_view(graph: TfliteGraphBuilder, operation: Dense) -> None:
    """Append the decoder's product: DENSIFY and CONV_2D with the bias, and RESHAPE where pixels begin or end.

    Raises ExportError for a kernel of packed integers.
    """
    program, name = graph.program, operation.y
    kernel = program.kernels[operation.kernel]
    weights = reordered(graph, operation, (kernel.inputs, 1, 1, kernel.units))
    inputs, target = [pixels_read(graph, operation.x), weights, graph.bias(operation)], pixels(graph, name)
    graph.product("CONV_2D", 3 if program.quantized else 1, inputs, operation, target, strideW=1, strideH=1)
    leave_pixels(graph, name)


def reordered(graph: TfliteGraphBuilder, operation: Dense, shape: Sequence[int]) -> int:
    """The kernel as a filter of `shape`, [channels, *window, units], in the way that `graph.kernels` says.

    In the order of a view axes of length 1 are first, which is the fastest to read.
    """
    name, stored = operation.kernel, graph.stored(operation.kernel)
    if is_packed(stored):
        raise ExportError(f'{name}: decoder "view" reads no packed integers, got int4 {graph.int4}, must be bytes')
    label, scales = name + DECODER, operation.scales(graph.program) if graph.program.quantized else ()
    sizes = tuple(shape[axis] for axis in EXCHANGED)
    if graph.kernels == "copies":
        return graph.constant(label, np.ascontiguousarray(stored.reshape(sizes).transpose(EXCHANGED)), scales)
    if sparse := stored_sparse(graph, name):
        return densified(graph, label, sparse, scales, shape, EXCHANGED)
    if graph.kernels in ("view", "sparse"):
        order = sorted(EXCHANGED, key=lambda axis: shape[axis] > 1)
        return graph.densified(graph.constant(label, stored, scales, shape=tuple(shape), sparsity=view_of(shape, order)))
    constant = graph.constant(f"{name}.stored", stored, scales, shape=sizes, axis=EXCHANGED.index(0))
    return graph.transposed(label, constant, EXCHANGED)


def in_stored_order(graph: TfliteGraphBuilder, operation: Dense, shape: Sequence[int]) -> int:
    """The kernel as a filter of `shape`, [units, *window, channels]."""
    name, scales = operation.kernel, operation.scales(graph.program)
    sparse = stored_sparse(graph, name)
    return densified(graph, name, sparse, scales, shape, range(4)) if sparse else graph.kernel(name, name, scales, tuple(shape))


def stored_sparse(graph: TfliteGraphBuilder, name: str) -> SparseKernel | None:
    """A kernel as it is stored sparse; None if it is not: it is packed, or BATCH_MATMUL reads it, or dense is as small."""
    program, stored = graph.program, graph.stored(name)
    products = any(isinstance(each, Product) and each.kernel == name for each in program.operations)
    if graph.kernels != "sparse" or products or is_packed(stored):
        return None
    *window, channels, units = kernel_axes(program, name)
    return sparse_kernel(stored.reshape(units, *(*window, 1, 1)[:2], channels))


def densified(
    graph: TfliteGraphBuilder,
    label: str,
    sparse: SparseKernel,
    scales: Sequence[float] | np.ndarray,
    shape: Sequence[int],
    axes: Sequence[int],
) -> int:
    """A sparse kernel as a filter of `shape`, by DENSIFY."""
    table = sparse.table(shape, axes)
    return graph.densified(graph.constant(label, sparse.values, scales, shape=tuple(shape), sparsity=table))


def pixels_read(graph: TfliteGraphBuilder, name: str) -> int:
    """A tensor as pixels, after a RESHAPE unless an operator wrote it so."""
    known = _is_pixels(graph, name) or graph.find(_label(graph, name)) is not None
    target = pixels(graph, name)
    if not known:
        graph.reshape(graph.inner(name), target, graph.shape(target))
    return target


def pixels(graph: TfliteGraphBuilder, name: str) -> int:
    """A tensor as pixels: [height, width, channels]; a signal is a column."""
    *rows, channels = graph.program.tensors[name].shape
    if _is_pixels(graph, name):
        return graph.inner(name)
    return graph.between(_label(graph, name), name, (math.prod(rows), 1, channels))


def either(graph: TfliteGraphBuilder, name: str) -> int:
    """A tensor as an operator wrote it: as pixels or not."""
    return pixels(graph, name) if graph.find(_label(graph, name)) is not None else graph.inner(name)


def only_pixels(graph: TfliteGraphBuilder, name: str) -> bool:
    """Whether all that reads a tensor reads it as pixels, or in either way."""
    readers = [each for each in graph.program.operations if each.x == name]
    return bool(readers) and name != "code" and all(_reads_pixels(graph, each) for each in readers)


def leave_pixels(graph: TfliteGraphBuilder, name: str) -> None:
    """RESHAPE pixels into the tensor's own shape where something reads that."""
    if not _is_pixels(graph, name) and not only_pixels(graph, name):
        graph.reshape(pixels(graph, name), graph.inner(name), graph.program.tensors[name].shape)


def is_pointwise(graph: TfliteGraphBuilder, operation: Dense) -> bool:
    """Whether a product of the encoder is a CONV_2D of 1×1: over patches, unless the kernel is packed, and of a sparse kernel.
    OpenVINO 2026.4 computes a pooling or convolution wrongly that follows a FULLY_CONNECTED over images."""
    if stored_sparse(graph, operation.kernel):
        return True
    over = any(isinstance(each, Patches) and each.y == operation.x for each in graph.program.operations)
    return over and not is_packed(graph.stored(operation.kernel))


def _reads_pixels(graph: TfliteGraphBuilder, operation: Operation) -> bool:
    pointwise = isinstance(operation, Dense) and (operation.transposed or is_pointwise(graph, operation))
    return pointwise or isinstance(operation, Convolution | Moving)


def _is_pixels(graph: TfliteGraphBuilder, name: str) -> bool:
    return len(graph.program.tensors[name].shape) == 3


def _label(graph: TfliteGraphBuilder, name: str) -> str:
    return name + PIXELS.get(len(graph.program.tensors[name].shape), PIXELS[4])


def without_pixels(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values of a file's tensors by name; a program tensor that is there as pixels alone, in its own axes."""
    found = dict(values)
    for axes, suffix in PIXELS.items():
        for label in [each for each in values if each.endswith(suffix)]:
            pixels = found.pop(label)
            found.setdefault(label.removesuffix(suffix), pixels.squeeze(tuple(range(axes, 3))))
    return found
