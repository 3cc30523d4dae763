"""SavedModels while a test writes them: modules of layers, and what TensorFlow computes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.compress.imports.chain import Chain

tf = pytest.importorskip("tensorflow")

FULL_SCALE = 1e-5
DATA = Path(os.environ.get("TIEDAE_DATA", "/nowhere")) / "keras"

Tensor = Any
Layer = Callable[["Net", Tensor], Tensor]


class Net(tf.Module):
    """A function of samples, layer by layer, with the variables that the layers make when they are first called."""

    def __init__(self, *layers: Layer, seed: int = 0) -> None:
        super().__init__()
        self.rng, self.steps, self.arrays, self.place = np.random.default_rng(seed), layers, [], 0

    def array(self, *shape: int, low: float = -1, high: float = 1) -> Tensor:
        self.place += 1
        if self.place > len(self.arrays):
            self.arrays.append(tf.Variable(self.rng.uniform(low, high, shape), dtype=tf.float32))
        return self.arrays[self.place - 1]

    def __call__(self, x: Tensor) -> Tensor:
        self.place = 0
        for step in self.steps:
            x = step(self, x)
        return x

    def save(self, folder: Path, *, shape: tuple[int | None, ...] = (None, 8), dtype: Any = None) -> Path:
        if None not in shape[1:]:
            self(tf.zeros((1, *shape[1:]), dtype or tf.float32))
        function = tf.function(self.__call__, input_signature=[tf.TensorSpec(shape, dtype or tf.float32, name="x")])
        tf.saved_model.save(self, str(folder / "net"), signatures=function)
        return folder / "net"


def run(path: Path, x: np.ndarray) -> np.ndarray:
    function = tf.saved_model.load(str(path)).signatures["serving_default"]
    (name,) = function.structured_input_signature[1]
    (y,) = function(**{name: tf.constant(x)}).values()
    return y.numpy()


def close(path: Path, chain: Chain, *, dtype: type = np.float32) -> bool:
    """Whether a chain gives what TensorFlow gives, of full scale."""
    x = np.random.default_rng(0).uniform(0, 3, (16, *chain.shape)).astype(dtype)
    wanted, given = run(path, x), chain(x)
    return given.shape == wanted.shape and bool(np.abs(given - wanted).max() <= FULL_SCALE * np.abs(wanted).max())


def dense(units: int, *, transposed: bool = False) -> Layer:
    def layer(net: Net, x: Tensor) -> Tensor:
        shape = (units, x.shape[-1]) if transposed else (x.shape[-1], units)
        return tf.nn.bias_add(tf.matmul(x, net.array(*shape), transpose_b=transposed), net.array(units))

    return layer


def batch_norm(*, scale: bool = True, center: bool = True) -> Layer:
    def layer(net: Net, x: Tensor) -> Tensor:
        width = x.shape[-1]
        mean, variance = net.array(width), net.array(width, low=0.1)
        beta = net.array(width) if center else None
        return tf.nn.batch_normalization(x, mean, variance, beta, net.array(width) if scale else None, 0.001)

    return layer


def fused_batch_norm(net: Net, x: Tensor) -> Tensor:
    width = x.shape[-1]
    arrays = [net.array(width), net.array(width), net.array(width), net.array(width, low=0.1)]
    image = tf.reshape(x, (-1, 1, 1, width))
    return tf.reshape(tf.compat.v1.nn.fused_batch_norm(image, *arrays, epsilon=0.01, is_training=False)[0], (-1, width))


def normalized(net: Net, x: Tensor) -> Tensor:
    """As Keras' Normalization and Rescaling."""
    width = x.shape[-1]
    return (x - net.array(width)) / tf.maximum(tf.sqrt(net.array(width, low=0.1)), 1e-7) * 0.5 + 1.0


def reshaped(_: Net, x: Tensor) -> Tensor:
    width = x.shape[-1]
    return tf.reshape(tf.reshape(x, (tf.shape(x)[0], 1, width)), (-1, width))


def called(layer: Layer) -> Layer:
    """A layer in a function of its own."""
    return lambda net, x: layer(net, x) if tf.executing_eagerly() else tf.function(lambda x: layer(net, x))(x)


PRODUCTS = (dense(5), dense(7, transposed=True), called(dense(6)), lambda net, x: tf.matmul(x, net.array(x.shape[-1], 4)))
BETWEEN: tuple[Layer, ...] = (
    lambda _, x: tf.nn.relu(x),
    lambda _, x: tf.nn.relu6(x),
    lambda _, x: tf.minimum(tf.maximum(x, 0), 6),
    lambda _, x: tf.tanh(x),
    lambda _, x: tf.sigmoid(x),
    lambda _, x: tf.identity(-x),
    batch_norm(),
    batch_norm(scale=False),
    batch_norm(center=False),
    batch_norm(scale=False, center=False),
    fused_batch_norm,
    normalized,
    reshaped,
    called(reshaped),
)


def tied(*, transpose: bool) -> Layer:
    def layers(net: Net, x: Tensor) -> Tensor:
        kernel, bias = net.array(8, 3), net.array(3)
        code = tf.nn.relu(tf.matmul(x, kernel) + bias)
        return tf.matmul(code, tf.transpose(kernel)) if transpose else tf.matmul(code - bias, kernel, transpose_b=True)

    return layers
