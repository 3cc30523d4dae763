"""Batch normalization: what Keras' layer computes, in each direction, and what keeps it through changes of a model."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from msgspec.structs import replace

from tiedae.base.errors import RecipeError
from tiedae.calibration import representative
from tiedae.calibration.post_training import quantize_post_training
from tiedae.compress import (
    Dataset,
    LayerConfig,
    ModelConfig,
    QuantizeConfig,
    TiedAutoencoder,
    TrainConfig,
    Training,
    fit,
    shrink,
)
from tiedae.compress.batch_norm import EPSILON, LEAST_GAMMA, MOMENTUM
from tiedae.compress.symmetries import balance_code, centre_code, interleave, permute_units, rescale_units, without_unused_code
from tiedae.compress.tied_layers import identity_tap
from tiedae.compress.weights import Norm
from tiedae.config.config import DataConfig, Recipe

from ..samples import curve

LAYERS = (LayerConfig(10, "relu", batch_norm=True), LayerConfig(6, "relu"), LayerConfig(3, "linear", batch_norm=True))
NORMALIZED = ("encoder_0", "code", "decoder_1")
"""The layers that give units with batch normalization."""
X = curve(300, 24).astype(np.float32)


def model_of(layers: tuple[LayerConfig, ...] = LAYERS, *, trained: bool = True) -> TiedAutoencoder:
    """`trained`: with gains, statistics and biases of all sizes."""
    model, rng = TiedAutoencoder(ModelConfig(layers, "sigmoid", 24), seed=1), np.random.default_rng(2)
    model.start_statistics(X)
    for layer in model.stack if trained else ():
        for name, variable in layer.channels.items():
            scaled = name.endswith((".gamma", ".variance"))
            change = np.exp(rng.normal(0, 0.6, variable.shape)) if scaled else rng.normal(0, 0.2, variable.shape)
            variable.assign(variable * change if scaled else variable + change)
    return model


def outputs(model: TiedAutoencoder, x: np.ndarray = X) -> tuple[np.ndarray, np.ndarray]:
    code, y = model.encode_decode(x)
    return code.numpy(), y.numpy()


def same(model: TiedAutoencoder, before: tuple[np.ndarray, np.ndarray], *, code: bool = True) -> None:
    for got, wanted in list(zip(outputs(model), before, strict=True))[0 if code else 1 :]:
        np.testing.assert_allclose(got, wanted, atol=2e-5)


class Twin(tf_keras.Model):
    """The same in Keras' own layers, with the kernels of `model` and statistics of its own."""

    def __init__(self, model: TiedAutoencoder) -> None:
        super().__init__()
        self.tied, self.norms = model, {}
        for layer in model.stack:
            if layer.norm is not None:
                values = (layer.norm.gamma, layer.bias, layer.norm.mean, layer.norm.variance)
                norm = tf_keras.layers.BatchNormalization()
                norm.build((None, layer.bias.shape[0]))
                norm.set_weights([each.numpy() for each in values])
                self.norms[layer.tensor_name] = norm

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        for layer in self.tied.stack:
            y = tf.matmul(x, layer.kernel(), transpose_b=layer in self.tied.decoder.stack)
            norm = self.norms.get(layer.tensor_name)
            y = y + layer.bias if norm is None else norm(y, training=training)
            x = getattr(tf_keras.activations, layer.activation)(y)
        return x


def test_units_are_normalized_where_they_are_encoded_and_decoded() -> None:
    model = model_of()
    assert tuple(layer.tensor_name for layer in model.stack if layer.norm is not None) == NORMALIZED
    assert len(model.norms) == 3
    unbiased = model_of(tuple(replace(layer, use_bias=False) for layer in LAYERS))
    assert tuple(layer.tensor_name for layer in unbiased.stack if layer.bias is not None) == NORMALIZED


