"""Autoencoders that people tied by hand, or did not: 14 variants in Keras 2 and 3, and what is proven of each, live and saved.

Every model is 24-12-5-12-24. `layers(keras)` has the layers, written after those that public code has.
"""

from __future__ import annotations

import functools
import importlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

KERAS = ("tf_keras", "keras")
SUFFIXES = (".h5", ".keras")
WIDTHS = (24, 12, 5)


def library(name: str) -> Any:
    """The module keras or tf_keras."""
    return importlib.import_module(name)


def operations(keras: Any) -> Any:
    """matmul and transpose as code for this version uses them."""
    if hasattr(keras, "ops"):
        return keras.ops
    import tensorflow as tf

    return SimpleNamespace(matmul=tf.matmul, transpose=keras.backend.transpose)


@functools.cache
def layers(name: str) -> Any:
    """The hand-made layers as classes of Keras 2 or 3."""
    import tensorflow as tf

    keras = library(name)
    ops = operations(keras)
    base = keras.layers.Layer
    variables: dict[str, Any] = {}

    class Held(base):
        """What all but one have in common: another layer, and a bias of their own."""

        def __init__(self, dense: Any, activation: str | None = None, **options: Any) -> None:
            super().__init__(**options)
            self.dense = dense
            self.activation = keras.activations.get(activation)

        def build(self, shape: Any) -> None:
            self.bias = self.add_weight(shape=(int(self.dense.kernel.shape[0]),), initializer="zeros", name="bias")
            super().build(shape)

        def get_config(self) -> dict[str, Any]:
            activation = keras.activations.serialize(self.activation)
            return {**super().get_config(), "dense": keras.saving.serialize_keras_object(self.dense), "activation": activation}

    class DenseTranspose(Held):
        def call(self, x: Any) -> Any:
            return self.activation(tf.matmul(x, self.dense.weights[0], transpose_b=True) + self.bias)

    class DenseTied(Held):
        def call(self, x: Any) -> Any:
            return self.activation(ops.matmul(x, ops.transpose(self.dense.kernel)) + self.bias)

    class Subtracting(Held):
        """Without a bias of its own: it takes the encoder's away, as the one tied model among the public files does."""

        def build(self, shape: Any) -> None:
            self.taken = self.dense.weights
            self.built = True

        def call(self, x: Any) -> Any:
            return self.activation(ops.matmul(x - self.taken[1], ops.transpose(self.taken[0])))

    class Snapshot(Held):
        def build(self, shape: Any) -> None:
            super().build(shape)
            self.kernel = ops.transpose(self.dense.kernel)

        def call(self, x: Any) -> Any:
            return self.activation(ops.matmul(x, self.kernel) + self.bias)

    class ByName(base):
        """Looks the kernel up among all variables by its layer's name, when it is called."""

        def __init__(self, tied_to: str, activation: str | None = None, **options: Any) -> None:
            super().__init__(**options)
            self.tied_to = tied_to
            self.activation = keras.activations.get(activation)

        def build(self, shape: Any) -> None:
            self.bias = self.add_weight(shape=(int(variables[self.tied_to].shape[0]),), initializer="zeros", name="bias")
            super().build(shape)

        def call(self, x: Any) -> Any:
            return self.activation(ops.matmul(x, ops.transpose(variables[self.tied_to])) + self.bias)

        def get_config(self) -> dict[str, Any]:
            activation = keras.activations.serialize(self.activation)
            return {**super().get_config(), "tied_to": self.tied_to, "activation": activation}

    class OwnUnused(Held):
        """A kernel as Dense builds it, which the call does not use."""

        def build(self, shape: Any) -> None:
            size = (int(shape[-1]), int(self.dense.kernel.shape[0]))
            self.own = self.add_weight(shape=size, initializer="glorot_uniform", name="kernel")
            super().build(shape)

        def call(self, x: Any) -> Any:
            return self.activation(ops.matmul(x, ops.transpose(self.dense.kernel)) + self.bias)

    class Whole(base):
        """A whole autoencoder in one layer, with a list of kernels; `tied`: its decoder uses the encoder's."""

        def __init__(self, units: list[int], tied: bool, **options: Any) -> None:
            super().__init__(**options)
            self.units, self.tied = units, tied

        def build(self, shape: Any) -> None:
            widths = [int(shape[-1]), *self.units]
            sizes = list(itertools.pairwise(widths))
            self.encoders = [self._weight(f"encoder_{i}", size) for i, size in enumerate(sizes)]
            mirrored = enumerate(sizes[::-1])
            self.decoders = [] if self.tied else [self._weight(f"decoder_{i}", size[::-1]) for i, size in mirrored]
            self.biases = [self._weight(f"bias_{i}", (size,)) for i, size in enumerate([*self.units, *widths[-2::-1]])]
            super().build(shape)

        def _weight(self, name: str, size: tuple[int, ...]) -> Any:
            return self.add_weight(shape=size, initializer="glorot_uniform" if len(size) > 1 else "zeros", name=name)

        def call(self, x: Any) -> Any:
            decoders = [ops.transpose(each) for each in self.encoders[::-1]] if self.tied else self.decoders
            kernels = [*self.encoders, *decoders]
            activations = [keras.activations.get(each) for each in ("relu", "linear", "relu", "sigmoid")]
            for kernel, bias, activation in zip(kernels, self.biases, activations, strict=True):
                x = activation(ops.matmul(x, kernel) + bias)
            return x

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "units": self.units, "tied": self.tied}

    own = (DenseTranspose, DenseTied, Subtracting, Snapshot, ByName, OwnUnused, Whole)
    return SimpleNamespace(variables=variables, **{each.__name__: each for each in own})


