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

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tiedae.base.errors import FormatError, InputError, listed
from tiedae.base.limits import AXES, FREE_BYTES, GRAPH_WORK, require_sample
from tiedae.config.layer_kinds import Shape

from .chain import Affine, Chain, Refused, stored
from .flow import BATCH, Flow, FlowPart, GraphConstant, GraphStep, Node, Row, Unread, Value, along, moved_name
from .graph_axes import MAX_FOLDED, MISFITS, MOVED, Reshaping, reshaped, settled
from .reasons import JOINS
from .transposes import without_transposes

Fold = Callable[[Sequence[np.ndarray], Mapping[str, Any]], Any]
"""The values of a node that computes shapes, for values of its inputs and its attributes; a tuple for several outputs."""


@dataclass(frozen=True)
class Operations:
    """What a format's operations are: `rows` of the samples, `joins` of parts of them; `elementwise` and `folds` of constants
    alone; `reshapes` of both."""

    rows: Mapping[str, Row]
    joins: Mapping[str, Row]
    reshapes: Mapping[str, Reshaping]
    elementwise: Mapping[str, Callable[..., np.ndarray]]
    folds: Mapping[str, Fold]
    keeps: Callable[[Node], bool]
    """Whether a node of constants gives its first input as it is."""


def trace(source: str, nodes: Iterable[Node], values: dict[str, Value], operations: Operations) -> None:
    """Add the values that nodes, in the order in which they compute, give.

    Raises FormatError where they would read and compute far more than the constants that there are.
    """
    constants = [value for value in values.values() if isinstance(value, GraphConstant)]
    most, work = FREE_BYTES + GRAPH_WORK * sum(map(_bytes, constants)), 0
    for node in nodes:
        first, *others = node.outputs
        operands = [
            values.get(name) or Unread(node, f"reads {name}, which the graph lacks") if name else None for name in node.inputs
        ]
        values.update((name, Unread(node, f"its output {name} is read, must be the first one")) for name in others if name)
        found = _value(node, tuple(operands), operations)
        if found not in operands:
            work += sum(map(_bytes, (*operands, *(found if isinstance(found, tuple) else (found,)))))
        if work > most:
            right = f"must be {most:,} at most: {GRAPH_WORK} times the constants"
            raise FormatError(
                f"{source}: {node.name} ({node.op}): the operations up to it take {work:,} bytes of constants, {right}"
            )
        values.update(zip(node.outputs, found, strict=False) if isinstance(found, tuple) else [(first, found)])


def _bytes(value: Value | None) -> int:
    """The bytes of a constant as it is computed with, in float64, and of the scale and offset of samples."""
    if isinstance(value, GraphConstant):
        return 8 * math.prod(value.shape)
    last = value.last if isinstance(value, Flow) else None
    return last.scale.nbytes + last.offset.nbytes if isinstance(last, Affine) else 0


def _value(node: Node, operands: tuple[Value | None, ...], operations: Operations) -> Value | tuple[Value, ...]:
    parts = [each.flow for each in operands if isinstance(each, FlowPart)]
    flows = [each for each in operands if isinstance(each, Flow)] + parts
    unread = next((each for each in operands if isinstance(each, Unread)), None)
    refused = next((each for each in flows if isinstance(each.last, Refused)), None)
    if refused is not None:
        return refused
    known = tuple(each for each in operands if not isinstance(each, Unread))
    if not flows:
        return unread or _folded(node, tuple(each for each in known if isinstance(each, GraphConstant)), operations)
    step = GraphStep(unread.node if unread else node, max(flows, key=lambda flow: flow.count), known)
    if parts:
        return operations.joins[node.op](step) if node.op in operations.joins and not unread else step.refuse(JOINS)
    if unread:
        return step.refuse(unread.reason)
    if len(flows) > 1:
        return step.refuse(f"joins two branches ({_branches(flows)}), must be a chain of layers")
    if node.op in operations.reshapes:
        return reshaped(step, operations.reshapes[node.op])
    if node.op not in operations.rows:
        return step.refuse("no operation of a tied autoencoder (docs/reference/import.md lists those that are)")
    try:
        return operations.rows[node.op](step)
    except MISFITS:
        return step.refuse("has attributes or inputs that do not fit each other")


def _branches(flows: Sequence[Flow]) -> str:
    """What each of the first two flows has that not both have."""
    flows = flows[:2]
    turns = zip(*(flow.layers for flow in flows), strict=False)
    common = sum(1 for _ in itertools.takewhile(lambda turn: all(layer is turn[0] for layer in turn), turns))
    names = (", ".join(layer.class_name for layer in flow.layers[common:]) for flow in flows)
    return " and ".join(name or "no operation" for name in names)


