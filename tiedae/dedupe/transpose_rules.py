"""Rules by which an operation reads a constant through a view with another axis order.

A rule plans the edit for one input of one operation, or returns None if the constant needs a `Transpose`.

Specification: https://onnx.ai/onnx/operators and
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from onnx import NodeProto, TensorProto, helper

from tiedae.export.onnx.scopes import attribute, kind

from .onnx_graph import OnnxGraph, OnnxUse


@dataclass(frozen=True)
class View:
    """A duplicate as a view of the original: transposed by `perm`, then reshaped to `shape` unless that is None."""

    perm: tuple[int, ...]
    shape: tuple[int, ...] | None = None

    @property
    def in_order(self) -> bool:
        return self.perm == tuple(range(len(self.perm)))

    @property
    def same(self) -> bool:
        return self.in_order and self.shape is None

    @property
    def swapped(self) -> bool:
        """Whether it is the transpose of a matrix."""
        return self.perm == (1, 0) and self.shape is None


@dataclass(frozen=True)
class Switch:
    """An edit of one use. `how`: its description. `apply`: the edit, given the name of the new input."""

    how: str
    apply: Callable[[str], None]


Rule = Callable[[OnnxGraph, OnnxUse, View, int], Switch | None]
CHAIN = 4
"""Maximum number of pass-through operations that are followed."""


def plan(graph: OnnxGraph, use: OnnxUse, view: View, chain: int = CHAIN) -> Switch | None:
    """Plan how a use can read the original through `view`; None if it cannot."""
    if view.same:
        return Switch("one initializer", lambda name: graph.connect(use, name))
    rule = RULES.get(kind(use.node))
    if rule is None or view.shape is not None or len(use.node.output) != 1:
        return None
    return rule(graph, use, view, chain)


def set_attribute(node: NodeProto, name: str, value: int) -> None:
    """Set an integer attribute of a node."""
    for each in node.attribute:
        if each.name == name:
            each.i = value
            return
    node.attribute.append(helper.make_attribute(name, value))


def _toggle(flags: Mapping[int, str]) -> Rule:
    """Rule for operations with a transpose flag; `flags` by input index."""

    def rule(graph: OnnxGraph, use: OnnxUse, view: View, _chain: int) -> Switch | None:
        flag = flags.get(use.index)
        if flag is None or not view.swapped:
            return None

        def apply(name: str) -> None:
            set_attribute(use.node, flag, 1 - attribute(use.node, flag, 0))
            graph.connect(use, name)

        return Switch(f"{use.node.op_type} {flag}", apply)

    return rule


_GEMM_ELEMENTS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
"""Element types that ONNX Runtime supports in both `MatMul` and `Gemm`."""


def _matmul(graph: OnnxGraph, use: OnnxUse, view: View, _chain: int) -> Switch | None:
    """`MatMul` of two matrices → `Gemm`, together with a following bias `Add`, which runtimes fuse with `MatMul` too."""
    node = use.node
    other = use.scope.type_of(node.input[1 - use.index]) if len(node.input) == 2 else None
    if not view.swapped or other is None or other[1] != 2 or other[0] not in _GEMM_ELEMENTS or use.scope.opset < 7:
        return None
    flag = "transB" if use.index else "transA"
    bias = _bias(graph, use)
    if bias is None and use.scope.opset < 11:
        return None

    def apply(name: str) -> None:
        gemm = NodeProto()
        gemm.CopyFrom(node)
        gemm.op_type = "Gemm"
        gemm.input[use.index] = name
        set_attribute(gemm, flag, 1)
        if bias is None:
            graph.replace(use.scope, node, gemm)
            return
        gemm.input.append(bias.node.input[1 - bias.index])
        gemm.output[0] = bias.node.output[0]
        graph.remove(use.scope, node)
        graph.replace(use.scope, bias.node, gemm)

    return Switch(f"MatMul{' + Add' if bias else ''} → Gemm {flag}", apply)


def _bias(graph: OnnxGraph, use: OnnxUse) -> OnnxUse | None:
    """The only reader of the product if it is an `Add` of a constant that fits a Gemm's bias.

    A dequantized kernel keeps its `Add`: integer products need an int32 bias.
    """
    scope, (product,) = use.scope, use.node.output
    uses = graph.uses(scope, product)
    kernel, other = scope.find(use.node.input[use.index]), scope.type_of(use.node.input[1 - use.index])
    if len(uses) != 1 or kind(uses[0].node) != "Add" or uses[0].scope is not scope or product in scope.outputs:
        return None
    if len(uses[0].node.input) != 2 or len(uses[0].node.output) != 1:
        return None
    bias = scope.find(uses[0].node.input[1 - uses[0].index])
    if bias is None or bias.overridable or kernel is None or other is None or bias.tensor.data_type != other[0]:
        return None
    columns = kernel.values.shape[1] if use.index else None
    fits = bias.values.size == 1 or (bias.values.size == columns and bias.values.shape[-1] == columns)
    return uses[0] if fits and bias.values.ndim <= 2 else None


def _transpose(graph: OnnxGraph, use: OnnxUse, view: View, _chain: int) -> Switch | None:
    """A `Transpose` of the duplicate becomes another `Transpose` of the original, or none."""
    node, scope = use.node, use.scope
    order = next((tuple(each.ints) for each in node.attribute if each.name == "perm"), tuple(reversed(range(len(view.perm)))))
    if sorted(order) != list(range(len(view.perm))):
        return None
    perm = tuple(view.perm[axis] for axis in order)
    output = node.output[0]

    def apply(name: str) -> None:
        uses = graph.uses(scope, output)
        if perm != tuple(range(len(perm))):
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("perm", perm))
            graph.connect(use, name)
        elif output in scope.outputs:
            del node.attribute[:]
            node.op_type = "Identity"
            graph.connect(use, name)
        else:
            for each in uses:
                graph.connect(each, name)
            graph.remove(scope, node)

    return Switch("its own Transpose", apply)


def _through(graph: OnnxGraph, use: OnnxUse, view: View, chain: int) -> Switch | None:
    """An elementwise operation, such as DequantizeLinear: all readers of its result must switch."""
    node, scope = use.node, use.scope
    if (
        not chain
        or use.index != 0
        or len(node.output) != 1
        or node.output[0] in scope.outputs
        or attribute(node, "block_size", 0)
    ):
        return None
    rank = len(view.perm)
    parameters = [scope.find(name) for name in node.input[1:] if name]
    if any(each is None for each in parameters):
        return None
    per_axis = any(each is not None and each.values.size > 1 for each in parameters)
    axis = attribute(node, "axis", 1)
    if per_axis and (scope.opset < 13 or not -rank <= axis < rank):
        return None
    switches = [plan(graph, each, view, chain - 1) for each in graph.uses(scope, node.output[0])]
    hows = {each.how for each in switches if each is not None}
    if not switches or None in switches:
        return None

    def apply(name: str) -> None:
        if per_axis:
            set_attribute(node, "axis", view.perm[axis % rank])
        graph.connect(use, name)
        for each in graph.uses(scope, node.output[0]):
            switch = plan(graph, each, view, chain - 1)
            assert switch is not None, f"{each.node.op_type} could switch before"
            switch.apply(node.output[0])
        scope.stale.add(node.output[0])

    return Switch(f"{node.op_type} of its own, {', '.join(sorted(hows))}", apply)


RULES: Mapping[str, Rule] = {
    "Gemm": _toggle({0: "transA", 1: "transB"}),
    "MatMul": _matmul,
    "Transpose": _transpose,
    "DequantizeLinear": _through,
    "QuantizeLinear": _through,
    "Identity": _through,
    "Cast": _through,
    "com.microsoft.QGemm": _toggle({0: "transA", 3: "transB"}),
    "com.microsoft.FusedGemm": _toggle({0: "transA", 1: "transB"}),
    "com.microsoft.FusedMatMul": _toggle({1: "transB"}),
}
"""Operations that can read a transposed matrix at no cost, or pass it on."""
