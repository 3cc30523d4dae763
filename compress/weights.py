"""Weights of a model that was trained elsewhere, checked before a tied autoencoder takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .errors import InputError


@dataclass(frozen=True, eq=False)
class Weights:
    """float32: `kernels` [inputs, units] in the encoder's order; `encoder` and `decoder`: biases, each in forward order.

    `encoder` and `decoder` are None where no layer has a bias; else each layer has one, of zeros where none was given.
    """

    kernels: tuple[np.ndarray, ...]
    encoder: tuple[np.ndarray, ...] | None
    decoder: tuple[np.ndarray, ...] | None

    @property
    def widths(self) -> tuple[int, ...]:
        """(inputs, units of layer 0, …, units of the code)."""
        return (self.kernels[0].shape[0], *(kernel.shape[1] for kernel in self.kernels))


def weights_of(
    kernels: Sequence[ArrayLike], encoder_biases: Sequence[ArrayLike] | None, decoder_biases: Sequence[ArrayLike] | None
) -> Weights:
    """Raises InputError, naming the array, for values that are no finite numbers, other shapes and another number of biases."""
    if not len(kernels):
        raise InputError("kernels: got none, must be one or more, [inputs, units] each")
    matrices = tuple(_reals(kernel, f"kernels[{i}]") for i, kernel in enumerate(kernels))
    before: Any = "inputs"
    for i, kernel in enumerate(matrices):
        if kernel.ndim != 2 or before not in ("inputs", kernel.shape[0]) or not kernel.size:
            follows = "" if i == 0 else f": kernels[{i - 1}] has {before} units"
            raise InputError(f"kernels[{i}]: got shape {list(kernel.shape)}, must be [{before}, units]{follows}")
        before = kernel.shape[1]
    widths = (matrices[0].shape[0], *(kernel.shape[1] for kernel in matrices))
    if encoder_biases is None and decoder_biases is None:
        return Weights(matrices, None, None)
    encoder = _biases(encoder_biases, widths[1:], "encoder_biases")
    return Weights(matrices, encoder, _biases(decoder_biases, widths[-2::-1], "decoder_biases"))


def _biases(given: Sequence[ArrayLike] | None, sizes: Sequence[int], name: str) -> tuple[np.ndarray, ...]:
    if given is None:
        return tuple(np.zeros(size, np.float32) for size in sizes)
    if len(given) != len(sizes):
        raise InputError(f"{name}: got {len(given)}, must be {len(sizes)}, one per kernel, in forward order")
    biases = tuple(_reals(bias, f"{name}[{i}]") for i, bias in enumerate(given))
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
    with np.errstate(over="ignore"):
        reals = array.astype(np.float32)
    if not np.isfinite(reals).all():
        raise InputError(f"{name}: holds a value that is not finite in float32")
    return reals
