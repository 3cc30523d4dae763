"""A chain of layers from a SavedModel of TensorFlow 2, from its graph: with Keras metadata or without.

TensorFlow parses the files; no function of the model runs. A resource is one variable, behind whichever operations it is:
MatMul with transpose_b or without, Transpose. Source: tensorflow/core/protobuf/saved_object_graph.proto
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from tiedae.base.errors import FormatError, InputError, listed
from tiedae.base.packages import require_installed

from . import graph
from .chain import Chain, ChainArray
from .flow import GraphConstant, Node, Unread, Value
from .saved_model_rows import FIRST, FLOATS, INTEGERS, OPERATIONS

PROTOBUF = "saved_model.pb"
CHECKPOINT = "variables/variables"
SIGNATURE = "serving_default"
MAX_NODES = 100_000
"""Operations at most, of functions that call functions."""
MAX_REPEATED = 2**20
"""Values at most of a constant that stores one value for many."""


def read_saved_model(path: Path) -> Chain:
    """The chain of a SavedModel folder: of its signature `serving_default`, or of its only signature or function.

    Operations that no chain has are `Refused` layers. Raises NotInstalledError without TensorFlow, FormatError for damaged and
    missing files, InputError for a model of TensorFlow 1, several inputs or signatures, and an input of unknown shape.
    """
    if not (path / PROTOBUF).is_file():
        raise FormatError(f"{path}: not a SavedModel: {PROTOBUF} is missing")
    require_installed("tensorflow")
    try:
        return _chain(path, _parsed(path))
    except (IndexError, KeyError, ValueError, CycleError, RecursionError) as error:
        raise FormatError(f"{path}: the SavedModel is damaged ({type(error).__name__}: {error})") from None


def _parsed(path: Path) -> Any:
    """Its MetaGraphDef."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    model = SavedModel()
    try:
        model.ParseFromString((path / PROTOBUF).read_bytes())
    except DecodeError:
        raise FormatError(f"{path}: {PROTOBUF} is damaged or truncated") from None
    if not model.meta_graphs:
        raise FormatError(f"{path}: {PROTOBUF} is damaged or truncated: it has no graph")
    if not model.meta_graphs[0].object_graph_def.nodes:
        raise InputError(f"{path}: a SavedModel of TensorFlow 1, must be one of TensorFlow 2 (tf.saved_model.save)")
    return model.meta_graphs[0]


def _chain(path: Path, model: Any) -> Chain:
    functions = {function.signature.name: function for function in model.graph_def.library.function}
    called = _called(path, model.object_graph_def)
    function, captures = functions[called], model.object_graph_def.concrete_functions[called].bound_inputs
    arguments = [argument.name for argument in function.signature.input_arg]
    inputs = len(arguments) - len(captures)
    name = graph.one_input(str(path), arguments[:inputs])
    samples = _samples(path, name, function)
    nodes, outputs = _inline(functions, called, arguments, (), iter(range(MAX_NODES)))
    for node in nodes:
        if node.op.startswith("Assign"):
            raise InputError(f"{path}: {node.name} ({node.op}): changes a variable, must be a model for inference")
    values = {name: samples} | dict(zip(arguments[inputs:], _captured(path, model, captures), strict=True))
    values |= {node.outputs[0]: _constant(path, node.name, node.attributes["value"]) for node in nodes if node.op == "Const"}
    graph.trace(str(path), (node for node in nodes if node.op != "Const"), values, OPERATIONS)
    return graph.chain_to(samples, {each: values.get(value) for each, value in outputs.items()}, "SavedModel")


