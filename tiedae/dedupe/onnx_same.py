"""Proves that two ONNX files are the same but for where equal constants are stored.

Nothing runs. Each file is read as statements, in order, in which a constant is its type, shape and the hash of its bytes,
whatever it is named and wherever it is defined. The files are the same if all statements are.

Specification: https://onnx.ai/onnx/repo-docs/IR.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, SparseTensorProto, TensorProto

from tiedae.base.errors import printable
from tiedae.export.onnx.reader import Opened, open_onnx
from tiedae.export.onnx.scopes import kind
from tiedae.export.reals import digest_of

from .equivalence import Statement, first_difference

_BODY = ("node", "initializer", "sparse_initializer", "value_info", "quantization_annotation", "attribute_proto")
"""Fields of graphs and functions that are compared by what they mean."""
_ATTRIBUTE = ("t", "g", "tensors", "graphs", "sparse_tensor", "sparse_tensors")
"""Fields of attributes that hold tensors."""

Values = tuple[str, tuple[int, ...], Any]
"""A constant: dtype, shape, hash of its bytes; of strings themselves."""


def same_bytes(before: Path, after: Path) -> str:
    """The first part in which two ONNX files differ, in one line; empty if only the places of equal constants differ.

    `Constant` nodes, and `Identity` nodes of constants, count as constants. Raises the errors of `read_onnx`.
    """
    return printable(first_difference(*(_File(open_onnx(path)).statements() for path in (before, after))))


@dataclass(frozen=True, eq=False)
class _Level:
    """What names mean in a graph or function. `made`: values that are no constants; `nodes`: those that make no constants."""

    parent: _Level | None
    constants: Mapping[str, Values]
    made: frozenset[str]
    nodes: Sequence[NodeProto]

    def meaning(self, name: str) -> Values | str:
        """The constant that a name means here, or the name of another value."""
        if name in self.constants or name in self.made or self.parent is None:
            return self.constants.get(name, name)
        return self.parent.meaning(name)


@dataclass(frozen=True, eq=False)
class _File:
    """One of the files; `constants`: those of all graphs and functions so far, which must stay where nothing reads them."""

    opened: Opened
    constants: set[Values] = field(default_factory=set)

    def statements(self) -> Iterator[Statement]:
        model = self.opened.model
        yield "the model's version, operator sets or metadata", _rest(model, "graph", "functions")
        yield from self._body(model.graph, "", None)
        yield "number of local functions", len(model.functions)
        for function in model.functions:
            yield from self._body(function, f"{function.domain}.{function.name}: ", None)
        yield "constants", self.constants

    def _body(self, proto: Any, label: str, parent: _Level | None) -> Iterator[Statement]:
        """The statements of a graph or function."""
        level = self._level(proto, parent)
        yield f"{label}names defined twice", _defined_twice(proto)
        yield f"{label}inputs, outputs or names", _rest(proto, *_BODY)
        for i, node in enumerate(level.nodes):
            where = f"{label}node {i}, {kind(node)} {node.name!r}"
            attributes = [*map(self._attribute, node.attribute)]
            yield where, (_rest(node, "input", "attribute"), [*map(level.meaning, node.input)], attributes)
            yield from self._nested(node.attribute, where, level)
        yield f"{label}number of nodes", len(level.nodes)
        yield f"{label}outputs", [level.meaning(name) for name in _names(proto.output)]
        yield f"{label}types of inner values", {each.name: _rest(each) for each in _of_values(level, proto.value_info, "name")}
        if isinstance(proto, FunctionProto):
            yield f"{label}defaults of attributes", [*map(self._attribute, proto.attribute_proto)]
            yield from self._nested(proto.attribute_proto, label, level)
            return
        inputs = _names(proto.input)
        yield f"{label}defaults of inputs", {each.name: self._values(each) for each in proto.initializer if each.name in inputs}
        yield f"{label}sparse constants", [*map(self._sparse, proto.sparse_initializer)]
        for each in sorted(_of_values(level, proto.quantization_annotation, "tensor_name"), key=lambda each: each.tensor_name):
            entries = {entry.key: level.meaning(entry.value) for entry in each.quant_parameter_tensor_names}
            yield f"{label}quantization of {each.tensor_name}", entries

    def _nested(self, attributes: Sequence[AttributeProto], where: str, level: _Level) -> Iterator[Statement]:
        for each in attributes:
            for graph in [*([each.g] if each.HasField("g") else []), *each.graphs]:
                yield from self._body(graph, f"{where}: {each.name}: ", level)

    def _attribute(self, attribute: AttributeProto) -> tuple[Any, ...]:
        """An attribute without its graphs, of which it has the number."""
        tensors = [*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors]
        sparse = [*([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []), *attribute.sparse_tensors]
        held = [*map(self._tensor, tensors)], [*map(self._sparse, sparse)]
        return _rest(attribute, *_ATTRIBUTE), attribute.HasField("g"), len(attribute.graphs), held

    def _sparse(self, sparse: SparseTensorProto) -> tuple[Any, ...]:
        return self._tensor(sparse.values), self._tensor(sparse.indices), [*sparse.dims]

    def _tensor(self, tensor: TensorProto) -> tuple[str, Values | bytes]:
        """A tensor that is no constant: its values where they lie outside the message, else all of it."""
        return tensor.name, self._values(tensor) if tensor.data_location == TensorProto.EXTERNAL else _rest(tensor)

    def _values(self, tensor: TensorProto) -> Values:
        values = self.opened.data.load(tensor, "")[0]
        return values.dtype.name, values.shape, repr(values.tolist()) if values.dtype.kind == "O" else digest_of(values)

    def _level(self, proto: GraphProto | FunctionProto, parent: _Level | None) -> _Level:
        inputs = _names(proto.input)
        graph = proto if isinstance(proto, GraphProto) else GraphProto()
        constants = {each.name: self._values(each) for each in graph.initializer if each.name not in inputs}
        defined = {*inputs, *constants, *(name for node in proto.node for name in node.output)}
        made, nodes = [*inputs, *(each.values.name for each in graph.sparse_initializer)], []
        for node in proto.node:
            values = self._constant(node, constants, defined, parent)
            if isinstance(values, tuple):
                constants[node.output[0]] = values
            else:
                nodes.append(node)
                made += filter(None, node.output)
        self.constants.update(constants.values())
        return _Level(parent, constants, frozenset(made), nodes)

    def _constant(
        self, node: NodeProto, constants: Mapping[str, Values], defined: set[str], parent: _Level | None
    ) -> Values | str | None:
        """The constant that a node makes, if it makes one."""
        if len(node.output) != 1 or node.output[0] in constants:
            return None
        if kind(node) == "Constant" and len(node.attribute) == 1:
            (attribute,) = node.attribute
            return self._values(attribute.t) if attribute.name == "value" and not attribute.ref_attr_name else None
        if kind(node) == "Identity" and len(node.input) == 1:
            (name,) = node.input
            return constants.get(name) if name in defined else parent and parent.meaning(name)
        return None


def _of_values(level: _Level, entries: Sequence[Any], key: str) -> Iterator[Any]:
    """The entries of a repeated field that are about no constant."""
    return (each for each in entries if isinstance(level.meaning(getattr(each, key)), str))


def _names(values: Sequence[Any]) -> list[str]:
    """The names of inputs or outputs of a graph or function."""
    return [each if isinstance(each, str) else each.name for each in values]


def _rest(message: Any, *fields: str) -> bytes:
    """A message without some fields."""
    copy = type(message)()
    copy.CopyFrom(message)
    for name in fields:
        if name in message.DESCRIPTOR.fields_by_name:
            copy.ClearField(name)
    return copy.SerializeToString(deterministic=True)


def _defined_twice(proto: GraphProto | FunctionProto) -> set[str]:
    """Names that two parts of a graph define."""
    inputs = set(_names(proto.input))
    names = [*inputs, *(name for node in proto.node for name in node.output if name)]
    if isinstance(proto, GraphProto):
        names += [each.name for each in proto.initializer if each.name not in inputs]
        names += [each.values.name for each in proto.sparse_initializer]
    return {name for name, count in Counter(names).items() if count > 1}
