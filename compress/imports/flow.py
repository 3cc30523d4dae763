"""The values of a graph: constants, the flow of the samples, and a step, a node that the samples go through.

A chain has channels last and each axis once. What a graph does to axes only, such as NHWC to NCHW and an axis of one value for
a convolution of signals, is the flow's `view`: which axis of the samples each axis of the tensor is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np

from tiedae.base.errors import FormatError, InputError
from tiedae.base.limits import GRAPH_LAYERS, require_sample
from tiedae.config.layer_kinds import Shape

from .chain import ChainArray, ChainLayer, Refused

BATCH = 2**31 - 1
"""Samples of a batch, where the graph takes any number: a prime."""
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


@dataclass(frozen=True, eq=False)
class GraphConstant:
    """An array of the graph. `order`: the axes of the stored array that its axes are; () as they are stored. `by`, `operands`:
    the function of other constants that it is."""

    stored: ChainArray
    order: Shape = ()
    by: Callable[..., np.ndarray] | None = None
    operands: tuple[GraphConstant, ...] = ()

    @property
    def axes(self) -> Shape:
        """The axes of the stored array, one for each of its own."""
        return self.order or tuple(range(len(self.stored.shape)))

    @property
    def shape(self) -> Shape:
        return tuple(self.stored.shape[axis] for axis in self.axes)

    def read(self) -> np.ndarray:
        values = self.stored.read()
        return values.transpose(self.order) if self.order else values


@dataclass(frozen=True)
class GraphAxis:
    """An axis of a tensor: axis `of` of [batch, *shape] of the samples, or None for one that they lack, of one value that is
    repeated `copies` times."""

    of: int | None
    copies: int = 1


View = tuple[GraphAxis, ...]


T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Trail(Generic[T]):
    """The last one of a flow's layers or titles, and the trail of those before it, which flows share."""

    last: T
    before: Trail[T] | None
    count: int

    @classmethod
    def of(cls, before: Trail[T] | None, *added: T) -> Trail[T] | None:
        for each in added:
            before = cls(each, before, before.count + 1 if before else 1)
        return before


def along(trail: Trail[T] | None) -> Iterator[Trail[T]]:
    """A trail and those before it, from its end."""
    while trail is not None:
        yield trail
        trail = trail.before


@dataclass(frozen=True, eq=False)
class Flow:
    """The samples, [batch, *shape], behind the layers of `trail`. `left_out`: operations that only training has, by title.
    `view`: the axes of the graph's tensor; () for those of the samples. `operand`: the constant of the last layer where that
    is an `Affine`."""

    source: str
    shape: Shape
    batch: int = BATCH
    trail: Trail[ChainLayer] | None = None
    left_out: Trail[str] | None = None
    operand: GraphConstant | None = None
    view: View = ()

    @property
    def last(self) -> ChainLayer | None:
        return self.trail.last if self.trail else None

    @property
    def count(self) -> int:
        """The number of its layers."""
        return self.trail.count if self.trail else 0

    @property
    def layers(self) -> tuple[ChainLayer, ...]:
        return tuple(each.last for each in along(self.trail))[::-1]

    @property
    def axes(self) -> View:
        """The axes of the tensor."""
        return self.view or tuple(GraphAxis(axis) for axis in range(len(self.shape) + 1))

    @property
    def sizes(self) -> Shape:
        """The shape of the tensor."""
        whole = (self.batch, *self.shape)
        return tuple(axis.copies if axis.of is None else whole[axis.of] for axis in self.axes)

    def then(
        self, *layers: ChainLayer, shape: Shape | None = None, operand: GraphConstant | None = None, without: int = 0
    ) -> Flow:
        """The flow behind these layers too, in place of the last `without` ones. `shape`: a new one, its axes as they are."""
        kept = next(itertools.islice(along(self.trail), without, None), None)
        flow = replace(self, trail=Trail.of(kept, *layers), operand=operand)
        if flow.count > GRAPH_LAYERS:
            raise FormatError(f"{self.source}: has more than {GRAPH_LAYERS:,} layers, must be {GRAPH_LAYERS:,} at most")
        if shape is None:
            return flow
        require_sample(f"{self.source}: {layers[-1].title}", shape)
        return replace(flow, shape=shape, view=())


@dataclass(frozen=True)
class Unread:
    """A value that is not known, of which node, and why."""

    node: Node
    reason: str = "computes a constant in a way that is not read"


@dataclass(frozen=True)
class FlowPart:
    """The samples at one place of an axis of their tensor."""

    flow: Flow
    axis: int
    place: int


Value = GraphConstant | Flow | FlowPart | Unread


@dataclass(frozen=True)
class GraphStep:
    """A node that has the samples among its `operands`."""

    node: Node
    flow: Flow
    operands: tuple[GraphConstant | Flow | FlowPart | None, ...]

    @property
    def names(self) -> tuple[str, str]:
        """(name, class) of a layer."""
        return self.node.name, self.node.op

    def refuse(self, reason: str) -> Flow:
        return self.flow.then(Refused(*self.names, reason))

    def over(self, flow: Flow) -> GraphStep:
        """The step of the same node for this flow in place of its own."""
        operands = tuple(flow if each is self.flow else each for each in self.operands)
        return GraphStep(self.node, flow, operands)

    def behind(self, flow: Flow, constant: GraphConstant) -> GraphStep:
        """The step of the same node that has this flow and this constant."""
        return GraphStep(self.node, flow, (flow, constant))

    def constant(self, place: int) -> GraphConstant | None:
        """An operand of numbers, unless it is left out or the samples."""
        operand = self.operands[place] if place < len(self.operands) else None
        return operand if isinstance(operand, GraphConstant) and operand.stored.dtype in NUMBERS else None

    def vector(self, constant: GraphConstant | None) -> ChainArray | None:
        """A constant that holds a number or one for each channel, the last axis of the samples; None for another."""
        axes = self.flow.axes
        if constant is None or len(constant.shape) > len(axes):
            return None
        sizes = [(size, axis.of) for size, axis in zip(constant.shape[::-1], axes[::-1], strict=False) if size != 1]
        return None if sizes and sizes != [(self.flow.shape[-1], len(self.flow.shape))] else self._channels(constant)

    def channels(self, place: int) -> ChainArray | None:
        """An operand [channels]; None where it is left out or has another shape."""
        constant = self.constant(place)
        return self._channels(constant) if constant and constant.shape == self.flow.shape[-1:] else None

    def _channels(self, constant: GraphConstant) -> ChainArray:
        size = math.prod(constant.shape)
        shape = (size,) if size == self.flow.shape[-1] else ()
        return replace(constant.stored, shape=shape, read=lambda: self.finite(constant).reshape(shape))

    def weight(self, constant: GraphConstant) -> ChainArray:
        """A constant as its variable stores it, not transposed; reading it raises InputError unless it is finite."""
        return replace(constant.stored, read=lambda: self.finite(replace(constant, order=())))

    def finite(self, constant: GraphConstant) -> np.ndarray:
        """The values of a constant; InputError unless they are finite."""
        values = constant.read()
        if not np.isfinite(values).all():
            raise InputError(f"{self.flow.source}: {constant.stored.variable}: got NaN or infinity, weights must be finite")
        return values


Row = Callable[[GraphStep], Value | tuple[Value, ...]]


def moved_name(variable: str, order: Shape) -> str:
    """What an array is called that is a variable with its axes in another order: it is not that variable."""
    return f"{variable} with axes {', '.join(map(str, order))}" if order else variable
