"""Cross-layer equalization of a tied model: function-preserving scales of hidden units that reduce quantization error.

After a linear or relu activation, the encoder may scale hidden unit j by a: column j of its kernel and its bias times a, row j
of the next kernel times 1/a (Nagel et al. 2019). Through the tie, the decoder scales unit j by 1/a and its next product by a,
so the function of both directions is preserved. The code is not scaled: it would be by a², since its kernel acts twice.

Unit scales are optimized jointly with the step size of every kernel and activation for the least predicted loss: each rounded
value adds its influence times step²/12, each clipped value its influence times the squared clipping error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tiedae.compress.autoencoder import TiedAutoencoder
from tiedae.compress.patterns import of_rows

from .curvature import ActivationInfluence, Influence

HOMOGENEOUS = ("linear", "relu")
"""Activations f with f(a·x) = a·f(x) for every a > 0."""

ITERATIONS = 120
LEARNING_RATE = 0.05
ACTIVATION_STEPS = 255
MAX_LOG_SCALE = 10.0
"""Largest logarithm of an initial scale."""


def unit_scales(
    model: TiedAutoencoder, influence: Influence, levels: Sequence[int], *, per_unit: bool = False
) -> list[np.ndarray]:
    """The scale of every hidden unit, float32 [units] per hidden layer.

    1 if the activation or a clustered kernel on either side forbids scaling, or nothing reaches the output. `levels`: the
    largest integer of each kernel; `per_unit`: one step size per unit. Deterministic, and invariant to a previous scaling of
    the hidden units.
    """
    hidden = model.config.layers[:-1]
    own = [kernel.clusters is None for kernel in model.kernels]
    free = [layer.activation in HOMOGENEOUS and own[i] and own[i + 1] for i, layer in enumerate(hidden)]
    values = [kernel.matrix for kernel in model.kernels]
    weights = [influence.kernels[kernel.name].diagonal() for kernel in model.kernels]
    starts = _initial_scales([np.abs(each) for each in values], free)
    steps = [
        np.log(_largest(each * np.exp(exponents), 0 if per_unit else None) / level)
        for each, exponents, level in zip(values, _exponents(starts, values), levels, strict=True)
    ]
    scaled = [(sign, i, each) for name, each in influence.activations.items() for sign, i in _scaled_by(name)]
    ends = [_ends(each.values * np.exp(sign * of_rows(starts[i], each.values.shape[1]))) for sign, i, each in scaled]
    chosen = [*(start for start, is_free in zip(starts, free, strict=True) if is_free), *steps, *ends]
    variable = tf.Variable(np.concatenate([np.ravel(each) for each in chosen]))

    def parts() -> tuple[list[tf.Tensor], list[tf.Tensor], list[tf.Tensor]]:
        """Split `variable` into logarithms of scales, step sizes and range ends; a single variable keeps the graph small."""
        split = iter(tf.split(variable, [np.size(each) for each in chosen]))
        logs = [next(split) if is_free else tf.constant(start) for start, is_free in zip(starts, free, strict=True)]
        return logs, [next(split) for _ in steps], list(split)

    def predicted() -> tf.Tensor:
        logs, steps, ends = parts()
        kernels = map(_kernel_loss, values, weights, _exponents(logs, values), steps, levels)
        activations = (_activation_loss(each, sign * logs[i], end) for (sign, i, each), end in zip(scaled, ends, strict=True))
        return tf.add_n([*kernels, *activations])

    rate: Any = tf_keras.optimizers.schedules.CosineDecay(LEARNING_RATE, ITERATIONS)
    optimizer = tf_keras.optimizers.Adam(rate, epsilon=1e-12, jit_compile=False)
    optimizer.build([variable])

    @tf.function
    def descend() -> None:
        for _ in tf.range(ITERATIONS):
            with tf.GradientTape() as tape:
                loss = tf.math.log(predicted())
            optimizer.apply_gradients([(tape.gradient(loss, variable), variable)])

    if predicted() > 0:
        descend.get_concrete_function()()  # calling `descend` for several models warns of retracing
        return [np.exp(log.numpy()) for log in parts()[0]]
    return [np.ones(layer.units, np.float32) for layer in hidden]


def _kernel_loss(values: np.ndarray, weights: np.ndarray, exponents: tf.Tensor, step: tf.Tensor, levels: int) -> tf.Tensor:
    """The predicted loss of a scaled kernel over −`levels`…`levels`; `values` and `weights` [inputs, units]."""
    step, scale = tf.exp(step), tf.exp(exponents)
    scaled, weights = values * scale, weights / tf.square(scale)
    limit = levels * step
    clipping = tf.square(scaled - tf.clip_by_value(scaled, -limit, limit))
    return tf.reduce_sum(weights * (tf.square(step) / 12 * (values != 0) + clipping))


def _activation_loss(activation: ActivationInfluence, exponents: tf.Tensor, ends: tf.Tensor) -> tf.Tensor:
    """The predicted loss of a scaled activation over the range −exp(ends[0])…exp(ends[1])."""
    low, high = tf.unstack(tf.exp(ends))
    scale = tf.exp(_of_rows(exponents, activation.values.shape[1]))
    scaled = activation.values * scale
    clipping = tf.square(scaled - tf.clip_by_value(scaled, -low, high))
    rounding = tf.square((low + high) / ACTIVATION_STEPS) / 12
    return tf.reduce_sum(activation.gains / tf.square(scale) * (rounding + tf.reduce_mean(clipping, 0)))


def _initial_scales(magnitudes: Sequence[np.ndarray], free: Sequence[bool]) -> list[np.ndarray]:
    """Logarithms of the scales that give all units of a kernel the same largest magnitude, from the first kernel on."""
    logs: list[np.ndarray] = []
    for kernel, is_free in zip(magnitudes[:-1], free, strict=True):
        rows = kernel * of_rows(np.exp(-logs[-1]), len(kernel))[:, None] if logs else kernel
        largest = rows.max(0)
        live = (largest > 0) & is_free
        logs.append(
            np.where(live, np.log(_largest(largest) / np.where(live, largest, 1)), 0).clip(-MAX_LOG_SCALE, MAX_LOG_SCALE)
        )
    return logs


def _exponents(logs: Sequence[tf.Tensor | np.ndarray], kernels: Sequence[np.ndarray]) -> list[tf.Tensor]:
    """The logarithm of each weight's scale, of shape [1, units] or [inputs, units], per kernel."""
    none = tf.zeros(1)
    rows = [none, *(_of_rows(log, len(kernel)) for log, kernel in zip(logs, kernels[1:], strict=True))]
    return [column - row[:, None] for column, row in zip([*logs, none], rows, strict=True)]


def _of_rows(units: tf.Tensor | np.ndarray, inputs: int) -> tf.Tensor:
    """`patterns.of_rows` with a gradient, which where a row is a unit is added up as without it, to the same bits."""
    places = inputs // units.shape[0]
    return tf.tile(units, [places]) if places > 1 else tf.convert_to_tensor(units)


def _scaled_by(tensor: str) -> list[tuple[float, int]]:
    """[(exponent 1 or −1, hidden layer)] of the scales that apply to an activation; [] for the code and y."""
    layer, _, index = tensor.split(".")[0].partition("_")
    if not index:
        return []
    return [(1.0, int(index)) if layer == "encoder" else (-1.0, int(index) - 1)]


def _ends(values: np.ndarray) -> np.ndarray:
    """Logarithms of the range's extent below and above 0."""
    return np.log(np.array([_largest(np.minimum(values, 0)), _largest(np.maximum(values, 0))]))


def _largest(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """The largest magnitude along an axis, or of all, at least 1e-8."""
    return np.maximum(np.abs(values).max(axis, initial=0), np.float32(1e-8))
