"""Sensitivity analysis: the reconstruction error with a single kernel or activation quantized or pruned, without training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tiedae.base.errors import DataError, InputError
from tiedae.compress.autoencoder import TiedAutoencoder

from .histogram import Grid
from .representative import Representative

Change = Callable[[np.ndarray, float], np.ndarray]
"""change(values, level) → quantized or pruned values of the same shape."""


@dataclass(frozen=True)
class SensitivityRow:
    """One measurement: a `change` of one kernel or tensor, `place`, at one `level`; all others stay float.

    `error` and `float_error` (without change): squared error per sample, summed over its values, in scaled values.
    """

    change: str
    place: str
    level: float
    error: float
    float_error: float

    @property
    def increase(self) -> float:
        """Relative increase of the error."""
        return self.error / self.float_error - 1


def symmetric(values: np.ndarray, bits: float) -> np.ndarray:
    """Quantize symmetrically to 2^bits − 1 levels over the largest magnitude, as a kernel of one scale."""
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
    """Quantize to 2^bits levels over the range of the values, with an exact zero, as an activation."""
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
    """Measure every kernel and activation of a float model under every change and level; `model` is not changed.

    A change of a kernel applies to both directions. Raises InputError for a quantized model, DataError for samples of another
    shape or not finite, or an exact reconstruction, whose error cannot be compared.
    """
    if model.quantized:
        raise InputError("sensitivity: the model is quantized already; must be a float model, such as train.safetensors")
    x = data.inputs
    if x.shape[1:] != (model.config.size,) or not len(x):
        raise DataError(f"sensitivity: samples have shape {list(x.shape)}, must be [samples, {model.config.size}]")
    if not np.isfinite(x).all():
        raise DataError("sensitivity: the samples hold values that are not finite")
    names: list[str] = []

    def record(name: str, values: np.ndarray) -> np.ndarray:
        names.append(name)
        return values

    reference = _error(model, x, record)
    if reference == 0:
        raise DataError("sensitivity: the float model reconstructs these samples exactly; there is no error to compare with")
    kernels = [kernel.name for kernel in model.kernels]
    activations = [name for name in names if "." not in name and name not in kernels]

    def changed(change: str, place: str, level: float) -> float:
        function = CHANGES[change]
        return _error(model, x, lambda name, v: function(v, level).astype(np.float32) if name == place else v)

    return tuple(
        SensitivityRow(change, place, level, changed(change, place, level), reference)
        for change, each in levels.items()
        for place in (activations if change == "activation bits" else kernels)
        for level in each
    )


def _error(model: TiedAutoencoder, x: np.ndarray, replace: Callable[[str, np.ndarray], np.ndarray]) -> float:
    """The error over samples with `replace(name, values)` in place of the values of every kernel and tensor."""

    def tap(name: str, values: tf.Tensor, _training: bool) -> tf.Tensor:
        return tf.convert_to_tensor(replace(name, values.numpy()))

    with model.tapped(tap):
        kernels = [tap(kernel.name, kernel(), False) for kernel in model.kernels]
        y = model.decoder(model.encoder(x, kernels=kernels), kernels=kernels).numpy()
    return float(np.mean(np.sum(np.square(y.astype(np.float64) - x), axis=1)))
