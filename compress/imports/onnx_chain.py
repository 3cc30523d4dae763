"""A chain of layers from an .onnx file: what torch and tf2onnx write for an autoencoder.

An initializer is one variable, behind whichever operations it is: MatMul and Transpose, Gemm with transB 0 and 1. Initializers
of equal values are different variables. Specification: https://onnx.ai/onnx/operators
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import NodeProto, TensorProto, ValueInfoProto, checker, helper, numpy_helper

from tiedae.base.errors import FormatError, InputError
from tiedae.base.limits import PROTOBUF
from tiedae.base.records import LARGEST

from . import graph
from .chain import Chain, ChainArray
from .flow import Flow, GraphConstant, Node, Unread, Value
from .onnx_rows import FLOATS, INTEGERS, OPERATIONS, READ, computed

MIN_OPSET = 7
"""The first opset in which operations broadcast as NumPy does."""
_ONNX = ("", "ai.onnx")
"""Names of the domain of the standard's operations."""


Read = Callable[[TensorProto], np.ndarray]
"""The values of a tensor, of its dtype and shape."""


def read_onnx(path: Path) -> Chain:
    """The chain of an .onnx file with one input [batch, …]; its operations that no chain has are `Refused` layers.

    Raises FormatError for a damaged file and for external data that is missing, too short or outside the file's folder;
    InputError for an opset before 7, several inputs, float16, and an input of unknown shape.
    """
    return chain_of_proto(path, _parsed(path), partial(_array, path))


def chain_of_proto(path: Path, model: onnx.ModelProto, read: Read) -> Chain:
    """The chain of a parsed file; `read`: the values of a tensor, which may be none in `model`. Raises as `read_onnx`."""
    _require_readable(path, model)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    values: dict[str, Value] = {name: _constant(path, tensor, name, read) for name, tensor in initializers.items()}
    inputs = {each.name: each for each in model.graph.input if each.name not in initializers}
    name = graph.one_input(str(path), list(inputs))
    values[name] = samples = _start(path, inputs[name])
    opset = _opset(model)
    nodes = [_node(path, node, opset) for node in model.graph.node]
    values.update((node.outputs[0], _constant_node(path, node, read)) for node in nodes if node.op == "Constant")
    graph.trace(str(path), (node for node in nodes if node.op != "Constant"), values, OPERATIONS)
    return graph.chain_to(samples, {each.name: values.get(each.name) for each in model.graph.output}, "ONNX")


def _parsed(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    if (size := path.stat().st_size) >= PROTOBUF:
        raise FormatError(f"{path}: not an ONNX file: it has {size:,} bytes, must be fewer than {PROTOBUF:,}")
    try:
        return onnx.load_model(path, load_external_data=False)
    except (DecodeError, ValueError):
        raise FormatError(f"{path}: not an ONNX file, or a truncated one") from None


def _require_readable(path: Path, model: onnx.ModelProto) -> None:
    if not model.graph.output or not model.opset_import:
        raise FormatError(f"{path}: not an ONNX file, or a truncated one: it has no graph")
    if (opset := _opset(model)) < MIN_OPSET:
        raise InputError(f"{path}: opset {opset}, must be {MIN_OPSET} or newer: onnx.version_converter converts it")
    if opset > LARGEST:
        raise FormatError(f"{path}: damaged: opset {opset}")
    _require_text(path, model.graph)


def _opset(model: onnx.ModelProto) -> int:
    return max((entry.version for entry in model.opset_import if entry.domain in _ONNX), default=0)


def _require_text(path: Path, graph: onnx.GraphProto) -> None:
    """Raise FormatError for names that cannot be printed, also those that are not UTF-8, which protobuf returns as bytes."""
    named = [each.name for each in (*graph.input, *graph.output, *graph.initializer)]
    nodes = [text for node in graph.node for text in (node.name, node.op_type, node.domain, *node.input, *node.output)]
    attributes = [each.name for node in graph.node for each in node.attribute]
    if damaged := [text for text in (*named, *nodes, *attributes) if not (isinstance(text, str) and text.isprintable())]:
        raise FormatError(f"{path}: damaged: the name {damaged[0]!r} is not text")


def _start(path: Path, value: ValueInfoProto) -> Flow:
    tensor = value.type.tensor_type
    if tensor.elem_type not in (*FLOATS, *INTEGERS):
        dtype = TensorProto.DataType.Name(tensor.elem_type) if tensor.elem_type in TensorProto.DataType.values() else "unknown"
        raise InputError(f"{path}: input {value.name}: dtype {dtype.lower()}, must be float32, float64 or integers")
    axes = [axis.dim_value if axis.HasField("dim_value") else None for axis in tensor.shape.dim]
    return graph.start(str(path), value.name, axes if tensor.HasField("shape") else None)


def _constant(path: Path, tensor: TensorProto, name: str, read: Read) -> GraphConstant:
    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type).name
    except KeyError:
        raise FormatError(f"{path}: constant {name!r} is damaged: dtype {tensor.data_type}") from None
    return GraphConstant(ChainArray(name, tuple(tensor.dims), partial(read, tensor), dtype))


def _array(path: Path, tensor: TensorProto) -> np.ndarray:
    """The values of a constant, from its external data where it has some."""
    try:
        values = numpy_helper.to_array(tensor, str(path.parent))
        return values.reshape(tuple(tensor.dims))
    except (ValueError, TypeError, KeyError, OSError, checker.ValidationError) as error:
        raise FormatError(f"{path}: constant {tensor.name!r} cannot be read: {_first_line(error)}") from None


def _node(path: Path, node: NodeProto, opset: int) -> Node:
    """A node; an operation of another domain than ONNX is called by it. The operations that are read are checked."""
    op = node.op_type if node.domain in _ONNX else f"{node.domain}.{node.op_type}"
    name = node.name or next(iter(node.output), "")
    if not node.output or not node.output[0]:
        raise FormatError(f"{path}: damaged: a node ({op}) has no output")
    if referring := [each.name for each in node.attribute if each.ref_attr_name]:
        raise FormatError(f"{path}: damaged: {name} ({op}): {referring[0]} is that of a function, and this is none")
    if op in READ and op != "Constant":  # whose values may be elsewhere
        context = type(checker.DEFAULT_CONTEXT)()
        context.ir_version, context.opset_imports = onnx.IR_VERSION, {"": opset}
        try:
            checker.check_node(node, context)
        except (checker.ValidationError, ValueError) as error:
            raise FormatError(f"{path}: damaged: {name} ({op}): {_first_line(error)}") from None
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute} if op in READ else {}
    return Node(name, op, tuple(node.input), tuple(node.output), attributes)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _constant_node(path: Path, node: Node, read: Read) -> Value:
    """What a Constant is: its only attribute, an array or numbers."""
    value = next(iter(node.attributes.values()), None)
    if isinstance(value, TensorProto):
        return _constant(path, value, node.outputs[0], read)
    return computed(node.outputs[0], np.asarray(value)) if isinstance(value, (int, float, list)) else Unread(node)
