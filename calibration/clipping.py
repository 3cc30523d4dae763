"""Activation ranges that serve the output: each end is drawn in where that lowers the error of the reconstruction."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ..compress.autoencoder import TiedAutoencoder

SHARES = (0.97, 0.94, 0.9, 0.85, 0.8, 0.7)
"""Of an end of a range; tried from the mildest as long as the output gets better."""


def clip_ranges(model: TiedAutoencoder, x: np.ndarray, wanted: np.ndarray) -> None:
    """Draw the ranges of a quantized model in, in place, one end after the other, against the whole simulated model.

    `x`, `wanted` float32 [n, inputs]: samples and the float model's output. The error over them never rises.
    """
    quantizers = model.quantizers
    assert quantizers is not None

    def error() -> float:
        return float(tf.reduce_mean(tf.square(model(x) - wanted)))

    least = error()
    for name, ends in quantizers.variables_of.items():
        if name.endswith(".bias"):
            continue
        for end in ends.values():
            start = end.numpy()
            kept = start
            for share in SHARES:
                end.assign(start * share)
                found = error()
                if found >= least:
                    break
                least, kept = found, end.numpy()
            end.assign(kept)
