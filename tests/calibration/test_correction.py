"""Bias correction: the shift of the mean goes down in both directions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tiedae.calibration import Representative, calibrate, post_training
from tiedae.calibration.post_training import Reference, correct_biases, product_means, set_ranges
from tiedae.compress import QuantizationSpec, TiedAutoencoder
from tiedae.compress.curvature import tensors_of
from tiedae.config.layer_kinds import OF_WEIGHTS


def means_of(model: TiedAutoencoder, x: np.ndarray) -> dict[str, np.ndarray]:
    """The mean of what each layer gives before its activation."""
    kernels = [kernel() for kernel in model.kernels]
    means = product_means(model, tensors_of(model, x, kernels), kernels)
    return {layer.tensor_name: means[layer.tensor_name] + layer.bias.numpy() for layer in model.stack}


def reference_of(model: TiedAutoencoder, data: Representative) -> Reference:
    return Reference.of(model, data, (127,) * len(model.kernels), per_unit=False)


def test_means_come_back_in_both_directions(trained: Callable[[], TiedAutoencoder], samples: Representative) -> None:
    model = trained()
    wanted = means_of(model, samples.inputs)
    for kernel in model.kernels:  # coarse: 15 levels of one sign, shifted
        step = np.abs(kernel.variable.numpy()).max() / 15
        kernel.variable.assign(np.ceil(kernel.variable.numpy() / step) * step)
    model.quantize_kernels("tensor")
    model.quantize_activations(QuantizationSpec(), calibrate(model, samples).ranges)
    shifted = means_of(model, samples.inputs)
    correct_biases(model, reference_of(trained(), samples))
    corrected = means_of(model, samples.inputs)
    parted = {name: np.abs(shifted[name] - mean).max() for name, mean in wanted.items()}
    back = {name for name, mean in wanted.items() if np.abs(corrected[name] - mean).max() < 0.02 * parted[name] + 1e-3}
    assert len(back) >= 4 and back & {"encoder_0", "encoder_1"} and "y" in back, back
    ranges = model.quantizers.ranges()
    for layer in model.decoder.stack:
        bias = layer.bias.numpy()
        assert ranges[f"{layer.tensor_name}.bias"] == pytest.approx((min(bias.min(), 0), max(bias.max(), 0)), abs=1e-5)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_output_never_gets_worse(trained: Callable[[], TiedAutoencoder], samples: Representative, bits: int) -> None:
    """Means that few bits have moved far are not all worth their correction; what no shift helps stays as it was."""
    model, reference = trained(), reference_of(trained(), samples)
    model.quantize_kernels("tensor", (bits,))
    model.quantize_activations(QuantizationSpec(bits=(bits,)), calibrate(model, samples).ranges)
    before = reference.error(model)
    correct_biases(model, reference)
    assert reference.error(model) <= before
    biases = [layer.bias.numpy() for layer in model.stack]
    correct_biases(model, replace(reference, output=model(samples.inputs).numpy()))
    for layer, bias in zip(model.stack, biases, strict=True):
        np.testing.assert_array_equal(layer.bias, bias)


def test_the_samples_pass_once_per_change(
    trained: Callable[[], TiedAutoencoder], samples: Representative, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass over the samples is what time goes into: one to begin with, one per corrected layer or widened range."""
    model, reference = trained(), reference_of(trained(), samples)
    model.quantize_kernels("tensor")
    model.quantize_activations(QuantizationSpec(), calibrate(model, samples).ranges)
    quantizers = model.quantizers
    assert quantizers is not None
    tap, seen = model.encoder.tap, []

    def counted(name: str, tensor: tf.Tensor, training: bool) -> tf.Tensor:
        seen.extend(["pass"] if name == "y" else [])
        return tap(name, tensor, training)

    with model.tapped(counted):
        correct_biases(model, reference)
        assert len(seen) == 1 + len(model.stack)
        monkeypatch.setattr(post_training, "MARGIN_COST", np.inf)
        set_ranges(model, reference)
    free = [name for name in quantizers.range_variables if quantizers.is_free(name) and not name.endswith(OF_WEIGHTS)]
    assert len(seen) == 1 + len(model.stack) + 1 + len(free) > 4
