"""Layers over a tied kernel, with a tap at every tensor that an integer program quantizes."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
import tf_keras

from .activations import RULES
from .config import LayerConfig
from .errors import RecipeError
from .kernel import TiedKernel

Tap = Callable[[str, tf.Tensor, bool], tf.Tensor]
"""tap(name, tensor, training) → the tensor that goes on: identity, an observer or a fake quantizer."""


def identity_tap(_name: str, tensor: tf.Tensor, _training: bool) -> tf.Tensor:
    return tensor


class TiedDense(tf_keras.layers.Layer):
    """y = activation(x · W + b) over a kernel that it does not own; `TiedDenseTranspose` is the other direction.

    x float32 [batch, inputs] → [batch, units]. The bias is its own.
    `tap` is called for the tensors that a target quantizes, named as in the program: NAME (the output), NAME.linear (before
    sigmoid or tanh) and, in `TiedDenseTranspose`, NAME.rescaled, NAME.product and NAME.bias.
    """

    def __init__(self, kernel: TiedKernel, activation: str = "linear", *, use_bias: bool = True, name: str) -> None:
        super().__init__(name=name.replace(".", "_"))
        if activation not in RULES:
            raise RecipeError(f"layer {name}: activation {activation!r} is not one of {', '.join(RULES)}")
        self.tensor_name = name
        self.kernel = kernel
        self.activation = activation
        size = self.size(kernel)
        self.bias = self.add_weight(name="bias", shape=(size,), initializer="zeros") if use_bias else None
        self.tap: Tap = identity_tap
        self.built = True

    @staticmethod
    def size(kernel: TiedKernel) -> int:
        return kernel.units

    def call(self, x: tf.Tensor, training: bool = False, kernel: tf.Tensor | None = None) -> tf.Tensor:
        """`kernel` is the kernel's tensor where the caller has computed it already, for both directions at once."""
        kernel = self.kernel(training) if kernel is None else kernel
        return self.activate(self.affine(x, kernel, training), training)

    def affine(self, x: tf.Tensor, kernel: tf.Tensor, training: bool) -> tf.Tensor:
        y = tf.matmul(x, kernel)
        return y if self.bias is None else tf.nn.bias_add(y, self.bias)

    def activate(self, y: tf.Tensor, training: bool) -> tf.Tensor:
        rule = RULES[self.activation]
        if not rule.fused:
            y = self.tap(f"{self.tensor_name}.linear", y, training)
        return self.tap(self.tensor_name, rule.function(y), training)


class TiedDenseTranspose(TiedDense):
    """The other direction: y = activation(x · Wᵀ + b)."""

    @staticmethod
    def size(kernel: TiedKernel) -> int:
        return kernel.inputs

    def affine(self, x: tf.Tensor, kernel: tf.Tensor, training: bool) -> tf.Tensor:
        if self.kernel.granularity == "unit":
            scale = self.kernel.scale_tensor()
            factors = scale / tf.reduce_max(scale)
            coarse = tf.maximum(tf.round(factors * 255.0), 1.0) / 255.0
            x = self.tap(f"{self.tensor_name}.rescaled", x * coarse, training)
            kernel = kernel / factors
        y = tf.matmul(x, kernel, transpose_b=True)
        if self.bias is None:
            return y
        if self.tap is not identity_tap:
            low, high = RULES[self.activation].window
            y = tf.clip_by_value(y, low - tf.reduce_max(self.bias), high - tf.reduce_min(self.bias))
            y = self.tap(f"{self.tensor_name}.product", y, training)
        return y + self.tap(f"{self.tensor_name}.bias", tf.convert_to_tensor(self.bias), training)


def interleaved(x: tf.Tensor, ways: int) -> tf.Tensor:
    """[batch, n] with the n values taken in turn from so many equal parts; n / ways of them undo it."""
    if ways in (1, x.shape[1]):
        return x
    parts = tf.reshape(x, (-1, ways, x.shape[1] // ways))
    return tf.reshape(tf.transpose(parts, (0, 2, 1)), (-1, x.shape[1]))


class SeededDropout(tf_keras.layers.Layer):
    """Dropout whose masks follow from a seed and a saved counter, so that a resumed run drops the same values."""

    def __init__(self, rate: float, *, seed: int, name: str) -> None:
        super().__init__(name=name)
        self.rate, self.seed = rate, seed
        self.counter = self.add_weight(name="counter", shape=(), dtype=tf.int32, initializer="zeros", trainable=False)
        self.built = True

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training:
            return x
        seed = tf.stack([tf.constant(self.seed, tf.int32), self.counter.assign_add(1)])
        return tf.nn.experimental.stateless_dropout(x, self.rate, seed=seed)


def activity_penalty(layer: LayerConfig, y: tf.Tensor) -> tf.Tensor:
    """l1 Σ|y| + l2 Σy², averaged over the batch."""
    total = layer.activity_l1 * tf.reduce_sum(tf.abs(y)) + layer.activity_l2 * tf.reduce_sum(tf.square(y))
    return total / tf.cast(tf.shape(y)[0], y.dtype)
