"""What each class of Keras computes: `READERS`, a function for each class that a chain has; `REASONS` says why not others."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np

from tiedae.base.errors import FormatError
from tiedae.base.limits import require_sample
from tiedae.base.windows import Lengths, Padding, Window
from tiedae.config.layer_kinds import Shape

from .chain import FUNCTIONS, Affine, BatchNorm, ChainArray, ChainFunction, ChainLayer, ChainProduct, ChainReshape, Refused
from .convolutions import ChainConvolution, ChainPool, ChainUpsample
from .keras_config import KerasLayer, layer_config
from .keras_weights import Group
from .reasons import (
    AVERAGES,
    CHANNELS_FIRST,
    CODE,
    DILATED,
    EDGES,
    GAPS,
    GROUPS,
    INTERPOLATED,
    JOINS,
    OUTPUT_PADDING,
    PER_CHANNEL,
    POOL_STRIDES,
    POOLS_ALL,
    RECURRENT,
    STRIP,
    THREE,
    UNKNOWN_INPUT,
)

EPSILON = 1e-7
"""Keras' `backend.epsilon`, the least deviation that Normalization divides by."""


@dataclass(frozen=True)
class PlacedLayer:
    """A layer in a chain: its configuration, its arrays, and the shape of its input, None where that is not known.

    `following`: the last axis of what the layers behind it take; None where that is not known.
    """

    config: KerasLayer
    group: Group
    shape: Shape | None
    following: int | None = None

    @property
    def width(self) -> int | None:
        """The last axis of its input."""
        return self.shape[-1] if self.shape else None

    def take(self, **shapes: Sequence[int | None]) -> list[ChainArray]:
        """Its arrays by name, or in Keras' order without names; FormatError where one is missing or of another shape."""
        own = self.group.own
        named = {name.rpartition("/")[2].partition(":")[0]: array for name, array in own.items()}
        arrays = [named.get(name) for name in shapes] if shapes.keys() & named.keys() else list(own.values())
        taken = []
        for i, (name, shape) in enumerate(shapes.items()):
            array = arrays[i] if i < len(arrays) else None
            if array is None:
                raise FormatError(f"{self.config.title}: {name} is missing: the file has {', '.join(own) or 'no array'} of it")
            wanted = [got if size is None else size for size, got in itertools.zip_longest(shape, array.shape)]
            if wanted != list(array.shape) or len(shape) != len(array.shape):
                raise FormatError(f"{self.config.title}: {name} has shape {list(array.shape)}, must have {_sizes(shape)}")
            taken.append(array)
        return taken

    def refused(self, reason: str, *, custom: bool = False) -> tuple[ChainLayer, ...]:
        """This layer, which no chain has."""
        return (Refused(self.config.name, self.config.class_name, reason, self.group.all, custom),)


def _sizes(shape: Sequence[int | None]) -> str:
    return f"[{', '.join('any' if size is None else str(size) for size in shape)}]"


Reader = Callable[[PlacedLayer], tuple[ChainLayer, ...]]


def float_only(reader: Reader) -> Reader:
    """A reader of a layer with a kernel that refuses one that is quantized or has matrices beside it."""

    def read(place: PlacedLayer) -> tuple[ChainLayer, ...]:
        values = place.config.values
        if values.get("quantization_config") or "quantiz" in repr(values.get("dtype")).lower():
            return place.refused("is quantized; the float model that it was made of would do")
        if values.get("lora_rank"):
            return place.refused("has LoRA matrices; the model after merging them would do")
        return reader(place)

    return read


@float_only
def _dense(place: PlacedLayer) -> tuple[ChainLayer, ...]:
    config = place.config
    units = config.value("units", int)
    bias = {"bias": (units,)} if config.value("use_bias", bool, default=True) else {}
    kernel, *rest = place.take(kernel=(place.width, units), **bias)
    product = ChainProduct(config.name, config.class_name, kernel, rest[0] if rest else None)
    return product, *activation(place, config.values.get("activation"))


def activation(place: PlacedLayer, value: Any) -> tuple[ChainLayer, ...]:
    """The layer of an activation as the configuration names it: a text, or the object of a function or a layer."""
    config = place.config
    if isinstance(value, dict) and not isinstance(value.get("class_name"), str):  # what Keras 3 writes of a lambda
        return place.refused(CODE)
    if isinstance(value, dict):
        inner = layer_config(value | {"config": value["config"] if isinstance(value.get("config"), dict) else {}}, config.title)
        if inner.class_name in ACTIVATION_LAYERS:
            return ACTIVATION_LAYERS[inner.class_name](replace(place, config=inner))
        value = value["config"] if isinstance(value.get("config"), str) else inner.class_name
    if value is None or value == "linear":
        return ()
    if not isinstance(value, str):
        raise FormatError(f"{config.title}: activation: got {repr(value)[:60]}, must be a name")
    if value in FUNCTIONS:
        return (ChainFunction(config.name, config.class_name, value),)
    return replace(place, config=replace(config, class_name=str(value))).refused(_other_activation(value))


