"""A graph of operations as a chain of layers: what the readers of .onnx files and SavedModels have in common.

A format gives nodes in the order in which they compute and a table of its operations (`Operations`). `trace` gives every value
of the graph: a `GraphConstant`, the `Flow` of the samples, or, where a constant cannot be computed, `Unread`.

    x: Flow([784]) ─ MatMul ─→ Flow([64]; ChainProduct) ─ Add ─→ Flow([64]; ChainProduct with bias) ─ MatMul ─→ …
                       │                               │                                      │
          W: GraphConstant(W, [784, 64])           b: GraphConstant(b, [64])          Transpose(W): GraphConstant(W, flipped)

The samples are a batch of `BATCH`, a prime larger than any axis: shapes that the graph computes show whether samples mix.
Nothing behind a refused operation is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import FormatError, InputError, listed
from ..layer_kinds import Shape
from .chain import Chain, ChainArray, ChainLayer, Refused, stored

BATCH = 2**31 - 1
"""Samples of a batch, where the graph takes any number: a prime."""
MAX_FOLDED = 64
"""Values of a constant that is computed from shapes, at most."""
NUMBERS = frozenset({"bool", "int8", "uint8", "int16", "uint16", "int32", "int64", "bfloat16", "float16", "float32", "float64"})
"""Dtypes of the constants that rows take."""


@dataclass(frozen=True)
class Node:
    """An operation of a graph. `inputs`, `outputs`: names of values, "" for an input that is left out."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class GraphConstant:
    """An array of the graph; `flipped`: its transpose. `by`, `operands`: the function of other constants that it is."""

    stored: ChainArray
    flipped: bool = False
    by: Callable[..., np.ndarray] | None = None
    operands: tuple[GraphConstant, ...] = ()

    @property
    def shape(self) -> Shape:
        return self.stored.shape[::-1] if self.flipped else self.stored.shape

    def read(self) -> np.ndarray:
        values = self.stored.read()
        return values.T if self.flipped else values


@dataclass(frozen=True)
class Flow:
    """The samples, [batch, *shape], behind `layers`. `operand`: the constant of the last layer where that is an `Affine`."""

    source: str
    shape: Shape
    batch: int = BATCH
    layers: tuple[ChainLayer, ...] = ()
    left_out: tuple[str, ...] = ()
    operand: GraphConstant | None = None

    @property
    def last(self) -> ChainLayer | None:
        return self.layers[-1] if self.layers else None

    def then(
        self, *layers: ChainLayer, shape: Shape | None = None, operand: GraphConstant | None = None, without: int = 0
    ) -> Flow:
        """The flow behind these layers too, in place of the last `without` ones."""
        kept = self.layers[: len(self.layers) - without]
        return replace(self, shape=self.shape if shape is None else shape, layers=(*kept, *layers), operand=operand)


@dataclass(frozen=True)
class Unread:
    """A value that is not known, of which node, and why."""

    node: Node
    reason: str = "computes a constant in a way that is not read"


Value = GraphConstant | Flow | Unread
Fold = Callable[[Sequence[np.ndarray], Mapping[str, Any]], Any]
"""The values of a node that computes shapes, for values of its inputs and its attributes."""


@dataclass(frozen=True)
class GraphStep:
    """A node that has the samples among its `operands`."""

    node: Node
    flow: Flow
    operands: tuple[GraphConstant | Flow | None, ...]

    @property
    def names(self) -> tuple[str, str]:
        """(name, class) of a layer."""
        return self.node.name, self.node.op

    def refuse(self, reason: str) -> Flow:
        return self.flow.then(Refused(*self.names, reason))

    def behind(self, flow: Flow, constant: GraphConstant) -> GraphStep:
        """The step of the same node that has this flow and this constant."""
        return GraphStep(self.node, flow, (flow, constant))

    def constant(self, place: int) -> GraphConstant | None:
        """An operand of numbers, unless it is left out or the samples."""
        operand = self.operands[place] if place < len(self.operands) else None
        return operand if isinstance(operand, GraphConstant) and operand.stored.dtype in NUMBERS else None

    def vector(self, constant: GraphConstant | None) -> ChainArray | None:
        """A constant that holds a number or one a value of the last axis; None for another."""
        if constant is None or len(constant.shape) > len(self.flow.shape) + 1:
            return None
        width, size = self.flow.shape[-1], math.prod(constant.shape)
        if size != 1 and (size != width or constant.shape[-1] != width):
            return None
        shape = (width,) if size == width else ()
        return replace(constant.stored, shape=shape, read=lambda: self._finite(constant).reshape(shape))

    def weight(self, constant: GraphConstant) -> ChainArray:
        """A constant as its variable stores it, not transposed; reading it raises InputError unless it is finite."""
        return replace(constant.stored, read=lambda: self._finite(replace(constant, flipped=False)))

    def _finite(self, constant: GraphConstant) -> np.ndarray:
        values = constant.read()
        if not np.isfinite(values).all():
            raise InputError(f"{self.flow.source}: {constant.stored.variable}: got NaN or infinity, weights must be finite")
        return values


Row = Callable[[GraphStep], Value]


@dataclass(frozen=True)
class Operations:
    """What a format's operations are: `rows` of the samples; of constants alone `elementwise` and `folds`."""

    rows: Mapping[str, Row]
    elementwise: Mapping[str, Callable[..., np.ndarray]]
    folds: Mapping[str, Fold]
    keeps: Callable[[Node], bool]
    """Whether a node of constants gives its first input as it is."""


