"""A table's training starts at the mean of every column."""

from __future__ import annotations

import numpy as np
import pytest

from tiedae.compress import Dataset, LayerConfig, ModelConfig, TiedAutoencoder, TrainConfig, fit
from tiedae.compress.train import init_output_bias
from tiedae.data.dataset import mean_input


def skewed(rows: int = 500) -> np.ndarray:
    """Log-normal columns of one hidden factor: after scaling to 0…1 their means are far below ½."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(rows, 2)) @ rng.normal(size=(2, 8))
    return np.exp(hidden) * np.logspace(-3, 3, 8)


@pytest.mark.parametrize("interleave", [1, 4])
@pytest.mark.parametrize("output", ["sigmoid", "tanh", "linear", "relu"])
def test_a_code_of_zeros_gives_the_mean_sample(output, interleave) -> None:
    splits = Dataset.from_array(skewed(), output_activation=output)
    model = TiedAutoencoder(ModelConfig((LayerConfig(5, "relu"), LayerConfig(2)), output, 8, interleave))
    assert init_output_bias(model, splits)
    y = model.decoder(np.zeros((1, 2), np.float32)).numpy()[0]
    rows = splits.train.take(slice(None))
    np.testing.assert_allclose(mean_input(splits.train), splits.scaling.apply(rows).mean(axis=0, dtype=np.float64), rtol=1e-5)
    np.testing.assert_allclose(y, mean_input(splits.train), atol=2e-3)


def test_pictures_records_and_trained_models_keep_their_start() -> None:
    config = ModelConfig((LayerConfig(2),), "sigmoid", 8)
    table = Dataset.from_array(skewed())
    assert not init_output_bias(TiedAutoencoder(config), Dataset.from_array(skewed().reshape(-1, 2, 4)))
    assert not init_output_bias(TiedAutoencoder(ModelConfig((LayerConfig(2, use_bias=False),), "sigmoid", 8)), table)
    trained = TiedAutoencoder(config)
    trained.decoder.stack[-1].bias.assign(np.full(8, 0.25, np.float32))
    assert not init_output_bias(trained, table) and (trained.decoder.stack[-1].bias.numpy() == 0.25).all()


def test_a_short_training_of_a_skewed_table_learns_more_than_means() -> None:
    """Fifteen epochs of eight steps; from a bias of zeros seven of eight columns end worse than their mean."""
    splits = Dataset.from_array(skewed())
    model = TiedAutoencoder(ModelConfig((LayerConfig(16, "relu"), LayerConfig(2)), "sigmoid", 8))
    fit(model, splits, TrainConfig())
    x = splits.test.take(slice(None)).astype(np.float64)
    y = splits.scaling.invert(model(splits.scaling.apply(x)).numpy(), np.float64)
    r2 = 1 - np.square(y - x).sum(axis=0) / np.square(x - x.mean(axis=0)).sum(axis=0)
    assert r2.mean() > 0.3 and (r2 < 0).sum() <= 1
