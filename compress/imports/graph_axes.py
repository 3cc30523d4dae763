"""Operations that move, add or merge axes of the samples, and what the samples look like to an operation of signals or images.

    [n, 8, 12, 4] ─ Transpose ─→ [n, 4, 8, 12]     the samples stay [8, 12, 4]; the view is (0, 3, 1, 2)
    [n, 24, 3] ─ ExpandDims ─→ [n, 1, 24, 3]       the samples stay [24, 3]; the view is (0, –, 1, 2)
    [n, 24, 3] ─ ExpandDims, Tile, Reshape ─→ [n, 48, 3]        nearest upsampling

So a layer is one of a chain, whichever axes a format computes it in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tiedae.base.limits import AXES
from tiedae.config.layer_kinds import Shape

from .chain import ChainReshape
from .convolutions import ChainTranspose, ChainUpsample
from .flow import Flow, FlowPart, GraphAxis, GraphConstant, GraphStep, Value, View
from .reasons import JOINS

MAX_FOLDED = 64
"""Values of a constant that is computed from shapes, at most."""
MOVED = "takes values that are moved or repeated, must take those of each sample once"
CHANNELS = "is along another axis than the last of the samples, must be along their channels"
REPEATED = "repeats values, must be nearest upsampling: each value as often as the others along its axis"

MISFITS = (ArithmeticError, IndexError, KeyError, TypeError, ValueError)
"""What NumPy and Python raise for sizes, places and numbers of a stranger's node that do not fit each other."""

Reshaping = Callable[[Shape, Sequence[np.ndarray], Mapping[str, Any]], Shape]
"""The shape that a node gives an array: for its shape, the values of the other inputs, and the attributes."""


