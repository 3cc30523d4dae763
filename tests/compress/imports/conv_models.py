"""Convolutional autoencoders in Keras 2 and 3: tied by hand-made layers, mirrored and untied, and others that are not."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .hand_made import library

SIGNAL, IMAGE = (24, 3), (8, 12, 1)


@functools.cache
def tied_class(name: str) -> Any:
    """A layer over the kernel of a Conv1D, a Conv2D or a Dense layer, transposed."""
    import tensorflow as tf

    keras = library(name)

    class Tied(keras.layers.Layer):
        def __init__(self, held: Any, activation: str | None = None, **options: Any) -> None:
            super().__init__(**options)
            self.held, self.activation = held, keras.activations.get(activation)

        def build(self, shape: Any) -> None:
            self.bias = self.add_weight(shape=(int(self.held.kernel.shape[-2]),), initializer="zeros", name="bias")
            super().build(shape)

        def call(self, x: Any) -> Any:
            held, kernel = self.held, self.held.kernel
            if len(kernel.shape) == 2:
                return self.activation(tf.matmul(x, tf.convert_to_tensor(kernel), transpose_b=True) + self.bias)
            lengths = [n * s for n, s in zip(x.shape[1:-1], held.strides, strict=True)]
            if held.padding == "valid":
                pairs = zip(lengths, kernel.shape, held.strides, strict=False)
                lengths = [n + k - s for n, k, s in pairs]
            shape = (tf.shape(x)[0], *lengths, kernel.shape[-2])
            y = tf.nn.conv_transpose(x, tf.convert_to_tensor(kernel), shape, held.strides, held.padding.upper())
            return self.activation(y + self.bias)

        def get_config(self) -> dict[str, Any]:
            activation = keras.activations.serialize(self.activation)
            held = keras.saving.serialize_keras_object(self.held)
            return {**super().get_config(), "held": held, "activation": activation}

    return Tied


def sequential(name: str, shape: Sequence[int], layers: Sequence[Any]) -> Any:
    """A model with random biases and statistics, as those of a trained one."""
    keras = library(name)
    model, rng = keras.Sequential([keras.layers.Input(tuple(shape)), *layers]), np.random.default_rng(1)
    for variable in model.weights:
        if len(variable.shape) == 1:
            variable.assign(rng.uniform(0.1, 0.5, tuple(variable.shape)))
    return model


def image(name: str, *, tied: bool = False, upsampled: bool = False) -> Any:
    """8×12: Conv2D 4 with normalization and a pool, Conv2D 6 with strides, Dense 5, and back; `upsampled`: the last layer is a
    Conv2D."""
    kinds, own = library(name).layers, tied_class(name)
    first = kinds.Conv2D(4, 3, padding="same", use_bias=False, name="first")
    second = kinds.Conv2D(6, (3, 4), (2, 3), "same", activation="tanh", name="second")
    code = kinds.Dense(5, name="code")
    encoder = [first, kinds.BatchNormalization(), kinds.ReLU(), kinds.MaxPooling2D(), second, kinds.Flatten(), code]
    last = kinds.Conv2D if upsampled else kinds.Conv2DTranspose
    decoder = [
        own(code, "tanh") if tied else kinds.Dense(24, activation="tanh"),
        kinds.Reshape((2, 2, 6)),
        own(second) if tied else kinds.Conv2DTranspose(4, (3, 4), (2, 3), "same"),
        *(kinds.BatchNormalization(), kinds.ReLU(), kinds.UpSampling2D()),
        own(first, "sigmoid") if tied else last(1, 3, padding="same", activation="sigmoid"),
    ]
    return sequential(name, IMAGE, [*encoder, *decoder])


def signal(name: str, *, tied: bool = False) -> Any:
    """24×3: Conv1D 8 with valid windows, Conv1D 2 with a pool, which is the code, and back."""
    kinds, own = library(name).layers, tied_class(name)
    first = kinds.Conv1D(8, 4, 2, activation="relu", name="first")
    code = kinds.Conv1D(2, 4, 1, name="code")
    turned = functools.partial(kinds.Conv1DTranspose, kernel_size=4)
    decoder = [
        own(code, "relu") if tied else turned(8, activation="relu"),
        own(first) if tied else turned(3, strides=2),
    ]
    return sequential(name, SIGNAL, [first, code, kinds.MaxPooling1D(2), kinds.UpSampling1D(2), *decoder])


MODELS: dict[str, Callable[..., Any]] = {"image": image, "signal": signal}