def trace(nodes: Iterable[Node], values: dict[str, Value], operations: Operations) -> None:
    """Add the values that nodes, in the order in which they compute, give."""
    for node in nodes:
        first, *others = node.outputs
        operands = [
            values.get(name, Unread(node, f"reads {name}, which the graph lacks")) if name else None for name in node.inputs
        ]
        values[first] = _value(node, tuple(operands), operations)
        values.update((name, Unread(node, f"its output {name} is read, must be the first one")) for name in others if name)


def _operand(node: Node, name: str, values: Mapping[str, Value]) -> Value | None:
    return values.get(name, Unread(node, f"reads {name}, which the graph lacks")) if name else None


def _value(node: Node, operands: tuple[Value | None, ...], operations: Operations) -> Value:
    flows = [each for each in operands if isinstance(each, Flow)]
    unread = next((each for each in operands if isinstance(each, Unread)), None)
    refused = next((each for each in flows if isinstance(each.last, Refused)), None)
    if refused is not None:
        return refused
    known = tuple(each for each in operands if not isinstance(each, Unread))
    if not flows:
        return unread or _folded(node, tuple(each for each in known if isinstance(each, GraphConstant)), operations)
    step = GraphStep(unread.node if unread else node, max(flows, key=lambda flow: len(flow.layers)), known)
    if unread:
        return step.refuse(unread.reason)
    if len(flows) > 1:
        return step.refuse("joins two branches, must be a chain of layers")
    if node.op not in operations.rows:
        return step.refuse("no operation of a dense autoencoder (docs/import.md lists those that are)")
    return operations.rows[node.op](step)


def _folded(node: Node, operands: tuple[GraphConstant, ...], operations: Operations) -> GraphConstant | Unread:
    """The constant that a node computes from constants."""
    if operands and operations.keeps(node):
        return operands[0]
    if node.op == "Transpose" and operands and len(operands[0].shape) == 2:
        return _transposed(node, operands)
    try:
        with np.errstate(all="ignore"):
            return _computed(node, operands, operations)
    except (ValueError, IndexError, TypeError, KeyError, OverflowError):
        return Unread(node)


def _transposed(node: Node, operands: Sequence[GraphConstant]) -> GraphConstant | Unread:
    order = node.attributes.get("perm", [1, 0]) if len(operands) == 1 else operands[1].read().tolist()
    whole = operands[0]
    if list(order) == [1, 0]:
        return replace(whole, flipped=not whole.flipped, by=None, operands=())
    return whole if list(order) == [0, 1] else Unread(node)


def _computed(node: Node, operands: tuple[GraphConstant, ...], operations: Operations) -> GraphConstant | Unread:
    variable, sizes = node.outputs[0], [math.prod(each.shape) for each in operands]
    if node.op == "Reshape":
        whole, target = operands[0], resolved(operands[1].read(), sizes[0])
        if _vector_shape(whole.shape) != _vector_shape(target):
            return Unread(node)
        return GraphConstant(replace(whole.stored, shape=target, read=lambda: whole.read().reshape(target)))
    if node.op in operations.elementwise:
        by = operations.elementwise[node.op]
        if math.prod(np.broadcast_shapes(*(each.shape for each in operands))) > max(sizes):
            return Unread(node)
        return GraphConstant(stored(variable, np.asarray(by(*(each.read() for each in operands)))), False, by, operands)
    if node.op in operations.folds and sum(sizes) <= MAX_FOLDED:
        values = np.asarray(operations.folds[node.op]([each.read() for each in operands], node.attributes))
        return GraphConstant(stored(variable, values)) if values.size <= MAX_FOLDED else Unread(node)
    return Unread(node)


def resolved(target: np.ndarray, size: int) -> Shape:
    """A shape of `size` values in which one axis may be −1, for what is left."""
    shape = [int(axis) for axis in target]
    rest = -math.prod(shape)
    return tuple(size // rest if axis == -1 and rest > 0 else axis for axis in shape)


def _vector_shape(shape: Shape) -> Shape:
    """A shape without its axes of one value."""
    return tuple(size for size in shape if size != 1)


def start(source: str, name: str, axes: Sequence[int | None] | None) -> Flow:
    """The samples of an input; axes of any size are None. Raises InputError where another than the batch is."""
    if axes is None or len(axes) < 2 or any(size is None or size < 1 for size in axes[1:]):
        text = "unknown" if axes is None else "[" + ", ".join("?" if size is None else str(size) for size in axes) + "]"
        raise InputError(f"{source}: input {name}: shape {text}, must be [batch, …] with every axis but the batch known")
    batch, *shape = axes
    return Flow(source, tuple(size for size in shape if size is not None), BATCH if batch is None else batch)


def one_input(source: str, names: Sequence[str]) -> str:
    """The name of the only input; InputError for none or several."""
    if len(names) != 1:
        raise InputError(f"{source}: {len(names)} inputs ({listed(names)}), must be one")
    return names[0]


def chain_to(samples: Flow, outputs: Mapping[str, Value | None], format: str) -> Chain:
    """The chain to the last of the outputs; the others must be values on its way, such as the code."""
    source = samples.source
    for name, value in outputs.items():
        if not isinstance(value, Flow):
            raise FormatError(f"{source}: output {name} is not computed from the input")
    flows = [value for value in outputs.values() if isinstance(value, Flow)]
    longest = max(flows, key=lambda flow: len(flow.layers))
    if any(mine is not theirs for flow in flows for mine, theirs in zip(flow.layers, longest.layers, strict=False)):
        raise InputError(f"{source}: outputs {listed(list(outputs))} are on different branches, must be on one chain of layers")
    return Chain(source, format, samples.shape, longest.layers, longest.left_out, whole=not isinstance(longest.last, Refused))
