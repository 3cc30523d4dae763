"""An ONNX model opened for rewriting: graphs, functions, constants, their readers, and serialization.

The model has placeholders for larger constants (`onnx_wire`), so that neither shape inference nor edits copy them. What is not
edited stays: metadata, functions, annotations, unknown fields.

Specification: https://onnx.ai/onnx/repo-docs/IR.html and https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any

import numpy as np
import onnx
from onnx import FunctionProto, GraphProto, NodeProto, TensorProto, helper

from tiedae.base.errors import ExportError, FormatError
from tiedae.export.onnx.kernels import PAGE
from tiedae.export.onnx.reader import Opened
from tiedae.export.onnx.scopes import bodies, kind
from tiedae.export.onnx.tensors import data_of
from tiedae.export.onnx.wire import LARGE, join, place, placed
from tiedae.export.reals import Chunk, joined

PAGED, ALIGNED = 16 * PAGE, 64
"""Minimum size of constants that start at a page in external data, for memory-mapping; alignment of the others."""

_DATA = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "external_data", "data_location")


@dataclass(eq=False)
class Scope:
    """One graph or function body. `types`: known (element type, rank) of its tensors.

    `front`: new nodes, inserted before the others. Removed at the end: nodes by identity (`gone`), initializers
    by name (`dropped`), and annotations of values that no longer exist or changed shape (`stale`).
    """

    proto: GraphProto | FunctionProto
    prefix: str
    parent: Scope | None
    opset: int
    nodes: Sequence[NodeProto] = field(init=False)
    defined: set[str] = field(init=False)
    inputs: frozenset[str] = field(init=False)
    outputs: frozenset[str] = field(init=False)
    constants: dict[str, Stored] = field(default_factory=dict)
    types: dict[str, tuple[int, int]] = field(default_factory=dict)
    front: list[NodeProto] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)
    stale: set[str] = field(default_factory=set)
    renamed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.nodes = tuple(self.proto.node)
        self.inputs, self.outputs = (
            frozenset(each if isinstance(each, str) else each.name for each in values)
            for values in (self.proto.input, self.proto.output)
        )
        self.defined = {name for node in self.nodes for name in node.output} | self.inputs
        if isinstance(self.proto, GraphProto):
            self.defined |= {tensor.name for tensor in self.proto.initializer}
            self.defined |= {sparse.values.name for sparse in self.proto.sparse_initializer}

    @property
    def line(self) -> list[Scope]:
        """This scope and the enclosing ones, innermost first."""
        return [self, *(self.parent.line if self.parent else ())]

    def sees(self, owner: Scope, name: str) -> bool:
        """Whether `name`, read here, resolves to the definition in `owner`."""
        for scope in self.line:
            if scope is owner:
                return True
            if name in scope.defined:
                return False
        return False

    def find(self, name: str) -> Stored | None:
        """The constant that a name resolves to here."""
        owner = next((scope for scope in self.line if name in scope.defined), None)
        return owner.constants.get(name) if owner else None

    def type_of(self, name: str) -> tuple[int, int] | None:
        """(element type, rank) of a tensor read here."""
        return next((scope.types[name] for scope in self.line if name in scope.types), None)


@dataclass(eq=False)
class Stored:
    """A constant: an initializer, or the `value` of a `Constant` node."""

    name: str
    scope: Scope
    values: np.ndarray = field(repr=False)
    tensor: TensorProto = field(repr=False)
    node: NodeProto | None = field(repr=False)

    @property
    def label(self) -> str:
        """Its name in `onnx_reader`."""
        return self.scope.prefix + self.name

    @property
    def overridable(self) -> bool:
        """Whether it is also a graph input, so that the caller may pass another value."""
        return self.node is None and self.name in self.scope.inputs


@dataclass(frozen=True, eq=False)
class OnnxUse:
    """One input of a node."""

    scope: Scope
    node: NodeProto
    index: int


class OnnxGraph:
    """A model that is being rewritten."""

    def __init__(self, opened: Opened) -> None:
        """Take over an opened model.

        Raises ExportError if a tensor that is not a constant has external data, FormatError if two nodes have one output name.
        """
        path, self.model = opened.path, opened.model
        self._inside: list[Chunk] = [*opened.data.inside]
        self.external = False
        self.scopes: list[Scope] = []
        for (proto, prefix, parent, opset), read in zip(bodies(self.model), opened.scopes, strict=True):
            scope = Scope(proto, prefix, None if parent is None else self.scopes[parent], opset)
            given = [name for node in scope.nodes for name in node.output if name]
            if len(set(given)) < len(given):
                twice = next(name for name in given if given.count(name) > 1)
                raise FormatError(f"{path}: damaged: two nodes have the output {scope.prefix + twice!r}")
            for name, tensor, node in _tensors(scope):
                values = read.stored[name][0]
                self._hold(tensor, values)
                scope.constants[name] = Stored(name, scope, values, tensor, node)
            self.scopes.append(scope)
        self._require_inline(path)
        _infer(self.model, self.scopes)
        self.labels = {stored.label: stored for scope in self.scopes for stored in scope.constants.values()}
        self.moved: dict[str, str] = {}
        self.derived: dict[tuple[str, tuple[int, ...], tuple[int, ...] | None], str] = {}
        self.names = {name for scope in self.scopes for name in scope.defined}
        self.readers: dict[str, list[tuple[Scope, NodeProto]]] = {}
        for scope in self.scopes:
            for node in scope.nodes:
                self._index(scope, node)

    def _hold(self, tensor: TensorProto, values: np.ndarray) -> None:
        """Move smaller constants from external data into the model."""
        if tensor.data_location == TensorProto.EXTERNAL and placed(tensor) is None:
            self.external = True
            if values.nbytes < LARGE:
                _set_data(tensor, data_of(values))

    def _put(self, tensor: TensorProto, values: np.ndarray) -> None:
        """Set the values of a tensor of their type and shape."""
        data = data_of(values)
        _set_data(tensor, None if len(data) >= LARGE else data)
        if len(data) >= LARGE:
            place(tensor, len(self._inside))
            self._inside.append(data)

    def _require_inline(self, path: object) -> None:
        constants = {id(stored.tensor) for scope in self.scopes for stored in scope.constants.values()}
        for scope in self.scopes:
            sparse = [] if isinstance(scope.proto, FunctionProto) else scope.proto.sparse_initializer
            tensors = [tensor for each in sparse for tensor in (each.values, each.indices)]
            for attribute in (attribute for node in scope.nodes for attribute in node.attribute):
                tensors += [attribute.t, *attribute.tensors]
                for each in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    tensors += [each.values, each.indices]
            for tensor in tensors:
                if tensor.data_location == TensorProto.EXTERNAL and placed(tensor) is None and id(tensor) not in constants:
                    raise ExportError(f"{path}: {tensor.name or 'a tensor'!r} lies in external data: only constants may")

    def _index(self, scope: Scope, node: NodeProto) -> None:
        for name in set(node.input):
            self.readers.setdefault(name, []).append((scope, node))

    @property
    def constants(self) -> list[Stored]:
        return [stored for scope in self.scopes for stored in scope.constants.values()]

    def resolve(self, label: str) -> Stored | None:
        """The current constant for a label of the file."""
        while label in self.moved:
            label = self.moved[label]
        return self.labels.get(label)

    def uses(self, owner: Scope, name: str) -> list[OnnxUse]:
        """All node inputs, nested scopes included, that read `name` as `owner` defines it."""
        found: dict[tuple[int, int], OnnxUse] = {}
        for scope, node in self.readers.get(name, ()):
            if id(node) not in scope.gone and scope.sees(owner, name):
                found |= {(id(node), i): OnnxUse(scope, node, i) for i, each in enumerate(node.input) if each == name}
        return list(found.values())

    def connect(self, use: OnnxUse, name: str) -> None:
        """Make an input read `name`."""
        use.node.input[use.index] = name
        self.readers.setdefault(name, []).append((use.scope, use.node))

    def replace(self, scope: Scope, node: NodeProto, new: NodeProto) -> None:
        """Replace the content of `node`."""
        node.CopyFrom(new)
        self._index(scope, node)

    def remove(self, scope: Scope, node: NodeProto) -> None:
        scope.gone.add(id(node))
        scope.stale |= set(node.output)

    def set_values(self, stored: Stored, values: np.ndarray) -> None:
        """Replace a constant's values by others of the same type and shape."""
        stored.values = values
        self._put(stored.tensor, values)

    def discard(self, stored: Stored) -> None:
        """Remove a constant without readers."""
        del stored.scope.constants[stored.name], self.labels[stored.label]
        stored.scope.stale.add(stored.name)
        if stored.node is None:
            stored.scope.dropped.add(stored.name)
        else:
            stored.scope.gone.add(id(stored.node))

    def fresh(self, name: str) -> str:
        """A new name derived from this one."""
        taken = iter(range(2, len(self.names) + 3))
        new = name
        while new in self.names:
            new = f"{name}_{next(taken)}"
        self.names.add(new)
        return new

    def add(self, scope: Scope, name: str, values: np.ndarray) -> Stored:
        """Add a constant: an initializer, or a `Constant` node if the scope cannot have one (functions, IR < 4)."""
        tensor = TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(values.dtype), dims=values.shape)
        self._put(tensor, values)
        node = None
        if isinstance(scope.proto, GraphProto) and self.model.ir_version >= 4:
            scope.proto.initializer.append(tensor)
            tensor = scope.proto.initializer[-1]
        else:
            node = helper.make_node("Constant", [], [name], name=name, value=tensor)
            scope.front.append(node)
            tensor = node.attribute[0].t
        scope.defined.add(name)
        new = scope.constants[name] = Stored(name, scope, values, tensor, node)
        self.labels[new.label] = new
        return new

    def insert(self, scope: Scope, operation: str, inputs: Sequence[str], output: str, **attributes: Sequence[int]) -> None:
        """Add a node before the others."""
        node = helper.make_node(operation, list(inputs), [output], name=output)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        scope.front.append(node)
        scope.defined.add(output)
        self._index(scope, node)

    def to_bytes(self, name: str) -> tuple[bytes, dict[str, list[Chunk]]]:
        """Serialize the model; parts of external data by file name if the source has some."""
        chunks = self._outside(f"{name}.data") if self.external else []
        for scope in reversed(self.scopes):
            _finish(scope)
        return joined(join(self.model, self._inside)), {f"{name}.data": chunks} if chunks else {}

    def _outside(self, location: str) -> list[Chunk]:
        """Move larger constants to external data; views of the same bytes are written once."""
        chunks: list[Chunk] = []
        offsets: dict[tuple[int, int], int] = {}
        end = 0
        for stored in self.constants:
            if stored.tensor.data_location == TensorProto.EXTERNAL:
                data = data_of(stored.values)
                key = stored.values.__array_interface__["data"][0], len(data)
                if key not in offsets:
                    gap = -end % (PAGE if len(data) >= PAGED else ALIGNED)
                    chunks += [bytes(gap), data]
                    offsets[key] = end + gap
                    end += gap + len(data)
                _set_data(stored.tensor, None)
                stored.tensor.data_location = TensorProto.EXTERNAL
                for entry, value in (("location", location), ("offset", offsets[key]), ("length", len(data))):
                    stored.tensor.external_data.add(key=entry, value=str(value))
        return chunks


