"""Weights of a model that was trained elsewhere, checked before a tied autoencoder takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tiedae.base.errors import InputError


@dataclass(frozen=True)
class Norm:
    """Batch normalization of a layer's product, (product − mean) · gain + the layer's bias: float64 [channels].

    `gain`: gamma / √(variance + ε). `variance`: None where no statistics are known.
    """

    gain: np.ndarray
    mean: np.ndarray
    variance: np.ndarray | None = None


def weights_of(
    kernels: Sequence[ArrayLike], encoder_biases: Sequence[ArrayLike] | None, decoder_biases: Sequence[ArrayLike] | None
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """float32: kernels [inputs, units] in the encoder's order; biases of the encoder, then of the decoder, in forward order.

    None of a half are zeros, None of both no biases. Raises InputError, naming the array, for values that are no finite
    numbers, other shapes and another number of biases.
    """
    if not len(kernels):
        raise InputError("kernels: got none, must be one or more, [inputs, units] each")
    matrices = [_reals(kernel, f"kernels[{i}]") for i, kernel in enumerate(kernels)]
    before: Any = "inputs"
    for i, kernel in enumerate(matrices):
        if kernel.ndim != 2 or before not in ("inputs", kernel.shape[0]) or not kernel.size:
            follows = "" if i == 0 else f": kernels[{i - 1}] has {before} units"
            raise InputError(f"kernels[{i}]: got shape {list(kernel.shape)}, must be [{before}, units]{follows}")
        before = kernel.shape[1]
    if encoder_biases is None and decoder_biases is None:
        return matrices, []
    encoder = _biases(encoder_biases, [kernel.shape[1] for kernel in matrices], "encoder_biases")
    return matrices, encoder + _biases(decoder_biases, [kernel.shape[0] for kernel in matrices[::-1]], "decoder_biases")


def _biases(given: Sequence[ArrayLike] | None, sizes: Sequence[int], name: str) -> list[np.ndarray]:
    if given is None:
        return [np.zeros(size, np.float32) for size in sizes]
    if len(given) != len(sizes):
        raise InputError(f"{name}: got {len(given)}, must be {len(sizes)}, one per kernel, in forward order")
    biases = [_reals(bias, f"{name}[{i}]") for i, bias in enumerate(given)]
    for i, (bias, size) in enumerate(zip(biases, sizes, strict=True)):
        if bias.shape != (size,):
            raise InputError(f"{name}[{i}]: got shape {list(bias.shape)}, must be [{size}]")
    return biases


def _reals(values: ArrayLike, name: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(f"{name}: rows differ in length, must be an array of numbers") from None
    if array.dtype.kind not in "fiu" and array.dtype.name != "bfloat16":
        raise InputError(f"{name}: got {array.dtype}, must be numbers")
    reals = narrowed(array)
    if reals is None:
        raise InputError(f"{name}: holds a value that is not finite in float32")
    return reals


def narrowed(values: np.ndarray) -> np.ndarray | None:
    """Values in float32; None where one is not finite there."""
    with np.errstate(over="ignore"):
        reals = values.astype(np.float32)
    return reals if np.isfinite(reals).all() else None
