"""Gains of batch normalization: what a channel of none is answered."""

from __future__ import annotations

import pytest

from tiedae.compress import ExportError, LayerConfig, ModelConfig, TiedAutoencoder
from tiedae.program.lowering import lower


def test_a_gain_of_zero_is_refused() -> None:
    model = TiedAutoencoder(ModelConfig((LayerConfig(4, "relu", batch_norm=True), LayerConfig(2)), "linear", 6))
    model.norms[1].gamma.assign([1.0, 1.0, 0.0, 1.0])
    with pytest.raises(ExportError, match=r"^layer decoder_1: the gain of channel 2 is 0, must be positive$"):
        lower(model, "p", layout="split")
