"""The float model that float files hold, as Keras gives it: its code rounded to the step that it was trained for."""

from __future__ import annotations

import numpy as np
import pytest

from tiedae.bundle.reference_outputs import FloatFiles
from tiedae.compress.autoencoder import TiedAutoencoder
from tiedae.program.lowering import lower
from tiedae.verify.parity.keras_device import keras_function


@pytest.mark.parametrize("step", [0.0, 0.25])
def test_float_files_give_what_keras_gives(step: float) -> None:
    model = TiedAutoencoder([8, 4], inputs=12, seed=1)
    x = np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32)
    found = FloatFiles(lower(model, "p", layout="fused"), step)(x)
    expected = keras_function(model, code_scale=step or None)(x)
    for got, right in zip(found, expected, strict=True):
        assert got.shape == right.shape and np.abs(got - right).max() < 1e-5
    assert step == 0 or np.array_equal(np.rint(found[0] / step) * step, found[0])
