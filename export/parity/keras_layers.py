"""The output of every layer of a Keras model, for the parity of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..expected import Layers
from .keras_device import Device, on_device

if TYPE_CHECKING:
    from ...compress.autoencoder import TiedAutoencoder


def keras_layers(model: TiedAutoencoder, device: Device) -> Layers:
    """The layers of both halves in order, each fed with what the one before it gave; on `device`, for one batch of samples."""
    from ...compress.layers import interleaved

    inputs, ways = model.config.inputs, model.config.interleave

    def run(x: np.ndarray) -> dict[str, np.ndarray]:
        outputs: dict[str, np.ndarray] = {}
        with on_device(device):
            values = interleaved(x, ways)
            for layer in (*model.encoder.stack, *model.decoder.stack):
                values = layer(values)
                outputs[layer.tensor_name] = values.numpy()
            outputs["y"] = interleaved(values, inputs // ways).numpy()
        return outputs

    return run
