"""What the second-order loss says against what the output does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tiedae.compress import LayerConfig, ModelConfig, TiedAutoencoder, TrainConfig, fit
from tiedae.compress.curvature import Quadratic, influence

from .conftest import build_splits

SPLITS = build_splits(train=512)
X = next(SPLITS.train.batches(np.arange(128), 128))


def squared_change(model: TiedAutoencoder, x: np.ndarray, index: int, change: np.ndarray) -> float:
    """The mean squared change of y, summed over its values, where each direction is changed alone."""
    kernels = [kernel.variable for kernel in model.kernels]
    changed = [kernel + change if i == index else kernel for i, kernel in enumerate(kernels)]
    y = model(x)
    apart = [
        model.decoder(model.encoder(x, kernels=changed), kernels=kernels),
        model.decoder(model.encoder(x, kernels=kernels), kernels=changed),
    ]
    return float(sum(np.square(each - y).sum(1).mean() for each in apart))


@pytest.fixture(scope="module")
def trained() -> Callable[[], TiedAutoencoder]:
    """Makes a trained 24-20-12-4 model of its own each time, always the same weights."""
    model = TiedAutoencoder(
        ModelConfig((LayerConfig(20, "relu"), LayerConfig(12, "relu"), LayerConfig(4)), "sigmoid", 24), seed=1
    )
    fit(model, SPLITS, TrainConfig(epochs=30, batch_size=32))
    return model.copy


@pytest.mark.parametrize("index", [0, 1])
def test_it_is_exact_where_everything_is_linear(index: int) -> None:
    model = TiedAutoencoder(ModelConfig((LayerConfig(5), LayerConfig(3)), "linear", 6), seed=1)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 6)).astype(np.float32)
    change = rng.normal(0, 0.1, model.kernels[index].variable.shape).astype(np.float32)
    predicted = influence(model, x).kernels[f"kernel_{index}"].loss(change)
    assert predicted == pytest.approx(squared_change(model, x, index, change), rel=0.05)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_it_foretells_the_noise_of_a_trained_model(trained: Callable[[], TiedAutoencoder], index: int) -> None:
    model = trained()
    rng = np.random.default_rng(0)
    changes = rng.normal(0, 0.003, (20, *model.kernels[index].variable.shape)).astype(np.float32)
    found = influence(model, X).kernels[f"kernel_{index}"]
    measured = np.mean([squared_change(model, X, index, change) for change in changes])
    assert np.mean([found.loss(change) for change in changes]) == pytest.approx(measured, rel=0.25)
    assert found.diagonal().sum() * 0.003**2 == pytest.approx(measured, rel=0.25)


def test_the_model_is_left_as_it_was(trained: Callable[[], TiedAutoencoder]) -> None:
    model = trained()
    before, tap = {name: variable.numpy() for name, variable in model.state().items()}, model.encoder.tap
    first, again = (influence(model, X) for _ in range(2))
    assert model.encoder.tap is tap
    assert all(np.array_equal(before[name], variable) for name, variable in model.state().items())
    for name, quadratic in first.kernels.items():
        for terms, others in zip(quadratic.terms, again.kernels[name].terms, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(terms, others, strict=True))
    assert {"code", "encoder_0", "decoder_1.product", "y.linear"} < set(first.activations)


def test_the_diagonal_is_the_loss_of_one_weight() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 4)).astype(np.float32), rng.normal(size=(3, 3)).astype(np.float32)
    quadratic = Quadratic(((a @ a.T, b @ b.T), (a.T @ a, b.T @ b)))
    change = np.zeros((4, 3), np.float32)
    change[2, 1] = 1
    assert quadratic.diagonal()[2, 1] == pytest.approx(quadratic.loss(change), rel=1e-5)
