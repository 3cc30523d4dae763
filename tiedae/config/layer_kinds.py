"""The kinds of layers: the record of each, and the shapes that follow from it. Imports no TensorFlow, as `config`.

A layer multiplies rows by its kernel, a matrix [inputs, units], and its decoder layer by the transpose; fans are those of the
matrix. A kind says which rows an encoder's input has: a dense layer has one, its last axis; a convolution one per place of its
window. Units are the last axis of what an encoder layer gives. In the rows of the next layer, entry r is of unit r mod units.

A kind of another package is a file too. It derives a record from `LayerConfig`, tagged with its name, and is a row here, one
of `layers.DIRECTIONS` and one of `program.lowering.LOWERINGS`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from msgspec import Meta, field
from msgspec.structs import replace

from tiedae.base.keys import NonNegative, Positive, ProperFraction, means
from tiedae.base.records import Checked, OfKind, checked, plain, require, within
from tiedae.base.windows import Lengths, Padding, Window

Activation = Literal["linear", "relu", "relu6", "tanh", "sigmoid"]
"""Activations whose int8 kernels agree in every supported runtime."""
COMPONENT_UNITS: Mapping[Activation, int] = {"linear": 1, "relu": 2, "relu6": 2}
"""Units that hold a principal component, a pair of opposite signs for relu, by the activation; others hold none."""
Shape = tuple[int, ...]
OF_WEIGHTS = (".bias", ".gains")
"""Endings of the quantized tensors that weights alone determine: their ranges follow the weights."""
UNPOOLED = ".unpooled"
"""Ending of the tensor before max pooling, which has the quantization of the one after it."""


class LayerConfig(Checked, frozen=True):
    """One encoder layer and, mirrored, one decoder layer over the same kernel."""

    units: Annotated[Positive, means("outputs of the encoder layer, inputs of its decoder layer", 256)]
    activation: Annotated[Activation, means("of these units, where they are encoded and where they are decoded")] = "linear"
    use_bias: Annotated[bool, means("a bias in both layers")] = True
    dropout: Annotated[ProperFraction, means("fraction of the layer's outputs that training drops")] = 0.0
    l1: Annotated[NonNegative, means("L1 penalty on the kernel, once, although two layers use it")] = 0.0
    l2: Annotated[NonNegative, means("L2 penalty on the kernel, once")] = 0.0
    activity_l1: Annotated[NonNegative, means("L1 penalty on the layer's output: summed over units, mean over the batch")] = 0.0
    activity_l2: Annotated[NonNegative, means("L2 penalty on the layer's output, as activity_l1")] = 0.0
    batch_norm: Annotated[
        bool, means("batch normalization of these units before the activation, encoded and decoded, each by its own statistics")
    ] = False
    flatten: Annotated[bool, means("all values of the layer's input as one row, of which the decoder makes its axes again")] = (
        False
    )

    elsewhere: ClassVar[Mapping[str, str]] = {
        "filters": 'did you mean units? A convolution has kind = "conv1d" or "conv2d"',
        "kernel": 'a dense layer has units alone; a convolution has kind = "conv1d" or "conv2d"',
    }

    @property
    def kind(self) -> str:
        """Its name in `LAYER_KINDS`."""
        return str(self.__struct_config__.tag or DENSE)

    def sample(self, shape: Shape) -> Shape:
        """The shape in which the first layer takes samples of `shape`: one axis, unless the kind reads several."""
        return (math.prod(shape),)

    def rows(self, shape: Shape) -> Shape:
        """The rows of an encoder's input of `shape`: [*places, inputs of the kernel], by default the input itself.

        Entries are in the order in which runtimes add their products, for the pair rule (see `integers`). A kind raises
        RecipeError, with its key, for a shape that it cannot take.
        """
        return (math.prod(shape),) if self.flatten else shape

    def output(self, rows: Shape) -> Shape:
        """The shape of what the encoder layer gives for `rows`, [*places, inputs of the kernel]."""
        return (*rows[:-1], self.units)

    @property
    def pools(self) -> Lengths:
        """The windows of max pooling behind the activation, one length per axis; () without."""
        return ()

    def windows_over(self, shape: Shape) -> tuple[np.ndarray, ...]:
        """Of an input of `shape`, windows that the values along an axis are under, as `Window.counts`; () without windows."""
        return ()

    def filter(self, shape: Shape) -> Shape:
        """The shape of one unit's weights, where samples of `shape` are the input: in the report, what a unit looks for."""
        return shape

    @property
    def windows(self) -> str:
        """Its windows in words; '' of a layer without."""
        return ""