def _called(path: Path, objects: Any) -> str:
    """The name of the function that is the model."""
    root = {child.local_name: objects.nodes[child.node_id] for child in objects.nodes[0].children}
    signatures = root["signatures"].children if "signatures" in root else ()
    found = {
        child.local_name: objects.nodes[child.node_id].bare_concrete_function.concrete_function_name for child in signatures
    }
    if not found:
        traces = [(each, name) for each, node in root.items() for name in node.function.concrete_functions]
        found = {f"{each} ({name})": name for each, name in traces}
    if SIGNATURE not in found and len(found) != 1:
        names = listed(sorted(found)) or "none"
        raise InputError(f"{path}: signatures or functions {names}, must have {SIGNATURE} or only one")
    return found.get(SIGNATURE) or next(iter(found.values()))


def _samples(path: Path, name: str, function: Any) -> graph.Flow:
    argument = function.signature.input_arg[0]
    if argument.type not in (*FLOATS, *INTEGERS):
        from tensorflow import as_dtype

        raise InputError(f"{path}: input {name}: dtype {as_dtype(argument.type).name}, must be float32, float64 or integers")
    shapes = function.arg_attr[0].attr["_output_shapes"].list.shape
    known = shapes and not shapes[0].unknown_rank
    return graph.start(str(path), name, [None if axis.size < 0 else axis.size for axis in shapes[0].dim] if known else None)


def _inline(
    functions: Mapping[str, Any], called: str, arguments: Sequence[str], calls: tuple[str, ...], budget: Iterator[int]
) -> tuple[list[Node], dict[str, str]]:
    """The operations of a function and of those that it calls, in the order in which they compute; its outputs by name.

    Values are named by the calls and the operation that gives them.
    """
    function, nodes, results = functions[called], [], {}
    given = {argument.name: value for argument, value in zip(function.signature.input_arg, arguments, strict=True)}
    bodies = {node.name: node for node in function.node_def}
    order = TopologicalSorter({name: {_parts(each)[0] for each in node.input} & {*bodies} for name, node in bodies.items()})

    def value(reference: str) -> str:
        name, output, number = _parts(reference)
        if name in results:
            return results[name][int(number)]
        if name in bodies and bodies[name].op == "Split":
            return _output("/".join((*calls, name)), int(number))
        first = number == "0" and output == FIRST.get(bodies[name].op, output) if name in bodies else False
        return "/".join((*calls, name)) if first else given.get(reference, reference)

    for name in order.static_order():
        node = bodies[name]
        if next(budget, None) is None:
            raise ValueError(f"more than {MAX_NODES:,} operations")
        inputs = tuple(value(each) for each in node.input if not each.startswith("^"))
        attributes = {key: getattr(held, held.WhichOneof("value") or "s") for key, held in node.attr.items()}
        if node.op in _CALLS:
            inner, outputs = _inline(functions, attributes["f"].name, inputs, (*calls, name), budget)
            nodes += inner
            results[name] = list(outputs.values())
        else:
            path = "/".join((*calls, name))
            outputs = [_output(path, number) for number in range(attributes["num_split"])] if node.op == "Split" else [path]
            nodes.append(Node(_CALL_NAME.sub("", path), node.op, inputs, tuple(outputs), attributes))
    return nodes, {output.name: value(function.ret[output.name]) for output in function.signature.output_arg}


def _output(path: str, number: int) -> str:
    """What an output of an operation with several is called."""
    return f"{path}:{number}" if number else path


def _parts(reference: str) -> tuple[str, str, str]:
    """(node, output, number) of an input of a node; of an argument or a control input only the first."""
    name, output, number = [*reference.removeprefix("^").split(":"), "", ""][:3]
    return name, output, number


def _captured(path: Path, model: Any, captures: Sequence[int]) -> Iterator[Value]:
    """What a function has besides its inputs: variables, and constants of the graph."""
    objects, constants = model.object_graph_def, {node.name: node for node in model.graph_def.node if node.op == "Const"}
    checkpoint = _Checkpoint(path)
    keys = _keys(objects, checkpoint.objects())
    for index in captures:
        captured, kind = objects.nodes[index], objects.nodes[index].WhichOneof("kind")
        if kind == "variable":
            yield GraphConstant(checkpoint.stored(captured.variable.name, keys.get(index, "")))
        elif kind == "constant":
            name = captured.constant.operation
            yield _constant(path, name, constants[name].attr["value"].tensor)
        else:
            yield Unread(Node(f"object {index}", str(kind), (), ()), "is neither a variable nor a constant")


