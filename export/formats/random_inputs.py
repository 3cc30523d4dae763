"""Random inputs for a file, within the ranges that its graph implies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...compress.affine import representable
from ...compress.errors import FormatError
from .model_file import Contents, TensorInfo
from .tflite_graph import TfliteGraph, scales_of, shape_of, zero_points_of
from .tflite_schema import Op, Type, unpack_model

BATCHES = (1, 3)
"""Sizes of dynamic dimensions, one run each."""
FEW = 8
"""Upper bound of integer inputs if the graph has no table that they index."""


@dataclass(frozen=True)
class Ranges:
    """Value ranges of inputs. `ids`: rows of the smallest table that integers index. `floats`: (least, greatest) by (signature,
    input)."""

    ids: int = FEW
    floats: Mapping[tuple[str, str], tuple[float, float]] = field(default_factory=dict)


_TABLES = {Op.GATHER: 0, Op.EMBEDDING_LOOKUP: 1}
"""Index of the input that is the table."""


def tflite_ranges(data: bytes) -> Ranges:
    """Rows of the smallest gathered table, and the quantized range of float inputs that feed a QUANTIZE."""
    model = unpack_model(data)
    graphs = [TfliteGraph(model, table) for table in model.subgraphs]
    operators = [(graph, each) for graph in graphs for each in graph.table.operators or [] if graph.code(each) in _TABLES]
    tables = [graph.tensor(int(each.inputs[_TABLES[graph.code(each)]])) for graph, each in operators]
    rows = [shape_of(each)[0] for each in tables if len(shape_of(each)) > 1 and model.buffers[each.buffer].data.size]
    floats = {}
    for definition in model.signatureDefs or []:
        graph = graphs[definition.subgraphIndex]
        for entry in definition.inputs or []:
            for use in graph.uses(entry.tensorIndex):
                quantized = graph.tensor(int(use.operator.outputs[0]))
                if graph.code(use.operator) == Op.QUANTIZE and quantized.type in (Type.INT8, Type.UINT8):
                    names = definition.signatureKey.decode(), entry.name.decode()
                    dtype = "int8" if quantized.type == Type.INT8 else "uint8"
                    floats[names] = representable(float(scales_of(quantized)[0]), int(zero_points_of(quantized)[0]), dtype)
    return Ranges(min(rows, default=FEW), floats)


def onnx_ranges(path: Path, contents: Contents) -> Ranges:
    """The same for an ONNX file: Gather from a constant, QuantizeLinear with a constant scale and zero point."""
    from .onnx_reader import open_onnx

    graph = open_onnx(path).model.graph
    stored = {constant.name: constant.values for constant in contents.constants}
    inputs = {tensor.name for tensor in graph.input}
    rows, floats = [], {}
    for node in graph.node:
        table, *parameters = (stored.get(name) for name in (*node.input, "", "", "")[:3])
        if node.op_type == "Gather" and table is not None and table.ndim > 1:
            rows.append(len(table))
        elif node.op_type == "QuantizeLinear" and node.input[0] in inputs:
            scale, zero_point = parameters
            if scale is not None and zero_point is not None and zero_point.size == 1 and zero_point.dtype.kind in "iu":
                known = representable(float(scale.flat[0]), int(zero_point.flat[0]), zero_point.dtype.name)
                floats[contents.signatures[0].name, node.input[0]] = known
    return Ranges(min(rows, default=FEW), floats)


_READERS: Mapping[str, Callable[[Path, Contents], Ranges]] = {
    "tflite": lambda path, _contents: tflite_ranges(path.read_bytes()),
    "onnx": onnx_ranges,
}


def ranges_of(path: Path, contents: Contents) -> Ranges:
    """Input ranges of a file; the defaults for a format without a reader."""
    return _READERS[contents.format](path, contents) if contents.format in _READERS else Ranges()


def random_inputs(contents: Contents, ranges: Ranges, seed: int) -> list[tuple[str, dict[str, np.ndarray]]]:
    """(signature, inputs by name), one per signature and size in `BATCHES`.

    8-bit integers use their full range, wider ones stay below `ranges.ids`, floats use their known range or −1…1. Raises
    FormatError for an unsupported input type.
    """
    rng = np.random.default_rng(seed)
    return [
        (signature.name, {tensor.name: random_values(tensor, ranges, signature.name, size, rng) for tensor in signature.inputs})
        for signature in contents.signatures
        for size in BATCHES
    ]


def random_values(tensor: TensorInfo, ranges: Ranges, signature: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Random values of one input of `signature`; dynamic dimensions have `size`."""
    shape = tuple(size if length is None else length for length in tensor.shape)
    try:
        dtype = np.dtype(tensor.dtype)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "fiub" or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > 1 << 30:
        raise FormatError(f"{signature}: no random values for the input {tensor.name} of {tensor.dtype} {list(shape)}")
    if dtype.kind == "f":
        low, high = ranges.floats.get((signature, tensor.name), (-1.0, 1.0))
        return rng.uniform(low, high, shape).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.itemsize == 1:
        limits = np.iinfo(dtype.name)
        return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return rng.integers(0, ranges.ids, shape).astype(dtype)