def encoder(keras: Any) -> list[Any]:
    """The layers 24-12-5, with names that are the same in every model."""
    return [keras.layers.Dense(WIDTHS[1], activation="relu", name="wide"), keras.layers.Dense(WIDTHS[2], name="code")]


def chain(keras: Any, layers: list[Any]) -> Any:
    """A Sequential of layers that take 24 values; its biases are random, as those of a trained one."""
    model = keras.Sequential([keras.layers.Input((WIDTHS[0],)), *layers])
    rng = np.random.default_rng(1)
    for variable in model.weights:
        if len(variable.shape) == 1 and "bias" in variable.name:
            variable.assign(rng.normal(0, 0.1, tuple(variable.shape)).astype(np.float32))
    return model


def mirrored(kind: str, *activations: str) -> Callable[[str], Any]:
    """A function that makes an autoencoder whose decoder has two layers of a kind, which hold the encoder's."""

    def make(name: str) -> Any:
        keras, held = library(name), encoder(library(name))
        first, last = activations or ("relu", "sigmoid")
        own = getattr(layers(name), kind)
        return chain(keras, [*held, own(held[1], first, name="out_0"), own(held[0], last, name="out_1")])

    return make


def by_name(name: str) -> Any:
    keras, own = library(name), layers(name)
    held = encoder(keras)
    keras.Sequential([keras.layers.Input((WIDTHS[0],)), *held])
    own.variables.update({layer.name: layer.kernel for layer in held})
    return chain(keras, [*held, own.ByName("code", "relu", name="out_0"), own.ByName("wide", "sigmoid", name="out_1")])


def whole(tied: bool) -> Callable[[str], Any]:
    return lambda name: chain(library(name), [layers(name).Whole(list(WIDTHS[1:]), tied, name="whole")])


def apart(distance: float | None) -> Callable[[str], Any]:
    """A decoder of Dense layers: the encoder's kernels and a part `distance` of noise; None: kernels of its own."""

    def make(name: str) -> Any:
        dense = library(name).layers.Dense
        outputs = [dense(WIDTHS[1], activation="relu", name="out_0"), dense(WIDTHS[0], activation="sigmoid", name="out_1")]
        held = encoder(library(name))
        model, rng = chain(library(name), [*held, *outputs]), np.random.default_rng(2)
        for layer, other in zip(held, outputs[::-1], strict=True):
            kernel = np.asarray(layer.kernel).T
            if distance is not None:
                noise = distance * kernel.std() * rng.normal(0, 1, kernel.shape)
                other.kernel.assign(kernel + noise.astype(np.float32))
        return model

    return make


