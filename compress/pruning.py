"""Pruning by masks: a saliency scores the weights, a pattern selects them, a schedule ramps the sparsity."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from tiedae.base.errors import InputError
from tiedae.config.config import PruneConfig, TrainConfig
from tiedae.data.dataset import Dataset
from tiedae.data.noise import noise_of, pairs

from .autoencoder import TiedAutoencoder
from .blocks import TENSOR_VALUES
from .curvature import PROBES, influence, samples_for
from .patterns import PATTERNS, Scores, check_pattern
from .symmetries import reorder_units
from .train import LOSSES, History, Training, fit, noise_seed

UPDATES = 20
"""Mask updates of a polynomial ramp."""
BATCH = 64
"""Samples per batch of gradients."""


def magnitude(model: TiedAutoencoder, splits: Dataset, config: PruneConfig, train: TrainConfig) -> Scores:
    """|w|."""
    return lambda: [np.abs(kernel.variable.numpy()) for kernel in model.kernels]


def gradient(model: TiedAutoencoder, splits: Dataset, config: PruneConfig, train: TrainConfig) -> Scores:
    """(w · ∂L/∂w)², averaged over batches: the first-order change of the loss if a weight is pruned (Molchanov et al. 2019,
    arXiv:1906.10771). The gradient sums both directions of the tie."""
    chosen = np.random.default_rng(train.seed).permutation(len(splits.train))[: config.samples]
    loss = LOSSES[train.loss]

    noise, seed = noise_of(train.noise, splits.train), noise_seed(train, "saliency")

    @tf.function(input_signature=[tf.TensorSpec([None, model.config.size], tf.float32)] * 2, autograph=False)
    def squares(x: tf.Tensor, wanted: tf.Tensor) -> list[tf.Tensor]:
        kernels = [kernel() for kernel in model.kernels]
        with tf.GradientTape() as tape:
            tape.watch(kernels)
            code = model.encoder(x, kernels=kernels)
            value = tf.reduce_mean(loss(wanted, model.decoder(code, kernels=kernels)))
        gradients = tape.gradient(value, kernels)
        return [tf.square(kernel.variable * each) for kernel, each in zip(model.kernels, gradients, strict=True)]

    def scores() -> list[np.ndarray]:
        batches = [squares(*pair) for pair in pairs(splits.train, np.sort(chosen), BATCH, noise, seed)]
        return [np.mean([each.numpy() for each in of_kernel], axis=0) for of_kernel in zip(*batches, strict=True)]

    return scores


def curvature(model: TiedAutoencoder, splits: Dataset, config: PruneConfig, train: TrainConfig) -> Scores:
    """w² · the squared change of the output when a weight changes by 1, to second order: what pruning it alone adds to the
    squared error of a trained model (LeCun et al. 1990, Optimal Brain Damage), with the moments of `curvature.Quadratic`."""
    count = samples_for(model, min(config.samples, len(splits.train)))
    chosen = np.sort(np.random.default_rng(train.seed).permutation(len(splits.train))[:count])
    size = max(1, TENSOR_VALUES // (PROBES * max(model.config.widths)))
    noise, seed = noise_of(train.noise, splits.train), noise_seed(train, "saliency")

    def scores() -> list[np.ndarray]:
        losses = [np.zeros(kernel.variable.shape, np.float32) for kernel in model.kernels]
        for x, _ in pairs(splits.train, chosen, size, noise, seed):
            found = influence(model, x, seed=train.seed)
            for loss, kernel in zip(losses, model.kernels, strict=True):
                loss += len(x) * found.kernels[kernel.name].diagonal()
        return [np.square(kernel.variable.numpy()) * loss for kernel, loss in zip(model.kernels, losses, strict=True)]

    return scores


def movement(model: TiedAutoencoder, splits: Dataset, config: PruneConfig, train: TrainConfig) -> Scores:
    """w² − w₀², with w₀ from the start of the stage: positive for weights that grow, negative for those that shrink.

    Movement pruning (Sanh et al. 2020, arXiv:2005.07683) sums −w · ∂L/∂w over the updates; along a gradient flow, where
    dw = −∂L/∂w dt, that sum is (w² − w₀²) / 2.
    """
    start = [np.square(kernel.variable.numpy()) for kernel in model.kernels]
    return lambda: [np.square(kernel.variable.numpy()) - each for kernel, each in zip(model.kernels, start, strict=True)]


SALIENCIES: Mapping[str, Callable[[TiedAutoencoder, Dataset, PruneConfig, TrainConfig], Scores]] = {
    "curvature": curvature,
    "magnitude": magnitude,
    "gradient": gradient,
    "movement": movement,
}
"""(model, samples, configuration, float training) → saliency scores of all weights."""


def prune(model: TiedAutoencoder, splits: Dataset, config: PruneConfig, train: TrainConfig | Training) -> History:
    """Ramp the masks of `model` up to `config.sparsity` while fine-tuning, then fine-tune with fixed masks.

    Weights may return during the ramp if others become less salient. Masked weights are exactly zero in the variables, in
    this and every later stage. N:M first reorders hidden units so that masks keep more of the scores. After `structured`,
    `shrink` removes the pruned units.
    Raises the errors of `fit`, RecipeError if the kernels cannot have the pattern, InputError if they are clustered or
    quantized; all before the model changes.
    """
    check_pattern(config, model.config)
    from tensorflow_model_optimization.sparsity import keras as sparsity

    for kernel in model.kernels:
        if kernel.clusters is not None or kernel.granularity is not None:
            raise InputError(f"{kernel.name} is clustered or quantized; prune before")
    training = Training.fine_tuning(train, config, model, splits)
    settings = training.config
    steps = -(-len(splits.train) // settings.batch_size)
    end = min(int(steps * config.epochs * config.ramp), steps * config.epochs - 1)
    if config.schedule == "polynomial" and end >= 1:
        ramp_epochs, frequency = end // steps, max(1, end // UPDATES)
        schedule = sparsity.PolynomialDecay(0.0, config.sparsity, 0, end - end % frequency, frequency=frequency)
    else:
        ramp_epochs, schedule = 0, sparsity.ConstantSparsity(config.sparsity, 0, 0, frequency=1)
    if config.kind == "n:m":
        start = "magnitude" if config.saliency == "movement" else config.saliency  # movement is zero at the start
        reorder_units(model, SALIENCIES[start](model, splits, config, settings), config, seed=settings.seed)
    scores, pattern = SALIENCIES[config.saliency](model, splits, config, settings), PATTERNS[config.kind]

    def pruned(each: list) -> list:
        return [value for i, value in enumerate(each) if i not in config.skip]

    def before_step(step: int) -> None:
        due, fraction = schedule(tf.constant(step, tf.int64))
        if bool(due):
            for kernel, mask in zip(pruned(model.kernels), pattern(pruned(scores()), float(fraction), config), strict=True):
                kernel.set_mask(mask)

    return fit(model, splits, training, stage="prune", before_step=before_step, ramp_epochs=ramp_epochs)