@pytest.mark.parametrize("training", [False, True])
def test_it_computes_what_keras_does(training: bool) -> None:
    model = model_of()
    twin = Twin(model)
    assert (next(iter(twin.norms.values())).momentum, next(iter(twin.norms.values())).epsilon) == (MOMENTUM, EPSILON)
    with tf.GradientTape(persistent=True) as tape:
        ours, theirs = (tf.reduce_sum(tf.square(each(X, training=training) - X)) for each in (model, twin))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    for layer in model.stack:
        if layer.norm is not None:
            own, keras = layer.norm, twin.norms[layer.tensor_name]
            for mine, other in ((own.gamma, keras.gamma), (layer.bias, keras.beta)):
                np.testing.assert_allclose(tape.gradient(ours, mine), tape.gradient(theirs, other), rtol=2e-4, atol=2e-4)
            np.testing.assert_allclose(own.mean, keras.moving_mean, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(own.variance, keras.moving_variance, rtol=1e-5)


def test_frozen_statistics_normalize_in_training_too_and_stay() -> None:
    model = model_of()
    before, held = outputs(model)[1], [norm.mean.numpy() for norm in model.norms]
    model.freeze_statistics(True)
    np.testing.assert_allclose(model(X, training=True), before, atol=1e-5)
    for norm, mean in zip(model.norms, held, strict=True):
        np.testing.assert_array_equal(norm.mean, mean)


def test_limits_of_taps_leave_the_gradients_of_gains_as_they_are() -> None:
    """Those of a relu are infinite at one end."""
    model = model_of()
    gammas = [norm.gamma for norm in model.norms]
    gradients = []
    for tap in (identity_tap, lambda _name, tensor, _training: tf.identity(tensor)):
        model.set_tap(tap)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(X, training=True) - X))
        gradients.append(tape.gradient(loss, gammas))
    for plain, tapped in zip(*gradients, strict=True):
        np.testing.assert_allclose(tapped, plain, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("loop", ["ours", pytest.param("keras", marks=pytest.mark.ci)])
def test_training_keeps_gains_positive(loop: str) -> None:
    model = model_of((LayerConfig(4, "linear", batch_norm=True),), trained=False)
    model.norms[0].gamma.assign(np.full(4, 0.01, np.float32))
    if loop == "ours":
        fit(model, Dataset.from_array(X, test=0.1), TrainConfig(epochs=2, batch_size=8, learning_rate=0.1))
    else:
        model.compile(tf_keras.optimizers.Adam(0.1), "mse")
        model.fit(X, epochs=2, batch_size=8, verbose=0)
    model.norms[0].gamma.assign(-model.norms[0].gamma)
    variables = model.trainable_variables
    tf_keras.optimizers.legacy.Adam(1e-6).apply_gradients((tf.ones_like(each), each) for each in variables)
    np.testing.assert_array_equal(model.norms[0].gamma, np.full(4, LEAST_GAMMA, np.float32))


def test_statistics_begin_with_those_of_the_samples() -> None:
    model = model_of(trained=False)
    product = X @ model.kernels[0].matrix
    np.testing.assert_allclose(model.norms[0].mean, product.mean(0), atol=1e-5)
    np.testing.assert_allclose(model.norms[0].variance, product.var(0), atol=1e-5)
    held = [norm.mean.numpy() for norm in model.norms]
    model.start_statistics(X / 2)  # they are no longer new
    for norm, before in zip(model.norms, held, strict=True):
        np.testing.assert_array_equal(norm.mean, before)
        assert norm.momentum == MOMENTUM


@pytest.mark.parametrize(("part", "value"), [("mean", 0.1), ("variance", 0.9)])
def test_statistics_that_moved_in_one_part_go_on(part: str, value: float) -> None:
    model = TiedAutoencoder(ModelConfig(LAYERS, "sigmoid", 24), seed=1)
    for norm in model.norms:
        getattr(norm, part)[0].assign(value)
    model.start_statistics(X)
    for norm in model.norms:
        assert (norm.mean.numpy()[1:] == 0).all() and (norm.variance.numpy()[1:] == 1).all()


def test_statistics_of_an_import_that_had_none_are_those_of_the_samples() -> None:
    rng = np.random.default_rng(5)
    kernels = [rng.normal(0, 0.4, shape) for shape in ((24, 10), (10, 3))]
    gains = {0: np.exp(rng.normal(0, 0.5, 10)), 2: np.ones(10)}
    norms = {place: Norm(gain, np.zeros(10)) for place, gain in gains.items()}
    halves = ([rng.normal(0, 0.2, size) for size in sizes] for sizes in ((10, 3), (10, 24)))
    model = TiedAutoencoder.from_weights(kernels, *halves, norms=norms)
    before = outputs(model)
    other = model.copy()
    model.know_statistics(X)
    same(model, before)
    np.testing.assert_allclose(model(X, training=True), before[1], atol=1e-4)
    fit(other, Dataset.from_array(X, test=0.1, scaling="none"), TrainConfig(epochs=1, learning_rate=1e-12))
    np.testing.assert_allclose(other(X, training=True), before[1], atol=0.01)


@pytest.mark.ci
def test_quantization_aware_training_freezes_statistics_late() -> None:
    data, model = Dataset.from_array(X, test=0.2), model_of(trained=False)
    quantize_post_training(model, representative(data.train, 64), QuantizeConfig(refinements=()))
    seen: list[np.ndarray] = [model.norms[0].mean.numpy()]
    training = Training(TrainConfig(epochs=4, batch_size=32), after_epoch=lambda _: seen.append(model.norms[0].mean.numpy()))
    fit(model, data, training, stage="quantize")
    moved = [not np.array_equal(one, other) for one, other in pairwise(seen)]
    assert moved == [True, True, False, False]
    fit(model, data, TrainConfig(epochs=1))
    assert not np.array_equal(model.norms[0].mean, seen[-1])


CHANGES: dict[str, Callable[[TiedAutoencoder], TiedAutoencoder | None]] = {
    "permuted": lambda model: permute_units(model, 0, np.random.default_rng(0).permutation(10)),
    "rescaled": lambda model: rescale_units(model, [np.linspace(0.2, 4, 10, dtype=np.float32), np.full(6, 2, np.float32)]),
    "rescaled twice": lambda model: rescale_units(
        model, [np.stack([np.linspace(0.2, 4, 10), np.geomspace(9, 0.1, 10)]).astype(np.float32), np.ones(6, np.float32)]
    ),
    "interleaved": lambda model: interleave(model, 4),
    "copied": lambda model: model.copy(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_weights_keeps_the_function(change: str) -> None:
    model = model_of()
    before = outputs(model)
    model = CHANGES[change](model) or model
    if change == "interleaved":
        model = TiedAutoencoder.rebuild(model.describe(), model.arrays())
    same(model, before)
    new = model_of(trained=False)  # by the statistics of a batch too
    before = new(X, training=True)
    new = CHANGES[change](new) or new
    np.testing.assert_allclose(new(X, training=True), before, atol=2e-5)


def test_pruned_units_leave_with_their_gains() -> None:
    model = model_of()
    live = np.arange(10) % 3 > 0
    model.kernels[0].set_mask(np.tile(live, (24, 1)))
    model.kernels[1].set_mask(np.tile(live[:, None], (1, 6)))
    model.finalize()
    before, gains = outputs(model), model.encoder.stack[0].gains
    smaller = shrink(model)
    assert smaller.config.widths == (24, 6, 6, 3)
    np.testing.assert_array_equal(smaller.encoder.stack[0].gains, gains[live])
    same(smaller, before)


def test_a_code_with_gains_is_not_rotated_but_centred_and_left() -> None:
    model = model_of()
    before = outputs(model)
    assert not balance_code(model, X)
    same(model, before)
    hidden = model_of((LAYERS[0], LayerConfig(3)))
    wanted = outputs(hidden)
    assert balance_code(hidden, X)
    same(hidden, wanted, code=False)
    shift = centre_code(hidden, X, 0.05)
    assert np.abs(shift).max() > 0.01
    same(hidden, wanted, code=False)
    hidden.code_scale = 0.05
    hidden.encoder.stack[-1].kernel.variable.assign(hidden.kernels[-1].matrix * np.array([1, 1, 1e-5], np.float32))
    code = np.rint(hidden.encoder(X).numpy() / 0.05) * np.float32(0.05)
    smaller = without_unused_code(hidden, X)
    assert smaller is not None and smaller.config.layers[-1].units == 2
    np.testing.assert_allclose(smaller.decoder(code[:, :2]), hidden.decoder(code), atol=2e-5)


def test_an_archive_keeps_statistics(tmp_path: Path) -> None:
    model = model_of()
    model.save(tmp_path / "m.safetensors")
    again = TiedAutoencoder.load(tmp_path / "m.safetensors")
    assert again.config == model.config and again.arrays().keys() == model.arrays().keys()
    np.testing.assert_array_equal(outputs(again)[1], outputs(model)[1])
    assert {f"{name}.{part}" for name in NORMALIZED for part in ("gamma", "mean", "variance", "bias")} < model.arrays().keys()


def test_a_batch_of_one_sample_has_no_variance() -> None:
    for layers, size in ((LAYERS, 2), ((LayerConfig(3),), 1)):
        Recipe("p", DataConfig("x.npy"), ModelConfig(layers), TrainConfig(batch_size=size))
    with pytest.raises(RecipeError, match=r"^train\.batch_size: got 1, must be 2 or more with batch_norm"):
        Recipe("p", DataConfig("x.npy"), ModelConfig(LAYERS), TrainConfig(batch_size=1))
