"""Equalization of a tied model: scales of its hidden units that leave the function as it is and let one step serve them all.

Where the activation between two layers is linear or relu, hidden unit j may be scaled by a in the encoder: column j of its
kernel and its bias times a, row j of the next kernel by 1/a (Nagel et al. 2019). The tie carries the same two changes into the
decoder, where unit j then is 1/a times what it was: z·Wᵀ by 1/a, and back by a in the next product. So it is free in both
directions at once. The code is left alone: its kernel's columns act on it twice.

The scales are chosen together with the step of every kernel and activation, for the least predicted loss: each rounded value
adds its influence times step²/12, each clipped one its influence times the square of what is cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from ..compress.autoencoder import TiedAutoencoder
from .curvature import Influence, Watched

HOMOGENEOUS = ("linear", "relu")
"""Activations f with f(a·x) = a·f(x) for every a > 0."""

ITERATIONS = 120
LEARNING_RATE = 0.05
ACTIVATION_STEPS = 255
FARTHEST = 10.0
"""Logarithm of the largest scale that the search starts from."""


def unit_scales(
    model: TiedAutoencoder, influence: Influence, levels: Sequence[int], *, per_unit: bool = False
) -> list[np.ndarray]:
    """The scale a of every hidden unit, float32 [units] per hidden layer.

    It is 1 where an activation, or weights on either side that share their values in clusters, allow no other, and where
    nothing reaches the output. `levels`: the largest integer of each kernel, `per_unit` whether each of its units has a step.
    Deterministic, and what it makes of a model does not depend on how its hidden units were scaled.
    """
    hidden = model.config.layers[:-1]
    own = [kernel.clusters is None for kernel in model.kernels]
    free = [layer.activation in HOMOGENEOUS and own[i] and own[i + 1] for i, layer in enumerate(hidden)]
    values = [kernel.matrix for kernel in model.kernels]
    weights = [influence.kernels[kernel.name].diagonal() for kernel in model.kernels]
    starts = _start([np.abs(each) for each in values], free)
    steps = [
        np.log(_largest(each * np.exp(exponents), 0 if per_unit else None) / level)
        for each, exponents, level in zip(values, _exponents(starts), levels, strict=True)
    ]
    watched = [(sign, i, each) for name, each in influence.activations.items() for sign, i in _unit(name)]
    ends = [_ends(each.values * np.exp(sign * starts[i])) for sign, i, each in watched]
    chosen = [*(start for start, is_free in zip(starts, free, strict=True) if is_free), *steps, *ends]
    variable = tf.Variable(np.concatenate([np.ravel(each) for each in chosen]))

    def parts() -> tuple[list[tf.Tensor], list[tf.Tensor], list[tf.Tensor]]:
        """The logarithms of scales, of steps and of ends that `variable` holds: one variable keeps the graph small."""
        split = iter(tf.split(variable, [np.size(each) for each in chosen]))
        logs = [next(split) if is_free else tf.constant(start) for start, is_free in zip(starts, free, strict=True)]
        return logs, [next(split) for _ in steps], list(split)

    def predicted() -> tf.Tensor:
        logs, steps, ends = parts()
        kernels = map(_kernel_loss, values, weights, _exponents(logs), steps, levels)
        activations = (_activation_loss(each, sign * logs[i], end) for (sign, i, each), end in zip(watched, ends, strict=True))
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
        descend.get_concrete_function()()  # a call of `descend` itself warns of retracing, model after model
        return [np.exp(log.numpy()) for log in parts()[0]]
    return [np.ones(layer.units, np.float32) for layer in hidden]


def _kernel_loss(values: np.ndarray, weights: np.ndarray, exponents: tf.Tensor, step: tf.Tensor, levels: int) -> tf.Tensor:
    """The predicted loss of a kernel whose columns and rows are scaled; `values` and `weights` [inputs, units].

    The one integer that few bits have below −`levels` is not counted on.
    """
    step, scale = tf.exp(step), tf.exp(exponents)
    scaled, weights = values * scale, weights / tf.square(scale)
    limit = levels * step
    cut = tf.square(scaled - tf.clip_by_value(scaled, -limit, limit))
    return tf.reduce_sum(weights * (tf.square(step) / 12 * (values != 0) + cut))


def _activation_loss(watched: Watched, exponents: tf.Tensor, ends: tf.Tensor) -> tf.Tensor:
    """The same of an activation whose units are scaled, over a range from −exp(ends[0]) to exp(ends[1])."""
    low, high = tf.unstack(tf.exp(ends))
    scale = tf.exp(exponents)
    scaled = watched.values * scale
    cut = tf.square(scaled - tf.clip_by_value(scaled, -low, high))
    noise = tf.square((low + high) / ACTIVATION_STEPS) / 12
    return tf.reduce_sum(watched.gains / tf.square(scale) * (noise + tf.reduce_mean(cut, 0)))


def _start(magnitudes: Sequence[np.ndarray], free: Sequence[bool]) -> list[np.ndarray]:
    """Logarithms of the scales that give every unit of a kernel the same largest magnitude, from the first kernel on."""
    logs: list[np.ndarray] = []
    for kernel, is_free in zip(magnitudes[:-1], free, strict=True):
        rows = kernel * np.exp(-logs[-1])[:, None] if logs else kernel
        largest = rows.max(0)
        live = (largest > 0) & is_free
        logs.append(np.where(live, np.log(_largest(largest) / np.where(live, largest, 1)), 0).clip(-FARTHEST, FARTHEST))
    return logs


def _exponents(logs: Sequence[tf.Tensor | np.ndarray]) -> list[tf.Tensor]:
    """The logarithm of what each weight of each kernel is scaled by, broadcast to [inputs, units]."""
    none = tf.zeros(1)
    return [column - row[:, None] for column, row in zip([*logs, none], [none, *logs], strict=True)]


def _unit(tensor: str) -> list[tuple[float, int]]:
    """[(1 or −1, index)], how an activation follows the scales of which hidden layer; [] for the code and y."""
    layer, _, index = tensor.split(".")[0].partition("_")
    if not index:
        return []
    return [(1.0, int(index)) if layer == "encoder" else (-1.0, int(index) - 1)]


def _ends(values: np.ndarray) -> np.ndarray:
    """Logarithms of how far values reach below and above 0."""
    return np.log(np.array([_largest(np.minimum(values, 0)), _largest(np.maximum(values, 0))]))


def _largest(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """The largest magnitude along an axis, or of all, at least 1e-8."""
    return np.maximum(np.abs(values).max(axis, initial=0), np.float32(1e-8))
