"""The two halves of a tied autoencoder, as stacks of layers over the kernels.

A kind of layer (see `layer_kinds`) has a row in `DIRECTIONS`: its two layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tensorflow as tf

from tiedae.config.layer_kinds import LayerConfig
from tiedae.config.model_config import ModelConfig

from .convolution import TiedConvolution, TiedConvolutionTranspose
from .kernel import TiedKernel
from .legacy_keras import tf_keras
from .tied_layers import Tap, TiedDecoderLayer, TiedDense, TiedDenseTranspose, TiedLayer


def know_statistics(stack: Sequence[TiedLayer], x: tf.Tensor, *, restart: bool = False) -> None:
    """Give layers that have no statistics those of their products, where the first takes `x`; they compute what they did.

    `restart`: all have those of other products, and take these for them.
    """
    for layer in stack:
        if layer.norm is not None and layer.bias is not None and (restart or layer.norm.is_unknown):
            product = layer.product(x, layer.kernel())
            if restart:
                layer.norm.take(product)
            else:
                layer.bias.assign_add(layer.norm.know(product))
        x = layer(x)


@dataclass(frozen=True)
class Directions:
    """The two layers of a kind over one kernel."""

    encode: type[TiedLayer]
    decode: type[TiedDecoderLayer]


CONVOLUTION = Directions(TiedConvolution, TiedConvolutionTranspose)
DIRECTIONS: dict[str, Directions] = {
    "dense": Directions(TiedDense, TiedDenseTranspose),
    "conv1d": CONVOLUTION,
    "conv2d": CONVOLUTION,
}
"""One row per row of `layer_kinds.LAYER_KINDS`."""


def outputs_of(config: ModelConfig) -> tuple[dict[str, str], dict[str, str]]:
    """Tensor name → activation of each layer's output, in the order of the kernels: of the encoder and of the decoder."""
    last = len(config.layers) - 1
    encoder = {"code" if i == last else f"encoder_{i}": layer.activation for i, layer in enumerate(config.layers)}
    decoder = {"y" if i == 0 else f"decoder_{i}": config.decoder_activation(i) for i in range(len(config.layers))}
    return encoder, decoder


def layers_of(config: ModelConfig, kernels: Sequence[TiedKernel], direction: Literal["encode", "decode"]) -> list[TiedLayer]:
    """The layers of one direction, in the order of the kernels."""
    decode = direction == "decode"
    norms = [config.decoder_batch_norm(i) if decode else layer.batch_norm for i, layer in enumerate(config.layers)]
    rows = zip(config.layers, kernels, outputs_of(config)[decode].items(), config.shapes[:-1], norms, strict=True)
    return [
        getattr(DIRECTIONS[layer.kind], direction)(
            layer, kernel, activation=activation, name=name, shape=shape, batch_norm=batch_norm
        )
        for layer, kernel, (name, activation), shape, batch_norm in rows
    ]


def interleaved(x: tf.Tensor, groups: int) -> tf.Tensor:
    """[batch, n] reshaped to (groups, n / groups) per sample, transposed and flattened. Inverse: n / groups groups."""
    if groups in (1, x.shape[1]):
        return x
    parts = tf.reshape(x, (-1, groups, x.shape[1] // groups))
    return tf.reshape(tf.transpose(parts, (0, 2, 1)), (-1, x.shape[1]))


class SeededDropout(tf_keras.layers.Layer):
    """Dropout with masks from a seed and a saved counter, so that a resumed run drops the same values."""

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