def _folded(
    node: Node, operands: tuple[GraphConstant, ...], operations: Operations
) -> GraphConstant | Unread | tuple[Value, ...]:
    """The constant that a node computes from constants; those of a node with several outputs."""
    if operands and operations.keeps(node):
        return operands[0]
    try:
        with np.errstate(all="ignore"):
            return _computed(node, operands, operations)
    except MISFITS:
        return Unread(node)


def _transposed(node: Node, operands: Sequence[GraphConstant]) -> GraphConstant | Unread:
    whole, axes = operands[0], operands[0].axes
    order = node.attributes.get("perm", range(len(axes))[::-1]) if len(operands) == 1 else operands[1].read().tolist()
    if sorted(order) != list(range(len(axes))):
        return Unread(node)
    found = tuple(axes[axis] for axis in order)
    plain = found == tuple(range(len(axes)))
    return replace(whole, order=() if plain else found, by=None, operands=()) if found != axes else whole


def _computed(
    node: Node, operands: tuple[GraphConstant, ...], operations: Operations
) -> GraphConstant | Unread | tuple[Value, ...]:
    variable, sizes = node.outputs[0], [math.prod(each.shape) for each in operands]
    if node.op == "Transpose":
        return _transposed(node, operands)
    if node.op in operations.reshapes:
        whole = operands[0]
        if sum(sizes[1:]) > MAX_FOLDED:
            return Unread(node)
        target = operations.reshapes[node.op](whole.shape, [each.read() for each in operands[1:]], node.attributes)
        if _vector_shape(whole.shape) != _vector_shape(target):
            return Unread(node)
        if whole.order:
            moved = stored(moved_name(whole.stored.variable, whole.order), whole.read().reshape(target))
            return GraphConstant(moved)
        return GraphConstant(replace(whole.stored, shape=target, read=lambda: whole.stored.read().reshape(target)))
    if node.op in operations.elementwise:
        by = operations.elementwise[node.op]
        if math.prod(np.broadcast_shapes(*(each.shape for each in operands))) > max(sizes):
            return Unread(node)
        return GraphConstant(stored(variable, np.asarray(by(*(each.read() for each in operands)))), (), by, operands)
    if node.op in operations.folds and sum(sizes) <= MAX_FOLDED:
        found = operations.folds[node.op]([each.read() for each in operands], node.attributes)
        if isinstance(found, tuple):
            return tuple(GraphConstant(stored(name, part)) for name, part in zip(node.outputs, found, strict=True))
        values = np.asarray(found)
        return GraphConstant(stored(variable, values)) if values.size <= MAX_FOLDED else Unread(node)
    return Unread(node)


def _vector_shape(shape: Shape) -> Shape:
    """A shape without its axes of one value."""
    return tuple(size for size in shape if size != 1)


def start(source: str, name: str, axes: Sequence[int | None] | None) -> Flow:
    """The samples of an input; axes of any size are None. Raises InputError where another than the batch is."""
    if axes is not None and len(axes) > AXES:
        raise FormatError(f"{source}: input {name}: has {len(axes):,} axes, must have {AXES} at most")
    if axes is None or len(axes) < 2 or any(size is None or size < 1 for size in axes[1:]):
        text = "unknown" if axes is None else "[" + ", ".join("?" if size is None else str(size) for size in axes) + "]"
        raise InputError(f"{source}: input {name}: shape {text}, must be [batch, …] with every axis but the batch known")
    batch, *shape = axes
    require_sample(f"{source}: input {name}", [size for size in shape if size is not None])
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
    flows = {name: value for name, value in outputs.items() if isinstance(value, Flow)}
    last = max(flows, key=lambda name: flows[name].count)
    longest = flows[last]
    trails = {None, *along(longest.trail)}
    if any(flow.trail not in trails for flow in flows.values()):
        raise InputError(f"{source}: outputs {listed(list(outputs))} are on different branches, must be on one chain of layers")
    if not isinstance(longest.last, Refused):
        longest = settled(longest, (last, "output"))
    if longest is None:
        raise InputError(f"{source}: output {last}: {MOVED}")
    layers = without_transposes(longest.layers, samples.shape)
    left_out = tuple(each.last for each in along(longest.left_out))[::-1]
    return Chain(source, format, samples.shape, layers, left_out, whole=not isinstance(longest.last, Refused))
