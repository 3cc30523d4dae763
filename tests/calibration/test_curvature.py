"""What the second-order loss says against what the output does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tiedae.calibration import Representative
from tiedae.calibration.curvature import Quadratic, influence
from tiedae.compress import LayerConfig, ModelConfig, TiedAutoencoder


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


@pytest.mark.parametrize("index", [0, 1])
def test_it_is_exact_where_everything_is_linear(index: int) -> None:
    model = TiedAutoencoder(ModelConfig((LayerConfig(5), LayerConfig(3)), "linear", 6), seed=1)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 6)).astype(np.float32)
    change = rng.normal(0, 0.1, model.kernels[index].variable.shape).astype(np.float32)
    predicted = influence(model, x).kernels[f"kernel_{index}"].loss(change)
    assert predicted == pytest.approx(squared_change(model, x, index, change), rel=0.05)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_it_foretells_the_noise_of_a_trained_model(
    trained: Callable[[], TiedAutoencoder], samples: Representative, index: int
) -> None:
    model = trained()
    rng = np.random.default_rng(0)
    changes = rng.normal(0, 0.003, (20, *model.kernels[index].variable.shape)).astype(np.float32)
    found = influence(model, samples.inputs).kernels[f"kernel_{index}"]
    measured = np.mean([squared_change(model, samples.inputs, index, change) for change in changes])
    assert np.mean([found.loss(change) for change in changes]) == pytest.approx(measured, rel=0.25)
    assert found.diagonal().sum() * 0.003**2 == pytest.approx(measured, rel=0.25)


def test_the_model_is_left_as_it_was(trained: Callable[[], TiedAutoencoder], samples: Representative) -> None:
    model = trained()
    before, tap = {name: variable.numpy() for name, variable in model.state().items()}, model.encoder.tap
    first, again = (influence(model, samples.inputs) for _ in range(2))
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
