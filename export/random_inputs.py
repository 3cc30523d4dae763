"""Random inputs for a file, within the ranges that its graph implies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tiedae.base.errors import FormatError
from tiedae.compress.affine import representable

from .model_file import Contents, TensorInfo
from .tflite.graph import TfliteGraph, has_scales, name_of, scales_of, shape_of, zero_points_of
from .tflite.schema import Op, Type, unpack_model, vector

FEW = 8
"""Upper bound of integer inputs if the graph has no table that they index."""
STRING = "string"
WORDS = ("", "a", "word", "two words", "0")
"""Values of string inputs."""
LARGEST = 1 << 30
"""Maximum size of an input, in bytes."""


@dataclass(frozen=True)
class Ranges:
    """What a graph implies of its inputs, by (signature, input).

    `ids`: rows of the smallest table that integers index. `floats`: (least, greatest). `numbers`: integers on each side of the
    constants that the graph compares a scalar with.
    """

    ids: int = FEW
    floats: Mapping[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    numbers: Mapping[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Draw:
    """Values of one input that are drawn where they are needed: uniform in low…high, integers with both ends."""

    dtype: str
    shape: tuple[int, ...]
    low: float
    high: float
    seed: int

    @property
    def values(self) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        if self.dtype == STRING:
            return np.array(WORDS, object)[rng.integers(0, len(WORDS), self.shape)]
        kind = np.dtype(self.dtype)
        if kind.kind == "f":
            return np.asarray(rng.uniform(self.low, self.high, self.shape)).astype(kind)
        return np.asarray(rng.integers(int(self.low), int(self.high), self.shape, endpoint=True)).astype(kind)


_TABLES = {Op.GATHER: 0, Op.EMBEDDING_LOOKUP: 1}
"""Index of the input that is the table."""
_SAME = {Op.CAST, Op.RESHAPE, Op.SQUEEZE, Op.EXPAND_DIMS}
_ORDERED = {Op.LESS, Op.LESS_EQUAL, Op.GREATER, Op.GREATER_EQUAL}
_COMPARED = {Op.EQUAL, Op.NOT_EQUAL} | _ORDERED


def tflite_ranges(data: bytes) -> Ranges:
    """Rows of the smallest gathered table, the quantized range of float inputs that feed a QUANTIZE, and compared numbers."""
    model = unpack_model(data)
    graphs = [TfliteGraph(model, table) for table in model.subgraphs]
    tables = [
        graph.tensor(read[0])
        for graph in graphs
        for operator in graph.table.operators or []
        if graph.code(operator) in _TABLES and (read := vector(operator.inputs)[_TABLES[graph.code(operator)] :])
    ]
    rows = [shape_of(each)[0] for each in tables if len(shape_of(each)) > 1 and model.buffers[each.buffer].data.size]
    floats, numbers = {}, {}
    for signature, graph, inputs in _entries(model, graphs):
        compared = _compared_in(graph)
        for name, index in inputs.items():
            if index in compared:
                numbers[signature, name] = around(compared[index])
            readers = (use.operator for use in graph.uses(index) if graph.code(use.operator) == Op.QUANTIZE)
            for quantized in (graph.tensor(output) for reader in readers for output in vector(reader.outputs)):
                if quantized.type in (Type.INT8, Type.UINT8) and has_scales(quantized) and zero_points_of(quantized).size:
                    dtype = "int8" if quantized.type == Type.INT8 else "uint8"
                    known = representable(float(scales_of(quantized)[0]), int(zero_points_of(quantized)[0]), dtype)
                    floats[signature, name] = known
    return Ranges(min(rows, default=FEW), floats, numbers)


def _entries(model: Any, graphs: list[TfliteGraph]) -> Iterator[tuple[str, TfliteGraph, dict[str, int]]]:
    """(signature, its subgraph, tensor index by input)."""
    for definition in model.signatureDefs or []:
        inputs = {_text(entry.name): entry.tensorIndex for entry in definition.inputs or []}
        yield _text(definition.signatureKey), graphs[definition.subgraphIndex], inputs
    if not model.signatureDefs:
        inputs = {name_of(graphs[0].tensor(index)): index for index in vector(graphs[0].table.inputs)}
        yield _text(graphs[0].table.name) or "main", graphs[0], inputs


def _text(name: bytes | None) -> str:
    return (name or b"").decode(errors="replace")


def _compared_in(graph: TfliteGraph) -> dict[int, list[tuple[float, bool]]]:
    """(constant, whether compared in order) by the tensor that a subgraph compares with it."""
    origin: dict[int, int] = {}
    found: dict[int, list[tuple[float, bool]]] = {}
    for operator in graph.table.operators or []:
        code, inputs = graph.code(operator), vector(operator.inputs)
        if code in _SAME and inputs:
            origin |= {output: origin.get(inputs[0], inputs[0]) for output in vector(operator.outputs)}
        elif code in _COMPARED and len(inputs) == 2:
            for one, other in (inputs, inputs[::-1]):
                constant = graph.values(other)
                if constant is not None and constant.size == 1:
                    found.setdefault(origin.get(one, one), []).append((float(constant.flat[0]), code in _ORDERED))
    return found


def around(compared: Iterable[tuple[float, bool]]) -> tuple[int, ...]:
    """Integers for every outcome of comparisons with (constant, whether in order); the constants first."""
    compared = [(int(number), ordered) for number, ordered in compared if math.isfinite(number)]
    equal = [number for number, _ in compared]
    below = [number - 1 for number, ordered in compared if ordered]
    return tuple(dict.fromkeys([*equal, *(number + 1 for number in equal), *below]))


_ONNX_SAME = ("Cast", "CastLike", "Unsqueeze", "Squeeze", "Identity", "Reshape", "Flatten")
_ONNX_ORDERED = ("Less", "LessOrEqual", "Greater", "GreaterOrEqual")


def onnx_ranges(path: Path, contents: Contents) -> Ranges:
    """The same for an ONNX file: Gather from a constant, QuantizeLinear with a constant scale and zero point, comparisons."""
    from .onnx.reader import open_onnx
    from .onnx.scopes import bodies

    model = open_onnx(path).model
    stored = {constant.name: constant.values for constant in contents.constants}
    signature = contents.signatures[0]
    inputs = {tensor.name for tensor in signature.inputs}
    origin = {name: name for name in inputs}
    rows, floats, compared = [], {}, {}
    values: dict[str, np.ndarray] = {}
    for proto, prefix, _, _ in bodies(model):
        local = {name.removeprefix(prefix): each for name, each in stored.items() if name.startswith(prefix)}
        values |= local
        for node in proto.node:
            table, *parameters = (values.get(name) for name in (*node.input, "", "", "")[:3])
            if node.op_type == "Gather" and table is not None and table.ndim > 1:
                rows.append(len(table))
            elif node.op_type == "QuantizeLinear" and node.input and node.input[0] in inputs:
                scale, zero_point = parameters
                if scale is not None and zero_point is not None and zero_point.size == 1 and zero_point.dtype.kind in "iu":
                    known = representable(float(scale.flat[0]), int(zero_point.flat[0]), zero_point.dtype.name)
                    floats[signature.name, node.input[0]] = known
            elif node.op_type in _ONNX_SAME and node.output and node.input and node.input[0] in origin:
                origin[node.output[0]] = origin[node.input[0]]
            elif node.op_type in ("Equal", *_ONNX_ORDERED) and len(node.input) == 2:
                for one, other in (node.input, node.input[::-1]):
                    number = values.get(other)
                    if one in origin and number is not None and number.size == 1 and number.dtype.kind in "fiu":
                        compared.setdefault(origin[one], []).append((float(number.flat[0]), node.op_type in _ONNX_ORDERED))
    numbers = {(signature.name, name): around(found) for name, found in compared.items()}
    return Ranges(min(rows, default=FEW), floats, numbers)


def ranges_of(path: Path, contents: Contents) -> Ranges:
    """Input ranges of a file; the defaults for a format whose graphs are not read."""
    if contents.format == "onnx":
        return onnx_ranges(path, contents)
    return tflite_ranges(path.read_bytes()) if contents.format == "tflite" else Ranges()


def drawn(tensor: TensorInfo, ranges: Ranges, signature: str, shape: tuple[int, ...], seed: int) -> Draw:
    """Random values of one input of `signature`.

    8-bit integers use their full range, wider ones stay below `ranges.ids`, floats use their known range or −1…1. Raises
    FormatError for an unsupported input type.
    """
    low, high = _limits(tensor, ranges, signature, shape)
    return Draw(tensor.dtype, shape, low, high, seed)


def _limits(tensor: TensorInfo, ranges: Ranges, signature: str, shape: tuple[int, ...]) -> tuple[float, float]:
    try:
        dtype = np.dtype(tensor.dtype)
    except TypeError:
        dtype = np.dtype(object)
    if tensor.dtype == STRING:
        return 0, 0
    if dtype.kind not in "fiub" or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > LARGEST:
        raise FormatError(f"{signature}: no random values for the input {tensor.name} of {tensor.dtype} {list(shape)}")
    if dtype.kind == "f":
        return ranges.floats.get((signature, tensor.name), (-1.0, 1.0))
    if dtype.kind == "b":
        return 0, 1
    if dtype.itemsize == 1:
        limits = np.iinfo(dtype.name)
        return limits.min, limits.max
    return 0, ranges.ids - 1
