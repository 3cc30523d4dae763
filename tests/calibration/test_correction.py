"""Bias correction: the shift of the mean goes down in both directions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tiedae.calibration import Representative, calibrate
from tiedae.calibration.correction import correct_biases, product_means
from tiedae.calibration.influence import tensors_of
from tiedae.compress import QuantizationSpec, TiedAutoencoder


def means_of(model: TiedAutoencoder, x: np.ndarray) -> dict[str, np.ndarray]:
    """The mean of what each layer gives before its activation."""
    kernels = [kernel() for kernel in model.kernels]
    means = product_means(model, tensors_of(model, x, kernels), kernels)
    layers = (*model.encoder.stack, *model.decoder.stack)
    return {layer.tensor_name: means[layer.tensor_name] + layer.bias.numpy() for layer in layers}


def test_every_layers_mean_comes_back(trained: Callable[[], TiedAutoencoder], samples: Representative) -> None:
    model = trained()
    wanted = means_of(model, samples.inputs)
    products = {name: mean.copy() for name, mean in wanted.items()}
    for layer in (*model.encoder.stack, *model.decoder.stack):
        products[layer.tensor_name] -= layer.bias.numpy()
    for kernel in model.kernels:  # coarse: 15 levels of one sign, shifted
        step = np.abs(kernel.variable.numpy()).max() / 15
        kernel.variable.assign(np.ceil(kernel.variable.numpy() / step) * step)
    model.quantize_kernels("tensor")
    model.quantize_activations(QuantizationSpec(), calibrate(model, samples).ranges)
    shifted = means_of(model, samples.inputs)
    correct_biases(model, samples.inputs, products)
    corrected = means_of(model, samples.inputs)
    for name, mean in wanted.items():
        before, after = np.abs(shifted[name] - mean).max(), np.abs(corrected[name] - mean).max()
        assert after < 0.02 * before + 1e-3, name
    ranges = model.quantizers.ranges()
    for layer in model.decoder.stack:
        bias = layer.bias.numpy()
        assert ranges[f"{layer.tensor_name}.bias"] == pytest.approx((min(bias.min(), 0), max(bias.max(), 0)), abs=1e-5)
