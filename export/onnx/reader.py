"""Reads any .onnx file without running it. A damaged file raises FormatError.

Specification: https://onnx.ai/onnx/repo-docs/IR.html and https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import FunctionProto, GraphProto, NodeProto, TensorProto, numpy_helper

from tiedae.base.errors import FormatError
from tiedae.base.limits import PROTOBUF

from ..model_file import Constant, Contents, Signature, TensorInfo
from .quantization import quantizations
from .scopes import ReadScope, annotated_in, bodies, kind
from .tensors import TensorData, bytes_in_file, content, dtype_of
from .wire import split

_NUMBERS = {"value_float": "f", "value_floats": "floats", "value_int": "i", "value_ints": "ints"}
"""Fields of a `Constant` node's number attributes."""

_KEPT = ("Clip", "Identity", "MaxPool", "Resize", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze")
"""Operations whose output has the quantization of their first input."""


def read_onnx(path: Path) -> Contents:
    """Parse an .onnx file and its external data.

    Constants are the initializers and `Constant` nodes of the graph, of nested graphs and of local functions; names of the
    inner ones are prefixed with their path. Values have the stored dtype and shape; larger files are memory-mapped. `storage`
    is the constant's name, or FILE:OFFSET in external data. An integer constant that is dequantized with two quantizations
    yields two constants over one storage. The only signature has the graph's name.

    Raises FormatError for a truncated, empty, damaged or foreign file, and for external data that is missing, too short or
    outside the file's folder.
    """
    return open_onnx(path).contents


@dataclass(frozen=True, eq=False)
class Opened:
    """A parsed model; `scopes` in the order of `bodies`, `size` in bytes including external data.

    Larger tensors of `model` are placeholders (`onnx_wire`); `data` has the values of all.
    """

    path: Path
    model: onnx.ModelProto
    data: TensorData
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
    model, data = _parse(path)
    scopes: list[ReadScope] = []
    for proto, prefix, parent, _ in bodies(model):
        around = None if parent is None else scopes[parent]
        stored = _stored_in(proto, prefix, data)
        scopes.append(ReadScope(prefix, proto.node, stored, around, _sparse_shapes(proto), annotated_in(proto)))
    return Opened(path, model, data, scopes, path.stat().st_size + data.size)


def _parse(path: Path) -> tuple[onnx.ModelProto, TensorData]:
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    size = path.stat().st_size
    if not size:
        raise FormatError(f"{path}: the file is empty")
    if size >= PROTOBUF:
        raise FormatError(f"{path}: not an ONNX file: it has {size:,} bytes, must be fewer than {PROTOBUF:,}")
    encoded, inside = split(content(path))
    try:
        model = onnx.load_from_string(encoded)
    except DecodeError as error:
        raise FormatError(f"{path}: not an ONNX file, or a truncated one") from error
    if not model.HasField("graph") or not model.graph.output or model.ir_version < 1:
        raise FormatError(f"{path}: not an ONNX file, or a truncated one: it has no graph")
    if model.ir_version >= 3 and not model.opset_import:
        raise FormatError(f"{path}: not an ONNX file, or a truncated one: it names no operator set")
    names = [value.name for value in (*model.graph.input, *model.graph.output)]
    for ends, what in ((model.graph.input, "inputs"), (model.graph.output, "outputs")):
        if twice := [name for name, count in Counter(value.name for value in ends).items() if count > 1]:
            raise FormatError(f"{path}: damaged: two {what} have the name {twice[0]!r}")
    functions = [text for function in model.functions for text in (function.domain, function.name)]
    operators = [entry.domain for entry in model.opset_import]
    stated = [model.producer_name, model.producer_version, model.graph.name, model.domain, model.doc_string]
    stated += [text for entry in model.metadata_props for text in (entry.key, entry.value)]
    symbols = [dim.dim_param for value in (*model.graph.input, *model.graph.output) for dim in value.type.tensor_type.shape.dim]
    _require_text(path, *stated, *names, *functions, *operators, *symbols)
    return model, TensorData(path, inside)


def _require_text(path: Path, *texts: str) -> None:
    """Raise FormatError for names that are not UTF-8, which protobuf returns as bytes."""
    for text in texts:
        if not isinstance(text, str):
            raise FormatError(f"{path}: damaged: the name {text!r} is not text")


def _stored_in(proto: GraphProto | FunctionProto, prefix: str, data: TensorData) -> dict[str, tuple[np.ndarray, str]]:
    """The constants of a graph or function by name: (values, storage)."""
    ends = [*proto.input, *proto.output]
    _require_text(data.path, *(each.name if isinstance(each, onnx.ValueInfoProto) else each for each in ends))
    for node in proto.node:
        attributes = [attribute.name for attribute in node.attribute]
        _require_text(data.path, node.name, node.op_type, node.domain, *node.input, *node.output, *attributes)
    stored: dict[str, tuple[np.ndarray, str]] = {}
    tensors: list[TensorProto] = []
    if isinstance(proto, GraphProto):
        parts = (part for sparse in proto.sparse_initializer for part in (sparse.values, _indices(sparse)))
        tensors += [*proto.initializer, *parts]
    tensors += [tensor for node in proto.node if kind(node) == "Constant" for tensor in _constant_node(node)]
    for tensor in tensors:
        _require_text(data.path, tensor.name, *(text for entry in tensor.external_data for text in (entry.key, entry.value)))
        if not tensor.name:
            raise FormatError(f"{data.path}: damaged: a constant of {prefix or 'the graph'} has no name")
        if tensor.name in stored:
            raise FormatError(f"{data.path}: two constants have the name {prefix + tensor.name!r}")
        stored[tensor.name] = data.load(tensor, prefix + tensor.name)
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
    found = quantizations(scopes)
    for scope in scopes:
        for name, (values, storage) in scope.stored.items():
            encoded = (f"sparse {values.dtype.name}", scope.sparse[name]) if name in scope.sparse else None
            for steps in found.get((scope.prefix, name), {((), (), 0): None}):
                yield Constant(scope.prefix + name, values, storage, *steps, stored=bytes_in_file(values), encoded=encoded)


def _tensor_info(path: Path, value: onnx.ValueInfoProto, scope: ReadScope) -> TensorInfo:
    if not value.type.HasField("tensor_type"):
        return TensorInfo(value.name, value.type.WhichOneof("value") or "unknown", ())
    tensor = value.type.tensor_type
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
    dtype = "string" if tensor.elem_type == TensorProto.STRING else dtype_of(path, tensor.elem_type).name
    symbols = tuple(dim.dim_param for dim in tensor.shape.dim)
    return TensorInfo(value.name, dtype, shape, *_value_quantization(value.name, scope), symbols)


def _value_quantization(name: str, scope: ReadScope) -> tuple[float | None, int | None]:
    """Scale and zero point of an integer input or output, from its annotation, or the node that dequantizes or quantizes it."""
    scales, zero_points = map(scope.values, scope.annotated.get(name, ("", "")))
    if len(scales) == 1:
        return float(scales[0]), int(zero_points[0]) if zero_points else 0
    producers = {output: node for node in scope.nodes for output in node.output}
    seen, same = {name}, {name}
    for node in scope.nodes:
        if kind(node) in _KEPT and same.intersection(node.input[:1]):
            same.update(node.output)
    around = [node for node in scope.nodes if node.op_type == "DequantizeLinear" and same.intersection(node.input[:1])]
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
