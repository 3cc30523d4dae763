"""Graphs and functions of an ONNX model, and what names resolve to in them.

Specification: https://onnx.ai/onnx/repo-docs/IR.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import onnx
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, StringStringEntryProto, TensorAnnotation

ANNOTATED = ("SCALE_TENSOR", "ZERO_POINT_TENSOR")
"""Keys of an annotation: the constants of a tensor's scale and zero point."""

Body = tuple[GraphProto | FunctionProto, str, int | None, int]
"""(graph or function, prefix of its constants' names, index of its parent, opset)."""


@dataclass(frozen=True, eq=False)
class ReadScope:
    """The nodes of a graph or function; `stored`: its constants by local name, (values, storage); `sparse`: shape of the sparse
    ones, of which `stored` has the nonzero values; `annotated`: names of the constants of a tensor's scale and zero point."""

    prefix: str
    nodes: Sequence[NodeProto]
    stored: Mapping[str, tuple[np.ndarray, str]]
    parent: ReadScope | None
    sparse: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    annotated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def find(self, name: str) -> tuple[ReadScope, str] | None:
        """Resolve a constant's name to (defining scope, name)."""
        if name in self.stored:
            return self, name
        return self.parent.find(name) if self.parent else None

    def value(self, node: NodeProto, index: int) -> tuple[float, ...]:
        """Flat values of a node's constant input; empty if it has none."""
        return self.values(node.input[index]) if index < len(node.input) else ()

    def values(self, name: str) -> tuple[float, ...]:
        """Flat values of a constant; empty if there is none of this name."""
        found = self.find(name)
        return tuple(found[0].stored[found[1]][0].ravel().tolist()) if found else ()

    @cached_property
    def producers(self) -> Mapping[str, NodeProto]:
        """The node of this scope that makes a value, by its name."""
        return {output: node for node in self.nodes for output in node.output}

    @cached_property
    def readers(self) -> Mapping[str, Sequence[NodeProto]]:
        """The nodes of this scope that read a value, by its name."""
        found: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.input):
                found.setdefault(name, []).append(node)
        return found


def bodies(model: onnx.ModelProto) -> Iterator[Body]:
    """Yield all graphs and functions, parents first; each has a prefix of its own."""
    place = -1
    taken: set[str] = set()

    def own(prefix: str) -> str:
        prefix = next(each for i in range(1, len(taken) + 2) if (each := prefix if i == 1 else f"{prefix}{i}/") not in taken)
        taken.add(prefix)
        return prefix

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
                    yield from nested(graph, own(way + (f"{i}/" if i else "")), mine, opset)

    yield from nested(model.graph, "", None, _opset(model.opset_import))
    for function in model.functions:
        imports = function.opset_import or model.opset_import
        yield from nested(function, own(f"{function.domain}.{function.name}/"), None, _opset(imports))


def _opset(imports: Iterable[onnx.OperatorSetIdProto]) -> int:
    return min((entry.version for entry in imports if entry.domain in ("", "ai.onnx")), default=0)


def kind(node: NodeProto) -> str:
    """Operation of a node, with its domain unless that is ONNX's own."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def attribute(node: NodeProto, name: str, default: int) -> int:
    """An integer attribute of a node."""
    return next((each.i for each in node.attribute if each.name == name), default)


def annotation(name: str, scale: str, zero_point: str) -> TensorAnnotation:
    """The annotation of a tensor with the constants of its scale and of its zero point, which may be empty."""
    entries = [StringStringEntryProto(key=key, value=each) for key, each in zip(ANNOTATED, (scale, zero_point), strict=True)]
    return TensorAnnotation(tensor_name=name, quant_parameter_tensor_names=[each for each in entries if each.value])


def annotated_in(proto: GraphProto | FunctionProto) -> dict[str, tuple[str, ...]]:
    """The names of the constants of scale and zero point, by the tensor that a graph annotates with them."""
    found = {}
    for each in proto.quantization_annotation if isinstance(proto, GraphProto) else ():
        entries = {entry.key: entry.value for entry in each.quant_parameter_tensor_names}
        found[each.tensor_name] = tuple(entries.get(key, "") for key in ANNOTATED)
    return found
