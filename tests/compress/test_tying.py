"""Tied models to start from, of an untied one, and their training against samples and original."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as evolve

from tiedae.compress import Dataset, LayerConfig, ModelConfig, TiedAutoencoder, TrainConfig
from tiedae.compress.layers import know_statistics
from tiedae.compress.symmetries import permute_units, rescale_units
from tiedae.compress.train import Training
from tiedae.compress.tying import UntiedAutoencoder, best_start, match, starts, tie

from ..variants import every

INPUTS = 10
X = np.random.default_rng(3).uniform(0, 1, (64, INPUTS)).astype(np.float32)


def network(
    seed: int, activation: str = "relu", *, hidden: tuple[int, ...] = (8, 7), batch_norm: bool = False
) -> TiedAutoencoder:
    """A model of random kernels, biases and statistics."""
    units = [LayerConfig(n, activation, batch_norm=batch_norm) for n in hidden]  # type: ignore[arg-type]
    model = TiedAutoencoder(ModelConfig((*units, LayerConfig(3, batch_norm=batch_norm)), "sigmoid", INPUTS), seed=seed)
    rng = np.random.default_rng(seed)
    arrays = model.arrays()
    for name, values in arrays.items():
        positive = name.endswith(("gamma", "variance"))
        arrays[name] = (rng.uniform(0.5, 2, values.shape) if positive else rng.normal(0, 0.5, values.shape)).astype(np.float32)
    model.restore(arrays)
    return model


def disguised(model: TiedAutoencoder, *, scaled: bool) -> TiedAutoencoder:
    """A model of the same function, with its hidden units in another order and, if `scaled`, of another size."""
    other, rng = model.copy(), np.random.default_rng(1)
    for i, layer in enumerate(model.config.layers[:-1]):
        permute_units(other, i, rng.permutation(layer.units))
    if scaled:
        sizes = [rng.uniform(0.3, 3, layer.units).astype(np.float32) for layer in model.config.layers[:-1]]
        rescale_units(other, sizes)
    return other


CASES = [
    ("relu", (8, 7), True, False),
    ("tanh", (8, 7), False, False),
    ("relu", (8,), True, True),
    ("linear", (8,), True, False),
    ("relu", (), False, False),
]


@pytest.mark.parametrize(("activation", "hidden", "scaled", "batch_norm"), every(2, CASES))
def test_a_tie_that_is_hidden_by_order_and_size_is_found(activation, hidden, scaled: bool, batch_norm: bool) -> None:
    model = network(0, activation, hidden=hidden, batch_norm=batch_norm)
    know_statistics(model.stack, X, restart=True)
    found = starts(UntiedAutoencoder(model, disguised(model, scaled=scaled)), X)
    assert len(found) == 3
    for start in found.values():
        np.testing.assert_allclose(start(X), model(X), atol=2e-3)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", every(2, ["relu", "sigmoid"]))
def test_matching_keeps_what_an_untied_model_computes(activation: str, batch_norm: bool) -> None:
    untied = UntiedAutoencoder(network(0, activation, batch_norm=batch_norm), network(1, activation, batch_norm=batch_norm))
    before = untied(X).numpy()
    assert np.abs(before - untied.encodes(X)).max() > 0.05
    match(untied.encodes, untied.decodes)
    np.testing.assert_allclose(untied(X), before, atol=1e-5)


def test_each_direction_keeps_its_biases() -> None:
    untied = UntiedAutoencoder(network(0, "tanh", hidden=(8,)), network(1, "tanh", hidden=(8,)))
    for start in starts(untied, X).values():
        own, given = ({**model.encoder.stack[0].channels, **model.decoder.stack[-1].channels} for model in (start, untied))
        assert [*own] == ["encoder_0.bias", "y.bias"]
        for name, values in own.items():
            np.testing.assert_allclose(values, given[name])
        assert sorted(start.decoder.stack[0].bias.numpy()) == pytest.approx(sorted(untied.decoder.stack[0].bias.numpy()))  # type: ignore[union-attr]


def test_statistics_are_those_of_the_products_of_its_kernels() -> None:
    untied = UntiedAutoencoder(network(0, hidden=(8,), batch_norm=True), network(1, hidden=(8,), batch_norm=True))
    for start in starts(untied, X).values():
        by_averages = start(X).numpy()
        np.testing.assert_allclose(start(X, training=True), by_averages, atol=1e-5)


def data(validation: float = 0.25) -> Dataset:
    x = np.random.default_rng(0).uniform(0.1, 0.9, (200, 3)) @ np.random.default_rng(1).dirichlet(np.ones(3), INPUTS).T
    return Dataset.from_array(x.astype(np.float32), validation=validation, scaling="none")


@pytest.mark.parametrize("validation", every(2, [0.0, 0.25]))
def test_training_starts_from_the_least_loss(validation: float) -> None:
    untied, splits = UntiedAutoencoder(network(0), network(1)), data(validation)
    model, losses = best_start(untied, splits, TrainConfig())
    assert len(losses) == 3 and len({*losses.values()}) == 3
    held = splits.validation or splits.train
    x = held.scaling.apply(held.take(np.arange(len(held))))
    errors = {name: float(np.square(each(x).numpy() - x).mean()) for name, each in starts(untied, x).items()}
    assert losses == pytest.approx(errors, rel=1e-4)
    assert float(np.square(model(x).numpy() - x).mean()) == pytest.approx(min(errors.values()), rel=1e-4)


@pytest.mark.ci
def test_distillation_trains_against_the_untied_model() -> None:
    untied, splits = UntiedAutoencoder(network(0, hidden=(8,)), network(1, hidden=(8,))), data()
    x = splits.scaling.apply(splits.train.take(np.arange(len(splits.train))))
    config = TrainConfig(epochs=15, learning_rate=1e-2, weight_decay=0.0, batch_size=16)
    apart = {
        fraction: float(np.square(tie(untied, splits, evolve(config, distill=fraction))[0](x) - untied(x)).mean())
        for fraction in (0.0, 1.0)
    }
    assert apart[1.0] < 0.5 * apart[0.0]


@pytest.mark.ci
def test_an_interrupted_tie_ends_with_the_weights_of_an_uninterrupted_one(tmp_path) -> None:
    class Stop(Exception):
        pass

    def stop(record) -> None:
        if record["epoch"] == 2:
            raise Stop

    untied, splits = UntiedAutoencoder(network(0), network(1)), data()
    training = Training(TrainConfig(epochs=4, distill=0.5))
    whole, history = tie(untied, splits, training)
    kept = replace(training, checkpoint=tmp_path / "checkpoint.safetensors")
    with pytest.raises(Stop):
        tie(untied, splits, replace(kept, after_epoch=stop))
    resumed, again = tie(untied, splits, kept)
    assert history == again and len(again) == 4 and [*again[0]["starts"]] == [*starts(untied, X)]
    for name, values in whole.arrays().items():
        assert np.array_equal(values, resumed.arrays()[name])
