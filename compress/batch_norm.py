"""Batch normalization of a layer's product (Ioffe & Szegedy 2015): after training a gain and a bias per output channel.

Each direction has statistics of its own. In training the product is normalized by those of the batch; everywhere else, and in
training once they are `frozen`, by their moving averages. The kernel is never scaled, since both directions share it.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras

MOMENTUM = 0.99
EPSILON = 1e-3
"""Both are Keras' defaults."""
LEAST_GAMMA = 1e-3
"""Training keeps gains positive, so that a relu behind them keeps its sign."""
FROZEN_FROM = 0.5
"""Fraction of the epochs of quantization-aware training after which statistics are frozen."""


class Normalization(tf_keras.layers.Layer):
    """What a layer adds to its product and bias: y = (product − mean) · gain + bias, with gain = gamma / √(variance + ε).

    `gamma`, `mean`, `variance`: float32 [channels]. The bias, beta, is the layer's own.
    """

    def __init__(self, channels: int, *, name: str) -> None:
        super().__init__(name=name)
        positive = lambda gamma: tf.maximum(gamma, LEAST_GAMMA)  # noqa: E731
        self.gamma = self.add_weight(name="gamma", shape=(channels,), initializer="ones", constraint=positive)
        settings: dict = {"shape": (channels,), "trainable": False}
        self.mean = self.add_weight(name="mean", initializer="zeros", **settings)
        self.variance = self.add_weight(name="variance", initializer="ones", **settings)
        self.frozen, self.momentum = False, MOMENTUM
        self.built = True

    def gain_and_shift(self, product: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """(gain, −mean · gain), float32 [channels] each: of a batch of products [batch, …, channels], which the moving averages
        then follow, or without one of these averages."""
        mean, variance = tf.convert_to_tensor(self.mean), tf.convert_to_tensor(self.variance)
        if product is not None:
            mean, variance = tf.nn.moments(product, list(range(len(product.shape) - 1)))
            for average, value in ((self.mean, mean), (self.variance, variance)):
                average.assign_sub((average - tf.stop_gradient(value)) * (1 - self.momentum))
        gain = self.gamma / tf.sqrt(variance + EPSILON)
        return gain, -mean * gain

    @property
    def is_new(self) -> bool:
        """Whether the moving averages have not moved."""
        return not np.any(self.mean.numpy()) and bool(np.all(self.variance.numpy() == 1))

    def scale(self, product: tf.Tensor, gain: tf.Tensor) -> None:
        """Take over a product that is `product` times what it was, [channels], with `gain` times the gain."""
        before = self.gain_and_shift()[0]
        self.mean.assign(self.mean * product)
        self.variance.assign(self.variance * tf.square(product))
        self.gamma.assign(before * gain * tf.sqrt(self.variance + EPSILON))