def _other_activation(name: object) -> str:
    return f'is no activation of a chain ({", ".join(FUNCTIONS)}); replace = {{{name} = "relu"}} would do, with fine-tuning'


def _activation(place: PlacedLayer) -> tuple[ChainLayer, ...]:
    return activation(place, place.config.values.get("activation"))


def _relu(place: PlacedLayer) -> tuple[ChainLayer, ...]:
    values = place.config.values
    limit = values.get("max_value")
    if any(values.get(key) for key in ("negative_slope", "threshold")) or limit not in (None, 6):
        return place.refused(_other_activation("ReLU"))
    return (ChainFunction(place.config.name, place.config.class_name, "relu" if limit is None else "relu6"),)


def _other(place: PlacedLayer) -> tuple[ChainLayer, ...]:
    return place.refused(_other_activation(place.config.class_name))


ACTIVATION_LAYERS: Mapping[str, Reader] = {
    "Activation": _activation,
    "ReLU": _relu,
    "LeakyReLU": _other,
    "PReLU": _other,
    "ELU": _other,
    "ThresholdedReLU": _other,
    "Softmax": _other,
}


def is_activation(layer: ChainLayer) -> bool:
    """Whether a layer is an activation, one that no chain has among them: by its class, or as Keras calls a function."""
    known = {name.casefold() for name in ACTIVATION_LAYERS}
    of_class = layer.class_name.casefold() in known or layer.class_name.islower()
    return isinstance(layer, ChainFunction) or (isinstance(layer, Refused) and of_class)


def _flatten(place: PlacedLayer) -> tuple[ChainLayer, ...]:
    if place.shape is None:
        return place.refused(UNKNOWN_INPUT)
    if place.config.values.get("data_format") == "channels_first" and len(place.shape) > 1:
        return place.refused(CHANNELS_FIRST)
    return (ChainReshape(place.config.name, place.config.class_name, (math.prod(place.shape),)),)


