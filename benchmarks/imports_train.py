"""A tied 784-128-32 of hand-made layers, trained in Keras 3 on the pictures of x.npy: python imports_train.py FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

EPOCHS = 3


@keras.saving.register_keras_serializable()
class DenseTied(keras.layers.Layer):
    """A dense layer over the transposed kernel of another one."""

    def __init__(self, tied_to: Any, activation: str, **options: Any) -> None:
        super().__init__(**options)
        self.tied_to, self.activation = tied_to, keras.activations.get(activation)

    def build(self, _: Any) -> None:
        self.bias = self.add_weight(shape=(self.tied_to.kernel.shape[0],), initializer="zeros", name="bias")

    def call(self, x: Any) -> Any:
        return self.activation(keras.ops.matmul(x, keras.ops.transpose(self.tied_to.kernel)) + self.bias)

    def get_config(self) -> dict[str, Any]:
        held = {"tied_to": keras.saving.serialize_keras_object(self.tied_to)}
        return super().get_config() | held | {"activation": keras.activations.serialize(self.activation)}


def main(folder: Path) -> None:
    """Train, and write model.keras and its arrays, weights.npz."""
    keras.utils.set_random_seed(0)
    x = np.load(folder / "x.npy").reshape(-1, 784).astype("float32") / 255
    encoder = [keras.layers.Dense(128, "relu"), keras.layers.Dense(32)]
    decoder = [DenseTied(encoder[1], "relu"), DenseTied(encoder[0], "sigmoid")]
    model = keras.Sequential([keras.Input((784,)), *encoder, *decoder])
    model.compile("adam", "mse")
    model.fit(x, x, batch_size=128, epochs=EPOCHS, verbose=0)  # pyright: ignore[reportArgumentType]  # Keras takes 0
    model.save(folder / "model.keras")
    kernels = {f"kernel_{i}": dense.kernel for i, dense in enumerate(encoder)}
    biases = {f"bias_{i}": layer.bias for i, layer in enumerate((*encoder, *decoder))}
    np.savez(folder / "weights.npz", **kernels, **biases)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
