"""The two halves of a tied autoencoder, over the same kernels."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
import tf_keras

from .kernel import TiedKernel
from .layers import SeededDropout, Tap, activity_penalty, interleaved, layers_of
from .model_config import ModelConfig


class Encoder(tf_keras.Model):
    """x float32 [batch, inputs] → code float32 [batch, *places, units of the last layer]."""

    def __init__(self, config: ModelConfig, kernels: Sequence[TiedKernel], seed: int) -> None:
        super().__init__(name="encoder")
        self.config = config
        self.stack = layers_of(config, kernels, "encode")
        self.dropout = [
            SeededDropout(layer.dropout, seed=seed + i, name=f"dropout_{i}") if layer.dropout else None
            for i, layer in enumerate(config.layers)
        ]

    @property
    def tap(self) -> Tap:
        """The tap of all layers and of `x`, see `TiedLayer`."""
        return self.stack[0].tap

    def call(self, x: tf.Tensor, training: bool = False, kernels: Sequence[tf.Tensor] | None = None) -> tf.Tensor:
        x = self.tap("x", self.arranged(x), training)
        for i, (layer, dropout, config) in enumerate(zip(self.stack, self.dropout, self.config.layers, strict=True)):
            x = layer(x, training=training, kernel=None if kernels is None else kernels[i])
            if config.activity_l1 or config.activity_l2:
                self.add_loss(activity_penalty(config, x))
            if dropout is not None:
                x = dropout(x, training=training)
        return x

    def arranged(self, x: tf.Tensor) -> tf.Tensor:
        """Samples as the first layer takes them, [batch, inputs] → [batch, *shape]."""
        x, shape = interleaved(x, self.config.interleave), self.config.shape
        return x if len(shape) == 1 else tf.reshape(x, (-1, *shape))


class Decoder(tf_keras.Model):
    """code float32 [batch, *places, units of the last layer] → y float32 [batch, inputs]."""

    def __init__(self, config: ModelConfig, kernels: Sequence[TiedKernel]) -> None:
        super().__init__(name="decoder")
        self.config = config
        self.stack = layers_of(config, kernels, "decode")[::-1]

    def call(self, code: tf.Tensor, training: bool = False, kernels: Sequence[tf.Tensor] | None = None) -> tf.Tensor:
        for i, layer in zip(reversed(range(len(self.stack))), self.stack, strict=True):
            code = layer(code, training=training, kernel=None if kernels is None else kernels[i])
        return self.flattened(code)

    def flattened(self, y: tf.Tensor) -> tf.Tensor:
        """What the last layer gives as samples, [batch, *shape] → [batch, inputs]."""
        size = self.config.size
        y = y if len(y.shape) == 2 else tf.reshape(y, (-1, size))
        return interleaved(y, size // self.config.interleave)
