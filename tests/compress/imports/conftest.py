"""Models that Keras 2 and Keras 3 write, once per session."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

DATA = Path(os.environ.get("TIEDAE_DATA", "")) / "keras"
needs_data = pytest.mark.skipif(
    not os.environ.get("TIEDAE_DATA") or not DATA.is_dir(), reason="TIEDAE_DATA has no folder keras"
)


@dataclass(frozen=True)
class Written:
    """A model in both formats, samples, and what Keras gives for them."""

    files: tuple[Path, Path]
    x: np.ndarray
    y: np.ndarray


def holders(k: ModuleType) -> Mapping[str, type]:
    """Layers of people's own that use a Dense layer's kernel, or seem to."""
    ops = k.backend if not hasattr(k, "ops") else k.ops

    class Holder(k.layers.Layer):
        """Holds the Dense layer, and writes it into its configuration."""

        def __init__(self, dense: Any, activation: Any = None, **options: Any) -> None:
            super().__init__(**options)
            self.dense, self.activation = dense, activation

        def build(self, shape: Any) -> None:
            self.bias = self.add_weight(name="bias", shape=(self.dense.kernel.shape[0],), initializer="uniform")
            super().build(shape)

        def call(self, x: Any) -> Any:
            y = ops.dot(x, ops.transpose(self.dense.kernel)) + self.bias
            return y if self.activation is None else ops.relu(y)

        def get_config(self) -> dict[str, Any]:
            own = {"dense": k.saving.serialize_keras_object(self.dense), "activation": self.activation}
            return super().get_config() | own

    class Silent(Holder):
        """Says nothing of the Dense layer."""

        def get_config(self) -> dict[str, Any]:
            return {name: value for name, value in super().get_config().items() if name != "dense"}

    class Listed(Silent):
        """Takes the kernel for its own too."""

        def build(self, shape: Any) -> None:
            self.kernel = self.dense.kernel
            super().build(shape)

    class Hidden(Silent):
        """Keeps the Dense layer where Keras does not look."""

        def __init__(self, dense: Any, **options: Any) -> None:
            super().__init__(dense=None, **options)
            self.held = lambda: dense

        def build(self, shape: Any) -> None:
            self.bias = self.add_weight(name="bias", shape=(self.held().kernel.shape[0],), initializer="uniform")

        def call(self, x: Any) -> Any:
            y = ops.dot(x, ops.transpose(self.held().kernel)) + self.bias
            return y if self.activation is None else ops.relu(y)

    class Copied(Hidden):
        """A snapshot, transposed once."""

        def build(self, shape: Any) -> None:
            super().build(shape)
            kernel = self.held().kernel
            self.kernel = self.add_weight(name="kernel", shape=kernel.shape[::-1], initializer="zeros")
            self.kernel.assign(np.asarray(kernel).T)

        def call(self, x: Any) -> Any:
            y = ops.dot(x, self.kernel) + self.bias
            return y if self.activation is None else ops.relu(y)

    return {each.__name__: each for each in (Holder, Silent, Listed, Hidden, Copied)}


def mirrored(k: ModuleType, holder: type) -> Any:
    """20-8-4-8-20 whose decoder layers are of a class."""
    first, second, x = k.layers.Dense(8, activation="relu"), k.layers.Dense(4), k.Input((20,))
    code = second(first(x))
    return k.Model(x, holder(first)(holder(second, activation="relu")(code)))


def sequentials(k: ModuleType) -> Any:
    """Encoder and decoder as models in a model, neither with a stated sample."""
    encoder = k.Sequential([k.layers.Dense(8, activation="relu"), k.layers.BatchNormalization(), k.layers.Dense(4)])
    model = k.Sequential([encoder, k.Sequential([k.layers.Dense(8, activation="relu"), k.layers.Dense(20)])])
    model(np.zeros((1, 20), "float32"))
    return model


def functionals(k: ModuleType) -> Any:
    """Functional models in a functional one."""
    x, code = k.Input((20,)), k.Input((4,))
    encoder = k.Model(x, k.layers.Dense(4, activation="tanh")(k.layers.Dropout(0.5)(x)), name="encoder")
    decoder = k.Model(code, k.layers.Dense(20, activation="sigmoid")(code), name="decoder")
    y = k.Input((20,))
    return k.Model(y, decoder(encoder(y)))


def shaped(k: ModuleType) -> Any:
    """Images, scaled and flattened; the last layer gives them their shape again."""
    normalization = k.layers.Normalization(axis=-1)
    normalization.adapt(np.random.default_rng(2).normal(size=(50, 4, 5)))
    return k.Sequential(
        [
            k.Input((4, 5)),
            k.layers.Rescaling(0.5, offset=-0.25),
            normalization,
            k.layers.Flatten(),
            k.layers.Dense(6, use_bias=False),
            k.layers.BatchNormalization(scale=False),
            k.layers.Activation("tanh"),
            k.layers.GaussianNoise(0.1),
            k.layers.Dense(20),
            k.layers.ReLU(6.0),
            k.layers.Reshape((4, 5)),
        ]
    )


def twice(k: ModuleType) -> Any:
    """A layer that is called twice."""
    shared, x = k.layers.Dense(20, activation="tanh"), k.Input((20,))
    return k.Model(x, k.layers.Dense(20)(shared(shared(x))))


MODELS = {each.__name__: each for each in (sequentials, functionals, shaped, twice)}
HOLDERS = ("Holder", "Silent", "Listed", "Hidden", "Copied")


def written(k: ModuleType, model: Any, folder: Path, name: str) -> Written:
    rng = np.random.default_rng(0)
    model.set_weights(
        [rng.uniform(0.1, 1, weight.shape) for weight in model.get_weights()] if name != "Copied" else model.get_weights()
    )
    x = rng.normal(size=(6, *model.input_shape[1:])).astype(np.float32)
    files = folder / f"{name}.h5", folder / f"{name}.keras"
    for file in files:
        model.save(file)
    return Written(files, x, np.asarray(model(x)))


def all_written(k: ModuleType, folder: Path) -> Mapping[str, Written]:
    models = {name: make(k) for name, make in MODELS.items()}
    models |= {name: mirrored(k, holder) for name, holder in holders(k).items()}
    return {name: written(k, model, folder, name) for name, model in models.items()}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, Written]]:
    """By Keras version and name."""
    import warnings

    import keras
    import tf_keras

    with warnings.catch_warnings(action="ignore"):
        return {
            version: all_written(k, tmp_path_factory.mktemp(version))
            for version, k in (("Keras 2", tf_keras), ("Keras 3", keras))
        }
