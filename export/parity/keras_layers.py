"""The output of every layer of a Keras model, for the parity of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .expected import Layers
from .keras_device import Device, on_device

if TYPE_CHECKING:
    from ...compress.autoencoder import TiedAutoencoder


def keras_layers(model: TiedAutoencoder, device: Device) -> Layers:
    """The layers of both halves in order, each fed with what the one before it gave; on `device`, for one batch of samples."""

    def run(x: np.ndarray) -> dict[str, np.ndarray]:
        outputs: dict[str, np.ndarray] = {}
        with on_device(device):
            for layer in (*model.encoder.stack, *model.decoder.stack):
                outputs[layer.tensor_name] = x = layer(x).numpy()
        return outputs

    return run