def _tensors(scope: Scope) -> Iterator[tuple[str, TensorProto, NodeProto | None]]:
    """The dense constants of a scope: initializers and `Constant` nodes with a tensor."""
    if isinstance(scope.proto, GraphProto):
        yield from ((tensor.name, tensor, None) for tensor in scope.proto.initializer)
    for node in scope.nodes:
        if kind(node) == "Constant" and len(node.output) == 1:
            for attribute in node.attribute:
                if attribute.name == "value" and not attribute.ref_attr_name:
                    yield node.output[0], attribute.t, node


def _set_data(tensor: TensorProto, data: Chunk | None) -> None:
    for name in _DATA:
        tensor.ClearField(name)
    if data is not None:
        tensor.raw_data = bytes(data)


def _infer(model: onnx.ModelProto, scopes: Sequence[Scope]) -> None:
    """Fill in the types of tensors from the model and, if it succeeds, from shape inference."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, ValueError):
        inferred = model
    for scope, (proto, *_) in zip(scopes, bodies(inferred), strict=True):
        stated = [
            value for each in (proto.input, proto.output, proto.value_info) for value in each if not isinstance(value, str)
        ]
        for value in stated:
            if value.type.tensor_type.HasField("shape"):
                tensor = value.type.tensor_type
                scope.types[value.name] = tensor.elem_type, len(tensor.shape.dim)
        for name, stored in scope.constants.items():
            scope.types[name] = stored.tensor.data_type, stored.values.ndim


def _finish(scope: Scope) -> None:
    """Apply the edits of a scope to the model."""
    proto = scope.proto
    for i in reversed(range(len(scope.nodes))):
        if id(scope.nodes[i]) in scope.gone:
            del proto.node[i]
    front = {node.output[0]: node for node in scope.front if id(node) not in scope.gone}
    order = TopologicalSorter({name: node.input for name, node in front.items()}).static_order()
    for name in reversed([name for name in order if name in front]):
        proto.node.insert(0, front[name])
    _drop(proto.value_info, "name", scope.stale)
    if isinstance(proto, GraphProto):
        _drop(proto.initializer, "name", scope.dropped)
        _drop(proto.quantization_annotation, "tensor_name", scope.stale)
        for annotation in proto.quantization_annotation:
            for entry in annotation.quant_parameter_tensor_names:
                entry.value = scope.renamed.get(entry.value, entry.value)


def _drop(entries: Any, key: str, names: Set[str]) -> None:
    """Remove the messages of a repeated field with one of these names."""
    for i in reversed(range(len(entries))):
        if getattr(entries[i], key) in names:
            del entries[i]
