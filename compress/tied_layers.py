"""Layers over a tied kernel, with a tap at every tensor that the integer program quantizes: their bases, and dense layers.

Layers of another kind differ from dense ones in how an encoder's input becomes rows, and in how a decoder's rows become an
output; or they define their product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from tiedae.config.layer_kinds import LayerConfig, Shape

from .batch_norm import Normalization
from .kernel import TiedKernel
from .legacy_keras import tf_keras

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
    NAME.rescaled, NAME.product, NAME.gains, NAME.gained and NAME.bias; and with NAME.unpooled, of the quantization of NAME.
    """

    def __init__(
        self, config: LayerConfig, kernel: TiedKernel, *, activation: str, name: str, shape: Shape, batch_norm: bool = False
    ) -> None:
        super().__init__(name=name.replace(".", "_"))
        self.config, self.shape, self.tensor_name = config, shape, name
        self.kernel = kernel
        self.activation = activation
        size = self.size()
        biased = config.use_bias or batch_norm
        self.bias = self.add_weight(name="bias", shape=(size,), initializer="zeros") if biased else None
        self.norm = Normalization(size, name=f"{self.name}_norm") if batch_norm else None
        self.tap: Tap = identity_tap
        self.built = True

    def size(self) -> int:
        """The number of biases: channels of the product."""
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

    def mean_product(self, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        """The mean of the products, float32 [channels], over samples and places of x, float32 [batch, …]."""
        raise NotImplementedError

    def pooled(self, y: tf.Tensor, training: bool) -> tf.Tensor:
        """What the layer gives of its activation's values; by default these."""
        return y

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
    def takes_code(self) -> bool:
        """Whether the bias can take what a constant of a decoder layer's input adds: it has one for each row of the kernel."""
        return self.bias is not None and self.size() == self.kernel.inputs

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
        return self.tap(self.tensor_name, self.pooled(rule.function(y), training), training)


class TiedDecoderLayer(TiedLayer):
    """A decoder layer in the split layout: scales per unit multiply the input as factors, the bias is a separate ADD."""

    def rescaled(self, x: tf.Tensor, kernel: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """The operands of the product, which has one scale: factors of a scale per unit go from the kernel to the input."""
        if self.kernel.granularity != "unit":
            return x, kernel
        scale = self.kernel.scale_tensor()
        factors = scale / tf.reduce_max(scale)
        coarse = tf.maximum(tf.round(factors * 255.0), 1.0) / 255.0
        return self.tap(f"{self.tensor_name}.rescaled", x * coarse, training), kernel / factors

    def affine(self, x: tf.Tensor, kernel: tf.Tensor, training: bool) -> tf.Tensor:
        y = self.product(*self.rescaled(x, kernel, training))
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


def mean_row(rows: np.ndarray) -> np.ndarray:
    """The mean of rows [batch, *places, size], float32 [size]."""
    return rows.reshape(-1, rows.shape[-1]).mean(0)


class TiedDense(TiedLayer):
    """y = activation(rows(x) · W + b), x float32 [batch, *shape] → [batch, *places, units]."""

    def size(self) -> int:
        return self.kernel.units

    def rows(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(x, (-1, math.prod(self.shape))) if self.config.flatten else x

    def product(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return matmul(self.rows(x), kernel)

    def mean_product(self, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        return mean_row(np.asarray(self.rows(tf.convert_to_tensor(x.mean(0, keepdims=True))))) @ kernel


class TiedDenseTranspose(TiedDecoderLayer):
    """y = activation(restored(x · Wᵀ + b)), x float32 [batch, *places, units] → [batch, *shape]."""

    def size(self) -> int:
        return self.kernel.inputs

    def restored(self, rows: tf.Tensor) -> tf.Tensor:
        return tf.reshape(rows, (-1, *self.shape)) if self.config.flatten else rows

    def product(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return matmul(x, kernel, transpose_b=True)

    def mean_product(self, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        return kernel @ mean_row(x)

    def affine(self, x: tf.Tensor, kernel: tf.Tensor, training: bool) -> tf.Tensor:
        return self.restored(super().affine(x, kernel, training))
