"""Scales of hidden units: free in both directions, and worth it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiedae.calibration import Representative
from tiedae.calibration.equalization import Term, activation_loss, kernel_loss, predicted_loss, unit_scales
from tiedae.calibration.rounding import clipped_scales, nearest
from tiedae.compress import LayerConfig, ModelConfig, TiedAutoencoder
from tiedae.compress.curvature import influence
from tiedae.compress.integers import PAIR_LIMIT, UNPAIRED, paired_magnitudes
from tiedae.compress.symmetries import rescale_units

from ..variants import every

LEVELS = [127, 127, 127]


def randomized(activations: tuple[str, str], *, use_bias: bool) -> TiedAutoencoder:
    layers = tuple(LayerConfig(n, a, use_bias) for n, a in zip((9, 7, 3), (*activations, "linear"), strict=True))
    model = TiedAutoencoder(ModelConfig(layers, "sigmoid", 6), seed=3)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    return model


@pytest.mark.parametrize("use_bias", every(2, [True, False]))
@pytest.mark.parametrize("activations", [("relu", "linear"), ("relu", "relu"), ("tanh", "relu"), ("relu6", "sigmoid")])
def test_neither_direction_changes(activations: tuple[str, str], use_bias: bool) -> None:
    model = randomized(activations, use_bias=use_bias)
    x = np.random.default_rng(1).uniform(size=(64, 6)).astype(np.float32)
    codes = np.random.default_rng(2).normal(size=(64, 3)).astype(np.float32)
    code, y = model.encoder(x).numpy(), model.decoder(codes).numpy()
    kernels = [kernel.variable.numpy() for kernel in model.kernels]
    scales = unit_scales(model, influence(model, x), LEVELS)
    rescale_units(model, scales)
    np.testing.assert_allclose(model.encoder(x), code, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.decoder(codes), y, rtol=1e-5, atol=1e-5)
    for activation, scale in zip(activations, scales, strict=True):
        assert np.all(scale == 1) != (activation in ("relu", "linear"))
    assert np.array_equal(model.kernels[0].variable, kernels[0]) == (activations[0] not in ("relu", "linear"))


def test_gains_give_a_unit_a_scale_in_each_direction() -> None:
    """Columns and what the encoder gives are of one size each, where one scale could make only their sum so."""
    layers = (LayerConfig(9, "relu", batch_norm=True), LayerConfig(7, "tanh", batch_norm=True), LayerConfig(3))
    model, rng = TiedAutoencoder(ModelConfig(layers, "sigmoid", 6), seed=3), np.random.default_rng(0)
    x = rng.uniform(size=(64, 6)).astype(np.float32)
    model.start_statistics(x)
    loud = np.stack([np.geomspace(1, 40, 9), np.geomspace(20, 1, 9)]).astype(np.float32)
    quiet = [each.numpy() for each in model.encode_decode(x)]
    rescale_units(model, [loud, np.ones(7, np.float32)])
    scales = unit_scales(model, influence(model, x), LEVELS)
    assert [each.shape for each in scales] == [(2, 9), (7,)] and (scales[1] == 1).all()
    for found, spoiled in zip(scales[0], loud, strict=True):
        assert np.ptp(np.log(found * spoiled)) < 0.7 * np.ptp(np.log(spoiled))
    rescale_units(model, scales)
    for got, wanted in zip(model.encode_decode(x), quiet, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


def least_predicted_noise(model: TiedAutoencoder, samples: Representative) -> float:
    """Of rounding in the smallest steps at which no kernel breaks the pair rule."""
    found = influence(model, samples.inputs)
    steps = [paired_magnitudes(kernel.variable.numpy(), 127 / PAIR_LIMIT).max() / 127 for kernel in model.kernels]
    return sum(
        step**2 / 12 * found.kernels[kernel.name].diagonal().sum() for kernel, step in zip(model.kernels, steps, strict=True)
    )


def test_a_loud_unit_no_longer_sets_the_step_of_all(trained: Callable[[], TiedAutoencoder], samples: Representative) -> None:
    quiet, loud = trained(), trained()
    scale = np.ones(20, np.float32)
    scale[3] = 30
    rescale_units(loud, [scale, np.ones(12, np.float32)])
    spoiled = least_predicted_noise(loud, samples)
    rescale_units(loud, unit_scales(loud, influence(loud, samples.inputs), LEVELS))
    assert least_predicted_noise(loud, samples) < min(0.02 * spoiled, least_predicted_noise(quiet, samples))


def test_a_unit_of_equal_neighbours_does_not_set_the_step_of_all(
    trained: Callable[[], TiedAutoencoder], samples: Representative
) -> None:
    """By the pair rule it would ask for steps twice as large; alone, it is smaller instead."""

    def noise(limit: int) -> float:
        model = trained()
        values = model.kernels[0].variable.numpy()
        values[:, 3] = np.abs(values).max()
        for kernel in model.kernels:
            kernel.pair_limit = limit
        model.kernels[0].variable.assign(values)
        rescale_units(model, unit_scales(model, influence(model, samples.inputs), LEVELS))
        return least_predicted_noise(model, samples)

    assert noise(PAIR_LIMIT) < 0.9 * noise(UNPAIRED)


def test_the_median_scale_of_a_layer_is_one(trained: Callable[[], TiedAutoencoder], samples: Representative) -> None:
    """A factor that all units of a layer have costs no precision, but Adam would train their kernels faster or slower by it."""
    model = trained()
    rescale_units(model, [np.full(20, 8, np.float32), np.full(12, 0.25, np.float32)])
    for scales in unit_scales(model, influence(model, samples.inputs), LEVELS):
        assert np.median(np.log(scales)) == pytest.approx(0, abs=1e-6) and np.ptp(scales) > 0.1


def test_zeros_stay_zeros(trained: Callable[[], TiedAutoencoder], samples: Representative) -> None:
    model = trained()
    mask = (np.random.default_rng(0).uniform(size=(20, 12)) < 0.5).astype(np.float32)
    model.kernels[1].set_mask(mask)
    model.kernels[1].write_back()
    rescale_units(model, unit_scales(model, influence(model, samples.inputs), LEVELS))
    np.testing.assert_array_equal(model.kernels[1].variable.numpy() != 0, mask > 0)


@pytest.mark.parametrize("per_unit", [False, True])
def test_the_steps_are_chosen_with_the_scales(
    trained: Callable[[], TiedAutoencoder], samples: Representative, *, per_unit: bool
) -> None:
    """Four bits: rounding to the nearest in the best steps costs less than in the units as they were."""

    def loss(model: TiedAutoencoder) -> float:
        found = influence(model, samples.inputs)
        total = 0.0
        for kernel in model.kernels:
            values, weights = kernel.variable.numpy(), found.kernels[kernel.name]
            scales = clipped_scales(values, weights, (-8, 7), per_unit=per_unit)
            change = nearest(values, scales, (-8, 7)) * scales - values
            total += float((weights.diagonal() * np.square(change)).sum())
        return total

    model = trained()
    before = loss(model)
    rescale_units(model, unit_scales(model, influence(model, samples.inputs), [7] * len(model.kernels), per_unit=per_unit))
    assert loss(model) < before


@given(st.integers(0, 2**32), st.sampled_from([1, 7, 127]), st.integers(1, 3), st.booleans())
def test_the_gradient_is_that_of_the_loss(seed: int, levels: int, places: int, per_unit: bool) -> None:
    """Two kernels around 3 units, of which the second has rows for each of some places, and two activations, with clipping."""
    rng = np.random.default_rng(seed)
    variables = [np.zeros(1), rng.normal(0, 0.3, 3), np.zeros(1)]
    terms: list[Term] = []
    for i, (inputs, units) in enumerate(((4, 3), (3 * places, 2))):
        magnitudes = np.maximum(rng.normal(size=(inputs, units)), 0)
        weights = rng.uniform(size=magnitudes.shape) * (magnitudes > 0)
        terms.append((partial(kernel_loss, magnitudes, weights, levels), (i, i + 1, len(variables))))
        variables.append(rng.normal(-np.log(levels), 0.3, units if per_unit else 1))
    for sign, columns in ((1.0, 3), (-1.0, 3 * places)):
        loss = partial(activation_loss, rng.normal(size=(5, columns)), rng.uniform(size=columns), sign)
        terms.append((loss, (1, len(variables))))
        variables.append(rng.normal(0, 0.3, 2))
    direction = [rng.normal(size=each.shape) for each in variables]
    total, gradients = predicted_loss(terms, variables)
    near = [
        predicted_loss(terms, [each + step * way for each, way in zip(variables, direction, strict=True)])[0]
        for step in (1e-6, -1e-6)
    ]
    slope = sum(np.vdot(each, way) for each, way in zip(gradients, direction, strict=True))
    assert slope == pytest.approx((near[0] - near[1]) / 2e-6, rel=1e-5, abs=1e-5 * total)
