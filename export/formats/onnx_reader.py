"""Reads any .onnx file without running it. A damaged file raises FormatError.

Specification: https://onnx.ai/onnx/repo-docs/IR.html and https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto, helper, numpy_helper

from ...compress.errors import FormatError
from .model_file import MAX_AXES, Constant, Contents, Signature, TensorInfo

QUANTIZED_INPUTS: Mapping[str, tuple[tuple[int, int, int], ...]] = {
    **dict.fromkeys(("DequantizeLinear", "com.microsoft.DequantizeLinear"), ((0, 1, 2),)),
    **dict.fromkeys(("QLinearMatMul", "QLinearConv"), ((0, 1, 2), (3, 4, 5))),
    **dict.fromkeys((f"com.microsoft.{name}" for name in ("QGemm", "QLinearAdd", "QLinearMul")), ((0, 1, 2), (3, 4, 5))),
}
"""Indices of an operation's (integers, scale, zero point) inputs."""

MAX_BYTES = 2**31
"""Upper bound of a protobuf message; larger models use external data."""

_PACKED: Mapping[str, int] = {"int4": 4, "int2": 2, "float4": 4}
"""Bits per value of packed types, by a part of their names."""

_NUMBERS = {"value_float": "f", "value_floats": "floats", "value_int": "i", "value_ints": "ints"}
"""Fields of a `Constant` node's number attributes."""

