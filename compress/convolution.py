"""Convolutions over a tied kernel: the encoder's layer and, as its transpose, the decoder's. Signals are images of width 1."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from tiedae.base.windows import Lengths
from tiedae.config.layer_kinds import UNPOOLED, ConvolutionConfig

from .tied_layers import TiedDecoderLayer, TiedDense, TiedLayer, mean_row


def two(lengths: Lengths) -> tuple[int, int]:
    """Lengths of one or two axes as those of an image."""
    height, width = (*lengths, 1)[:2]
    return height, width


def image(x: tf.Tensor) -> tf.Tensor:
    """[batch, *lengths, channels] → [batch, height, width, channels]."""
    return x if len(x.shape) == 4 else x[:, :, None]


def shaped(y: tf.Tensor, lengths: Lengths) -> tf.Tensor:
    """The inverse of `image`, for a sample of `lengths`."""
    return tf.reshape(y, (-1, *lengths, y.shape[-1]))


def repeated(x: tf.Tensor, count: int, axis: int) -> tf.Tensor:
    """Each value `count` times along an axis, as a concatenation: not every runtime has the TILE of tf.repeat for int8."""
    before, length, after = x.shape[1:axis], x.shape[axis], x.shape[axis + 1 :]
    rows = tf.reshape(x, (-1, *before, length, math.prod(after)))
    return tf.reshape(tf.concat([rows] * count, -1), (-1, *before, count * length, *after))


class TiedConvolution(TiedDense):
    """y = pooled(activation(x ∗ W + b)), x float32 [batch, *lengths, channels] → [batch, *places / pool, filters]."""

    config: ConvolutionConfig

    @property
    def places(self) -> Lengths:
        return self.config.window.places(self.shape[:-1])

    def product(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        window = self.config.window
        filters = tf.reshape(kernel, (*two(window.sizes), self.shape[-1], self.kernel.units))
        return shaped(tf.nn.conv2d(image(x), filters, two(window.strides), window.padding.upper()), self.places)

    def rows(self, x: tf.Tensor) -> tf.Tensor:
        window = self.config.window
        sizes, strides = (1, *two(window.sizes), 1), (1, *two(window.strides), 1)
        rows = tf.image.extract_patches(image(x), sizes, strides, (1, 1, 1, 1), window.padding.upper())
        return shaped(rows, self.places)

    def pooled(self, y: tf.Tensor, training: bool) -> tf.Tensor:
        pools = self.config.pools
        if not pools:
            return y
        y = self.tap(f"{self.tensor_name}{UNPOOLED}", y, training)
        largest = tf.nn.max_pool2d(image(y), two(pools), two(pools), "VALID")
        return shaped(largest, self.config.output((*self.places, 0))[:-1])


class TiedConvolutionTranspose(TiedDecoderLayer):
    """y = activation(transposed convolution(upsampled(z), W) + b), z as `TiedConvolution` gives it → [batch, *shape].

    The bias is one per channel of y. Where windows tile the sample, the program has a dense layer over them, in every layout;
    else it has one operation that rounds once, so there are no taps within it.
    """

    config: ConvolutionConfig

    def size(self) -> int:
        return self.shape[-1]

    def affine(self, x: tf.Tensor, kernel: tf.Tensor, training: bool) -> tf.Tensor:
        if self.config.window.tiles(self.shape[:-1]):
            return super().affine(x, kernel, training)
        return TiedLayer.affine(self, *self.rescaled(x, kernel, training), training)

    def product(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        window = self.config.window
        filters = tf.reshape(kernel, (*two(window.sizes), self.shape[-1], self.kernel.units))
        for axis, count in enumerate(self.config.pools, 1):
            x = repeated(x, count, axis)
        shape = (tf.shape(x)[0], *two(self.shape[:-1]), self.shape[-1])
        y = tf.nn.conv2d_transpose(image(x), filters, shape, two(window.strides), window.padding.upper())
        return tf.reshape(y, (-1, *self.shape))

    def mean_product(self, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        mean = tf.convert_to_tensor(x.mean(0, keepdims=True))
        return mean_row(self.product(mean, tf.convert_to_tensor(kernel)).numpy())
