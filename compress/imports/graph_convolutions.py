"""Convolutions, their transposes, max pooling and nearest upsampling of the samples, as rows of formats share them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tiedae.base.windows import Lengths, Padding, Window

from .chain import ChainArray
from .convolutions import ChainConvolution, ChainPool
from .flow import Flow, GraphConstant, GraphStep, moved_name
from .graph_axes import MOVED, Field, upsampled
from .reasons import DILATED, EDGES, GAPS, GROUPS, INTERPOLATED, POOL_STRIDES, THREE

Pads = tuple[tuple[int, int], ...]
"""(zeros before, zeros after) each axis."""


@dataclass(frozen=True)
class Geometry:
    """The windows of an operation over a tensor's axes but batch and channels. `pads`: zeros around the sample, or the padding
    by name. `dilations`, `groups`: as of a convolution. `first`: whether the channels are in front of the other axes."""

    sizes: Lengths
    strides: Lengths
    pads: Pads | Padding
    first: bool
    dilations: Lengths = ()
    groups: int = 1

    @property
    def refusal(self) -> str:
        """Why no chain has it; empty where one may."""
        if len(self.sizes) > 2:
            return THREE
        if any(count != 1 for count in self.dilations):
            return DILATED
        return GROUPS if self.groups != 1 else ""

    def only(self, kept: Sequence[int]) -> Geometry:
        """That of some of the axes."""
        pads = self.pads if isinstance(self.pads, str) else tuple(self.pads[i] for i in kept)
        sizes, strides = (tuple(values[i] for i in kept) for values in (self.sizes, self.strides))
        return replace(self, sizes=sizes, strides=strides, pads=pads, dilations=())

    def window(self, lengths: Lengths) -> Window | str:
        """The window over axes of these lengths; a reason where it has other pads than a padding by name has."""
        if isinstance(self.pads, str):
            return Window(self.sizes, self.strides, self.pads)
        axes = zip(lengths, self.sizes, self.strides, self.pads, strict=True)
        places = tuple((n + before + after - k) // s + 1 for n, k, s, (before, after) in axes)
        return _window(self.sizes, self.strides, lengths, places, tuple(before for before, _ in self.pads))


def _window(sizes: Lengths, strides: Lengths, lengths: Lengths, places: Lengths, before: Lengths) -> Window | str:
    """The window with these places and zeros before each axis; a reason where neither padding has them."""
    for padding in ("valid", "same"):
        window = Window(sizes, strides, padding)
        if window.places(lengths) == places and tuple(first for first, _ in window.pads(lengths)) == before:
            return window
    same = [list(pads) for pads in Window(sizes, strides, "same").pads(lengths)]
    got = f"{list(places)} windows over {list(lengths)}, {list(before)} zeros before each axis"
    return f'has {got}; padding "same", zeros {same} before and after each axis, or none would do'


def _arranged(step: GraphStep, geometry: Geometry) -> tuple[Flow, tuple[int, ...]] | str:
    """The flow with samples [*axes, channels], and the numbers of those axes among the windows'; or why there is none."""
    flow, rank = step.flow, len(geometry.sizes) + 2
    if step.flow not in step.operands or len(flow.axes) != rank or flow.axes[0].of != 0:
        return f"takes {list(flow.sizes[1:])}, must be {rank - 2} axes and channels"
    if reason := geometry.refusal:
        return reason
    field = Field.of(rank, first=geometry.first)
    kept = field.kept(flow, geometry.sizes)
    arranged = field.arranged(flow, kept, step.names)
    return MOVED if arranged is None else (arranged, kept)


def _kernel(step: GraphStep, constant: GraphConstant, order: Sequence[int], kept: Sequence[int]) -> ChainArray:
    """A constant as a kernel [*kept axes, channels, filters]; `order`: its axes as [*axes, channels, filters]."""
    axes = constant.axes
    whole = [axes[place] for place in order]
    shape = tuple(constant.shape[place] for place in (*(order[i] for i in kept), *order[-2:]))
    plain = constant.order == () or list(constant.order) == sorted(constant.order)
    name = constant.stored.variable if plain else moved_name(constant.stored.variable, constant.order)
    finite = lambda: step.finite(replace(constant, order=())).transpose(whole).reshape(shape)  # noqa: E731
    return replace(constant.stored, variable=name, shape=shape, read=finite)


