"""Layers over a tied kernel, with a tap at every tensor that the integer program quantizes, and the two halves made of them.

A kind of layer (see `layer_kinds`) has a row in `DIRECTIONS`: its two layers. They differ from dense ones in how an encoder's
input becomes rows, and in how a decoder's rows become an output; or they define their product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import tensorflow as tf
import tf_keras

from .batch_norm import Normalization
from .kernel import TiedKernel
from .layer_kinds import LayerConfig, Shape
from .model_config import ModelConfig

Tap = Callable[[str, tf.Tensor, bool], tf.Tensor]
"""tap(name, tensor, training) → the tensor for the next operation: identity, an observer or a fake quantizer."""


def identity_tap(_name: str, tensor: tf.Tensor, _training: bool) -> tf.Tensor:
    return tensor


MARGIN = 1e-3
"""Inverses of sigmoid and tanh clip their argument this far from the ends, where gradients vanish."""


def _logit(y: np.ndarray) -> np.ndarray:
    y = np.clip(y, MARGIN, 1 - MARGIN)
    return np.log(y / (1 - y))


def _arctanh(y: np.ndarray) -> np.ndarray:
    return np.arctanh(np.clip(y, MARGIN - 1, 1 - MARGIN))


@dataclass(frozen=True)
class ActivationRule:
    """Properties of an activation.

    `fused`: a clamp of the integer product; otherwise a table over a quantized input. `window`: the inputs outside of which
    the output changes by less than half an LSB of int8; ranges are clipped to it. `output`: the range that TFLite fixes for
    the int8 result (LOGISTIC: scale 1/256, TANH: 1/128). `inverse`: output → input; for sigmoid and tanh within `MARGIN`.
    """

    function: Callable[[tf.Tensor], tf.Tensor]
    fused: bool
    window: tuple[float, float] = (-math.inf, math.inf)
    output: tuple[float, float] | None = None
    inverse: Callable[[np.ndarray], np.ndarray] = field(default=lambda y: y, repr=False)


RULES: Mapping[str, ActivationRule] = {
    "linear": ActivationRule(tf.identity, fused=True),
    "relu": ActivationRule(tf.nn.relu, fused=True, window=(0.0, math.inf)),
    "relu6": ActivationRule(tf.nn.relu6, fused=True, window=(0.0, 6.0)),
    "sigmoid": ActivationRule(tf.nn.sigmoid, fused=False, window=(-6.5, 6.5), output=(0.0, 255 / 256), inverse=_logit),
    "tanh": ActivationRule(tf.nn.tanh, fused=False, window=(-3.2, 3.2), output=(-1.0, 127 / 128), inverse=_arctanh),
}


class TiedLayer(tf_keras.layers.Layer):
    """y = activation(product(x, kernel) + bias); the layer owns its bias, not the kernel. Subclasses define the product.

    With `norm` it is activation(product · gain + bias), see `batch_norm`. `shape`: of the encoder's input, per sample; an
    encoder layer takes [batch, *shape], a decoder layer gives it. `tap` is called with each tensor that a target quantizes,
    named as in the program: NAME (the output), NAME.linear (before sigmoid or tanh) and, in a `TiedDecoderLayer`,
    NAME.rescaled, NAME.product, NAME.gains, NAME.gained and NAME.bias.
    """

    def __init__(
        self, config: LayerConfig, kernel: TiedKernel, *, activation: str, name: str, shape: Shape, batch_norm: bool = False
    ) -> None:
        super().__init__(name=name.replace(".", "_"))
        self.config, self.shape, self.tensor_name = config, shape, name
        self.kernel = kernel
        self.activation = activation
        size = self.size(kernel)
        biased = config.use_bias or batch_norm
        self.bias = self.add_weight(name="bias", shape=(size,), initializer="zeros") if biased else None
        self.norm = Normalization(size, name=f"{self.name}_norm") if batch_norm else None
        self.tap: Tap = identity_tap
        self.built = True

    @staticmethod
    def size(kernel: TiedKernel) -> int:
        """The number of biases."""
        raise NotImplementedError

    def rows(self, x: tf.Tensor) -> tf.Tensor:
        """The rows of an encoder's input, [batch, *shape] → [batch, *places, inputs]; calibration asks for them too."""
        return x

    def restored(self, rows: tf.Tensor) -> tf.Tensor:
        """What a decoder gives for its rows, [batch, *places, inputs] → [batch, *shape]; by default the rows."""
        return rows

    def product(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """The linear map of the last axis; `kernel` float32 [inputs, units]."""
        raise NotImplementedError

    def call(self, x: tf.Tensor, training: bool = False, kernel: tf.Tensor | None = None) -> tf.Tensor:
        """`kernel`: the kernel's tensor if the caller has already computed it for both directions."""
        kernel = self.kernel(training) if kernel is None else kernel
        return self.activate(self.affine(x, kernel, training), training)

    def affine(self, x: tf.Tensor, kernel: tf.Tensor, training: bool) -> tf.Tensor:
        y = self.product(x, kernel)
        gain, bias = self.gain_and_bias(y if training else None)
        y = y if gain is None else y * gain
        return y if bias is None else tf.nn.bias_add(y, bias)

    def gain_and_bias(self, product: tf.Tensor | None = None) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """What is done to the product: (gain or None, bias or None), float32 [channels]; to `product`, a batch of training, by
        its own statistics."""
        if self.norm is None:
            return None, self.bias
        gain, shift = self.norm.gain_and_shift(None if self.norm.frozen else product)
        return gain, shift + self.bias

    @property
    def gains(self) -> np.ndarray | None:
        """float32 [channels], by moving averages; None without batch normalization."""
        gain, _ = self.gain_and_bias()
        return None if gain is None else gain.numpy()

    @property
    def offset(self) -> np.ndarray | None:
        """What is added to product · gain, float32 [channels]; None without a bias."""
        _, bias = self.gain_and_bias()
        return None if bias is None else bias.numpy()

    @property
    def channels(self) -> dict[str, tf.Variable]:
        """Every variable of one value per channel, by name."""
        found = {} if self.bias is None else {f"{self.tensor_name}.bias": self.bias}
        if self.norm is not None:
            parts = {"gamma": self.norm.gamma, "mean": self.norm.mean, "variance": self.norm.variance}
            found |= {f"{self.tensor_name}.{name}": variable for name, variable in parts.items()}
        return found

    def add_to_product(self, change: np.ndarray) -> None:
        """Add to every product, float32 [channels], in the bias or in the mean that training would subtract again."""
        if self.norm is not None:
            self.norm.mean.assign_sub(change)
        else:
            assert self.bias is not None
            self.bias.assign_add(change)

    def activate(self, y: tf.Tensor, training: bool) -> tf.Tensor:
        rule = RULES[self.activation]
        if not rule.fused:
            y = self.tap(f"{self.tensor_name}.linear", y, training)
        return self.tap(self.tensor_name, rule.function(y), training)


class TiedDecoderLayer(TiedLayer):
    """A decoder layer in the split layout: scales per unit multiply the input as factors, the bias is a separate ADD."""

    def affine(self, x: tf.Tensor, kernel: tf.Tensor, training: bool) -> tf.Tensor:
        if self.kernel.granularity == "unit":
            scale = self.kernel.scale_tensor()
            factors = scale / tf.reduce_max(scale)
            coarse = tf.maximum(tf.round(factors * 255.0), 1.0) / 255.0
            x = self.tap(f"{self.tensor_name}.rescaled", x * coarse, training)
            kernel = kernel / factors
        y = self.product(x, kernel)
        gain, bias = self.gain_and_bias(y if training else None)
        if bias is None:
            return y
        low, high = (end - bias for end in RULES[self.activation].window)
        if gain is not None:
            by = tf.stop_gradient(gain)  # infinite limits have no gradient
            y = self.tapped("product", y, low / by, high / by, training)
            y = y * self.tap(f"{self.tensor_name}.gains", gain, training)
        y = self.tapped("product" if gain is None else "gained", y, low, high, training)
        return y + self.tap(f"{self.tensor_name}.bias", tf.convert_to_tensor(bias), training)

    def tapped(self, part: str, y: tf.Tensor, low: tf.Tensor, high: tf.Tensor, training: bool) -> tf.Tensor:
        """The tensor NAME.PART behind its tap: within the limits [channels] beyond which the activation does not change."""
        if self.tap is identity_tap:
            return y
        return self.tap(f"{self.tensor_name}.{part}", tf.clip_by_value(y, tf.reduce_min(low), tf.reduce_max(high)), training)


def matmul(rows: tf.Tensor, matrix: tf.Tensor, *, transpose_b: bool = False) -> tf.Tensor:
    """Rows [batch, *places, inputs] times a matrix, all places in one product: TensorFlow's own on more axes can crash."""
    if len(rows.shape) == 2:
        return tf.matmul(rows, matrix, transpose_b=transpose_b)
    y = tf.matmul(tf.reshape(rows, (-1, rows.shape[-1])), matrix, transpose_b=transpose_b)
    return tf.reshape(y, (-1, *rows.shape[1:-1], y.shape[-1]))


class TiedDense(TiedLayer):
    """y = activation(rows(x) · W + b), x float32 [batch, *shape] → [batch, *places, units]."""

    @staticmethod
    def size(kernel: TiedKernel) -> int:
        return kernel.units

    def product(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return matmul(self.rows(x), kernel)


class TiedDenseTranspose(TiedDecoderLayer):
    """y = activation(restored(x · Wᵀ + b)), x float32 [batch, *places, units] → [batch, *shape]."""

    @staticmethod
    def size(kernel: TiedKernel) -> int:
        return kernel.inputs

    def product(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return matmul(x, kernel, transpose_b=True)

    def affine(self, x: tf.Tensor, kernel: tf.Tensor, training: bool) -> tf.Tensor:
        return self.restored(super().affine(x, kernel, training))


@dataclass(frozen=True)
class Directions:
    """The two layers of a kind over one kernel."""

    encode: type[TiedLayer]
    decode: type[TiedDecoderLayer]


DIRECTIONS: dict[str, Directions] = {"dense": Directions(TiedDense, TiedDenseTranspose)}
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
