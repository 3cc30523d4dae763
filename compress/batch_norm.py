"""Batch normalization of a layer's product (Ioffe & Szegedy 2015): after training a gain and a bias per output channel.

Each direction has statistics of its own. In training the product is normalized by those of the batch; everywhere else, and in
training once they are `frozen`, by their moving averages. The kernel is never scaled, since both directions share it.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from .legacy_keras import tf_keras
from .weights import Norm

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

    @staticmethod
    def arrays(norm: Norm) -> dict[str, np.ndarray]:
        """The values of its variables by name, of a model that was trained elsewhere, with an ε of its own."""
        variance = np.full(len(norm.gain), 1 - EPSILON) if norm.variance is None else norm.variance
        return {"gamma": norm.gain * np.sqrt(variance + EPSILON), "mean": norm.mean, "variance": variance}

    def exactly(self, product: np.ndarray) -> np.ndarray:
        """(product − mean) · gain by the moving averages, computed in float64."""
        gamma, mean, variance = (each.numpy().astype(np.float64) for each in (self.gamma, self.mean, self.variance))
        return (product - mean) * gamma / np.sqrt(variance + EPSILON)

    @property
    def is_new(self) -> bool:
        """Whether the moving averages have not moved."""
        return not np.any(self.mean.numpy()) and bool(np.all(self.variance.numpy() == 1))

    @property
    def is_unknown(self) -> bool:
        """Whether it is of a model that had no statistics, which `arrays` gave a variance of 1 − ε."""
        return not np.any(self.mean.numpy()) and bool(np.all(self.variance.numpy() == np.float32(1 - EPSILON)))

    def know(self, product: tf.Tensor) -> tf.Tensor:
        """Take the statistics of products [n, …, channels] and a gamma of the same gain; gives the bias to add, [channels]."""
        gain, _ = self.gain_and_shift()
        self.take(product)
        self.gamma.assign(gain * tf.sqrt(self.variance + EPSILON))
        return self.mean * gain

    def take(self, product: tf.Tensor) -> None:
        """Take the statistics of products [n, …, channels] in place of the moving averages."""
        for average, value in zip(
            (self.mean, self.variance), tf.nn.moments(product, list(range(len(product.shape) - 1))), strict=True
        ):
            average.assign(value)

    def scale(self, product: tf.Tensor, gain: tf.Tensor) -> None:
        """Take over a product that is `product` times what it was, [channels], with `gain` times the gain."""
        before = self.gain_and_shift()[0]
        self.mean.assign(self.mean * product)
        self.variance.assign(self.variance * tf.square(product))
        self.gamma.assign(before * gain * tf.sqrt(self.variance + EPSILON))