def convolution(
    step: GraphStep, geometry: Geometry, order: Sequence[int], bias: GraphConstant | None = None, *, kernel: int = 1
) -> Flow:
    """A convolution of the samples. `kernel`: its operand, with `order` as of `_kernel`."""
    return _convolution(step, geometry, order, bias, kernel, transposed=None)


def transposed(
    step: GraphStep,
    geometry: Geometry,
    order: Sequence[int],
    lengths: Lengths,
    bias: GraphConstant | None = None,
    *,
    kernel: int = 1,
) -> Flow:
    """The transpose of a convolution, which gives axes of `lengths`; the pads are those in front of them."""
    return _convolution(step, geometry, order, bias, kernel, transposed=lengths)


def _convolution(
    step: GraphStep,
    geometry: Geometry,
    order: Sequence[int],
    bias: GraphConstant | None,
    kernel: int,
    transposed: Lengths | None,
) -> Flow:
    constant = step.constant(kernel)
    if constant is None or len(constant.shape) != len(geometry.sizes) + 2:
        return step.refuse("must have a kernel that is a constant or a variable")
    found = _arranged(step, geometry)
    if isinstance(found, str):
        return step.refuse(found)
    flow, kept = found
    near, weights = geometry.only(kept), _kernel(step, constant, order, kept)
    if any(stride > size for stride, size in zip(near.strides, near.sizes, strict=True)):
        return step.refuse(GAPS)
    given, inputs = flow.shape[-1], weights.shape[-2 if transposed is None else -1]
    if inputs != given:
        return step.refuse(f"kernel of {inputs} channels behind {given}")
    if transposed is None:
        lengths, window = flow.shape[:-1], near.window(flow.shape[:-1])
    else:
        lengths = tuple(transposed[i] for i in kept)
        before = () if isinstance(near.pads, str) else tuple(first for first, _ in near.pads)
        named = isinstance(near.pads, str)
        window = near.window(lengths) if named else _window(near.sizes, near.strides, lengths, flow.shape[:-1], before)
    if isinstance(window, str):
        return step.refuse(window)
    if (places := window.places(lengths)) != (flow.shape[:-1] if transposed is not None else places) or 0 in places:
        return step.refuse(f"gives {list(places)} places of {list(lengths)}")
    units = weights.shape[-1 if transposed is None else -2]
    if bias is not None and bias.shape != (units,):
        return step.refuse(f"has a bias {list(bias.shape)}, must be [{units}]")
    vector = None if bias is None else replace(bias.stored, shape=(units,), read=lambda: step.finite(bias))
    layer = ChainConvolution(*step.names, weights, vector, transposed is not None, window=window, lengths=lengths)
    return replace(flow.then(layer, shape=layer.output(flow.shape)), view=flow.view)


def max_pooling(step: GraphStep, geometry: Geometry) -> Flow:
    """The largest value of each window, windows side by side."""
    found = _arranged(step, geometry)
    if isinstance(found, str):
        return step.refuse(found)
    flow, kept = found
    near = geometry.only(kept)
    if near.sizes != near.strides:
        return step.refuse(POOL_STRIDES)
    window = near.window(flow.shape[:-1])
    if isinstance(window, str):
        return step.refuse(window)
    if 0 in window.places(flow.shape[:-1]):
        return step.refuse(f"takes {list(flow.shape)}, less than its window")
    layer = ChainPool(*step.names, window)
    return replace(flow.then(layer, shape=layer.output(flow.shape)), view=flow.view)