def resolved(target: np.ndarray, size: int) -> Shape:
    """A shape of `size` values in which one axis may be −1, for what is left."""
    shape = [int(axis) for axis in target]
    rest = -math.prod(shape)
    return tuple(size // rest if axis == -1 and rest > 0 else axis for axis in shape)


def with_axes(shape: Shape, places: Sequence[int]) -> Shape:
    """A shape with axes of one value, at these places of the new one: ExpandDims and Unsqueeze. ValueError for one
    place twice."""
    rank = len(shape) + len(places)
    added, sizes = {place % rank for place in places} & {*range(rank)}, iter(shape)
    if len(added) < len(places):
        raise ValueError("one place twice, or between two")
    return tuple(1 if place in added else next(sizes) for place in range(rank))


def without_axes(shape: Shape, places: Sequence[int]) -> Shape:
    """A shape without axes of one value, at `places`, or all of them without any: Squeeze. ValueError for other axes."""
    left_out = {place % len(shape) for place in places} or {place for place, size in enumerate(shape) if size == 1}
    if any(shape[place] != 1 for place in left_out):
        raise ValueError("an axis of several values")
    return tuple(size for place, size in enumerate(shape) if place not in left_out)


def settled(flow: Flow, names: tuple[str, str]) -> Flow | None:
    """The flow with the axes of its tensor as those of its samples, by layers of these `names`; None where there are copies."""
    return _as_samples(flow, range(1, len(flow.axes)), names)


def _as_samples(flow: Flow, places: Sequence[int], names: tuple[str, str]) -> Flow | None:
    """The flow whose samples have some axes of its tensor, in this order: all but those of one value."""
    order = _order(flow, places)
    if order is None:
        return None
    shape = tuple(flow.sizes[place] for place in places)
    if list(order) != sorted(order):
        whole = (*order, *(axis for axis, size in enumerate(flow.shape) if axis not in order and size == 1))
        layer = ChainTranspose(*names, whole)
        flow = flow.then(layer, shape=layer.output(flow.shape))
    if shape == flow.shape:
        return replace(flow, view=())
    return flow.then(ChainReshape(*names, shape), shape=shape)


def _order(flow: Flow, places: Sequence[int]) -> tuple[int, ...] | None:
    """The axes of the samples of several values in the order of places of the tensor; None where the batch is not the first
    axis, others are left out, or there are copies."""
    whole = (flow.batch, *flow.shape)
    axes = [flow.axes[place].of for place in places if flow.axes[place].copies == 1]
    order = tuple(axis - 1 for axis in axes if axis is not None and whole[axis] > 1)
    known = sorted(order) == [axis for axis, size in enumerate(flow.shape) if size > 1]
    return order if known and len(axes) == len(places) and flow.axes[0].of == 0 else None


def transposed(step: GraphStep, order: Sequence[int]) -> Flow:
    """The axes in another order."""
    axes = step.flow.axes
    if sorted(order) != list(range(len(axes))):
        return step.refuse(f"has the order {list(order)} for {len(axes)} axes")
    return replace(step.flow, view=tuple(axes[place] for place in order))


def reshaped(step: GraphStep, by: Reshaping) -> Flow:
    """A new shape for the values of each sample: other axes of one value, the end of an upsampling, or a reshape."""
    flow, others = step.flow, [step.constant(place) for place in range(1, len(step.operands))]
    if step.operands[0] is not flow or any(each is None or math.prod(each.shape) > MAX_FOLDED for each in others):
        return step.refuse("must have a constant shape")
    values = [each.read() for each in others if each is not None]
    if any(each.dtype.kind not in "iu" for each in values):
        return step.refuse("must have a constant shape")
    try:
        target = by(flow.sizes, values, step.node.attributes)
    except MISFITS:
        return step.refuse(f"gives a tensor {list(flow.sizes[1:])} a shape that it cannot have")
    if len(target) > AXES:
        return step.refuse(f"gives a tensor of {len(target):,} axes, must have {AXES} at most")
    kept = f"must keep the {math.prod(flow.shape)} values of each sample together"
    if len(target) < 2 or target[0] != flow.batch or min(target) < 1 or flow.axes[0].of != 0:
        return step.refuse(kept)
    if math.prod(target[1:]) != math.prod(flow.sizes[1:]):
        return step.refuse(kept)
    if (view := _renamed(flow.axes, flow.sizes, target)) is not None:
        return replace(flow, view=view)
    if any(axis.copies > 1 for axis in flow.axes):
        return _upsampled(step, target)
    whole = settled(flow, step.names)
    return step.refuse(MOVED) if whole is None else whole.then(ChainReshape(*step.names, target[1:]), shape=target[1:])


def _renamed(axes: View, sizes: Shape, target: Shape) -> View | None:
    """The axes of a tensor of another shape with the same axes but for those of one value; None where others differ."""
    if sizes == target:
        return axes
    real = iter(axis for axis, size in zip(axes[1:], sizes[1:], strict=True) if size > 1)
    if [size for size in sizes[1:] if size > 1] != [size for size in target[1:] if size > 1]:
        return None
    return (axes[0], *(next(real) if size > 1 else GraphAxis(None) for size in target[1:]))


def tiled(step: GraphStep, multiples: GraphConstant | None) -> Flow:
    """Copies along axes that the samples lack."""
    axes = step.flow.axes
    counts = [] if multiples is None or multiples.stored.dtype.startswith("float") else multiples.read().ravel().tolist()
    if step.operands[0] is not step.flow or len(counts) != len(axes) or min(counts) < 1:
        return step.refuse("must have the samples and constant multiples for each axis")
    if any(count > 1 and (axis.of is not None or axis.copies > 1) for axis, count in zip(axes, counts, strict=True)):
        return step.refuse(REPEATED)
    view = [replace(axis, copies=count) if count > 1 else axis for axis, count in zip(axes, counts, strict=True)]
    return replace(step.flow, view=tuple(view))


def _upsampled(step: GraphStep, target: Shape) -> Flow:
    """Copies directly behind an axis become one axis with it."""
    flow, merged, copies = step.flow, [], [1] * (len(step.flow.shape) + 1)
    for axis in flow.axes:
        if axis.copies == 1:
            merged.append(axis)
        elif merged and (of := merged[-1].of) not in (None, 0, len(flow.shape)):
            copies[of] *= axis.copies
        else:
            return step.refuse(REPEATED)
    larger = upsampled(replace(flow, view=tuple(merged)), step.names, tuple(copies[1:-1]))
    view = _renamed(larger.axes, larger.sizes, target)
    return step.refuse(REPEATED) if view is None else replace(larger, view=view)


def upsampled(flow: Flow, names: tuple[str, str], counts: Shape) -> Flow:
    """Each value as often as `counts` say along each axis but the channels; one layer with such a layer just before."""
    shape = (*(size * count for size, count in zip(flow.shape, counts, strict=False)), flow.shape[-1])
    last, view = flow.last, flow.view
    if isinstance(last, ChainUpsample):
        sizes = tuple(before * count for before, count in zip(last.sizes, counts, strict=True))
        return replace(flow.then(replace(last, sizes=sizes), shape=shape, without=1), view=view)
    return replace(flow.then(ChainUpsample(*names, counts), shape=shape), view=view)


def parted(step: GraphStep, axis: int) -> tuple[Value, ...] | Flow:
    """The samples at each place of an axis, as Keras 2 upsamples signals."""
    flow = step.flow
    if flow not in step.operands or not -len(flow.axes) <= axis < len(flow.axes):
        return step.refuse(JOINS)
    axis %= len(flow.axes)
    if flow.sizes[axis] != len(step.node.outputs):
        return step.refuse(JOINS)
    return tuple(FlowPart(flow, axis, place) for place in range(flow.sizes[axis]))


def joined(step: GraphStep, axis: int) -> Flow:
    """Places of an axis one behind the other, each as often as the others: nearest upsampling."""
    flow, parts = step.flow, [each for each in step.operands if isinstance(each, FlowPart)]
    one, of = {(id(each.flow), each.axis) for each in parts}, flow.axes[axis % len(flow.axes)].of
    if one != {(id(flow), axis % len(flow.axes))} or of in (None, 0, len(flow.shape)):
        return step.refuse(JOINS)
    count, rest = divmod(len(parts), flow.shape[of - 1])
    if rest or [each.place for each in parts] != [place // count for place in range(len(parts))]:
        return step.refuse(REPEATED)
    return upsampled(flow, step.names, tuple(count if place == of else 1 for place in range(1, len(flow.shape))))


@dataclass(frozen=True)
class Field:
    """What an operation of signals or images sees of a tensor: its axis of channels and the others, in order."""

    channel: int
    places: tuple[int, ...]

    @classmethod
    def of(cls, rank: int, *, first: bool) -> Field:
        """Of a tensor of a rank, with channels `first` behind the batch, or last."""
        return cls(1, tuple(range(2, rank))) if first else cls(rank - 1, tuple(range(1, rank - 1)))

    def kept(self, flow: Flow, sizes: Shape) -> tuple[int, ...]:
        """The numbers of the places that the samples have: not those of one value, beside others, under a window of 1."""
        lacking = [i for i, place in enumerate(self.places) if flow.axes[place].of is None and sizes[i] == 1]
        kept = [i for i in range(len(self.places)) if i not in lacking]
        return tuple(kept or [len(self.places) - 1])

    def arranged(self, flow: Flow, kept: Sequence[int], names: tuple[str, str]) -> Flow | None:
        """The flow with samples [*kept places, channels]; None where other axes have several values, or there are copies."""
        order = [*(self.places[i] for i in kept), self.channel]
        shaped = _as_samples(flow, order, names)
        if shaped is None:
            return None
        axes = {place: GraphAxis(number) for number, place in enumerate(order, 1)} | {0: GraphAxis(0)}
        return replace(shaped, view=tuple(axes.get(place, GraphAxis(None)) for place in range(len(flow.axes))))