_KEPT = ("Clip", "Identity", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze")
"""Operations whose output has the quantization of their first input."""


def read_onnx(path: Path) -> Contents:
    """Parse an .onnx file and its external data.

    Constants are the initializers and `Constant` nodes of the graph, of nested graphs and of local functions; names of the
    inner ones are prefixed with their path. Values have the stored dtype and shape; external data is memory-mapped. `storage`
    is the constant's name, or FILE:OFFSET in external data. An integer constant that is dequantized with two quantizations
    yields two constants over one storage. The only signature has the graph's name.

    Raises FormatError for a truncated, empty, damaged or foreign file, and for external data that is missing, too short or
    outside the file's folder.
    """
    return open_onnx(path).contents


@dataclass(frozen=True, eq=False)
class Opened:
    """A parsed model; `scopes` in the order of `bodies`, `size` in bytes including external data."""

    path: Path
    model: onnx.ModelProto
    scopes: Sequence[ReadScope]
    size: int

    @property
    def contents(self) -> Contents:
        model, root = self.model, self.scopes[0]
        inputs, outputs = (
            tuple(_tensor_info(self.path, value, root) for value in values)
            for values in ((value for value in model.graph.input if value.name not in root.stored), model.graph.output)
        )
        operations = Counter(kind(node) for scope in self.scopes for node in scope.nodes)
        details = {
            "opset": ", ".join(f"{entry.domain} {entry.version}".strip() for entry in model.opset_import),
            "ir_version": str(model.ir_version),
            "producer": f"{model.producer_name} {model.producer_version}".strip(),
        }
        signature = Signature(model.graph.name or "main", inputs, outputs, operations)
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        stated = {"domain": model.domain, "model_version": str(model.model_version or ""), "doc_string": model.doc_string}
        metadata = {key: text for key, text in stated.items() if text} | metadata
        return Contents("onnx", self.size, tuple(_constants(self.scopes)), (signature,), details, metadata)


def open_onnx(path: Path) -> Opened:
    """Open a model for editing. Raises the errors of `read_onnx`."""
    model, folder = _parse(path), _External(path)
    scopes: list[ReadScope] = []
    for proto, prefix, parent, _ in bodies(model):
        around = None if parent is None else scopes[parent]
        scopes.append(ReadScope(prefix, proto.node, _stored_in(proto, prefix, folder), around, _sparse_shapes(proto)))
    size = path.stat().st_size + sum(file.stat().st_size for file in folder.files.values())
    return Opened(path, model, scopes, size)


def _parse(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    size = path.stat().st_size
    if not size:
        raise FormatError(f"{path}: the file is empty")
    if size >= MAX_BYTES:
        raise FormatError(f"{path}: not an ONNX file: it has {size:,} bytes, must be fewer than {MAX_BYTES:,}")
    data = path.read_bytes()
    try:
        model = onnx.load_from_string(data)
    except DecodeError as error:
        raise FormatError(f"{path}: not an ONNX file, or a truncated one") from error
    if not model.HasField("graph") or not model.graph.output or model.ir_version < 1:
        raise FormatError(f"{path}: not an ONNX file, or a truncated one: it has no graph")
    if model.ir_version >= 3 and not model.opset_import:
        raise FormatError(f"{path}: not an ONNX file, or a truncated one: it names no operator set")
    names = [value.name for value in (*model.graph.input, *model.graph.output)]
    functions = [text for function in model.functions for text in (function.domain, function.name)]
    operators = [entry.domain for entry in model.opset_import]
    stated = [model.producer_name, model.producer_version, model.graph.name, model.domain, model.doc_string]
    stated += [text for entry in model.metadata_props for text in (entry.key, entry.value)]
    symbols = [dim.dim_param for value in (*model.graph.input, *model.graph.output) for dim in value.type.tensor_type.shape.dim]
    _require_text(path, *stated, *names, *functions, *operators, *symbols)
    return model


def _require_text(path: Path, *texts: str) -> None:
    """Raise FormatError for names that are not UTF-8, which protobuf returns as bytes."""
    for text in texts:
        if not isinstance(text, str):
            raise FormatError(f"{path}: damaged: the name {text!r} is not text")


@dataclass
class _External:
    """The external data of a model; `files` read so far, by location."""

    path: Path
    files: dict[str, Path] = field(default_factory=dict)

    def load(self, tensor: TensorProto) -> tuple[np.ndarray, str]:
        """(values, storage); memory-mapped unless the type is packed."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        file = self._file(tensor, location)
        offset = self._number(tensor, "offset", entries.get("offset", "0"))
        rest = file.stat().st_size - offset
        length = self._number(tensor, "length", entries.get("length", str(max(rest, 0))))
        if length > rest:
            raise self._error(tensor, f"bytes {offset} to {offset + length} are needed, {location!r} ends at {offset + rest}")
        dtype, shape = _dtype(self.path, tensor.data_type), _shape(self.path, tensor)
        if dtype.kind == "O":
            raise self._error(tensor, "strings cannot be external")
        if length != _packed_bytes(math.prod(shape), dtype):
            raise self._error(tensor, f"{length} bytes are given, {list(shape)} values of {dtype.name} are expected")
        if length and _bits(dtype) == 8 * dtype.itemsize:
            return np.memmap(file, dtype.newbyteorder("<"), "r", offset, shape), f"{location}:{offset}"
        inline = TensorProto(data_type=tensor.data_type, dims=tensor.dims, name=tensor.name)
        with file.open("rb") as stream:
            stream.seek(offset)
            inline.raw_data = stream.read(length)
        return _array(self.path, inline), f"{location}:{offset}"

    def _file(self, tensor: TensorProto, location: str) -> Path:
        if location not in self.files:
            folder = _real(self.path.parent)
            if not location or "\0" in location or not _real(folder / location).is_relative_to(folder):
                raise self._error(tensor, f"{location!r} must lie in the file's folder")
            if not _is_file(folder / location):
                raise self._error(tensor, f"{location!r} is missing in {folder}")
            self.files[location] = folder / location
        return self.files[location]

    def _number(self, tensor: TensorProto, key: str, text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 19):
            raise self._error(tensor, f"{key} {text!r} must be a number of bytes")
        return int(text)

    def _error(self, tensor: TensorProto, text: str) -> FormatError:
        return FormatError(f"{self.path}: external data of {tensor.name!r}: {text}")


@dataclass(frozen=True, eq=False)
class ReadScope:
    """The nodes of a graph or function; `stored`: its constants by local name, (values, storage); `sparse`: shape of the sparse
    ones, of which `stored` has the nonzero values."""

    prefix: str
    nodes: Sequence[NodeProto]
    stored: Mapping[str, tuple[np.ndarray, str]]
    parent: ReadScope | None
    sparse: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def find(self, name: str) -> tuple[ReadScope, str] | None:
        """Resolve a constant's name to (defining scope, name)."""
        if name in self.stored:
            return self, name
        return self.parent.find(name) if self.parent else None

    def integers(self, name: str) -> tuple[ReadScope, str] | None:
        """Like `find`, through a Cast, which widens 4-bit integers."""
        return self.find(self.casts.get(name, name))

    @cached_property
    def casts(self) -> Mapping[str, str]:
        """Input of each Cast, by its output."""
        return {output: node.input[0] for node in self.nodes if kind(node) == "Cast" and node.input for output in node.output}

    def value(self, node: NodeProto, index: int) -> tuple[float, ...]:
        """Flat values of a node's constant input; empty if it has none."""
        found = self.find(node.input[index]) if index < len(node.input) else None
        return tuple(found[0].stored[found[1]][0].ravel().tolist()) if found else ()


Body = tuple[GraphProto | FunctionProto, str, int | None, int]
"""(graph or function, prefix of its constants' names, index of its parent, opset)."""


def bodies(model: onnx.ModelProto) -> Iterator[Body]:
    """Yield all graphs and functions, parents first."""
    place = -1

    def nested(proto: GraphProto | FunctionProto, prefix: str, parent: int | None, opset: int) -> Iterator[Body]:
        nonlocal place
        place += 1
        mine = place
        yield proto, prefix, parent, opset
        for node in proto.node:
            for attribute in node.attribute:
                graphs = [attribute.g] if attribute.type == AttributeProto.GRAPH else [*attribute.graphs]
                for i, graph in enumerate(graphs):
                    way = f"{prefix}{node.name or next(iter(node.output), node.op_type)}/{attribute.name}/"
                    yield from nested(graph, way + (f"{i}/" if i else ""), mine, opset)

    yield from nested(model.graph, "", None, _opset(model.opset_import))
    for function in model.functions:
        imports = function.opset_import or model.opset_import
        yield from nested(function, f"{function.domain}.{function.name}/", None, _opset(imports))


def _opset(imports: Iterable[onnx.OperatorSetIdProto]) -> int:
    return next((entry.version for entry in imports if entry.domain in ("", "ai.onnx")), 0)


def _stored_in(proto: GraphProto | FunctionProto, prefix: str, folder: _External) -> dict[str, tuple[np.ndarray, str]]:
    """The constants of a graph or function by name: (values, storage)."""
    for node in proto.node:
        attributes = [attribute.name for attribute in node.attribute]
        _require_text(folder.path, node.name, node.op_type, node.domain, *node.input, *node.output, *attributes)
    stored: dict[str, tuple[np.ndarray, str]] = {}
    tensors: list[TensorProto] = []
    if isinstance(proto, GraphProto):
        parts = (part for sparse in proto.sparse_initializer for part in (sparse.values, _indices(sparse)))
        tensors += [*proto.initializer, *parts]
    tensors += [tensor for node in proto.node if kind(node) == "Constant" for tensor in _constant_node(node)]
    for tensor in tensors:
        _require_text(folder.path, tensor.name, *(text for entry in tensor.external_data for text in (entry.key, entry.value)))
        if tensor.name in stored:
            raise FormatError(f"{folder.path}: two constants have the name {prefix + tensor.name!r}")
        external = tensor.data_location == TensorProto.EXTERNAL
        stored[tensor.name] = folder.load(tensor) if external else (_array(folder.path, tensor), prefix + tensor.name)
        stored[tensor.name][0].flags.writeable = False
    return stored


def _sparse_shapes(proto: GraphProto | FunctionProto) -> dict[str, tuple[int, ...]]:
    """Shape of each sparse constant of a graph or function, by name."""
    found = {each.values.name: tuple(each.dims) for each in (proto.sparse_initializer if isinstance(proto, GraphProto) else ())}
    for node in proto.node:
        for each in node.attribute if kind(node) == "Constant" and node.output else ():
            if each.name == "sparse_value":
                found[node.output[0]] = tuple(each.sparse_tensor.dims)
    return found


def _indices(sparse: onnx.SparseTensorProto, name: str = "") -> TensorProto:
    indices = TensorProto()
    indices.CopyFrom(sparse.indices)
    indices.name = f"{name or sparse.values.name}.indices"
    return indices


def _constant_node(node: NodeProto) -> Iterator[TensorProto]:
    """The tensors of a `Constant` node, from any of its attributes."""
    if not node.output:
        return
    name = node.output[0]
    for attribute in node.attribute:
        tensor = TensorProto()
        if attribute.name == "value":
            tensor.CopyFrom(attribute.t)
        elif attribute.name == "sparse_value":
            tensor.CopyFrom(attribute.sparse_tensor.values)
            yield _indices(attribute.sparse_tensor, name)
        elif attribute.name in _NUMBERS:
            dtype = np.int64 if "int" in attribute.name else np.float32
            tensor = numpy_helper.from_array(np.array(getattr(attribute, _NUMBERS[attribute.name]), dtype))
        else:
            continue
        tensor.name = name
        yield tensor


def _constants(scopes: Sequence[ReadScope]) -> Iterator[Constant]:
    """One constant per stored tensor and quantization."""
    uses: dict[tuple[str, str], dict[tuple[Any, ...], None]] = {}
    for scope in scopes:
        for node in scope.nodes:
            for data, scale, zero_point in QUANTIZED_INPUTS.get(kind(node), ()):
                found = scope.integers(node.input[data]) if data < len(node.input) else None
                scales = scope.value(node, scale)
                if found and scales:
                    zero_points = tuple(int(value) for value in scope.value(node, zero_point)) or (0,) * len(scales)
                    rank = found[0].stored[found[1]][0].ndim
                    axis = _axis(node, rank) if len(scales) > 1 else 0
                    uses.setdefault((found[0].prefix, found[1]), {})[scales, zero_points, axis] = None
    for scope in scopes:
        for name, (values, storage) in scope.stored.items():
            encoded = (f"sparse {values.dtype.name}", scope.sparse[name]) if name in scope.sparse else None
            for quantization in uses.get((scope.prefix, name), {((), (), 0): None}):
                yield Constant(scope.prefix + name, values, storage, *quantization, stored=_stored(values), encoded=encoded)


def _axis(node: NodeProto, rank: int) -> int:
    """Dimension of a node's per-channel scales."""
    axis = attribute(node, "axis", 1)
    return axis + rank if axis < 0 else min(axis, max(rank - 1, 0))


def kind(node: NodeProto) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def attribute(node: NodeProto, name: str, default: int) -> int:
    """An integer attribute of a node."""
    return next((each.i for each in node.attribute if each.name == name), default)


def _tensor_info(path: Path, value: onnx.ValueInfoProto, scope: ReadScope) -> TensorInfo:
    if not value.type.HasField("tensor_type"):
        return TensorInfo(value.name, value.type.WhichOneof("value") or "unknown", ())
    tensor = value.type.tensor_type
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
    dtype = "string" if tensor.elem_type == TensorProto.STRING else _dtype(path, tensor.elem_type).name
    symbols = tuple(dim.dim_param for dim in tensor.shape.dim)
    return TensorInfo(value.name, dtype, shape, *_value_quantization(value.name, scope), symbols)


def _value_quantization(name: str, scope: ReadScope) -> tuple[float | None, int | None]:
    """Scale and zero point of an integer input or output, from the node that dequantizes or quantizes it."""
    producers = {output: node for node in scope.nodes for output in node.output}
    around = [node for node in scope.nodes if node.op_type == "DequantizeLinear" and node.input[:1] == [name]]
    seen = {name}
    while name in producers and kind(producers[name]) in _KEPT and producers[name].input:
        name = producers[name].input[0]
        if name in seen:
            break
        seen.add(name)
    if name in producers and producers[name].op_type == "QuantizeLinear":
        around.append(producers[name])
    for node in around:
        scales, zero_points = scope.value(node, 1), scope.value(node, 2)
        if len(scales) == 1:
            return float(scales[0]), int(zero_points[0]) if zero_points else 0
    return None, None


def _real(path: Path) -> Path:
    """Resolve symbolic links; unlike `Path.resolve`, a loop is no error."""
    return Path(os.path.realpath(path))


def _is_file(path: Path) -> bool:
    """`Path.is_file`; False for a name that is too long."""
    try:
        return path.is_file()
    except OSError:
        return False


def _bits(dtype: np.dtype) -> int:
    """Bits per value in the file."""
    return next((bits for name, bits in _PACKED.items() if name in dtype.name), 8 * dtype.itemsize)


def _packed_bytes(count: int, dtype: np.dtype) -> int:
    return -(-count * _bits(dtype) // 8)


def _stored(values: np.ndarray) -> int | None:
    """Bytes in the file if they differ from `nbytes`."""
    if values.dtype.kind == "O":
        return sum(len(text) for text in values.ravel().tolist())
    size = _packed_bytes(values.size, values.dtype)
    return None if size == values.nbytes else size


def _shape(path: Path, tensor: TensorProto) -> tuple[int, ...]:
    shape = tuple(tensor.dims)
    if len(shape) > MAX_AXES or min(shape, default=0) < 0:
        raise FormatError(f"{path}: constant {tensor.name!r} is damaged: its shape is {list(shape[: MAX_AXES + 1])}")
    return shape


def _dtype(path: Path, element: int) -> np.dtype:
    try:
        return np.dtype(helper.tensor_dtype_to_np_dtype(element))
    except KeyError as error:
        raise FormatError(f"{path}: unknown element type {element}") from error


def _array(path: Path, tensor: TensorProto) -> np.ndarray:
    """Values of a tensor that is stored in the model."""
    _shape(path, tensor)
    _dtype(path, tensor.data_type)
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(f"{path}: constant {tensor.name!r} is damaged: {reason}") from error