def by_axis(lengths: Shape) -> str:
    """One length per axis in words, as 3 × 3."""
    return " × ".join(map(str, lengths))


Sizes = Positive | Annotated[tuple[Positive, ...], Meta(min_length=1, max_length=2)]
"""One length for all axes, or one per axis."""
AXES = {1: "[length, channels]", 2: "[height, width, channels]"}


class ConvolutionConfig(LayerConfig, frozen=True, kw_only=True):
    """A convolution and, mirrored, its transpose: one kernel [*window, channels, filters], a matrix of `filters` columns."""

    units: Annotated[Positive, means("channels that the encoder layer gives and its decoder layer takes", 16)] = field(
        name="filters"
    )
    kernel: Annotated[Sizes, means("lengths of the window")] = 3
    strides: Annotated[Sizes, means("steps between windows, at most the window")] = 1
    padding: Annotated[Padding, means("same: zeros around a sample; valid: only whole windows")] = "same"
    pool: Annotated[Sizes, means("max pooling behind the activation")] = 1

    axes: ClassVar[int]
    elsewhere: ClassVar[Mapping[str, str]] = {
        "units": "did you mean filters?",
        **dict.fromkeys(("dilation", "dilations", "dilation_rate"), "there are no gaps in windows; a larger kernel would do"),
        "groups": "each filter reads all channels; fewer filters would do",
        "pool_size": "did you mean pool?",
    }

    def check(self) -> None:
        for key in ("kernel", "strides", "pool"):
            value = getattr(self, key)
            each = f"one number, or {self.axes}, one per axis"
            require(isinstance(value, int) or len(value) == self.axes, key, plain(value), each)
        wide = all(stride <= size for stride, size in zip(self.window.strides, self.window.sizes, strict=True))
        require(wide, "strides", plain(self.strides), f"at most the kernel, {plain(self.kernel)}, so that windows leave no gap")
        require(not self.flatten, "flatten", True, f"false: a {self.kind} layer reads {AXES[self.axes]}")

    def _per_axis(self, value: int | Lengths) -> Lengths:
        return (value,) * self.axes if isinstance(value, int) else value

    @property
    def window(self) -> Window:
        return Window(self._per_axis(self.kernel), self._per_axis(self.strides), self.padding)

    @property
    def pools(self) -> Lengths:
        pools = self._per_axis(self.pool)
        return pools if max(pools) > 1 else ()

    def sample(self, shape: Shape) -> Shape:
        return shape if len(shape) > self.axes else (*shape, 1)

    def rows(self, shape: Shape) -> Shape:
        fits = {1: "dense", 2: "conv1d", 3: "conv2d"}.get(len(shape), "another layer")
        right = f"{fits}, a layer that reads {list(shape)}; {self.kind} reads {AXES[self.axes]}"
        require(len(shape) == self.axes + 1, "kind", self.kind, right)
        places = self.window.places(shape[:-1])
        whole = f"at most {list(shape[:-1])}, the axes of its input, or padding same"
        require(0 not in places, "kernel", plain(self.kernel), whole)
        divided = all(count % pool == 0 for count, pool in zip(places, self.pools, strict=False))
        common = math.gcd(*places)
        divisors = ", ".join(str(size) for size in range(2, common + 1) if common % size == 0) or "none, strides would do"
        right = f"a divisor of each axis of the convolution, {list(places)}: {divisors}"
        require(divided, "pool", plain(self.pool), f"{right}; max pooling takes whole windows")
        return (*places, math.prod(self.window.sizes) * shape[-1])

    def output(self, rows: Shape) -> Shape:
        return (*(count // pool for count, pool in zip(rows, self._per_axis(self.pool), strict=False)), self.units)

    def windows_over(self, shape: Shape) -> tuple[np.ndarray, ...]:
        return self.window.counts(shape[:-1])

    def filter(self, shape: Shape) -> Shape:
        """[height, width, channels]; of a signal the height is 1."""
        return (*(1,) * (2 - self.axes), *self.window.sizes, self.sample(shape)[-1])

    @property
    def windows(self) -> str:
        pool = f", max pooling {by_axis(self.pools)}" if self.pools else ""
        return f"{by_axis(self.window.sizes)}, strides {by_axis(self.window.strides)}, {self.padding}{pool}"


class Conv1DConfig(ConvolutionConfig, frozen=True, kw_only=True, tag_field="kind", tag="conv1d"):
    """A convolution over signals, [length, channels]."""

    axes: ClassVar[int] = 1


class Conv2DConfig(ConvolutionConfig, frozen=True, kw_only=True, tag_field="kind", tag="conv2d"):
    """A convolution over images, [height, width, channels]; the keys are those of conv1d."""

    axes: ClassVar[int] = 2


class MaxPoolTable(Checked, frozen=True, tag_field="kind", tag="maxpool"):
    """Max pooling: `pool` of the convolution before it."""

    size: Annotated[Sizes, means("lengths of a window")] = 2

    elsewhere: ClassVar[Mapping[str, str]] = {"strides": "windows are side by side, their strides are the size"}


class FlattenTable(Checked, frozen=True, tag_field="kind", tag="flatten"):
    """One row of all values: `flatten` of the dense layer behind it."""


DENSE = "dense"
LAYER_KINDS: dict[str, type[LayerConfig]] = {DENSE: LayerConfig, "conv1d": Conv1DConfig, "conv2d": Conv2DConfig}
"""The records of layers by the key `kind`; a dense layer has none."""
MERGED_KINDS: dict[str, type[Checked]] = {"maxpool": MaxPoolTable, "flatten": FlattenTable}
"""Tables of a recipe without a kernel, which become keys of the layer that has one, see `layer_tables`."""

if TYPE_CHECKING:
    AnyLayer = LayerConfig
else:

    class AnyLayer(OfKind):
        """A record of one of `LAYER_KINDS`."""

        kinds = LAYER_KINDS


def layer_tables(layers: Sequence[object], activation: Activation = "relu") -> list[LayerConfig]:
    """[128, 16] as records: a number is the units of a layer, with `activation` if hidden, linear if the code.

    A table `maxpool` becomes `pool` of the convolution before it, `flatten` a key of the dense layer behind it, so that records
    and kernels are one to one. Raises RecipeError, naming the item, for a wrong one.
    """
    records: list[LayerConfig] = []
    flatten, last = False, len(layers) - 1
    for i, item in enumerate(layers):
        table: Any = item
        if isinstance(item, Integral) and not isinstance(item, bool):
            table = {"units": int(item), "activation": activation if i < last else "linear"}
        with within(f"layers[{i}]."):
            merged = _merged(table)
            if isinstance(merged, MaxPoolTable):
                behind = not flatten and bool(records) and isinstance(records[-1], ConvolutionConfig) and not records[-1].pools
                require(behind, "kind", "maxpool", "behind a conv1d or conv2d layer without a pool")
                records[-1] = replace(records[-1], pool=merged.size)
            elif merged is not None:
                right = "before a dense layer; without it the code is a feature map"
                require(i < last and not flatten, "kind", "flatten", right)
                flatten = True
        if merged is None:
            records.append(checked(AnyLayer, table, f"layers[{i}]"))
            if flatten:
                with within(f"layers[{i - 1}]."):
                    require(records[-1].kind == DENSE, "kind", "flatten", f"before a dense layer, not {records[-1].kind}")
                records[-1], flatten = replace(records[-1], flatten=True), False
    return records


def _merged(table: object) -> Checked | None:
    """The record of a table of `MERGED_KINDS`; None for other items. RecipeError for a kind in neither table."""
    kind = table.get("kind", DENSE) if isinstance(table, Mapping) else DENSE
    known = (*LAYER_KINDS, *MERGED_KINDS)
    require(isinstance(kind, str) and kind in known, "kind", kind, f"one of {', '.join(known)}{_elsewhere(kind)}")
    return checked(MERGED_KINDS[kind], table) if kind in MERGED_KINDS else None


_MIRRORED = "the decoder mirrors the encoder by itself, leave it out"
_KINDS_ELSEWHERE: Mapping[str, str] = {
    **dict.fromkeys(("avg", "average"), "averages are rounded otherwise by each runtime, maxpool or strides would do"),
    **dict.fromkeys(("maxpool", "max_pool"), "did you mean maxpool?"),
    **dict.fromkeys(("convtranspose", "conv1dt", "conv2dt", "deconv", "upsampl", "unpool", "reshape"), _MIRRORED),
    **dict.fromkeys(("conv1", "conv2"), "did you mean conv1d or conv2d?"),
    **dict.fromkeys(("conv3", "separable", "depthwise"), "conv1d or conv2d would do"),
    "dropout": "dropout is a key of the layer before it",
    "batch": "batch_norm = true is a key of the layer before it",
    "activation": "activation is a key of the layer before it",
    **dict.fromkeys(("relu", "sigmoid", "tanh"), "activation is a key of the layer before it"),
}
"""What to do for a kind as other packages call it, by how its name begins."""


def _elsewhere(kind: object) -> str:
    name = str(kind).lower()
    return next((f": {text}" for start, text in _KINDS_ELSEWHERE.items() if name.startswith(start)), "")