def _reshape(place: PlacedLayer) -> tuple[ChainLayer, ...]:
    target = place.config.value("target_shape", list)
    if place.shape is None:
        return place.refused(UNKNOWN_INPUT)
    require_sample(place.config.title, [0] * len(target))
    sizes = [size if type(size) is int else 0 for size in target]
    size, known = math.prod(place.shape), math.prod(size for size in sizes if size != -1)
    shape = tuple(size // max(known, 1) if each == -1 else each for each in sizes)
    if min(sizes, default=0) < -1 or sizes.count(-1) > 1 or math.prod(shape) != size:
        raise FormatError(
            f"{place.config.title}: target_shape {str(target)[:60]}, must have the {size} values of {list(place.shape)}"
        )
    return (ChainReshape(place.config.name, place.config.class_name, shape),)


def _numbers(place: PlacedLayer, key: str, default: float) -> np.ndarray:
    values = place.config.values.get(key, default)
    if isinstance(values, dict) and values.get("class_name") == "__numpy__":
        values = (values.get("config") or {}).get("value")
    try:
        return np.array(values, np.float64)
    except (ValueError, TypeError, OverflowError):
        raise FormatError(f"{place.config.title}: {key}: got {repr(values)[:60]}, must be a number or numbers") from None


def _number(place: PlacedLayer, key: str, default: float) -> float:
    values = _numbers(place, key, default)
    if values.shape or not np.isfinite(values):
        raise FormatError(f"{place.config.title}: {key}: got {repr(values.tolist())[:60]}, must be a finite number")
    return float(values)


def _rescaling(place: PlacedLayer) -> tuple[ChainLayer, ...]:
    return _affine(place, _numbers(place, "scale", 1.0), _numbers(place, "offset", 0.0))


def _affine(place: PlacedLayer, scale: np.ndarray, offset: np.ndarray) -> tuple[ChainLayer, ...]:
    for values in (scale, offset):
        if values.size != 1 and values.shape != (place.width,):
            return place.refused(f"scales by {list(values.shape)} numbers, must be by one or one per value of the last axis")
    return (Affine(place.config.name, place.config.class_name, scale.squeeze(), offset.squeeze()),)


def _normalization(place: PlacedLayer) -> tuple[ChainLayer, ...]:
    values = place.config.values
    axis = values.get("axis", -1)
    axes = list(axis or ()) if isinstance(axis, list | None) else [axis]
    if any(each not in (-1, len(place.shape or ())) for each in axes):
        return place.refused(f"normalizes axis {axis}, must be the last one or none")
    if values.get("mean") is None:
        arrays = list(place.group.own.values())[:2]
        if len(arrays) < 2:
            raise FormatError(f"{place.config.title}: mean and variance are missing")
        mean, variance = (np.ravel(array.read()).astype(np.float64) for array in arrays)
    else:
        mean, variance = np.ravel(_numbers(place, "mean", 0.0)), np.ravel(_numbers(place, "variance", 1.0))
    if mean.size != variance.size or not (variance >= 0).all():
        got = f"{mean.size} means and {variance.size} variances, the least {variance.min(initial=0):g}"
        raise FormatError(f"{place.config.title}: has {got}, must be as many of each, and none below 0")
    deviation = np.maximum(np.sqrt(variance), EPSILON)
    if values.get("invert"):
        return _affine(place, deviation, mean)
    return _affine(place, 1 / deviation, -mean / deviation)


def _batch_normalization(place: PlacedLayer) -> tuple[ChainLayer, ...]:
    config = place.config
    axes = config.values.get("axis", -1)
    axis = axes[0] if isinstance(axes, list) and len(axes) == 1 else axes
    if axis != -1 and place.shape is not None and axis != len(place.shape):
        return place.refused(f"normalizes axis {axis}, must be the last one")
    wanted = [("gamma", "scale"), ("beta", "center")]
    names = [name for name, key in wanted if config.value(key, bool, default=True)] + ["moving_mean", "moving_variance"]
    arrays = dict(zip(names, place.take(**dict.fromkeys(names, (place.width,))), strict=True))
    return (
        BatchNorm(
            config.name,
            config.class_name,
            arrays.get("gamma"),
            arrays.get("beta"),
            arrays["moving_mean"],
            arrays["moving_variance"],
            _number(place, "epsilon", 1e-3),
        ),
    )


def _pruned(place: PlacedLayer) -> tuple[ChainLayer, ...]:
    """TensorFlow Model Optimization's wrapper: kernel · mask, its mask the last of its own arrays of the kernel's shape."""
    inner = place.config.inner
    if inner is None or inner.class_name != "Dense":
        return place.refused("wraps a layer that is not Dense; tfmot.sparsity.keras.strip_pruning(model) may do")
    product, *rest = _dense(PlacedLayer(inner, place.group.wrapped(inner), place.shape))
    if not isinstance(product, ChainProduct):
        return product, *rest
    masks = [array for array in place.group.own.values() if array.shape == product.kernel.shape]
    if not masks:
        raise FormatError(f"{place.config.title}: mask is missing")
    return replace(product, mask=masks[-1]), *rest


def _window(place: PlacedLayer, axes: int, sizes: str, strides: str) -> Window:
    """The window that the configuration states; as many strides as sizes where it states none."""
    counts = _lengths(place, sizes, axes)
    given = place.config.values.get(strides) is not None
    return Window(counts, _lengths(place, strides, axes) if given else counts, place.config.values.get("padding", "valid"))


def _lengths(place: PlacedLayer, key: str, axes: int, default: int | None = None) -> Lengths:
    value = place.config.values.get(key, default)
    lengths = (value,) * axes if type(value) is int else tuple(value) if isinstance(value, list) else ()
    if len(lengths) != axes or not all(type(each) is int and each > 0 for each in lengths):
        raise FormatError(f"{place.config.title}: {key}: got {repr(value)[:60]}, must be {axes} numbers above 0")
    return lengths


def over_axes(reader: Callable[[PlacedLayer, int], tuple[ChainLayer, ...]]) -> Reader:
    """A reader of layers over signals or images, by the axes that their class names, which must be those of the input."""

    def read(place: PlacedLayer) -> tuple[ChainLayer, ...]:
        axes, values = 1 if "1D" in place.config.class_name else 2, place.config.values
        if values.get("data_format") == "channels_first":
            return place.refused(CHANNELS_FIRST)
        if place.shape is None:
            return place.refused(UNKNOWN_INPUT)
        if len(place.shape) != axes + 1:
            raise FormatError(f"{place.config.title}: takes {list(place.shape)}, must be {axes} axes and channels")
        if values.get("padding", "valid") not in get_args(Padding):
            return place.refused(f'has padding {values["padding"]}; padding "same" or "valid" would do')
        return reader(place, axes)

    return read


@float_only
@over_axes
def _convolution(place: PlacedLayer, axes: int) -> tuple[ChainLayer, ...]:
    config, values = place.config, place.config.values
    assert place.shape is not None
    if set(_lengths(place, "dilation_rate", axes, 1)) != {1}:
        return place.refused(DILATED)
    if values.get("groups", 1) != 1:
        return place.refused(GROUPS)
    if values.get("output_padding") is not None:
        return place.refused(OUTPUT_PADDING)
    window = _window(place, axes, "kernel_size", "strides")
    if any(stride > size for stride, size in zip(window.strides, window.sizes, strict=True)):
        return place.refused(GAPS)
    filters, lengths = config.value("filters", int), place.shape[:-1]
    transposed = config.class_name.endswith("Transpose")
    if transposed:
        gaps = [
            size - stride if window.padding == "valid" else 0 for size, stride in zip(window.sizes, window.strides, strict=True)
        ]
        lengths = tuple(n * stride + gap for n, stride, gap in zip(lengths, window.strides, gaps, strict=True))
    if 0 in window.places(lengths):
        raise FormatError(f"{config.title}: takes {list(place.shape)}, less than its kernel of {list(window.sizes)}")
    channels = (filters, place.width) if transposed else (place.width, filters)
    bias = {"bias": (filters,)} if config.value("use_bias", bool, default=True) else {}
    kernel, *rest = place.take(kernel=(*window.sizes, *channels), **bias)
    names = config.name, config.class_name
    layer = ChainConvolution(*names, kernel, rest[0] if rest else None, transposed, window=window, lengths=lengths)
    return layer, *activation(place, values.get("activation"))


@over_axes
def _max_pooling(place: PlacedLayer, axes: int) -> tuple[ChainLayer, ...]:
    window = _window(place, axes, "pool_size", "strides")
    if window.sizes != window.strides:
        return place.refused(POOL_STRIDES)
    if place.shape is None or 0 in window.places(place.shape[:-1]):
        raise FormatError(f"{place.config.title}: takes {list(place.shape or ())}, less than its window")
    return (ChainPool(place.config.name, place.config.class_name, window),)


@over_axes
def _upsampling(place: PlacedLayer, axes: int) -> tuple[ChainLayer, ...]:
    if (kind := place.config.values.get("interpolation", "nearest")) != "nearest":
        return place.refused(f"interpolates values, {kind}; {INTERPOLATED}")
    return (ChainUpsample(place.config.name, place.config.class_name, _lengths(place, "size", axes, 2)),)


CONVOLUTIONS = tuple(f"Conv{axes}D{turn}" for axes in (1, 2) for turn in ("", "Transpose"))
READERS: Mapping[str, Reader] = {
    "Dense": _dense,
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **dict.fromkeys(("MaxPooling1D", "MaxPooling2D"), _max_pooling),
    **dict.fromkeys(("UpSampling1D", "UpSampling2D"), _upsampling),
    **ACTIVATION_LAYERS,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Rescaling": _rescaling,
    "Normalization": _normalization,
    "BatchNormalization": _batch_normalization,
    "PruneLowMagnitude": _pruned,
}
"""The layers of a chain by class."""

LEFT_OUT = frozenset(
    (
        *("Dropout", "AlphaDropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
        *("GaussianDropout", "GaussianNoise", "ActivityRegularization", "Identity"),
    )
)
"""Classes that only training has, or that change nothing."""

REASONS: Mapping[str, str] = {
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), RECURRENT),
    **dict.fromkeys(("CuDNNLSTM", "CuDNNGRU", "TimeDistributed", "RepeatVector"), RECURRENT),
    **dict.fromkeys(("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot", "Permute"), JOINS),
    **dict.fromkeys(("Lambda", "TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"), CODE),
    **dict.fromkeys(("ClusterWeights", "QuantizeWrapper", "QuantizeWrapperV2", "QuantizeLayer", "QuantizeAnnotate"), STRIP),
    **{f"{kind}3D": THREE for kind in ("Conv", "MaxPooling", "UpSampling")},
    "Conv3DTranspose": THREE,
    **{
        f"{kind}{axes}D": reason
        for axes in "123"
        for kind, reason in (
            *(("SeparableConv", PER_CHANNEL), ("DepthwiseConv", PER_CHANNEL), ("LocallyConnected", PER_CHANNEL)),
            *(("ZeroPadding", EDGES), ("Cropping", EDGES), ("AveragePooling", AVERAGES)),
            *(("GlobalMaxPooling", POOLS_ALL), ("GlobalAveragePooling", POOLS_ALL)),
        )
    },
}
"""Why a layer of Keras is in no chain, and what would do, by class."""


def read_layer(place: PlacedLayer) -> tuple[ChainLayer, ...]:
    """What a layer of Keras computes: no, one or two layers of a chain, a refused one where no chain has it."""
    config = place.config
    reader = READERS.get(config.class_name)
    if reader is not None and not config.custom:
        return reader(place)
    reason = None if config.custom else REASONS.get(config.class_name)
    if reason is None and config.known:
        return place.refused("is no layer that a chain has")
    if reason is None:
        return place.refused("is a class whose code is not read; what it computes is not known", custom=True)
    return place.refused(CHANNELS_FIRST if config.values.get("data_format") == "channels_first" else reason)