def cropped(step: GraphStep, spans: Mapping[int, tuple[int, int]]) -> Flow:
    """The samples from … to on some axes of the tensor, zeros beyond it: the edges of a transposed convolution alone."""
    flow, last = step.flow, step.flow.last
    spans = {place: span for place, span in spans.items() if span != (0, flow.sizes[place])}
    if not spans:
        return flow
    moved = {flow.axes[place].of: span for place, span in spans.items()}
    if not isinstance(last, ChainConvolution) or not last.transposed or last.bias is not None:
        return step.refuse(EDGES)
    if not moved.keys() <= set(range(1, len(flow.shape))):
        return step.refuse("leaves values of the batch or of channels out")
    before, lengths, window = [], [], last.window
    places = window.places(last.lengths)
    axes = zip(last.lengths, window.pads(last.lengths), places, window.sizes, window.strides, strict=True)
    for axis, (length, (zeros, _), count, size, stride) in enumerate(axes, 1):
        first, end = moved.get(axis, (0, length))
        if end <= first or (end > length and zeros + length < (count - 1) * stride + size):
            return step.refuse(EDGES)
        before.append(zeros + first)
        lengths.append(end - first)
    found = _window(window.sizes, window.strides, tuple(lengths), places, tuple(before))
    if isinstance(found, str):
        return step.refuse(found)
    layer = replace(last, window=found, lengths=tuple(lengths))
    return replace(flow.then(layer, shape=layer.output(flow.shape), without=1), view=flow.view)


def resized(step: GraphStep, lengths: Lengths, mapped: str, rounded: str, *, first: bool) -> Flow:
    """Each value as often as the new lengths say, where the coordinates that are read make it nearest upsampling.

    Source: https://onnx.ai/onnx/operators/onnx__Resize.html
    """
    field, flow = Field.of(len(flow_axes := step.flow.axes), first=first), step.flow
    if len(flow_axes) != len(lengths) + 2 or flow_axes[0].of != 0:
        return step.refuse(f"takes {list(flow.sizes[1:])}, must be {len(lengths)} axes and channels")
    before = tuple(flow.sizes[place] for place in field.places)
    counts = tuple(after // n for n, after in zip(before, lengths, strict=True))
    if any(not _is_nearest(n, after, mapped, rounded) for n, after in zip(before, lengths, strict=True)):
        return step.refuse(f"gives {list(lengths)} of {list(before)} by {mapped}, {rounded}; {INTERPOLATED}")
    kept = field.kept(flow, counts)
    arranged = field.arranged(flow, kept, step.names)
    return step.refuse(MOVED) if arranged is None else upsampled(arranged, step.names, tuple(counts[i] for i in kept))


def _is_nearest(length: int, after: int, mapped: str, rounded: str) -> bool:
    """Whether place i of `after` places takes value i // (after / length)."""
    if length < 1 or after % length or after > MAX_RESIZED:
        return False
    x = np.arange(after)
    coordinates = {
        "asymmetric": x * length / after,
        "half_pixel": (x + 0.5) * length / after - 0.5,
        "tf_half_pixel_for_nn": (x + 0.5) * length / after,
        "pytorch_half_pixel": (x + 0.5) * length / after - 0.5 if after > 1 else 0.0 * x,
        "align_corners": x * (length - 1) / max(after - 1, 1),
    }.get(mapped)
    if coordinates is None or rounded not in _ROUNDINGS:
        return False
    places = np.clip(_ROUNDINGS[rounded](coordinates), 0, length - 1)
    return bool(np.array_equal(places, x // (after // length)))


MAX_RESIZED = 1 << 20
"""Places of an axis that is resized, at most."""
_ROUNDINGS = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
}


def pads_of(values: Sequence[int]) -> Pads:
    """ONNX' pads, first all before and then all after, by axis."""
    half = len(values) // 2
    return tuple(zip(values[:half], values[half:], strict=True))


def explicit_pads(values: Sequence[int]) -> Pads:
    """TensorFlow's pads, before and after each axis in turn."""
    return tuple(zip(values[::2], values[1::2], strict=True))


def full_lengths(places: Lengths, sizes: Lengths, strides: Lengths) -> Lengths:
    """The axes that a transposed convolution without pads gives."""
    return tuple((count - 1) * s + k for count, k, s in zip(places, sizes, strides, strict=True))
