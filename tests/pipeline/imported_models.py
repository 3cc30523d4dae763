"""Tied autoencoders that Keras trained by hand-made layers, as files, for tests of what starts from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras

UNITS = (12, 4)


class Tied(tf_keras.layers.Layer):
    """A dense layer over the transposed kernel of another one, with a bias of its own."""

    def __init__(self, dense: Any, function: str, **options: Any) -> None:
        super().__init__(**options)
        self.dense, self.function = dense, tf_keras.activations.get(function)

    def build(self, shape: Any) -> None:
        self.bias = self.add_weight(name="bias", shape=(self.dense.kernel.shape[0],), initializer="zeros")

    def call(self, x: Any) -> Any:
        import tensorflow as tf

        function: Any = self.function
        return function(tf.matmul(x, self.dense.kernel, transpose_b=True) + self.bias)

    def get_config(self) -> dict[str, Any]:
        function = tf_keras.activations.serialize(self.function)
        return super().get_config() | {"dense": tf_keras.saving.serialize_keras_object(self.dense), "activation": function}


def samples(count: int = 400) -> np.ndarray:
    """float32 [count, 24] in 0…1 on a curve of three dimensions."""
    rng = np.random.default_rng(0)
    return (1 / (1 + np.exp(-rng.uniform(-1, 1, (count, 3)) @ rng.normal(0, 2, (3, 24))))).astype(np.float32)


def tied_model(before: Sequence[Any] = (), hidden: str = "relu", *, tied: bool = True, epochs: int = 40) -> Any:
    """A trained 24-12-4-12-24; `before`: layers at its input, which the samples are the output of."""
    tf_keras.utils.set_random_seed(0)
    encoder = [tf_keras.layers.Dense(UNITS[0], hidden), tf_keras.layers.Dense(UNITS[1])]
    inputs = tf_keras.Input((24,))
    y = inputs
    for layer in (*before, *encoder):
        y = layer(y)
    y = Tied(encoder[1], hidden, name="tied_1")(y) if tied else tf_keras.layers.Dense(12, hidden)(y)
    y = Tied(encoder[0], "sigmoid", name="tied")(y) if tied else tf_keras.layers.Dense(24, "sigmoid")(y)
    model = tf_keras.Model(inputs, y)
    model.compile("adam", "mse")
    x = samples()
    if epochs:
        model.fit(255 * x if before else x, x, epochs=epochs, batch_size=32, verbose=0)
    return model


def normalized_model() -> Any:
    """A 24-12-4-12-24 with BatchNormalization before each tanh and of the code, as training leaves it, with a negative gain of
    one hidden unit in both directions."""
    tf_keras.utils.set_random_seed(0)
    rng, kinds = np.random.default_rng(3), tf_keras.layers
    encoder = [kinds.Dense(units, use_bias=False) for units in UNITS]
    norms = [kinds.BatchNormalization(epsilon=epsilon) for epsilon in (1e-3, 1e-5, 1e-2)]
    y = inputs = tf_keras.Input((24,))
    y = kinds.Activation("tanh")(norms[0](encoder[0](y)))
    y = norms[1](encoder[1](y))
    y = kinds.Activation("tanh")(norms[2](Tied(encoder[1], "linear", name="tied_1")(y)))
    model = tf_keras.Model(inputs, Tied(encoder[0], "sigmoid", name="tied")(y))
    for norm in norms:
        gamma, variance = (np.exp(rng.normal(0, 0.5, norm.gamma.shape)) for _ in range(2))
        gamma[0] *= 1 if norm is norms[1] else -1
        beta, mean = (rng.normal(0, 0.3, norm.gamma.shape) for _ in range(2))
        norm.set_weights([gamma, beta, mean, variance])
    return model


def save(model: Any, path: Path) -> Path:
    with pytest.warns(UserWarning, match="considered legacy"):
        model.save(path)
    return path
