"""A kernel that acts only with the other sign is found to be tied."""

from __future__ import annotations

import numpy as np
import pytest

import tiedae as ta


def test_a_relu_that_is_active_with_the_other_sign_alone_is_reached() -> None:
    """The first layer's sums are below zero, those of twice the kernel too; so nothing reaches the second in the encoder."""
    model = ta.TiedAutoencoder([{"units": 4, "activation": "relu"}, 3], inputs=6)
    first, second = (kernel.variable for kernel in model.kernels)
    first.assign(-np.abs(first.numpy()) - 0.1)
    second.assign(np.abs(second.numpy()) + 0.1)
    (bias,) = [each for each in model.encoder.stack[-1].variables if each.shape == (3,)]
    bias.assign(np.ones(3, np.float32))
    x = np.random.default_rng(0).uniform(0.1, 1, (8, 6)).astype(np.float32)
    assert np.array_equal(model.encoder(x).numpy(), np.ones((8, 3)))
    with pytest.raises(ta.CheckError) as raised:
        ta.assert_tied(model, inputs=x)
    head, *pairs = str(raised.value).splitlines()
    assert head.endswith(": 1 of 2 pairs are not tied") and [text.split()[0] for text in pairs] == [
        model.encoder.stack[-1].name
    ]
