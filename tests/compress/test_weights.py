"""Weights that were trained elsewhere: a tied autoencoder computes with them what Keras' layers do."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras

from tiedae.compress import InputError, RecipeError, TiedAutoencoder

RNG = np.random.default_rng(0)
KERNELS = [RNG.normal(0, 0.3, shape).astype(np.float32) for shape in ((24, 12), (12, 8), (8, 4))]
ENCODER = [RNG.normal(0, 0.3, n).astype(np.float32) for n in (12, 8, 4)]
DECODER = [RNG.normal(0, 0.3, n).astype(np.float32) for n in (8, 12, 24)]


@pytest.mark.parametrize("biases", [(ENCODER, DECODER), (ENCODER, None), (None, DECODER), (None, None)])
@pytest.mark.parametrize(("activations", "output"), [(None, "sigmoid"), (("tanh", "relu6", "relu"), "linear")])
def test_it_computes_what_keras_layers_with_these_weights_compute(biases, activations, output) -> None:
    model = TiedAutoencoder.from_weights(KERNELS, *biases, activations=activations, output_activation=output)
    first, second, code = activations or ("relu", "relu", "linear")
    twin = tf_keras.Sequential(
        [
            tf_keras.layers.Dense(n, function)
            for n, function in zip((12, 8, 4, 8, 12, 24), (first, second, code, second, first, output), strict=True)
        ]
    )
    x = RNG.uniform(size=(9, 24)).astype(np.float32)
    twin(x)
    given = [*(biases[0] or [None] * 3), *(biases[1] or [None] * 3)]
    kernels = [*KERNELS, *(kernel.T for kernel in KERNELS[::-1])]
    for layer, kernel, bias in zip(twin.layers, kernels, given, strict=True):
        layer.set_weights([kernel, np.zeros(kernel.shape[1], np.float32) if bias is None else bias])
    np.testing.assert_allclose(model(x), twin(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.encoder(x), tf_keras.Sequential(twin.layers[:3])(x), rtol=1e-5, atol=1e-6)
    assert [layer.use_bias for layer in model.config.layers] == [biases != (None, None)] * 3


WRONG = {
    "no kernel": (([],), "kernels: got none, must be one or more, [inputs, units] each"),
    "the decoder's too": (
        ([*KERNELS, KERNELS[2].T, KERNELS[0]],),
        "kernels[4]: got shape [24, 12], must be [8, units]: kernels[3] has 8 units",
    ),
    "a vector": (([ENCODER[0]],), "kernels[0]: got shape [12], must be [inputs, units]"),
    "no units": (([np.zeros((3, 0))],), "kernels[0]: got shape [3, 0], must be [inputs, units]"),
    "NaN": (([np.full((3, 2), np.nan)],), "kernels[0]: holds a value that is not finite in float32"),
    "too large": (([np.full((3, 2), 1e39)],), "kernels[0]: holds a value that is not finite in float32"),
    "text": (([[["a"]]],), "kernels[0]: got <U1, must be numbers"),
    "ragged": (([[[1, 2], [3]]],), "kernels[0]: rows differ in length, must be an array of numbers"),
    "few biases": ((KERNELS, ENCODER[:2]), "encoder_biases: got 2, must be 3, one per kernel, in forward order"),
    "reversed": ((KERNELS, ENCODER, DECODER[::-1]), "decoder_biases[0]: got shape [24], must be [8]"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arrays_are_named(case: str) -> None:
    arrays, message = WRONG[case]
    with pytest.raises(InputError) as error:
        TiedAutoencoder.from_weights(*arrays)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("activations", "message"), [(["relu"], "activations: got .*, must be 3"), (["elu"] * 3, "activation: got 'elu'")]
)
def test_wrong_activations_are_named(activations: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        TiedAutoencoder.from_weights(KERNELS, activations=activations)