def _keys(objects: Any, saved: Any) -> dict[int, str]:
    """Keys in the checkpoint of the variables among a model's objects, by index: both are trees with the same names."""
    keys: dict[int, str] = {}
    pairs, seen = [(0, 0)], {0}
    for index, other in pairs:
        keys.update((index, each.checkpoint_key) for each in saved.nodes[other].attributes if each.name == "VARIABLE_VALUE")
        others = {child.local_name: child.node_id for child in saved.nodes[other].children}
        for child in objects.nodes[index].children:
            if child.local_name in others and child.node_id not in seen:
                seen.add(child.node_id)
                pairs.append((child.node_id, others[child.local_name]))
    return keys


class _Checkpoint:
    """The variables of a SavedModel by key."""

    def __init__(self, path: Path) -> None:
        from tensorflow import errors, train

        self._path, self._errors = path, (errors.OpError, IndexError, ValueError, RuntimeError)
        data = list((path / CHECKPOINT).parent.glob("variables.data-*"))
        if not data or not (path / f"{CHECKPOINT}.index").is_file():
            raise FormatError(f"{path}: {CHECKPOINT}.index or .data is missing")
        self._bytes = sum(file.stat().st_size for file in data)
        self._reader = self._called(train.load_checkpoint, str(path / CHECKPOINT))
        self._shapes = self._called(self._reader.get_variable_to_shape_map)
        self._dtypes = self._called(self._reader.get_variable_to_dtype_map)

    def objects(self) -> Any:
        """The tree of the objects that were saved."""
        from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

        try:
            return TrackableObjectGraph.FromString(self._called(self._reader.get_tensor, _OBJECTS))
        except DecodeError:
            raise FormatError(f"{self._path}: {CHECKPOINT}: {_OBJECTS} is damaged") from None

    def stored(self, name: str, key: str) -> ChainArray:
        """A variable as an array that is read when it is asked for; FormatError if the checkpoint lacks it."""
        shape = tuple(self._shapes.get(key, (-1,)))
        if key not in self._shapes or math.prod(shape) > self._bytes:
            raise FormatError(f"{self._path}: variable {name} is not in {CHECKPOINT}, or not all of it")
        dtype = np.dtype(self._dtypes[key].as_numpy_dtype).name
        return ChainArray(key.removesuffix(_SUFFIX), shape, partial(self._called, self._reader.get_tensor, key), dtype)

    def _called(self, function: Callable[..., Any], *values: Any) -> Any:
        try:
            return function(*values)
        except self._errors as error:
            raise FormatError(f"{self._path}: {CHECKPOINT} cannot be read: {(str(error) or '?').splitlines()[0]}") from None


_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_CALL_NAME = re.compile(r"(Stateful)?PartitionedCall(_\d+)?/")


def _constant(path: Path, name: str, tensor: Any) -> GraphConstant:
    shape = tuple(axis.size for axis in tensor.tensor_shape.dim)
    if min(shape, default=0) < 0 or math.prod(shape) > max(MAX_REPEATED, tensor.ByteSize()):
        raise FormatError(f"{path}: constant {name} is damaged: its shape is {list(shape)}")
    return GraphConstant(ChainArray(name, shape, partial(_array, path, name, tensor)))


def _array(path: Path, name: str, tensor: Any) -> np.ndarray:
    from tensorflow import make_ndarray

    try:
        return make_ndarray(tensor)
    except (ValueError, TypeError) as error:
        raise FormatError(f"{path}: constant {name} is damaged: {(str(error) or '?').splitlines()[0]}") from None