def nested(name: str) -> Any:
    keras, held = library(name), encoder(library(name))
    tied = layers(name).DenseTied
    first = keras.Sequential([keras.layers.Input((WIDTHS[0],)), *held], name="encoder")
    inner = keras.Sequential([tied(held[1], "relu", name="out_0")], name="inner")
    outputs = [keras.layers.Input((WIDTHS[2],)), inner, tied(held[0], "sigmoid", name="out_1")]
    return chain(keras, [first, keras.Sequential(outputs, name="decoder")])


def submodels(name: str) -> Any:
    """Encoder and decoder as functional models, with normalization and noise between their layers."""
    keras, (wide, code) = library(name), encoder(library(name))
    own, dense = layers(name).DenseTranspose, keras.layers
    x = dense.Input((WIDTHS[0],))
    normalized = dense.BatchNormalization()(wide(dense.GaussianNoise(0.1)(x)))
    first = keras.Model(x, code(dense.Dropout(0.5)(normalized)), name="encoder")
    z = dense.Input((WIDTHS[2],))
    hidden = dense.BatchNormalization()(own(code, "relu", name="out_0")(z))
    last = keras.Model(z, own(wide, "sigmoid", name="out_1")(hidden), name="decoder")
    return keras.Model(x, last(first(x)), name="submodels")


def dead(name: str) -> Any:
    """Tied, behind a bias that no input overcomes."""
    model = mirrored("DenseTied", "relu", "relu")(name)
    for layer in model.layers[-2:]:
        layer.bias.assign(np.full(tuple(layer.bias.shape), -1e9, np.float32))
    return model


@dataclass(frozen=True)
class Variant:
    """A hand-made model, and the status of its pairs: `live` by what it does; `saved` by its file, and `why` another one."""

    name: str
    make: Callable[[str], Any]
    live: str
    saved: str
    why: str = ""

    def model(self, keras: str) -> Any:
        """The model, the same each time."""
        library(keras).utils.set_random_seed(0)
        return self.make(keras)


NO_CODE = "a file has no code of the model's own layers"
ONE_KERNEL = "the file has one kernel for both layers: what `build` or an activation makes of it is code"
ALONE = "Keras writes a model in a model by itself: nothing says that both have the variable"

VARIANTS = (
    Variant("matmul with transpose_b in the call", mirrored("DenseTranspose"), "tied", "tied"),
    Variant("dot with the transpose in the call", mirrored("DenseTied"), "tied", "tied"),
    Variant("a list of weights, the encoder's bias subtracted", mirrored("Subtracting"), "tied", "tied"),
    Variant("transposed once, in build", mirrored("Snapshot"), "equal copy", "tied", ONE_KERNEL),
    Variant("a global variable, looked up by name", by_name, "tied", "assumed", "the layer stores a bias alone"),
    Variant("one layer that is a tied autoencoder", whole(tied=True), "tied", "unknown", NO_CODE),
    Variant("one layer that is an untied autoencoder", whole(tied=False), "untied", "unknown", NO_CODE),
    Variant("a kernel of its own that is not used", mirrored("OwnUnused"), "tied", "unknown", NO_CODE),
    Variant("kernels of its own", apart(None), "untied", "untied"),
    Variant("trained apart a little", apart(0.02), "near", "near"),
    Variant("copied once", apart(0.0), "equal copy", "equal copy"),
    Variant("nested Sequentials", nested, "tied", "assumed", ALONE),
    Variant("encoder and decoder as models, BatchNormalization, Dropout", submodels, "tied", "assumed", ALONE),
    Variant("behind a relu that is never active", dead, "unknown", "tied", ONE_KERNEL),
)
"""Two pairs each; a file of one layer that is a whole autoencoder has one, which is unknown."""
