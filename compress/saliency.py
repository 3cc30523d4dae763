"""Saliency: how much each weight of each kernel matters, as the patterns rank it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from .autoencoder import TiedAutoencoder
from .config import PruneConfig, TrainConfig
from .data import Splits
from .train import LOSSES

Scores = Callable[[], list[np.ndarray]]
"""The scores of a model's kernels as they are now, float [inputs, units] each; what is larger stays."""

BATCH = 64


def magnitude(model: TiedAutoencoder, splits: Splits, config: PruneConfig, train: TrainConfig) -> Scores:
    """|w|."""
    return lambda: [np.abs(kernel.variable.numpy()) for kernel in model.kernels]


def gradient(model: TiedAutoencoder, splits: Splits, config: PruneConfig, train: TrainConfig) -> Scores:
    """(w · ∂L/∂w)², averaged over batches: what the loss feels where a weight goes, to first order (Molchanov et al. 2019,
    arXiv:1906.10771). The gradient is that of the kernel both directions read, so that of both counts."""
    chosen = np.random.default_rng(train.seed).permutation(len(splits.train))[: config.samples]
    loss = LOSSES[train.loss]

    @tf.function(input_signature=[tf.TensorSpec([None, model.config.inputs], tf.float32)], autograph=False)
    def squares(batch: tf.Tensor) -> list[tf.Tensor]:
        kernels = [kernel() for kernel in model.kernels]
        with tf.GradientTape() as tape:
            tape.watch(kernels)
            code = model.encoder(batch, kernels=kernels)
            value = tf.reduce_mean(loss(batch, model.decoder(code, kernels=kernels)))
        gradients = tape.gradient(value, kernels)
        return [tf.square(kernel.variable * each) for kernel, each in zip(model.kernels, gradients, strict=True)]

    def scores() -> list[np.ndarray]:
        batches = [squares(batch) for batch in splits.train.batches(np.sort(chosen), BATCH)]
        return [np.mean([each.numpy() for each in of_kernel], axis=0) for of_kernel in zip(*batches, strict=True)]

    return scores


def movement(model: TiedAutoencoder, splits: Splits, config: PruneConfig, train: TrainConfig) -> Scores:
    """w² − w₀², from the weights at the start of the stage: positive for those that grow, negative for those that shrink.

    Movement pruning (Sanh et al. 2020, arXiv:2005.07683) sums −w · ∂L/∂w over the updates; along a gradient flow, where
    dw = −∂L/∂w dt, that sum is (w² − w₀²) / 2.
    """
    start = [np.square(kernel.variable.numpy()) for kernel in model.kernels]
    return lambda: [np.square(kernel.variable.numpy()) - each for kernel, each in zip(model.kernels, start, strict=True)]


SALIENCIES: Mapping[str, Callable[[TiedAutoencoder, Splits, PruneConfig, TrainConfig], Scores]] = {
    "magnitude": magnitude,
    "gradient": gradient,
    "movement": movement,
}
