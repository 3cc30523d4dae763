"""Batch normalization of a chain's products, as that of a tied autoencoder's layers.

A product p + c and (p + c − mean) · gain + beta behind it have the mean less c, and beta for their bias. Both directions of a
layer's units are normalized; one that the model does not normalize has the gain 1. Gains must be positive: the sign of a
negative one goes into its column of the kernel, by which the decoder multiplies too. What it decodes must change its sign then.

                 encoded: act(p · gain + bias)      decoded: act(p · gain + bias)     kernel column
    before               −       +                          −       +                     w
    after                +       +                          +       −                    −w         of odd activations
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tiedae.base.errors import InputError
from tiedae.config.layer_kinds import Shape

from ..patterns import of_rows
from ..weights import Norm, narrowed
from .chain import Affine, BatchNorm, ChainArray, ChainLayer, ChainProduct

NormLayer = BatchNorm | Affine
"""Layers between a product and its activation that give each channel a gain and a bias."""
ODD = ("linear", "tanh")
"""Activations whose output changes its sign with the input."""


@dataclass(frozen=True)
class Normalized:
    """A product with batch normalization, by title: its norm, and its bias, float64 [channels]."""

    title: str
    norm: Norm
    bias: np.ndarray


def finite(source: str, layer: ChainLayer, array: ChainArray, name: str, shape: Shape) -> np.ndarray:
    """The values of a layer's array, float32; InputError, naming both, for another shape and values that are not finite."""
    where, values = f"{source}: {layer.title}: {name}", array.read()
    if values.shape != shape:
        raise InputError(f"{where}: got shape {list(values.shape)}, must be {list(shape)}")
    reals = narrowed(values)
    if reals is None:
        raise InputError(f"{where}: holds a value that is not finite in float32; save a model whose training did not diverge")
    return reals


def normalization(source: str, product: ChainProduct, layer: NormLayer | None, bias: np.ndarray) -> Normalized:
    """A product and what follows it; without a layer, or with one that has no statistics, all is in gain and bias.

    A layer behind a reshape may have one value for several of the product's: those of one channel.
    """
    size = len(bias)
    if not isinstance(layer, BatchNorm):
        scale, offset = (1.0, 0.0) if layer is None else (layer.scale, layer.offset)
        norm = Norm(_per_value(scale, size), np.zeros(size))
        offset = _per_value(offset, size)
        return Normalized((layer or product).title, norm, bias * norm.gain + offset)

    def values(array: ChainArray | None, name: str) -> np.ndarray | None:
        if array is None:
            return None
        shape = array.shape if len(array.shape) == 1 and size % max(array.size, 1) == 0 else (size,)
        return _per_value(finite(source, layer, array, name, shape), size)

    variance, mean = values(layer.variance, "variance"), values(layer.mean, "mean")
    gamma, beta = values(layer.gamma, "gamma"), values(layer.beta, "beta")
    assert variance is not None and mean is not None
    if (variance + layer.epsilon).min() <= 0:
        got = f"variance + epsilon is {(variance + layer.epsilon).min():.3g}"
        raise InputError(f"{source}: {layer.title}: {got}, must be above 0")
    gain = (np.ones(size) if gamma is None else gamma) / np.sqrt(variance + layer.epsilon)
    return Normalized(layer.title, Norm(gain, mean - bias, variance), np.zeros(size) if beta is None else beta)


def _per_value(values: float | np.ndarray, size: int) -> np.ndarray:
    """One number, or one a channel, for each of `size` values, float64."""
    channels = np.ravel(np.asarray(values, np.float64))
    return of_rows(channels, size)


def oriented(
    source: str, function: str, encode: Normalized, decode: Normalized | None
) -> tuple[np.ndarray, Normalized, Normalized | None]:
    """(sign of each column of the kernel, the directions of a layer with positive gains). `decode`: None for the code's layer,
    where none can change: its decoder multiplies by what the column gives.

    Raises InputError, naming layer and channel, for a gain that is not positive where no sign can move.
    """
    both = encode.norm.gain < 0 if decode is not None and function in ODD else np.zeros(len(encode.bias), bool)
    if decode is not None:
        both &= (decode.norm.gain.reshape(-1, len(both)) < 0).all(0)
    for side in (encode, decode):
        if side is not None and (wrong := np.flatnonzero((side.norm.gain <= 0) & ~of_rows(both, len(side.bias)))).size:
            right = "must be above 0: both directions share the kernel's column that its sign would go to"
            got = f"channel {wrong[0]} has the gain {side.norm.gain[wrong[0]]:.3g}"
            raise InputError(f"{source}: {side.title}: {got}, {right}; a constraint on gamma keeps it so in training")
    sign = np.where(both, -1.0, 1.0)
    gain, mean = encode.norm.gain * sign, encode.norm.mean * sign
    encode = replace(encode, norm=replace(encode.norm, gain=gain, mean=mean))
    if decode is not None:
        signs = of_rows(sign, len(decode.bias))
        decode = replace(decode, norm=replace(decode.norm, gain=decode.norm.gain * signs), bias=decode.bias * signs)
    return sign, encode, decode


def require_between(source: str, layer: NormLayer, functions: Sequence[str], again: bool) -> None:
    """Raise InputError for a layer that is not directly behind a product; `functions`: behind the products so far, the last of
    which is normalized already where it is `again`."""
    if functions and functions[-1] == "linear" and not again:
        return
    if isinstance(layer, Affine):
        right = "must be at the input, or at the output as its inverse; leave it out and train again"
        raise InputError(f"{source}: {layer.title}: scales what is no sample, {right}")
    what = "the sample" if not functions else "normalized values" if again else functions[-1]
    do = f'[model] replace = {{{layer.class_name} = "linear"}} in a recipe, with [train] epochs ≥ 1, leaves it out'
    raise InputError(f"{source}: {layer.title}: normalizes {what}, must be between a product and its activation; {do}")
