"""Live models as chains: each gives what the model gives, and what no chain has is refused with layer, class and reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tiedae.base.errors import InputError
from tiedae.compress.imports.chain import BatchNorm, ChainFunction, ChainProduct, ChainReshape, Refused
from tiedae.compress.imports.live_calls import array_of
from tiedae.compress.imports.live_chain import chain_of_model
from tiedae.verify.ties import assert_tied

from ...variants import every
from .hand_made import KERAS, VARIANTS, Variant, chain, encoder, layers, library, mirrored

READABLE = [v for v in VARIANTS if v.live != "unknown" and "one layer" not in v.name]


@pytest.mark.parametrize(("variant", "keras"), every(3, [(v, keras) for v in READABLE for keras in KERAS]))
def test_a_chain_gives_what_its_model_gives(variant: Variant, keras: str) -> None:
    model = variant.model(keras)
    x = np.random.default_rng(3).normal(0, 1, (50, 24)).astype(np.float32)
    y, got = array_of(model(x)), chain_of_model(model)
    got.require_readable()
    assert np.abs(got(x) - y).max() <= 1e-5 * np.abs(y).max()
    assert got.format == {"keras": "Keras 3 (live)", "tf_keras": "Keras 2 (live)"}[keras]
    assert [product.widths for product in got.products] == [(24, 12), (12, 5), (5, 12), (12, 24)]


@pytest.mark.parametrize("keras", KERAS)
def test_a_decoder_that_subtracts_the_encoders_bias_has_no_other(keras: str) -> None:
    wide, code, *outputs = chain_of_model(mirrored("Subtracting", "linear", "linear")(keras)).products
    assert [(out.kernel, out.transposed, out.bias, out.before) for out in outputs] == [
        (code.kernel, True, None, code.bias),
        (wide.kernel, True, None, wide.bias),
    ]


@pytest.mark.parametrize("keras", KERAS)
def test_a_bias_is_its_own_even_where_all_are_zero(keras: str) -> None:
    model = mirrored("DenseTied")(keras)
    for variable in model.weights:
        variable.assign(np.zeros(tuple(variable.shape), np.float32) if len(variable.shape) == 1 else variable)
    biases = [product.bias.variable for product in chain_of_model(model).products]
    assert len(set(biases)) == 4


def test_a_chain_reads_the_variables_as_they_are_when_it_is_asked() -> None:
    model = mirrored("DenseTied")("keras")
    got = chain_of_model(model)
    model.layers[0].kernel.assign(2 * model.layers[0].kernel)
    assert np.array_equal(got.products[-1].matrix(), array_of(model.layers[0].kernel).T)


def test_kinds_of_layers() -> None:
    keras, own, (wide, code) = library("keras"), layers("keras"), encoder(library("keras"))
    kinds = keras.layers
    model = keras.Sequential(
        [
            *(
                kinds.Input((4, 6)),
                kinds.Flatten(),
                kinds.GaussianNoise(0.1, name="noise"),
                wide,
                kinds.BatchNormalization(),
                code,
            ),
            *(
                own.DenseTied(code),
                kinds.ReLU(),
                kinds.Lambda(lambda x: x, name="same"),
                own.DenseTied(wide),
                kinds.Reshape((4, 6)),
            ),
        ]
    )
    got = chain_of_model(model)
    kinds = [
        ChainReshape,
        ChainProduct,
        ChainFunction,
        BatchNorm,
        ChainProduct,
        ChainProduct,
        ChainFunction,
        ChainProduct,
        ChainReshape,
    ]
    assert [type(layer) for layer in got.layers] == kinds
    assert got.shape == (4, 6) and got.left_out == ("noise (GaussianNoise)", "same (Lambda)")


def elu(keras: Any) -> Any:
    return chain(keras, [keras.layers.Dense(5, activation="elu", name="out")])


def attention(keras: Any) -> Any:
    class Odd(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x * x

    return chain(keras, [Odd(name="odd")])


def forked(keras: Any) -> Any:
    x = keras.layers.Input((24,))
    return keras.Model(x, keras.layers.Add()([x, keras.layers.Dense(24)(x)]), name="forked")


REFUSED: list[tuple[Callable[[Any], Any], str]] = [
    (elu, r'out \(elu\): is no activation of a chain \(.*\); replace = \{elu = "relu"\} would do, with fine-tuning'),
    (
        attention,
        r"odd \(Odd\): computes more than x · kernel \+ bias and an activation \(.*\); a layer for each product would do",
    ),
    (forked, r"forked \(Functional\): is a product and computes more than x · kernel \+ bias"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
@pytest.mark.parametrize("keras", KERAS)
def test_what_no_chain_has_is_refused_with_the_reason(make: Callable[[Any], Any], message: str, keras: str) -> None:
    got = chain_of_model(make(library(keras)))
    with pytest.raises(InputError, match=rf"^{got.source}: {message}"):
        got.require_readable()


def test_a_layer_of_keras_whose_kernel_was_replaced_is_what_it_computes() -> None:
    """Dense by name and configuration, and its code another one."""
    keras = library("keras")

    class Dense(keras.layers.Dense):
        def call(self, x: Any, training: bool | None = None) -> Any:
            return super().call(x) + keras.ops.sum(x, axis=-1, keepdims=True)

    Dense.__module__ = keras.layers.Dense.__module__
    got = chain_of_model(chain(keras, [Dense(5, name="dense")]))
    assert isinstance(got.layers[0], Refused)
    assert got.layers[0].reason == "computes something else than its configuration says of a Dense"


@pytest.mark.parametrize("policy", [None, "mixed_float16"])
def test_ties_of_a_model_that_adds_or_casts_between_layers_are_tested(policy: str | None) -> None:
    import keras

    options = {"dtype": policy} if policy else {}
    wide, code = keras.layers.Dense(6, "relu", **options), keras.layers.Dense(6, **options)
    x = keras.Input((12,))
    hidden = wide(x)
    joined = keras.layers.Add()([code(hidden), hidden]) if policy is None else code(hidden)
    tied = [layers("keras").DenseTied(each, **options) for each in (code, wide)]
    model = keras.Model(x, tied[1](tied[0](joined)))
    assert_tied(model)


def test_a_scale_that_no_chain_has_is_refused_of_a_live_model() -> None:
    import keras

    scaled = keras.layers.Normalization(axis=1, mean=[0.0, 1.0, 2.0, 3.0], variance=[1.0, 2.0, 3.0, 4.0])
    model = keras.Sequential(
        [keras.Input((4, 4)), scaled, keras.layers.Flatten(), keras.layers.Dense(5), keras.layers.Dense(16)]
    )
    with pytest.raises(InputError, match=r"normalizes axis \[1\], must be the last one or none"):
        chain_of_model(model).require_readable()
