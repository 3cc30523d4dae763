"""Sensitivity: what the reconstruction loses where one kernel or one activation alone is made coarser, without any training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from ..compress.autoencoder import TiedAutoencoder
from ..compress.errors import DataError, InputError
from .histogram import Grid
from .representative import Representative

Change = Callable[[np.ndarray, float], np.ndarray]
"""change(values, level) → values of the same shape, made coarser."""


@dataclass(frozen=True)
class SensitivityRow:
    """One measurement: `place` (a kernel, or a tensor as in the program) under one change at one level, all else in float.

    `error` and `float_error` (nothing changed) are squared errors summed over the values of a sample, averaged over samples, in
    model units.
    """

    change: str
    place: str
    level: float
    error: float
    float_error: float

    @property
    def increase(self) -> float:
        """Of the error, relative."""
        return self.error / self.float_error - 1


def symmetric(values: np.ndarray, bits: float) -> np.ndarray:
    """Round to 2^bits − 1 levels around zero that reach the largest magnitude: a kernel of one scale."""
    levels = 2 ** (int(bits) - 1) - 1
    step = np.abs(values).max(initial=0) / levels or 1.0
    return np.rint(values / step) * step


def sparse(values: np.ndarray, fraction: float) -> np.ndarray:
    """Zero the `fraction` of values with the smallest magnitudes."""
    drop = min(int(np.rint(fraction * values.size)), values.size - 1)
    flat = values.ravel().copy()
    flat[np.argsort(np.abs(flat), kind="stable")[:drop]] = 0
    return flat.reshape(values.shape)


def affine(values: np.ndarray, bits: float) -> np.ndarray:
    """Round to 2^bits levels over the range of the values, zero one of them: an activation."""
    return Grid(int(bits)).rounded(values, (values.min(), values.max())).astype(values.dtype)


CHANGES: Mapping[str, Change] = {"kernel bits": symmetric, "kernel sparsity": sparse, "activation bits": affine}
LEVELS: Mapping[str, Sequence[float]] = {
    "kernel bits": (8, 6, 4, 3, 2),
    "kernel sparsity": (0.25, 0.5, 0.75, 0.9),
    "activation bits": (8, 6, 4),
}


def sensitivity(
    model: TiedAutoencoder, data: Representative, levels: Mapping[str, Sequence[float]] = LEVELS
) -> tuple[SensitivityRow, ...]:
    """Measure every kernel and every activation of a float model under every change and level; `model` stays as it was.

    A kernel is changed once for both directions. Raises InputError where the model is quantized, DataError where the samples
    do not fit it, or it reconstructs them without any error to compare with.
    """
    if model.quantized:
        raise InputError("sensitivity: the model is quantized already; must be a float model, such as train.safetensors")
    x = data.inputs
    if x.shape[1:] != (model.config.inputs,) or not len(x):
        raise DataError(f"sensitivity: samples have shape {list(x.shape)}, must be [samples, {model.config.inputs}]")
    if not np.isfinite(x).all():
        raise DataError("sensitivity: the samples hold values that are not finite")
    seen: list[str] = []

    def see(name: str, values: np.ndarray) -> np.ndarray:
        seen.append(name)
        return values

    reference = _error(model, x, see)
    if reference == 0:
        raise DataError("sensitivity: the float model reconstructs these samples exactly; there is no error to compare with")
    kernels = [kernel.name for kernel in model.kernels]
    activations = [name for name in seen if "." not in name and name not in kernels]
    rows = []
    for change, each in levels.items():
        for place in activations if change == "activation bits" else kernels:
            for level in each:
                error = _error(model, x, _only(place, CHANGES[change], level))
                rows.append(SensitivityRow(change, place, level, error, reference))
    return tuple(rows)


Watch = Callable[[str, np.ndarray], np.ndarray]
"""watch(name of a kernel or tensor, its values) → the values that go on."""


def _only(place: str, change: Change, level: float) -> Watch:
    return lambda name, values: change(values, level).astype(np.float32) if name == place else values


def _error(model: TiedAutoencoder, x: np.ndarray, watch: Watch) -> float:
    """The error over samples where `watch` sees, and may replace, every kernel and every tensor by its name."""

    def tap(name: str, values: tf.Tensor, _training: bool) -> tf.Tensor:
        return tf.convert_to_tensor(watch(name, values.numpy()))

    with model.tapped(tap):
        kernels = [tap(kernel.name, kernel(), False) for kernel in model.kernels]
        y = model.decoder(model.encoder(x, kernels=kernels), kernels=kernels).numpy()
    return float(np.mean(np.sum(np.square(y.astype(np.float64) - x), axis=1)))
