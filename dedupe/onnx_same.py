"""Proves that two ONNX files are the same but for where equal constants are stored.

Nothing runs. The files have the same nodes in the same order, and each input is either the same value or a constant of the same
type, shape and bytes, whatever it is named and wherever it is defined.

Specification: https://onnx.ai/onnx/repo-docs/IR.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, SparseTensorProto, TensorProto, ValueInfoProto
from tiedae.export.model_file import printable
from tiedae.export.onnx.reader import Opened, open_onnx
from tiedae.export.onnx.scopes import kind
from tiedae.export.onnx.tensors import TensorData
from tiedae.export.reals import digest_of, same_bits

_BODY = ("node", "initializer", "sparse_initializer", "value_info", "quantization_annotation", "attribute_proto")
"""Fields of graphs and functions that are compared by what they mean."""
_ATTRIBUTE = ("t", "g", "tensors", "graphs", "sparse_tensor", "sparse_tensors")
"""Fields of attributes that hold tensors."""
_NESTED = (
    AttributeProto.TENSOR,
    AttributeProto.GRAPH,
    AttributeProto.SPARSE_TENSOR,
    AttributeProto.TENSORS,
    AttributeProto.GRAPHS,
    AttributeProto.SPARSE_TENSORS,
)
"""Types of such attributes."""


def same_bytes(before: Path, after: Path) -> str:
    """The first difference of two ONNX files, in one line; empty if they differ only in where equal constants are stored.

    `Constant` nodes, and `Identity` nodes of constants, count as constants. Raises the errors of `read_onnx`.
    """
    found = next(_Comparison(open_onnx(before), open_onnx(after)).differences(), "")
    return printable(found)


@dataclass(frozen=True, eq=False)
class _Level:
    """What names mean in a graph or function. `made`: values that are no constants; `nodes`: those that make no constants."""

    label: str
    parent: _Level | None
    constants: Mapping[str, np.ndarray]
    made: frozenset[str]
    nodes: Sequence[NodeProto]

    def constant(self, name: str) -> np.ndarray | None:
        """The constant that a name means here; None if it means another value."""
        if name in self.constants or name in self.made:
            return self.constants.get(name)
        return self.parent.constant(name) if self.parent else None

    def made_here(self, entries: Sequence[Any], key: str) -> dict[str, Any]:
        """The entries of a repeated field that are about no constant, by name."""
        return {name: each for each in entries if self.constant(name := getattr(each, key)) is None}


@dataclass(frozen=True, eq=False)
class _File:
    """One of the files; `levels`: all graphs and functions seen so far."""

    data: TensorData
    levels: list[_Level] = field(default_factory=list)

    def level(self, proto: GraphProto | FunctionProto, label: str, parent: _Level | None) -> _Level:
        inputs = [each if isinstance(each, str) else each.name for each in proto.input]
        graph = proto if isinstance(proto, GraphProto) else GraphProto()
        constants = {each.name: self.values(each) for each in graph.initializer if each.name not in inputs}
        defined = {*inputs, *constants, *(name for node in proto.node for name in node.output)}
        made, nodes = [*inputs, *(each.values.name for each in graph.sparse_initializer)], []
        for node in proto.node:
            values = self._constant(node, constants, defined, parent)
            if values is None:
                nodes.append(node)
                made += filter(None, node.output)
            else:
                constants[node.output[0]] = values
        self.levels.append(_Level(label, parent, constants, frozenset(made), nodes))
        return self.levels[-1]

    def _constant(
        self, node: NodeProto, constants: Mapping[str, np.ndarray], defined: set[str], parent: _Level | None
    ) -> np.ndarray | None:
        """The value of a node that makes a constant."""
        if len(node.output) != 1 or node.output[0] in constants:
            return None
        if kind(node) == "Constant" and len(node.attribute) == 1:
            (attribute,) = node.attribute
            return self.values(attribute.t) if attribute.name == "value" and not attribute.ref_attr_name else None
        if kind(node) == "Identity" and len(node.input) == 1:
            (name,) = node.input
            return constants.get(name) if name in defined else parent and parent.constant(name)
        return None

    def values(self, tensor: TensorProto) -> np.ndarray:
        return self.data.load(tensor, "")[0]


class _Comparison:
    """Compares two files, each method yields differences."""

    def __init__(self, before: Opened, after: Opened) -> None:
        self._models = before.model, after.model
        self._files = _File(before.data), _File(after.data)
        self._equal: dict[tuple[int, int], bool] = {}

    def differences(self) -> Iterator[str]:
        one, other = self._models
        if _rest(one, "graph", "functions") != _rest(other, "graph", "functions"):
            yield "the model's version, operator sets or metadata differ"
        yield from self._bodies(one.graph, other.graph, "", None)
        if len(one.functions) != len(other.functions):
            yield f"{len(other.functions)} local functions, not {len(one.functions)}"
        for first, second in zip(one.functions, other.functions, strict=False):
            yield from self._bodies(first, second, f"{first.domain}.{first.name}: ", None)
        yield from self._lost()

    def _bodies(self, one: Any, other: Any, label: str, parents: tuple[_Level, _Level] | None) -> Iterator[str]:
        """Compare two graphs or functions."""
        levels = tuple(
            file.level(proto, label, parents and parents[i])
            for i, (file, proto) in enumerate(zip(self._files, (one, other), strict=True))
        )
        first, second = levels
        if twice := sorted(_defined_twice(one) ^ _defined_twice(other)):
            yield f"{label}{twice[0]!r} is defined twice in one of the files"
        if _rest(one, *_BODY) != _rest(other, *_BODY):
            yield f"{label}inputs, outputs or names of the graph differ"
        for i, (node, new) in enumerate(zip(first.nodes, second.nodes, strict=False)):
            yield from self._nodes(node, new, f"{label}node {i}, {kind(node)} {node.name!r}: ", (first, second))
        if len(first.nodes) != len(second.nodes):
            yield f"{label}{len(second.nodes)} nodes, not {len(first.nodes)}"
        for name in (each if isinstance(each, str) else each.name for each in one.output):
            yield from self._names(name, name, f"{label}output {name}", (first, second))
        if isinstance(one, GraphProto):
            yield from self._defaults(one, other, label)
            yield from self._annotations(one, other, (first, second))
        else:
            yield from self._attributes(one.attribute_proto, other.attribute_proto, label, (first, second))
        infos: list[dict[str, ValueInfoProto]] = [
            level.made_here(proto.value_info, "name") for level, proto in zip(levels, (one, other), strict=True)
        ]
        if infos[0] != infos[1]:
            yield f"{label}the types of inner values differ"

    def _nodes(self, one: NodeProto, other: NodeProto, where: str, levels: tuple[_Level, _Level]) -> Iterator[str]:
        equal = one == other
        if kind(one) != kind(other):
            yield f"{where}is now {kind(other)}"
        if not equal and _rest(one, "input", "attribute") != _rest(other, "input", "attribute"):
            yield f"{where}outputs or names differ"
        if len(one.input) != len(other.input):
            yield f"{where}{len(other.input)} inputs, not {len(one.input)}"
        for i, (name, new) in enumerate(zip(one.input, other.input, strict=False)):
            yield from self._names(name, new, f"{where}input {i}", levels)
        if not equal or any(each.HasField("t") or each.type in _NESTED for each in one.attribute):
            yield from self._attributes(one.attribute, other.attribute, where, levels)

    def _names(self, name: str, new: str, where: str, levels: tuple[_Level, _Level]) -> Iterator[str]:
        """Compare what two names mean."""
        one, other = (level.constant(each) for level, each in zip(levels, (name, new), strict=True))
        if one is not None and other is not None:
            if not self._same(one, other):
                yield f"{where}: the constant {new!r} differs from {name!r}"
        elif one is not other or name != new:
            yield f"{where}: reads {new!r}, not {name!r}"

    def _attributes(
        self, one: Sequence[AttributeProto], other: Sequence[AttributeProto], where: str, levels: tuple[_Level, _Level]
    ) -> Iterator[str]:
        if [_rest(each, *_ATTRIBUTE) for each in one] != [_rest(each, *_ATTRIBUTE) for each in other]:
            yield f"{where}attributes differ"
            return
        for first, second in zip(one, other, strict=True):
            here = f"{where}{first.name}: "
            graphs = [[*([each.g] if each.HasField("g") else []), *each.graphs] for each in (first, second)]
            tensors = [[*([each.t] if each.HasField("t") else []), *each.tensors] for each in (first, second)]
            sparse = [
                [*([each.sparse_tensor] if each.HasField("sparse_tensor") else []), *each.sparse_tensors]
                for each in (first, second)
            ]
            if len(graphs[0]) != len(graphs[1]):
                yield f"{here}{len(graphs[1])} graphs, not {len(graphs[0])}"
            yield from self._tensors(tensors[0], tensors[1], here)
            yield from self._sparse(sparse[0], sparse[1], here)
            for graph, new in zip(*graphs, strict=False):
                yield from self._bodies(graph, new, here, levels)

    def _tensors(self, one: Sequence[TensorProto], other: Sequence[TensorProto], where: str) -> Iterator[str]:
        if [each.name for each in one] != [each.name for each in other]:
            yield f"{where}tensors differ"
            return
        for first, second in zip(one, other, strict=True):
            if first == second and first.data_location != TensorProto.EXTERNAL:
                continue
            if not _same(*(file.values(each) for file, each in zip(self._files, (first, second), strict=True))):
                yield f"{where}the tensor {first.name!r} differs"

    def _defaults(self, one: GraphProto, other: GraphProto, label: str) -> Iterator[str]:
        """Compare sparse constants, and the values of inputs that the caller may leave out."""
        dense = [
            sorted((each for each in graph.initializer if each.name in {value.name for value in graph.input}), key=_name_of)
            for graph in (one, other)
        ]
        yield from self._tensors(dense[0], dense[1], f"{label}inputs: ")
        yield from self._sparse(one.sparse_initializer, other.sparse_initializer, f"{label}sparse: ")

    def _sparse(self, one: Sequence[SparseTensorProto], other: Sequence[SparseTensorProto], where: str) -> Iterator[str]:
        yield from self._tensors(_parts(one), _parts(other), where)
        if [[*each.dims] for each in one] != [[*each.dims] for each in other]:
            yield f"{where}the shapes of sparse constants differ"

    def _annotations(self, one: GraphProto, other: GraphProto, levels: tuple[_Level, _Level]) -> Iterator[str]:
        """Compare the quantization of values that are no constants."""
        first, second = (
            level.made_here(graph.quantization_annotation, "tensor_name")
            for level, graph in zip(levels, (one, other), strict=True)
        )
        if first.keys() != second.keys():
            yield f"{levels[0].label}the quantization annotations differ"
            return
        for name, annotation in first.items():
            entries = [
                {entry.key: entry.value for entry in each.quant_parameter_tensor_names} for each in (annotation, second[name])
            ]
            if entries[0].keys() != entries[1].keys():
                yield f"{levels[0].label}the quantization annotations of {name!r} differ"
            for key in entries[0].keys() & entries[1].keys():
                where = f"{levels[0].label}quantization of {name}, {key}"
                yield from self._names(entries[0][key], entries[1][key], where, levels)

    def _lost(self) -> Iterator[str]:
        """Constants that nothing reads: their bytes must still be there, and no others."""
        every = [[item for level in file.levels for item in level.constants.items()] for file in self._files]
        for side, what in ((0, "is gone"), (1, "is new")):
            known = {pair[side] for pair, equal in self._equal.items() if equal}
            unread = [(name, values) for name, values in every[side] if id(values) not in known]
            kinds = {(values.dtype, values.shape) for _, values in unread}
            others = {_key(values) for _, values in every[1 - side] if (values.dtype, values.shape) in kinds}
            yield from (f"the constant {name!r} {what}" for name, values in unread if _key(values) not in others)

    def _same(self, one: np.ndarray, other: np.ndarray) -> bool:
        """`_same`, of constants of the levels."""
        key = id(one), id(other)
        if key not in self._equal:
            self._equal[key] = _same(one, other)
        return self._equal[key]


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two constants have the same type, shape and bytes."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return one.tolist() == other.tolist() if one.dtype.kind == "O" else same_bits(one, other)


def _key(values: np.ndarray) -> tuple[Any, ...]:
    """Equal for constants of the same type, shape and bytes."""
    return values.dtype, values.shape, repr(values.tolist()) if values.dtype.kind == "O" else digest_of(values)


def _rest(message: Any, *fields: str) -> Any:
    """A copy of a message without some fields."""
    copy = type(message)()
    copy.CopyFrom(message)
    for name in fields:
        if name in message.DESCRIPTOR.fields_by_name:
            copy.ClearField(name)
    return copy


def _parts(sparse: Sequence[SparseTensorProto]) -> list[TensorProto]:
    return [part for each in sparse for part in (each.values, each.indices)]


def _name_of(tensor: TensorProto) -> str:
    return tensor.name


def _defined_twice(proto: GraphProto | FunctionProto) -> set[str]:
    """Names that two parts of a graph define."""
    inputs = {each if isinstance(each, str) else each.name for each in proto.input}
    names = [*inputs, *(name for node in proto.node for name in node.output if name)]
    if isinstance(proto, GraphProto):
        names += [each.name for each in proto.initializer if each.name not in inputs]
        names += [each.values.name for each in proto.sparse_initializer]
    return {name for name, count in Counter(names).items() if count > 1}
